"""The pages of a long listing are requested a few at a time, and read in their order."""

import threading
import time

import pytest

from cp_pipeline.centrepoint import Filters, ServiceUnavailable
from cp_pipeline.centrepoint.pages import REQUESTS_AT_ONCE, pages_in_order
from cp_pipeline.centrepoint.readings import Page
from cp_pipeline_tests.centrepoint.clients import STUDY, connect, small_study
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
