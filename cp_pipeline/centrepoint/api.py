"""GET requests to the API: the token, the frame of a page, and what a refusal means.

Belongs here: what applies to every resource of the API (docs/api.md, "Tokens" and "A page").
Does not belong: the resources (``listing``, ``subjects``), sending (``transport``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from cp_pipeline.centrepoint.answers import describe, json_of
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    ServiceError,
    ServiceUnavailable,
    StudyRefused,
    TokenRefused,
)
from cp_pipeline.centrepoint.tokens import Bearer, TokenSource
from cp_pipeline.centrepoint.transport import Transport
from cp_pipeline.settings import CentrePointSettings

PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page; ``limit`` is None if the service sends no usable one."""

    items: list[Any]
    total: int
    limit: int | None

    @property
    def step(self) -> int:
        """How many items after this page's first one the next page begins; at least one."""
        return max(min(self.limit or PAGE_SIZE, PAGE_SIZE), len(self.items))


class Api:
    """Sends GET requests with a valid token. Thread-safe."""

    def __init__(
        self, settings: CentrePointSettings, transport: Transport, tokens: TokenSource
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._tokens = tokens
        # The variable that names the client, for messages.
        self.client_variable = tokens.client_variable

    def get(
        self,
        path: str,
        purpose: str,
        parameters: Mapping[str, int | str],
        body: Mapping[str, int | str] | None = None,
    ) -> requests.Response:
        """Return the answer with any status; replace an expired token once.

        Args:
            path: below the address of the API, without a slash at its start.
            purpose: what the request is for, as part of an error message.
            parameters: of the query.
            body: sent as JSON; by default, no body is sent.

        Raises:
            ServiceError: no token, or no answer.
        """
        options: dict[str, Any] = {"params": dict(parameters)}
        if body:
            options["json"] = body
        bearer = self._tokens.current()
        response = self._send(path, purpose, bearer, options)
        if response.status_code == requests.codes.unauthorized:
            response = self._send(path, purpose, self._tokens.replace(bearer), options)
        return response

    def _send(
        self, path: str, purpose: str, bearer: Bearer, options: dict[str, Any]
    ) -> requests.Response:
        url = f"{self._settings.api_url}/{path}"
        return self._transport.send(
            "GET", url, purpose=purpose, setting="CP_API_URL", auth=bearer, **options
        )


def read_page(
    response: requests.Response, purpose: str, remedy: str, *, personal: bool = False
) -> Page:
    """Read a page (docs/api.md, "A page"), its items as JSON. No message shows a ``personal`` one.

    Raises:
        AnswerNotUnderstood: it is no such page.
    """
    try:
        return _page_of(json_of(response))
    except (ValueError, KeyError, TypeError, OverflowError):
        beginning = "its body is not shown" if personal else describe(response)
    raise AnswerNotUnderstood(
        f"The answer while {purpose} differs from the API's contract: {beginning}.", remedy
    )


def _page_of(answer: Any) -> Page:  # noqa: ANN401  (JSON is anything)
    items, total, limit = answer["items"], int(answer["totalCount"]), answer.get("limit")
    if not isinstance(items, list) or total < 0:
        raise ValueError("no list of items, or a negative count")
    is_usable = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
    return Page(items, total, limit if is_usable else None)


def refusal(
    response: requests.Response,
    study_id: int,
    purpose: str,
    remedy: str = "Check CP_API_URL.",
    client: str = "CP_CLIENT_ID",
) -> ServiceError:
    """Return the error for an answer that is not 200.

    Args:
        response: the answer.
        study_id: the study that was asked about.
        purpose: what the request was for.
        remedy: what to check if nothing else is known.
        client: the variable that names the client.
    """
    status = response.status_code
    if status == requests.codes.unauthorized:
        return TokenRefused(
            f"The API refused a new access token while {purpose}.",
            "Check that CP_API_URL and CP_TOKEN_URL belong together.",
        )
    if status == requests.codes.forbidden:
        return StudyRefused(
            f"This client has no access to study {study_id}, while {purpose}"
            f" ({describe(response)}).",
            f"Check CP_STUDY_ID, or ask ActiGraph to give the client in {client} access to it.",
        )
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        return ServiceUnavailable(
            f"CentrePoint failed while {purpose}: {describe(response)}.", "Try again later."
        )
    return AnswerNotUnderstood(
        f"CentrePoint refused the request while {purpose}: {describe(response)}.", remedy
    )
