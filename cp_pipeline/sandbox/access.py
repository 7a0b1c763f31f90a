"""Who may ask for what, how often and until when: tokens, the rate limit, signed links.

Belongs here: the decisions. Does not belong: how a refusal is worded in HTTP (`service.py`).
"""

import base64
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 (opens nothing but synthetic data on loopback)

# Each opens an API that the sandbox has.
_SERVED = {"CentrePoint", "DataAccess"}
_SCOPES = {"Analytics", "CentrePoint", "DataAccess", "DataRetrieval"}
_WINDOW_SECONDS = 60.0
_LONG_LIFETIME = 60.0

Clock = Callable[[], float]


class TokenError(Exception):
    """A token request was refused; its text is OAuth's error code."""


class TokenOffice:
    """Hands out opaque bearer tokens and knows which are still good (docs/api.md, Tokens)."""

    def __init__(self, lifetime: float) -> None:
        """Takes the seconds a token is good for."""
        self.lifetime = lifetime
        self.refused_scopes: set[str] = set()
        self._clock = time.monotonic
        self._expiries: dict[str, float] = {}
        self._scopes: dict[str, set[str]] = {}

    def grant(self, form: Mapping[str, str]) -> str:
        """A new token for a form of the client credentials grant; raises TokenError."""
        if not form.get("grant_type"):
            raise TokenError("invalid_request")
        if form["grant_type"] != "client_credentials":
            raise TokenError("unsupported_grant_type")
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            raise TokenError("invalid_client")
        scopes = set(form.get("scope", "").split(" "))
        if not scopes & _SERVED or not scopes <= _SCOPES - self.refused_scopes:
            raise TokenError("invalid_scope")
        token = secrets.token_urlsafe(32)
        self._expiries[token] = self._clock() + self.lifetime
        self._scopes[token] = scopes
        return token

    def opens(self, authorization: str | None, scope: str) -> bool:
        """Whether the token in an Authorization header is for the scope."""
        token = (authorization or "").partition(" ")[2].strip()
        return scope in self._scopes.get(token, set())

    def accepts(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a token that has not run out."""
        scheme, _, token = (authorization or "").partition(" ")
        expiry = self._expiries.get(token.strip(), -math.inf)
        return scheme.lower() == "bearer" and self._clock() < expiry


class RateLimit:
    """At most so many requests in any 60 seconds, a sliding window (docs/api.md, Limits).

    A refused request does not count.
    """

    def __init__(self, requests_per_minute: int, clock: Clock = time.monotonic) -> None:
        """Takes how many to let through, and a clock in seconds from any origin."""
        self._most = requests_per_minute
        self._clock = clock
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def wait(self) -> int:
        """0 if a request may pass now, which counts it; otherwise whole seconds to wait."""
        with self._lock:
            now = self._clock()
            while self._times and self._times[0] <= now - _WINDOW_SECONDS:
                self._times.popleft()
            if len(self._times) < self._most:
                self._times.append(now)
                return 0
            return max(1, math.ceil(self._times[0] + _WINDOW_SECONDS - now))


class LinkSigner:
    """Signs the paths of blobs for a while, like an Azure SAS (docs/api.md, An item)."""

    def __init__(self, lifetime: float) -> None:
        """Takes the seconds a link is good for."""
        self.lifetime = lifetime
        # The service's own clock: a test that replaces `time.time` means that of the pipeline.
        self.clock = time.time
        self._key = secrets.token_bytes(32)

    def expiry(self) -> datetime:
        """When a link signed now dies, in UTC."""
        return datetime.fromtimestamp(self.clock() + self.lifetime, UTC)

    def query(self, path: str, expiry: datetime) -> str:
        """The query that makes a path, percent-encoded as in the URL, good until the expiry."""
        # Whole seconds as in production, except where a test's link lives too short for that.
        precision = "seconds" if self.lifetime >= _LONG_LIFETIME else "milliseconds"
        until = expiry.isoformat(timespec=precision).replace("+00:00", "Z")
        signature = quote(self._signature(path, until), safe="")
        return f"sv=2023-11-03&se={quote(until, safe='')}&sr=b&sp=r&sig={signature}"

    def accepts(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether the query was signed for this very path and has not expired."""
        until, signature = query.get("se", ""), query.get("sig", "")
        if not hmac.compare_digest(self._signature(path, until).encode(), signature.encode()):
            return False
        return self.clock() < datetime.fromisoformat(until).timestamp()

    def _signature(self, path: str, until: str) -> str:
        digest = hmac.digest(self._key, f"{path}\n{until}".encode(), hashlib.sha256)
        return base64.b64encode(digest).decode()
