"""List a study's export files, page by page (docs/api.md, "A page").

Belongs here: both dialects, paging, and reading again until the listing is complete.
Does not belong: what an item means (``items``), when a reading is complete (``readings``),
downloading files (``downloads``).
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
# The most pages in a row without a new item; a service that filters after paging, or that counts
# wrongly, sends such pages.
MOST_BARREN_PAGES = 1_000
_PASSES = 5
_BODY_HINT = (
    "A proxy may refuse a GET request with a body, or remove the body: "
    "CP_EXPORT_DIALECT=datasetfiles sends no body."
)
# Answers of such a proxy; it may also close the connection.
_REFUSED_BODIES = frozenset({400, 403, 405, 406, 411, 413, 415, 422, 501, 502})
_log = logging.getLogger(__name__)


class Listing:
    """Lists export files through the API."""

    def __init__(
        self, settings: CentrePointSettings, transport: Transport, tokens: TokenSource
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._tokens = tokens
        # Warnings already logged: each is logged once, although studies are listed repeatedly.
        self._said: set[str] = set()

    def export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
    ) -> StudyListing:
        """List the export files of a study that match the filters.

        The listing may change while its pages are read. It is accepted when the number of different
        items equals the service's count, or when two readings in a row agree.

        Raises:
            ServiceError: the listing failed; the subclass says why.
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
                # The service may send fewer items per page than requested: continue after the last
                # item of each page.
                by_items = True
            _log.info("reading the listing of study %d again: it changed, or is short", study_id)
            previous = reading
        raise ServiceUnavailable(
            f"The listing of study {study_id} changed during each of {_PASSES} readings.",
            "CentrePoint is probably executing programs; try again later.",
        )

    def count(self, study_id: int) -> int:
        """Return the number of export files of the study, by listing a single one."""
        return self._page(study_id, Filters(), offset=0, limit=1).total

    def _read_all_pages(self, study_id: int, filters: Filters, *, by_items: bool) -> Reading:
        """Read pages until the offset reaches the service's count.

        A short or empty page does not end the listing: a service may filter after paging.

        Args:
            study_id: the study.
            filters: the filters of the listing.
            by_items: continue after the last item received, not after the size of a full page.
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
        """Drop the items that do not match the filters; log warnings; return the listing."""
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
            dropped = "; the service ignored the filters"
            if self._settings.dialect == "datasetexportfiles":
                dropped += f". {_BODY_HINT}"
        self._say_once(
            f"not asked for {study_id}",
            f"study {study_id}: left out {foreign} listed files that were not requested{dropped}",
        )

    def _say_what_is_left_out(self, study_id: int, listing: StudyListing, total: int) -> None:
        if listing.missing:
            _log.warning(
                "study %d: CentrePoint counts %d items but did not list %d of them; the listed "
                "items are used, and no export is marked as withdrawn",
                study_id,
                total,
                listing.missing,
            )
        if formats := sorted({name for _, name in listing.other_formats}):
            self._say_once(
                f"formats {study_id} {formats}",
                f"study {study_id}: left out {len(listing.other_formats)} listed files that are "
                f"not CSV ({', '.join(formats)})",
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
            f"The listing of study {study_id} differs from the API's contract: {beginning}.",
            "Check CP_API_URL and CP_EXPORT_DIALECT.",
        )

    def _request(
        self, study_id: int, filters: Filters, offset: int, limit: int
    ) -> requests.Response:
        """Request one page; replace an expired token once."""
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
            # Send no body without filters: a proxy could refuse it.
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
        ValueError, KeyError, TypeError, OverflowError: it differs from docs/api.md, "A page".
    """
    items, total, limit = answer["items"], int(answer["totalCount"]), answer.get("limit")
    if not isinstance(items, list) or total < 0:
        raise ValueError("no list of items, or a negative count")
    is_usable = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
    return Page([read_item(raw) for raw in items], total, limit if is_usable else None)


def _with_hint(error: ServiceError) -> ServiceError:
    """Return the same error with a hint: the request had a body, which may be the cause."""
    return type(error)(error.what, f"{error.remedy} {_BODY_HINT}")


def _refusal(response: requests.Response, study_id: int) -> ServiceError:
    status = response.status_code
    if status == requests.codes.unauthorized:
        return TokenRefused(
            f"The API refused a new access token while listing study {study_id}.",
            "Check that CP_API_URL and CP_TOKEN_URL belong together.",
        )
    if status == requests.codes.forbidden:
        return StudyRefused(
            f"This client has no access to study {study_id} ({describe(response)}).",
            "Check CP_STUDY_ID, or ask ActiGraph to give the client in CP_CLIENT_ID access to it.",
        )
    if status == requests.codes.not_found:
        return StudyRefused(
            f"The API has no study {study_id} ({describe(response)}).",
            "Check CP_STUDY_ID, CP_API_URL and CP_EXPORT_DIALECT.",
        )
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        return ServiceUnavailable(
            f"CentrePoint failed to list study {study_id}: {describe(response)}.",
            "Try again later.",
        )
    return AnswerNotUnderstood(
        f"CentrePoint refused to list study {study_id}: {describe(response)}.",
        "Check CP_API_URL and CP_EXPORT_DIALECT.",
    )
