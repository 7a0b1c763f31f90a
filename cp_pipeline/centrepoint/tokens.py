"""Access tokens (docs/api.md, "Tokens").

Belongs here: taking a token, renewing it in time, and saying why one was refused.
"""

import math
import threading
import time

import requests
from requests.auth import AuthBase

from cp_pipeline.centrepoint.answers import describe, json_of
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    CredentialsRefused,
    ScopeRefused,
    ServiceUnavailable,
)
from cp_pipeline.centrepoint.transport import RETRIED_STATUSES, Transport
from cp_pipeline.settings import CentrePointSettings

SCOPE = "DataAccess"
# What OAuth's answers usually say; one that has run out earlier is replaced at the API's 401.
_USUAL_LIFETIME_SECONDS = 3600.0
_LONGEST_LIFETIME_SECONDS = 86_400.0
_PURPOSE = "asking for an access token (CP_TOKEN_URL)"


class Bearer(AuthBase):
    """Adds one access token to a request."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Called by ``requests`` for each request."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class TokenSource:
    """Hands out one token to all threads, and a new one before it runs out."""

    def __init__(self, settings: CentrePointSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._lock = threading.Lock()
        self._bearer: Bearer | None = None
        self._renew_at = 0.0

    def current(self) -> Bearer:
        """A token that is still good, new if need be.

        Raises:
            CredentialsRefused, ScopeRefused: the person must change a setting.
            ServiceUnavailable, AnswerNotUnderstood: the token service is at fault.
        """
        with self._lock:
            if self._bearer is None or time.monotonic() >= self._renew_at:
                self._bearer = self._take()
            return self._bearer

    def replace(self, refused: Bearer) -> Bearer:
        """A token other than ``refused``, which the API has answered with 401."""
        with self._lock:
            if self._bearer is None or self._bearer is refused:
                self._bearer = self._take()
            return self._bearer

    def _take(self) -> Bearer:
        asked_at = time.monotonic()
        response = self._transport.send(
            "POST",
            self._settings.token_url,
            purpose=_PURPOSE,
            setting="CP_TOKEN_URL",
            data={
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
                "grant_type": "client_credentials",
                "scope": SCOPE,
            },
        )
        if response.status_code != requests.codes.ok:
            raise _refusal(response)
        try:
            answer = json_of(response)
            token, lifetime = answer["access_token"], _lifetime(answer.get("expires_in"))
        except (ValueError, KeyError, TypeError, AttributeError):
            token, lifetime = "", 0.0
        if not token or not isinstance(token, str):
            raise AnswerNotUnderstood(
                "The token service's answer holds no access token.", "Check CP_TOKEN_URL."
            )
        # A minute early for the usual hour; a tenth early for the very short ones.
        self._renew_at = asked_at + lifetime - min(60.0, lifetime / 10)
        return Bearer(token)


def _lifetime(expires_in: object) -> float:
    """For how many seconds a token is good, as far as the answer says so in any way."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(expires_in, bool) or not seconds > 0:
        return _USUAL_LIFETIME_SECONDS
    return min(seconds, _LONGEST_LIFETIME_SECONDS)


def _refusal(response: requests.Response) -> Exception:
    try:
        reason = str(json_of(response).get("error", ""))
    except (ValueError, AttributeError):
        reason = ""
    if reason == "invalid_scope":
        return ScopeRefused(
            f"The token service does not grant the scope {SCOPE} to this client (invalid_scope).",
            f"Ask ActiGraph to enable {SCOPE} for the client named in CP_CLIENT_ID.",
        )
    if reason in {"invalid_client", "unauthorized_client"} or response.status_code in {401, 403}:
        return CredentialsRefused(
            f"The token service refused the client ({reason or response.status_code}).",
            "Check CP_CLIENT_ID and CP_CLIENT_SECRET.",
        )
    if response.status_code in RETRIED_STATUSES:
        return ServiceUnavailable(
            f"The token service fails: {describe(response)}.", "Run it again later."
        )
    return AnswerNotUnderstood(
        f"The token service refused the request: {describe(response)}.", "Check CP_TOKEN_URL."
    )
