"""The pages of a long listing are requested a few at a time, and read in their order."""

import threading
import time
from dataclasses import replace
from itertools import chain

import pytest

from cp_pipeline.centrepoint import Filters, ListingPosition, ServiceUnavailable
from cp_pipeline.centrepoint.api import Page
from cp_pipeline.centrepoint.pages import REQUESTS_AT_ONCE, pages_in_order
from cp_pipeline_tests.centrepoint.clients import STUDY, asked, connect, small_study
from cp_pipeline_tests.faults import FaultySandbox


class Counted:
    """Answers pages without items, and counts the requests that are on their way at once."""

    def __init__(self, totals: list[int], limit: int | None = 100) -> None:
        self.totals, self.limit = totals, limit
        self.offsets: list[int] = []
        self.most = self.now = 0
        self._lock = threading.Lock()

    def __call__(self, offset: int) -> Page:
        with self._lock:
            self.offsets.append(offset)
            self.now += 1
            self.most = max(self.most, self.now)
            total = self.totals[min(len(self.offsets), len(self.totals)) - 1]
        time.sleep(0.002)
        with self._lock:
            self.now -= 1
        return Page([], total, self.limit)


@pytest.mark.parametrize(
    ("total", "limit", "pages"),
    [(0, 100, 1), (100, 100, 1), (101, 100, 2), (2_100, 100, 21), (9_999, None, 100), (600, 7, 86)],
)
def test_every_offset_is_requested_once_and_yielded_in_order(
    total: int, limit: int | None, pages: int
) -> None:
    service = Counted([total], limit)
    offsets = [offset for _, offset in pages_in_order(service)]
    step = limit or 100
    assert offsets == [step * number for number in range(1, pages + 1)]
    assert sorted(service.offsets) == [step * number for number in range(pages)]
    assert service.most == (1 if pages <= 21 else REQUESTS_AT_ONCE)


def test_what_a_listing_grows_by_meanwhile_is_requested_too() -> None:
    service = Counted([3_000] * 20 + [3_250])
    assert [offset for _, offset in pages_in_order(service)][-1] == 3_300


def test_a_reader_that_stops_early_leaves_no_requests_behind() -> None:
    service = Counted([1_000_000])
    pages = pages_in_order(service)
    for _ in range(30):
        next(pages)
    pages.close()
    asked = len(service.offsets)
    assert asked <= 30 + 2 * REQUESTS_AT_ONCE
    time.sleep(0.02)
    assert len(service.offsets) == asked


def test_a_long_listing_equals_the_same_listing_read_page_by_page() -> None:
    with FaultySandbox(small_study(2_600), requests_per_minute=100_000) as sandbox:
        read: list[tuple[int, int]] = []
        centrepoint = connect(sandbox)
        listed = centrepoint.list_export_files(
            STUDY, progress=lambda *numbers: read.append(numbers)
        ).items
        assert [item.subject_id for item in listed] == [
            item.subject_id for item in sandbox.study.export_files
        ]
        assert read == [(min(100 * number, 2_600), 2_600) for number in range(1, 27)]
        assert len(centrepoint.list_export_files(STUDY, Filters(250)).items) == 1


@pytest.mark.usefixtures("no_backoff")
def test_a_page_that_fails_ends_a_long_listing_with_its_error() -> None:
    with FaultySandbox(small_study(2_600), requests_per_minute=100_000) as sandbox:
        centrepoint = connect(sandbox)
        sandbox.rewrite_page = lambda page: page if page["offset"] < 2_200 else {"items": None}
        with pytest.raises(Exception, match="differs from the API's contract") as failure:
            centrepoint.list_export_files(STUDY)
        assert not isinstance(failure.value, ServiceUnavailable)


def test_a_listing_in_parts_has_each_item_once_and_can_be_taken_up_again() -> None:
    with FaultySandbox(small_study(750), requests_per_minute=100_000) as sandbox:
        centrepoint = connect(sandbox)
        parts, numbers = centrepoint.list_in_parts(STUDY, part_items=300), []
        for part in parts:
            numbers.append([item.subject_id for item in part.listing.items])
            if len(numbers) == 2:
                kept = part.position
                reading = replace(kept.reading, seen={**kept.reading.seen}, files={})
                halfway = ListingPosition(reading, kept.offset)
        assert [len(each) for each in numbers] == [300, 300, 150]
        assert part.is_end
        assert sorted(chain.from_iterable(numbers)) == list(range(1, 751))
        before = len(asked(sandbox, "listing"))
        (end,) = centrepoint.list_in_parts(STUDY, part_items=300, resumed=halfway)
        assert len(asked(sandbox, "listing")) - before == 2
        assert (end.is_end, end.listing.missing, len(end.listing.items)) == (True, 0, 150)
        assert len(end.position.reading.seen) == 750


def test_a_listing_that_changed_before_it_is_taken_up_again_is_read_anew() -> None:
    study = small_study(750)
    with FaultySandbox(study, requests_per_minute=100_000) as sandbox:
        centrepoint = connect(sandbox)
        first = next(centrepoint.list_in_parts(STUDY, part_items=300))
        small_study(760, study)
        *_, end = centrepoint.list_in_parts(STUDY, part_items=300, resumed=first.position)
        assert len(end.position.reading.seen) == len(sandbox.study.export_files)
