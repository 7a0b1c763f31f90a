"""The listing of a study's export files, page by page (docs/api.md, "A page").

Belongs here: both dialects, paging, and asking until the listing is known.
Does not belong: what an item means (``items``), when a reading is complete (``readings``), fetching
files (``downloads``).
"""

import logging
from dataclasses import replace
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
from cp_pipeline.centrepoint.items import Filters, read_item
from cp_pipeline.centrepoint.readings import Page, Reading
from cp_pipeline.centrepoint.tokens import Bearer, TokenSource
from cp_pipeline.centrepoint.transport import Transport
from cp_pipeline.domain.exports import StudyListing
from cp_pipeline.settings import CentrePointSettings

PAGE_SIZE = 100
# Pages in a row that bring nothing new: of a service that filters after paging, or miscounts.
MOST_BARREN_PAGES = 1_000
_PASSES = 5
_BODY_HINT = (
    "A proxy on the way may refuse a GET that has a body, or drop it: "
    "CP_EXPORT_DIALECT=datasetfiles sends none."
)
# Answers that such a proxy gives, besides hanging up.
_REFUSED_BODIES = frozenset({400, 403, 405, 406, 411, 413, 415, 422, 501, 502})
_log = logging.getLogger(__name__)


class Listing:
    """Asks the API which export files there are."""

    def __init__(
        self, settings: CentrePointSettings, transport: Transport, tokens: TokenSource
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._tokens = tokens
        # Of what is said once, whatever is listed again later: the words.
        self._said: set[str] = set()

    def export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
    ) -> StudyListing:
        """What is listed of a study, or what the filters leave of it.

        The listing may change while its pages are read, so it is known only when as many different
        items were seen as the service counts, or when two readings agree.

        Raises:
            ServiceError: no listing can be had; the subclass says why.
        """
        previous: Reading | None = None
        by_items = False
        for _ in range(_PASSES):
            reading = self._read_all_pages(study_id, filters, by_items=by_items)
            if reading.is_whole:
                return self._what_was_asked(reading, 0, study_id, filters)
            if reading.agrees_with(previous):
                missing = reading.missing(previous)
                return self._what_was_asked(reading, missing, study_id, filters)
            if reading.is_short:
                # Pages may be cut to fewer items than was asked for: go on where each ended.
                by_items = True
            _log.info("the listing of study %d is read again: it changed, or is short", study_id)
            previous = reading
        raise ServiceUnavailable(
            f"The listing of study {study_id} changed each of {_PASSES} times it was read.",
            "CentrePoint is probably executing programs; run it again later.",
        )

    def count(self, study_id: int) -> int:
        """How many export files the study has, by asking for one."""
        return self._page(study_id, Filters(), offset=0, limit=1).total

    def _read_all_pages(self, study_id: int, filters: Filters, *, by_items: bool) -> Reading:
        """Read from page to page until all that is counted was asked for.

        A page that is short or empty does not end a listing: a service may filter after paging.

        Args:
            study_id: of which study.
            filters: what to ask for.
            by_items: go on after the last item that came, and not after as many as a page holds.
        """
        reading, offset, barren = Reading(by_items), 0, 0
        while True:
            page = self._page(study_id, filters, offset, PAGE_SIZE)
            barren = 0 if reading.add(page) else barren + 1
            offset += len(page.items) if by_items and page.items else page.step(PAGE_SIZE)
            if offset >= page.total or barren == MOST_BARREN_PAGES:
                return reading

    def _what_was_asked(
        self, reading: Reading, missing: int, study_id: int, filters: Filters
    ) -> StudyListing:
        """The listing without what was not asked for, and what there is to say about it."""
        items = [
            item
            for item in reading.files.values()
            if item.study_id == study_id and filters.accept(item)
        ]
        left_out = [
            item
            for item in reading.left_out
            if item.key.study_id == study_id and filters.accept(item.key)
        ]
        invalid = [
            replace(item, study_id=study_id)
            for item in sorted(reading.invalid, key=str)
            if item.study_id in (None, study_id) and filters.accept(item)
        ]
        listing = StudyListing(
            items=tuple(items),
            invalid=tuple(invalid),
            never_executed=tuple(item.key for item in left_out if item.other_format is None),
            other_formats=tuple(
                (item.key, item.other_format) for item in left_out if item.other_format is not None
            ),
            missing=missing,
        )
        if foreign := reading.seen - len(items) - len(left_out) - len(invalid):
            self._say_not_asked_for(study_id, foreign, filters)
        self._say_what_is_left_out(study_id, listing, reading.total)
        return listing

    def _say_not_asked_for(self, study_id: int, foreign: int, filters: Filters) -> None:
        dropped = ""
        if filters.as_parameters():
            dropped = "; the filters were not obeyed"
            if self._settings.dialect == "datasetexportfiles":
                dropped += f". {_BODY_HINT}"
        self._say_once(
            f"not asked for {study_id}",
            f"study {study_id}: left out {foreign} listed files that were not asked for{dropped}",
        )

    def _say_what_is_left_out(self, study_id: int, listing: StudyListing, total: int) -> None:
        if listing.missing:
            _log.warning(
                "study %d: CentrePoint counts %d items and did not list %d of them; what it listed "
                "is used, and nothing is taken for withdrawn",
                study_id,
                total,
                listing.missing,
            )
        if formats := sorted({name for _, name in listing.other_formats}):
            self._say_once(
                f"formats {study_id} {formats}",
                f"study {study_id}: left out {len(listing.other_formats)} listed files that are no "
                f"CSV ({', '.join(formats)})",
            )

    def _say_once(self, occasion: str, words: str) -> None:
        if occasion not in self._said:
            self._said.add(occasion)
            _log.warning("%s", words)

    def _page(self, study_id: int, filters: Filters, offset: int, limit: int) -> Page:
        response = self._request(study_id, filters, offset, limit)
        try:
            return _read_page(json_of(response))
        except (ValueError, KeyError, TypeError, OverflowError):
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
            refusal = _refusal(response, study_id)
            if response.request.body and response.status_code in _REFUSED_BODIES:
                raise _with_hint(refusal)
            raise refusal
        return response

    def _send(
        self, study_id: int, filters: Filters, offset: int, limit: int, bearer: Bearer
    ) -> requests.Response:
        dialect = self._settings.dialect
        parameters: dict[str, int | str] = {"limit": limit, "offset": offset}
        options: dict[str, Any] = {"params": parameters}
        narrowed = filters.as_parameters()
        if dialect == "datasetfiles":
            parameters.update(narrowed)
        elif narrowed:
            # Without filters there is no body, which a proxy could refuse.
            options["json"] = narrowed
        try:
            return self._transport.send(
                "GET",
                f"{self._settings.api_url}/studies/{study_id}/{dialect}",
                purpose=f"listing the export files of study {study_id}",
                setting="CP_API_URL",
                auth=bearer,
                **options,
            )
        except ServiceUnavailable as error:
            if "json" not in options:
                raise
            raise _with_hint(error) from None


def _read_page(answer: Any) -> Page:  # noqa: ANN401  (JSON is anything)
    """Read a page's JSON.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: it is not what docs/api.md has under "A
        page".
    """
    items, total, limit = answer["items"], int(answer["totalCount"]), answer.get("limit")
    if not isinstance(items, list) or total < 0:
        raise ValueError("no list of items, or fewer than none of them")
    is_usable = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
    return Page([read_item(raw) for raw in items], total, limit if is_usable else None)


def _with_hint(error: ServiceError) -> ServiceError:
    """The same error for a request that had a body, which may have been the reason."""
    return type(error)(error.what, f"{error.remedy} {_BODY_HINT}")


def _refusal(response: requests.Response, study_id: int) -> ServiceError:
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
