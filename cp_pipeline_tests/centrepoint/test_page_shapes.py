"""The client handles empty, short, capped and wrongly counted pages (docs/api.md, "A page")."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from cp_pipeline.centrepoint import CentrePoint, Filters
from cp_pipeline.centrepoint.pages import REQUESTS_AT_ONCE
from cp_pipeline.domain.exports import StudyListing
from cp_pipeline_tests.centrepoint.clients import STUDY, asked, connect, small_study
from cp_pipeline_tests.centrepoint.scripted import Asked, Said, Scripted, page_of
from cp_pipeline_tests.centrepoint.test_items import EXECUTION, ITEM
from cp_pipeline_tests.faults import FaultySandbox

Page = dict[str, Any]


def subjects(listing: StudyListing) -> list[int]:
    return sorted(item.subject_id for item in listing.items)


def listed(rewrite: Callable[[Page], Page], files: int = 450) -> tuple[StudyListing, int]:
    """Return the listing of a study with changed pages, and the number of requests."""
    with FaultySandbox(small_study(files)) as sandbox:
        sandbox.rewrite_page = rewrite
        return connect(sandbox).list_export_files(STUDY), len(asked(sandbox, "listing"))


def without(numbers: set[int], **changes: Any) -> Callable[[Page], Page]:
    """Make the service remove some subjects from each page, after paging."""
    return lambda page: {
        **page,
        "items": [each for each in page["items"] if each["subjectId"] not in numbers],
        **changes,
    }


@pytest.mark.parametrize(
    "hidden",
    [
        set(range(1, 101)),
        set(range(101, 201)),
        set(range(101, 401)),
        set(range(401, 451)),
        {1, 150, 250, 251, 450},
        set(range(1, 451)),
    ],
    ids=["first page", "a page", "three pages", "last page", "some of each", "all"],
)
@pytest.mark.parametrize("changes", [{}, {"limit": None}, {"limit": "100"}, {"limit": 0}], ids=str)
def test_a_listing_goes_on_through_empty_and_short_pages_and_says_how_many_are_missing(
    hidden: set[int], changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    listing, requests = listed(without(hidden, **changes))
    assert subjects(listing) == sorted(set(range(1, 451)) - hidden)
    assert listing.missing == len(hidden)
    assert f"counts 450 items but did not list {len(hidden)} of them" in caplog.text
    assert requests <= 12


@pytest.mark.parametrize("cap", [1, 7, 40, 99])
@pytest.mark.parametrize("says_so", [True, False])
def test_a_service_that_caps_its_pages_is_read_to_the_end(cap: int, says_so: bool) -> None:
    def capped(page: Page) -> Page:
        limit = min(cap, page["limit"]) if says_so else page["limit"]
        return {**page, "items": page["items"][:cap], "limit": limit}

    listing, _ = listed(capped, files=130)
    assert (subjects(listing), listing.missing) == (list(range(1, 131)), 0)


def test_a_cap_that_hangs_on_what_came_before_is_read_to_the_end() -> None:
    def by_bytes(page: Page) -> Page:
        return {**page, "items": page["items"][: 30 + page["offset"] % 41]}

    listing, _ = listed(by_bytes, files=330)
    assert (subjects(listing), listing.missing) == (list(range(1, 331)), 0)


def test_an_item_listed_twice_hides_none_and_makes_none_missing() -> None:
    def twice(page: Page) -> Page:
        again = page["items"][:1] if page["offset"] == 0 else page["items"][99:]
        return {**page, "items": page["items"][:99] + again}

    # Subject 100 is not listed; subject 1 is listed twice.
    listing, _ = listed(twice, files=150)
    assert listing.missing == 0
    assert len(listing.items) == 149


def test_pages_that_overlap_make_no_listing_complete() -> None:
    """With paging by items, the number received equals the count, but 50 items are missing."""
    study = small_study(150)
    filtered = without(set(range(51, 101)))
    pages = iter(range(100))

    def changing(page: Page) -> Page:
        # On the second page of the first reading, so that the two equal readings come later.
        if next(pages) == 1:
            study.execute_again(1)
        return filtered(page)

    with FaultySandbox(study) as sandbox:
        sandbox.rewrite_page = changing
        listing = connect(sandbox).list_export_files(STUDY)
    assert (len(listing.items), listing.missing) == (100, 50)


@pytest.mark.parametrize("counted", [3, 1_000, 10**9])
def test_a_count_that_is_too_high_ends_and_says_so(
    counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.listing.MOST_BARREN_PAGES", 20)
    listing, requests = listed(lambda page: {**page, "totalCount": counted}, files=2)
    assert (subjects(listing), listing.missing) == ([1, 2], counted - 2)
    # A few more were on their way.
    assert requests <= 2 * (22 + REQUESTS_AT_ONCE)


def test_a_service_that_ignores_the_offset_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.listing.MOST_BARREN_PAGES", 20)
    one = page_of(ITEM, total=10**6)
    with Scripted(lambda asked: one) as service:
        listing = CentrePoint(service.settings).list_export_files(STUDY)
        assert len(service.asked) <= 2 * (22 + REQUESTS_AT_ONCE) + 1
    assert (len(listing.items), listing.missing) == (1, 10**6 - 1)


def test_a_count_that_changes_and_then_stands_still_is_the_one_that_holds() -> None:
    pages = iter([5, 6])

    def changing(page: Page) -> Page:
        return {**page, "totalCount": next(pages, 6)}

    with pytest.MonkeyPatch.context() as small:
        small.setattr("cp_pipeline.centrepoint.listing.PAGE_SIZE", 3)
        listing, _ = listed(changing, files=6)
    assert (subjects(listing), listing.missing) == ([1, 2, 3, 4, 5, 6], 0)


def test_a_short_listing_with_filters_counts_what_was_asked_for() -> None:
    with FaultySandbox(small_study(20)) as sandbox:
        sandbox.rewrite_page = without({7})
        listing = connect(sandbox).list_export_files(STUDY, Filters(7))
        assert (listing.items, listing.missing) == ((), 1)


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(0, 24),
    hidden=st.sets(st.integers(0, 23)),
    cap=st.integers(1, 6),
    limit=st.sampled_from([5, None, 0, -3, "5", 2.5, True, 10**30]),
)
def test_whatever_its_pages_are_like_all_that_a_service_lists_is_seen(
    total: int, hidden: set[int], cap: int, limit: object
) -> None:
    """Pages of 5 from which the service removes some items, or shorter pages with all items."""
    hidden = {each for each in hidden if each < total} if cap >= 5 else set()
    items = [{**ITEM, "subjectId": number} for number in range(total)]

    def answer(asked: Asked) -> Said:
        offset, size = int(asked.query["offset"][0]), int(asked.query["limit"][0])
        window = items[offset : offset + min(size, cap)]
        shown = [each for each in window if each["subjectId"] not in hidden]
        said = page_of(*shown, total=total)
        body = said.body.replace(b'"limit": 100', f'"limit": {json.dumps(limit)}'.encode())
        return Said(body=body)

    with pytest.MonkeyPatch.context() as small, Scripted(answer) as service:
        small.setattr("cp_pipeline.centrepoint.listing.PAGE_SIZE", 5)
        listing = CentrePoint(service.settings).list_export_files(STUDY)
    assert subjects(listing) == [number for number in range(total) if number not in hidden]
    assert listing.missing == len(hidden)


def test_items_of_other_formats_and_of_programs_that_never_ran_count_as_listed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kinds: list[dict[str, Any]] = [{}, {"fileFormat": "avro"}, {EXECUTION: None}]
    items = [
        {**ITEM, "subjectId": number, "dataSetName": name, **kind}
        for number in range(40)
        for name, kind in zip("ABC", kinds, strict=True)
    ]

    def answer(asked: Asked) -> Said:
        offset = int(asked.query["offset"][0])
        return page_of(*items[offset : offset + 100], total=len(items))

    with Scripted(answer) as service:
        listing = CentrePoint(service.settings).list_export_files(STUDY)
        assert len(service.asked) == 1 + 2
    assert (len(listing.items), len(listing.never_executed), len(listing.other_formats)) == (
        40, 40, 40,
    )  # fmt: skip
    assert listing.missing == 0
    assert caplog.text.count("left out 40 listed files that are not CSV (avro)") == 1


def test_an_export_that_is_listed_as_csv_and_as_something_else_is_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def both(page: Page) -> Page:
        others = [{**each, "fileFormat": "AVRO"} for each in page["items"]]
        return {**page, "items": page["items"] + others, "totalCount": 2 * page["totalCount"]}

    listing, _ = listed(both, files=5)
    assert subjects(listing) == [1, 2, 3, 4, 5]
    assert [name for _, name in listing.other_formats] == ["avro"] * 5
    assert {key for key, _ in listing.other_formats} == {item.key for item in listing.items}
    assert (listing.missing, listing.invalid) == (0, ())
    assert caplog.text.count("not CSV (avro)") == 1
