"""Access tokens (docs/api.md, "Tokens").

Belongs here: requesting a token, renewing it in time, and explaining why one was refused.
Does not belong: sending requests and retries (``transport``).
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
# It can also write, so it has a token of its own, and is asked for only if a person wants it.
DETAILS_SCOPE = "CentrePoint"
# The usual lifetime of an OAuth token. A token that expires earlier is replaced after a 401.
_USUAL_LIFETIME_SECONDS = 3600.0
_LONGEST_LIFETIME_SECONDS = 86_400.0
_WITHOUT_DETAILS = (
    " If another client has it, name that one in CP_DETAILS_CLIENT_ID and CP_DETAILS_CLIENT_SECRET."
    " Or turn CP_STUDY_DETAILS off: the exports need only DataAccess."
)
_PURPOSE = "requesting an access token (CP_TOKEN_URL)"


class Bearer(AuthBase):
    """Adds one access token to a request."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Called by ``requests`` for each request."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class TokenSource:
    """Gives all threads the same token, and renews it before it expires.

    Args:
        settings: the client and the address of the token service.
        transport: sends the requests.
        scope: what the token is for; by default, the export API.
        variables: the start of the names of the client's variables, for messages.
    """

    def __init__(
        self,
        settings: CentrePointSettings,
        transport: Transport,
        scope: str = "",
        variables: str = "CP_CLIENT",
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._scope, self._variables = scope or SCOPE, variables
        self.client_variable = f"{variables}_ID"
        self._lock = threading.Lock()
        self._bearer: Bearer | None = None
        self._renew_at = 0.0

    def current(self) -> Bearer:
        """Return a valid token; request a new one if necessary.

        Raises:
            CredentialsRefused, ScopeRefused: a setting or the client's rights must change.
            ServiceUnavailable, AnswerNotUnderstood: the token service failed.
        """
        with self._lock:
            if self._bearer is None or time.monotonic() >= self._renew_at:
                self._bearer = self._take()
            return self._bearer

    def replace(self, refused: Bearer) -> Bearer:
        """Return a token other than ``refused``, for which the API answered 401."""
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
                "scope": self._scope,
            },
        )
        if response.status_code != requests.codes.ok:
            raise _refusal(response, self._scope, self._variables)
        try:
            answer = json_of(response)
            token, lifetime = answer["access_token"], _lifetime(answer.get("expires_in"))
        except (ValueError, KeyError, TypeError, AttributeError):
            token, lifetime = "", 0.0
        if not token or not isinstance(token, str):
            raise AnswerNotUnderstood(
                "The token service's answer has no access token.", "Check CP_TOKEN_URL."
            )
        # Renew a minute early; for very short lifetimes, a tenth of the lifetime early.
        self._renew_at = asked_at + lifetime - min(60.0, lifetime / 10)
        return Bearer(token)


def _lifetime(expires_in: object) -> float:
    """Return a token's lifetime in seconds; the usual one if the answer has no valid lifetime."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(expires_in, bool) or not seconds > 0:
        return _USUAL_LIFETIME_SECONDS
    return min(seconds, _LONGEST_LIFETIME_SECONDS)


def _refusal(response: requests.Response, scope: str, variables: str) -> Exception:
    try:
        reason = str(json_of(response).get("error", ""))
    except (ValueError, AttributeError):
        reason = ""
    if reason == "invalid_scope":
        remedy = f"Ask ActiGraph to enable {scope} for the client named in {variables}_ID."
        return ScopeRefused(
            f"The token service does not grant the scope {scope} to this client (invalid_scope).",
            remedy + (_WITHOUT_DETAILS if scope == DETAILS_SCOPE else ""),
        )
    if reason in {"invalid_client", "unauthorized_client"} or response.status_code in {401, 403}:
        return CredentialsRefused(
            f"The token service refused the client ({reason or response.status_code}).",
            f"Check {variables}_ID and {variables}_SECRET.",
        )
    if response.status_code in RETRIED_STATUSES:
        return ServiceUnavailable(
            f"The token service failed: {describe(response)}.", "Try again later."
        )
    return AnswerNotUnderstood(
        f"The token service refused the request: {describe(response)}.", "Check CP_TOKEN_URL."
    )
