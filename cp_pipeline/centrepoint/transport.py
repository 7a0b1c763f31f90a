"""Send HTTP requests: sessions, timeouts, retries, no redirects; or only GET requests.

Belongs here: what applies to every request to the API, the token service and the blob storage.
Does not belong: tokens (``tokens``), pages (``listing``), files (``downloads``), reading answers
(``answers``), error messages (``connection_errors``).
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from requests.utils import select_proxy
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, ReadTimeoutError
from urllib3.util.retry import Retry

from cp_pipeline.centrepoint.answers import retry_after
from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline.centrepoint.connection_errors import (
    BEFORE_AN_ANSWER,
    explained,
    is_about_certificates,
    proxy_refused,
)
from cp_pipeline.centrepoint.connections import PacedAdapter
from cp_pipeline.centrepoint.errors import AnswerNotUnderstood, ServiceError
from cp_pipeline.centrepoint.hosts import HostRule
from cp_pipeline.centrepoint.redaction import redact_http_log

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 60.0
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
USER_AGENT = "cp-pipeline"
_ANSWERS_CUT_SHORT = 3
_log = logging.getLogger(__name__)
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


class _BudgetedRetry(Retry):
    """urllib3's retries; each retry also takes a request from the budget."""

    budget: RequestBudget | None = None

    def new(self, **changes: Any) -> Self:  # noqa: ANN401  (urllib3's own signature)
        again = super().new(**changes)
        again.budget = self.budget
        return again

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        return retry_after(response.headers.get("Retry-After"))

    def increment(self, *args: Any, **options: Any) -> Self:  # noqa: ANN401  (urllib3's own)
        error = options.get("error")
        lasting = isinstance(error, Exception) and is_about_certificates(error)
        # Do not retry a lasting error: it would fail in the same way.
        counted = self.new(total=0) if lasting else self
        again = super(_BudgetedRetry, counted).increment(*args, **options)
        _log.info("%s; trying again", _what_happened(options))
        return again

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        super().sleep(response)
        if self.budget is not None:
            self.budget.spend()


def _what_happened(options: Mapping[str, Any]) -> str:
    """Say why a request is sent again: never its address, which may be a signed link."""
    pool, response, error = (options.get(name) for name in ("_pool", "response", "error"))
    host = getattr(pool, "host", "the service")
    if response is not None:
        return f"{host} answered HTTP {response.status}"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return f"{host} did not answer in time"
    return f"the connection to {host} failed"


def _no_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no Authorization header, not even for a name and a password in the address."""
    return request


class Transport:
    """Sends requests. Thread-safe; each thread has its own connections.

    Args:
        budget: counts each request and each retry; None for no limit (only the API has a limit;
            blob storage has none).
        rule: the private hosts that must not be connected to; None for the services that a person
            has named in the settings.
        retries: whether this class repeats a failed request; if False, the caller does.
    """

    def __init__(
        self, budget: RequestBudget | None, rule: HostRule | None = None, *, retries: bool = True
    ) -> None:
        redact_http_log()
        self._retries = retries
        self._budget = budget
        self._rule = rule
        self._threads = threading.local()

    def send(
        self,
        method: str,
        url: str,
        *,
        purpose: str,
        setting: str = "",
        auth: AuthBase | None = None,
        **options: Any,  # noqa: ANN401  (requests' own options)
    ) -> requests.Response:
        """Send one request and return the answer with any status.

        Args:
            method: ``GET`` or ``POST``.
            url: the address; never shown.
            purpose: what the request is for, as part of an error message.
            setting: the variable that holds the address; empty for a link from the listing.
            auth: adds the Authorization header; without it, none is sent.
            options: passed to ``requests`` (``params``, ``json``, ``data``, ``stream``).

        Raises:
            ServiceUnavailable: no answer after all retries.
            ConnectionSettingsWrong: the address, a proxy or a certificate file cannot be used.
            AnswerNotUnderstood: the answer is a redirect (never followed: a token must not be sent
                to another host).
            PrivateHost: the rule forbids the host.
        """
        failure: ServiceError | None = None
        for _ in range(_ANSWERS_CUT_SHORT if self._retries else 1):
            if self._budget is not None:
                self._budget.spend()
            failure = None
            try:
                response = self._send(method, url, auth=auth or _no_authorization, **options)
                _log.debug("%s: HTTP %d", purpose, response.status_code)
            except BEFORE_AN_ANSWER as error:
                failure = explained(error, url, purpose, setting)
                if not _broke_off(error):
                    break
            else:
                break
        # Raise outside the handler: the original error contains the signed URL and must not become
        # the context of this one.
        if failure is not None:
            raise failure
        if response.status_code == requests.codes.proxy_authentication_required:
            response.close()
            raise proxy_refused(url, purpose)
        if response.is_redirect or response.is_permanent_redirect:
            response.close()
            raise AnswerNotUnderstood(
                f"The service answered with a redirect (HTTP {response.status_code}) "
                f"while {purpose}; redirects are not followed.",
                "Check CP_API_URL and CP_TOKEN_URL.",
            )
        return response

    def _send(
        self,
        method: str,
        url: str,
        *,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401  (requests' own options)
    ) -> requests.Response:
        # Prepare the request without the session: the session holds no cookies or defaults for us,
        # and merging its settings takes as long as sending the request.
        request = requests.Request(method, url, headers={**_HEADERS, **(headers or {})}, **options)
        environment = self._environment(url) | {"stream": stream}
        prepared = request.prepare()
        address = prepared.url or ""
        # A proxy resolves names and connects by itself: refuse a host by how it is written.
        if self._rule is not None and select_proxy(address, environment["proxies"]):
            self._rule.check_written(urlsplit(address).hostname or "")
        return self._session().send(
            prepared,
            timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
            allow_redirects=False,
            **environment,
        )

    def _environment(self, url: str) -> dict[str, Any]:
        """Return the proxies and certificates that the environment sets for a service; cached."""
        known: dict[str, dict[str, Any]] = self._threads.__dict__.setdefault("environments", {})
        service = "/".join(url.split("/", 3)[:3])
        found = known.get(service)
        if found is None:
            # The empty dictionary and None mean: the request itself sets nothing.
            found = {**self._session().merge_environment_settings(url, {}, None, None, None)}
            known[service] = found
        return found

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = requests.Session()
            adapter = PacedAdapter(
                self._rule, pool_connections=4, pool_maxsize=4, max_retries=self._retry()
            )
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._threads.session = session
        return session

    def _retry(self) -> Retry:
        if not self._retries:
            return Retry(total=0, redirect=0, raise_on_status=False)
        retry = _BudgetedRetry(
            total=6,
            connect=4,
            read=4,
            redirect=0,
            status=6,
            status_forcelist=RETRIED_STATUSES,
            allowed_methods={"GET", "POST"},
            backoff_factor=0.5,
            backoff_jitter=0.25,
            backoff_max=30.0,
            raise_on_status=False,
            respect_retry_after_header=True,
        )
        retry.budget = self._budget
        return retry


class ReadOnlyTransport(Transport):
    """Sends GET requests and nothing else, to one address and what is below it.

    The scope CentrePoint can also write (docs/api.md); what asks with it must not be able to.

    Args:
        through: sends the requests.
        address: the address of the API.
    """

    def __init__(self, through: Transport, address: str) -> None:
        self._through = through
        self._address = address.rstrip("/")

    def send(self, method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send a GET; see ``Transport.send``.

        Raises:
            PermissionError: it is no GET, it has a body, or it goes elsewhere.
        """
        if method != "GET" or not url.startswith(f"{self._address}/"):
            raise PermissionError(f"{method} is not allowed here: this client only reads.")
        if {"json", "data", "files"} & {name for name, value in options.items() if value}:
            raise PermissionError("A body is not allowed here: this client only reads.")
        return self._through.send(method, url, **options)


def _broke_off(error: Exception) -> bool:
    """Whether the body was incomplete: urllib3 retries only until the body begins."""
    timed_out = any(isinstance(each, ReadTimeoutError) for each in error.args)
    return timed_out or isinstance(error, requests.exceptions.ChunkedEncodingError)
