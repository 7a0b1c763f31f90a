"""The listing of a study's export files, page by page (API.md, "A page").

Belongs here: both dialects, paging, and knowing that a listing is whole.
Does not belong: what an item means (``items``), fetching files (``downloads``).
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

import requests

from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    ServiceUnavailable,
    StudyRefused,
    TokenRefused,
)
from cp_pipeline.centrepoint.items import Filters, contract_broken, read_item
from cp_pipeline.centrepoint.tokens import Bearer, TokenSource
from cp_pipeline.centrepoint.transport import Transport, describe
from cp_pipeline.exports import ExportFile, ExportKey, UnusableItem
from cp_pipeline.settings import CentrePointSettings

PAGE_SIZE = 100
_PASSES = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Pass:
    """One reading of all pages."""

    items: dict[ExportKey, ExportFile]
    unusable: frozenset[UnusableItem]
    total: int
    steady: bool

    @property
    def whole(self) -> bool:
        return self.steady and len(self.items) + len(self.unusable) == self.total

    def same_as(self, other: "_Pass | None") -> bool:
        return other is not None and (self.total, self.items, self.unusable) == (
            other.total,
            other.items,
            other.unusable,
        )


class Listing:
    """Asks the API which export files there are."""

    def __init__(
        self, settings: CentrePointSettings, transport: Transport, tokens: TokenSource
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._tokens = tokens

    def export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
        unusable: list[UnusableItem] | None = None,
    ) -> list[ExportFile]:
        """All export files of a study, or those that the filters leave.

        Items that break the contract go to ``unusable``; where nobody takes them, one is an error.

        The listing may change while its pages are read, so it counts as whole only when as many
        different items were seen as the service says there are, or when two readings agree.

        Raises:
            AnswerNotUnderstood: an item breaks the contract, and nobody takes it.
            ServiceError: no listing can be had; the subclass says why.
        """
        previous: _Pass | None = None
        for _ in range(_PASSES):
            reading = self._read_all_pages(study_id, filters)
            if reading.whole or (reading.steady and reading.same_as(previous)):
                return self._what_was_asked(reading, study_id, filters, unusable)
            _log.info("the listing of study %d changed while it was read; again", study_id)
            previous = reading
        raise ServiceUnavailable(
            f"The listing of study {study_id} changed each of {_PASSES} times it was read.",
            "CentrePoint is probably executing programs; run it again later.",
        )

    def count(self, study_id: int) -> int:
        """How many export files the study has, by asking for one."""
        _, total = self._page(study_id, Filters(), offset=0, limit=1)
        return total

    def _read_all_pages(self, study_id: int, filters: Filters) -> _Pass:
        items: dict[ExportKey, ExportFile] = {}
        unusable: set[UnusableItem] = set()
        offset, totals = 0, set()
        while True:
            page, total = self._page(study_id, filters, offset, PAGE_SIZE)
            totals.add(total)
            for item in page:
                if isinstance(item, UnusableItem):
                    unusable.add(item)
                    continue
                seen = items.get(item.key)
                if seen is None or seen.execution <= item.execution:
                    items[item.key] = item
            offset += len(page)
            if not page or offset >= total:
                return _Pass(items, frozenset(unusable), total, steady=len(totals) == 1)

    def _what_was_asked(
        self,
        reading: _Pass,
        study_id: int,
        filters: Filters,
        unusable: list[UnusableItem] | None,
    ) -> list[ExportFile]:
        broken = [
            replace(item, study_id=study_id)
            for item in sorted(reading.unusable, key=str)
            if item.study_id in (None, study_id) and filters.accept(item)
        ]
        if broken and unusable is None:
            raise contract_broken(broken[0])
        if unusable is not None:
            unusable += broken
        asked = [
            item
            for item in reading.items.values()
            if item.study_id == study_id and filters.accept(item)
        ]
        if foreign := len(reading.items) - len(asked):
            _log.warning(
                "study %d: left out %d listed files that were not asked for", study_id, foreign
            )
        return asked

    def _page(
        self, study_id: int, filters: Filters, offset: int, limit: int
    ) -> tuple[list[ExportFile | UnusableItem], int]:
        response = self._request(study_id, filters, offset, limit)
        try:
            answer = response.json()
            return [read_item(raw) for raw in answer["items"]], int(answer["totalCount"])
        except (ValueError, KeyError, TypeError):
            beginning = describe(response)
        raise AnswerNotUnderstood(
            f"The listing of study {study_id} is not what the API promises: {beginning}.",
            "Check CP_API_URL and CP_EXPORT_DIALECT.",
        )

    def _request(
        self, study_id: int, filters: Filters, offset: int, limit: int
    ) -> requests.Response:
        """One page's answer; a token that has run out is replaced once."""
        bearer = self._tokens.current()
        response = self._send(study_id, filters, offset, limit, bearer)
        if response.status_code == requests.codes.unauthorized:
            response = self._send(study_id, filters, offset, limit, self._tokens.replace(bearer))
        if response.status_code != requests.codes.ok:
            raise _refusal(response, study_id)
        return response

    def _send(
        self, study_id: int, filters: Filters, offset: int, limit: int, bearer: Bearer
    ) -> requests.Response:
        dialect = self._settings.dialect
        parameters: dict[str, int | str] = {"limit": limit, "offset": offset}
        options: dict[str, Any] = {"params": parameters}
        if dialect == "datasetexportfiles":
            options["json"] = filters.as_parameters()
        else:
            parameters.update(filters.as_parameters())
        return self._transport.send(
            "GET",
            f"{self._settings.api_url}/studies/{study_id}/{dialect}",
            purpose=f"listing the export files of study {study_id}",
            auth=bearer,
            **options,
        )


def _refusal(response: requests.Response, study_id: int) -> Exception:
    status = response.status_code
    if status == requests.codes.unauthorized:
        return TokenRefused(
            f"The API refused a fresh token twice while listing study {study_id}.",
            "Check that CP_API_URL and CP_TOKEN_URL belong together.",
        )
    if status == requests.codes.forbidden:
        return StudyRefused(
            f"The API does not let this client see study {study_id} ({describe(response)}).",
            "Check CP_STUDY_ID, or ask ActiGraph to give the client in CP_CLIENT_ID access to it.",
        )
    if status == requests.codes.not_found:
        return StudyRefused(
            f"The API knows no study {study_id} ({describe(response)}).",
            "Check CP_STUDY_ID, CP_API_URL and CP_EXPORT_DIALECT.",
        )
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        return ServiceUnavailable(
            f"CentrePoint fails to list study {study_id}: {describe(response)}.",
            "Run it again later.",
        )
    return AnswerNotUnderstood(
        f"CentrePoint refused to list study {study_id}: {describe(response)}.",
        "Check CP_API_URL and CP_EXPORT_DIALECT.",
    )
