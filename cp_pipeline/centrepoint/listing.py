"""List a study's export files, page by page (docs/api.md, "A page").

Belongs here: both dialects' requests, and reading again until the listing is complete.
Does not belong: which dialect (``dialects``), what an item means (``items``), when a reading is
complete (``readings``), downloading files (``downloads``).
"""

import logging
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import requests

from cp_pipeline.centrepoint.api import PAGE_SIZE, Api, Page, read_page
from cp_pipeline.centrepoint.dialects import (
    BODY_HINT,
    CURRENT,
    REMEDY,
    SEED,
    UNKNOWN_DIALECT,
    DialectChoice,
    refusal_of_dialects,
    with_body_hint,
)
from cp_pipeline.centrepoint.errors import ServiceUnavailable
from cp_pipeline.centrepoint.items import Filters, read_item
from cp_pipeline.centrepoint.pages import pages_in_order
from cp_pipeline.centrepoint.readings import ListingPart, ListingPosition, Reading
from cp_pipeline.domain.exports import StudyListing
from cp_pipeline.settings import Dialect

# The most pages in a row without a new item; a service that filters after paging, or that counts
# wrongly, sends such pages.
MOST_BARREN_PAGES = 1_000
_PASSES = 5
_log = logging.getLogger(__name__)

# Called with the number of items read so far, and the number that the service counts.
Progress = Callable[[int, int], None]


def no_progress(_read: int, _total: int) -> None:
    """Show no progress."""


class Listing:
    """Lists export files through the API."""

    def __init__(self, api: Api, dialects: DialectChoice) -> None:
        self._api = api
        self._dialects = dialects
        # Warnings already logged: each is logged once, although studies are listed repeatedly.
        self._said: set[str] = set()

    def export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
        progress: Progress = no_progress,
    ) -> StudyListing:
        """List the export files of a study that match the filters; see ``in_parts``."""
        *_, end = self.in_parts(study_id, filters, progress)
        return end.listing

    def in_parts(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
        progress: Progress = no_progress,
        *,
        part_items: int = sys.maxsize,
        resumed: ListingPosition | None = None,
    ) -> Generator[ListingPart, None, None]:
        """List the export files of a study that match the filters, a part at a time.

        The listing may change while its pages are read. It is accepted when the number of different
        items equals the service's count, or when two readings in a row agree.

        A long listing need not be in memory at once. Each part has about ``part_items`` items. The
        last part ``is_end``: then the listing is accepted. If it is not accepted, it is read again,
        and the parts of the earlier reading were of a listing that changed, or was incomplete.

        Args:
            study_id: the study.
            filters: what to list.
            progress: called after each page.
            part_items: the number of items after which a part ends.
            resumed: where to go on with a reading that was interrupted.

        Raises:
            ServiceError: the listing failed; the subclass says why.
        """
        previous: Reading | None = None
        position = resumed or ListingPosition(Reading(), 0)
        for _ in range(_PASSES):
            reading = position.reading
            for offset in self._read_pages(study_id, filters, position, progress):
                if reading.item_count >= part_items and offset < reading.total:
                    listing = self._what_was_asked(reading, 0, study_id, filters)
                    yield ListingPart(listing, ListingPosition(reading, offset), is_end=False)
                    reading.forget_items()
            agrees = not reading.is_whole and reading.agrees_with(previous)
            missing = reading.missing(previous) if previous and agrees else 0
            listing = self._what_was_asked(reading, missing, study_id, filters)
            if reading.is_whole or agrees:
                yield ListingPart(listing, ListingPosition(reading, reading.total), is_end=True)
                return
            # The service may send fewer items per page than requested: then continue after the last
            # item of each page.
            by_items = reading.by_items or reading.is_short
            _log.info("reading the listing of study %d again: it changed, or is short", study_id)
            previous, position = reading, ListingPosition(Reading(by_items), 0)
        raise ServiceUnavailable(
            f"The listing of study {study_id} changed during each of {_PASSES} readings.",
            "CentrePoint is probably executing programs; try again later.",
        )

    def count(self, study_id: int) -> int:
        """Return the number of export files of the study, by listing a single one."""
        return self._page(study_id, Filters(), offset=0, limit=1).total

    def _read_pages(
        self, study_id: int, filters: Filters, position: ListingPosition, progress: Progress
    ) -> Iterator[int]:
        """Add pages to a reading, until a long row of them has no new item; yield each offset."""
        reading, barren = position.reading, 0
        request = partial(self._page, study_id, filters, limit=PAGE_SIZE)
        pages = pages_in_order(request, position.offset, by_items=reading.by_items)
        with closing(pages):
            for page, offset in pages:
                barren = 0 if reading.add(page) else barren + 1
                progress(min(offset, page.total), page.total)
                yield offset
                if barren == MOST_BARREN_PAGES:
                    return

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
        if foreign := reading.item_count - len(items) - len(left_out) - len(invalid):
            self._say_not_asked_for(study_id, foreign, filters)
        self._say_what_is_left_out(study_id, listing, reading.total)
        return listing

    def _say_not_asked_for(self, study_id: int, foreign: int, filters: Filters) -> None:
        dropped = ""
        if filters.as_parameters():
            dropped = "; the service ignored the filters"
            if self._dialects.answered == SEED:
                dropped += f". {BODY_HINT}"
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
        """Request one page, in each dialect that the service may speak until one is answered."""
        purpose = f"listing the export files of study {study_id}"
        refused: dict[Dialect, requests.Response] = {}
        for dialect in self._dialects.to_ask():
            response = self._ask(dialect, study_id, filters, purpose, limit=limit, offset=offset)
            if response.status_code == requests.codes.ok:
                page = read_page(response, purpose, REMEDY)
                if SEED in refused:
                    self._say_a_proxy_refused(refused[SEED], study_id, purpose)
                self._dialects.keep(dialect)
                return replace(page, items=[read_item(raw) for raw in page.items])
            refused[dialect] = response
            if response.status_code not in UNKNOWN_DIALECT:
                break
        raise refusal_of_dialects(refused, study_id, purpose)

    def _say_a_proxy_refused(
        self, response: requests.Response, study_id: int, purpose: str
    ) -> None:
        """Name a proxy, if the seed's dialect is refused only to a request with a body."""
        # The usual answer of a service that does not know the dialect is 404.
        if not response.request.body or response.status_code == requests.codes.not_found:
            return
        without = self._ask(SEED, study_id, Filters(), purpose, limit=1, offset=0)
        if without.status_code == requests.codes.ok:
            self._say_once(
                "a proxy refuses bodies",
                f"a proxy in front of CentrePoint refuses a GET request with a body (HTTP "
                f"{response.status_code}); asking in the dialect {CURRENT}, which needs none. To "
                f"ask so from the start, set CP_EXPORT_DIALECT={CURRENT}.",
            )

    def _ask(
        self, dialect: Dialect, study_id: int, filters: Filters, purpose: str, **paging: int
    ) -> requests.Response:
        narrowed, path = filters.as_parameters(), f"studies/{study_id}/{dialect}"
        if dialect == CURRENT or not narrowed:
            # Send no body without filters: a proxy could refuse it.
            return self._api.get(path, purpose, {**paging, **narrowed})
        try:
            return self._api.get(path, purpose, paging, body=narrowed)
        except ServiceUnavailable as error:
            raise with_body_hint(error) from None
