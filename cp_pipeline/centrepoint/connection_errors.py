"""Turn errors of the HTTP library before an answer into errors of this project.

Belongs here: which setting is wrong, in messages without addresses; what an error wraps.
Does not belong: retries (``transport``), errors in an answer (``answers``).

Never repeat what the library says about an address: it may contain a proxy's password or a link's
signature.
"""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError, ProxyError

from cp_pipeline.centrepoint.errors import (
    ConnectionSettingsWrong,
    ServiceError,
    ServiceUnavailable,
)
from cp_pipeline.centrepoint.minimum_throughput import TooSlow
from cp_pipeline.centrepoint.redaction import redact

# What sending a request may raise, except for a private host. ``requests`` does not wrap all errors
# of ``urllib3`` and of the functions that both call. It raises TypeError for a proxy without a
# host.
BEFORE_AN_ANSWER = (OSError, ValueError, TypeError, HTTPError)
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def explained(error: Exception, url: str, purpose: str, setting: str) -> ServiceError:
    """Return this project's error for one of ``BEFORE_AN_ANSWER``.

    Args:
        error: what sending a request raised.
        url: the address of the request; never shown.
        purpose: what the request is for.
        setting: the variable that holds the address; empty for a link from the listing.
    """
    variable, proxy = _proxy_for(url)
    through = f" It goes through the proxy that {variable} names." if proxy else ""
    if is_about_certificates(error):
        return _certificates_wrong(error, purpose)
    # The libraries raise these two for an invalid address; all other errors are network errors.
    if not isinstance(error, ValueError | TypeError):
        at_the_proxy = any(isinstance(each, ProxyError) for each in _behind(error))
        return ServiceUnavailable(
            f"No answer while {purpose}: {'the proxy: ' * at_the_proxy}{_reason(error)}.",
            f"Check that the proxy in {variable} is the right one, and that it is running."
            if at_the_proxy
            else f"Check the network, and that the service is running; then try again.{through}",
        )
    if proxy and _is_address(url):
        return ConnectionSettingsWrong(
            f"No request can be sent while {purpose}: the proxy in {variable} cannot be used"
            f"{_socks(proxy)}.",
            f"Set {variable} to an address such as http://proxy.example.org:8080, or unset it.",
        )
    return ConnectionSettingsWrong(
        f"No request can be sent while {purpose}: the {'address' if setting else 'link'} cannot be "
        f"used ({type(error).__name__}).",
        f"Check {setting}." if setting else "Report it to ActiGraph support.",
    )


def proxy_refused(url: str, purpose: str) -> ConnectionSettingsWrong:
    """Return the error for a proxy that requires a name and password (HTTP 407)."""
    variable, _ = _proxy_for(url)
    return ConnectionSettingsWrong(
        f"The proxy refused the request while {purpose}: HTTP 407 (Proxy Authentication Required).",
        f"Put the proxy's name and password into {variable} (http://name:password@host:port).",
    )


def _behind(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """Yield the error, then the errors that it wraps."""
    yield error
    if depth:
        parts = (*error.args, getattr(error, "reason", None), error.__cause__)
        for part in parts:
            if isinstance(part, BaseException):
                yield from _behind(part, depth - 1)


def too_slow(error: BaseException) -> TooSlow | None:
    """Return the ``TooSlow`` that an error of ``urllib3`` or ``requests`` wraps, if any."""
    return next((each for each in _behind(error) if isinstance(each, TooSlow)), None)


def is_about_certificates(error: BaseException) -> bool:
    """Whether certificates caused the error: then a retry would fail in the same way."""
    for each in _behind(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return True
        # Both libraries read the file before they send anything; only the text of the error says
        # that the file is missing.
        if isinstance(each, OSError | HTTPError) and "CA certificate bundle" in str(each):
            return True
    is_tls = any(isinstance(each, ssl.SSLError | requests.exceptions.SSLError | FileNotFoundError)
                 for each in _behind(error))  # fmt: skip
    return is_tls and _named_certificates()[1] is not None and not _can_be_read()


def _named_certificates() -> tuple[str, str | None]:
    """Return the variable that names the certificate file, and its value; in library order."""
    for name in _CERTIFICATES:
        if os.environ.get(name):
            return name, os.environ[name]
    return _CERTIFICATES[0], None


def _can_be_read() -> bool:
    """Whether the certificate file or folder that a variable names can be used."""
    _, place = _named_certificates()
    try:
        path = Path(place or "")
        if path.is_dir():
            return True
        ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError):
        return False
    return True


def _certificates_wrong(error: Exception, purpose: str) -> ConnectionSettingsWrong:
    variable, place = _named_certificates()
    if place is not None and not _can_be_read():
        return ConnectionSettingsWrong(
            f"No request can be sent while {purpose}: {variable} names {place}, which is not a "
            "readable certificate file.",
            f"Set {variable} to a PEM file of the certificates to trust, or unset it.",
        )
    return ConnectionSettingsWrong(
        f"The server's certificate is not trusted while {purpose}: {_reason(error)}.",
        f"If a proxy or firewall intercepts TLS, set {variable} to a PEM file that contains its "
        "certificate; otherwise check that the address is right.",
    )


def _proxy_for(url: str) -> tuple[str, str | None]:
    """Return the variable that names the proxy for an address, and its value; None without one."""
    try:
        scheme = urlsplit(url).scheme.lower()
        proxy = select_proxy(url, get_environ_proxies(url))
    except ValueError:
        return "HTTPS_PROXY", None
    fitting = {f"{scheme}_proxy", "all_proxy"}
    named = (name for name in os.environ
             if name.lower() in fitting and os.environ[name] == proxy)  # fmt: skip
    return next(named, f"{scheme.upper()}_PROXY"), proxy or None


def _is_address(url: str) -> bool:
    """Whether an address is valid, so that a request to it could be sent."""
    try:
        prepared = requests.Request("GET", url).prepare()
        parts = urlsplit(prepared.url or "")
        (parts.hostname or "").encode("idna")
        return bool(parts.hostname) and parts.port != 0
    except (requests.RequestException, ValueError):
        return False


def _socks(proxy: str) -> str:
    is_socks = proxy.lower().startswith("socks")
    return " (SOCKS proxies need the package PySocks)" if is_socks else ""


def _reason(error: BaseException) -> str:
    """Return the innermost reason of a failed request, without its address."""
    if slow := too_slow(error):
        return str(slow)
    inner: BaseException = error
    while deeper := _inside(inner):
        inner = deeper
    text = redact(str(inner)).rpartition(": ")[2] or type(inner).__name__
    return text.strip().rstrip(".")


def _inside(error: BaseException) -> BaseException | None:
    parts = (*error.args, getattr(error, "reason", None))
    return next((part for part in parts if isinstance(part, BaseException)), None)
