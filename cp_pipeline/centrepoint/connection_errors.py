"""Errors of the HTTP library that come before an answer, as errors of ours.

Belongs here: which setting is at fault, in words without addresses. Does not belong: trying again
(``transport``), errors that are an answer's (``answers``).

What the library says of an address is never repeated: it may hold a proxy's password, or a link's
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
from cp_pipeline.centrepoint.minimum_throughput import too_slow
from cp_pipeline.centrepoint.redaction import redact

# What sending a request may raise, but for a host that is private: ``requests`` lets some of the
# errors of ``urllib3``, and of the functions that both call, through as they are. TypeError is what
# it raises for a proxy without a host.
BEFORE_AN_ANSWER = (OSError, ValueError, TypeError, HTTPError)
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def explained(error: Exception, url: str, purpose: str, setting: str) -> ServiceError:
    """The error of ours for one of ``BEFORE_AN_ANSWER``.

    Args:
        error: what sending a request raised.
        url: where to; never shown.
        purpose: what the request is for.
        setting: the variable that has the address; empty for a link that was listed.
    """
    variable, proxy = _proxy_for(url)
    through = f" It goes through the proxy that {variable} names." if proxy else ""
    if is_about_certificates(error):
        return _certificates_wrong(error, purpose)
    # The libraries' words for an address that is no good are these, all others are of the network.
    if not isinstance(error, ValueError | TypeError):
        at_the_proxy = any(isinstance(each, ProxyError) for each in _behind(error))
        return ServiceUnavailable(
            f"No answer while {purpose}: {'the proxy: ' * at_the_proxy}{_reason(error)}.",
            f"See that the proxy in {variable} is the right one, and up."
            if at_the_proxy
            else f"Check the network and that the service is up; then run it again.{through}",
        )
    if proxy and _is_address(url):
        return ConnectionSettingsWrong(
            f"Nothing can be asked while {purpose}: {variable} is no proxy that can be used"
            f"{_socks(proxy)}.",
            f"Set {variable} to an address such as http://proxy.example.org:8080, or unset it.",
        )
    return ConnectionSettingsWrong(
        f"Nothing can be asked while {purpose}: the {'address' if setting else 'link'} cannot be "
        f"used ({type(error).__name__}).",
        f"Check {setting}." if setting else "Report it to ActiGraph support.",
    )


def proxy_refused(url: str, purpose: str) -> ConnectionSettingsWrong:
    """The error for a proxy that wants a name and password (HTTP 407)."""
    variable, _ = _proxy_for(url)
    return ConnectionSettingsWrong(
        f"The proxy refused the request while {purpose}: HTTP 407 (Proxy Authentication Required).",
        f"Put the proxy's name and password into {variable} (http://name:password@host:port).",
    )


def _behind(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """The error, and those that it stands for."""
    yield error
    if depth:
        parts = (*error.args, getattr(error, "reason", None), error.__cause__)
        for part in parts:
            if isinstance(part, BaseException):
                yield from _behind(part, depth - 1)


def is_about_certificates(error: BaseException) -> bool:
    """Whether certificates are at fault, so that the same request would fail in the same way."""
    for each in _behind(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return True
        # Both libraries read the file before anything is sent, and say it is not there in words.
        if isinstance(each, OSError | HTTPError) and "CA certificate bundle" in str(each):
            return True
    is_tls = any(isinstance(each, ssl.SSLError | requests.exceptions.SSLError | FileNotFoundError)
                 for each in _behind(error))  # fmt: skip
    return is_tls and _named_certificates()[1] is not None and not _can_be_read()


def _named_certificates() -> tuple[str, str | None]:
    """The variable that names certificates, and its value; in the library's order."""
    for name in _CERTIFICATES:
        if os.environ.get(name):
            return name, os.environ[name]
    return _CERTIFICATES[0], None


def _can_be_read() -> bool:
    """Whether the named file or folder can be used for what it is named for."""
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
            f"Nothing can be asked while {purpose}: {variable} names {place}, which is no file of "
            "certificates that can be read.",
            f"Set {variable} to a PEM file of the certificates to trust, or unset it.",
        )
    return ConnectionSettingsWrong(
        f"The certificate of the other side is not trusted while {purpose}: {_reason(error)}.",
        f"If a proxy or firewall opens TLS, set {variable} to a PEM file that holds its "
        "certificate; else see whether the address is right.",
    )


def _proxy_for(url: str) -> tuple[str, str | None]:
    """The variable that names the proxy for an address, and its value; None without one."""
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
    """Whether an address could be asked, if there were a way there."""
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
    """The innermost reason of a failed request, without the address it was for."""
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
