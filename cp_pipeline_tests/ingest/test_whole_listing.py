"""A long listing is recorded in parts, goes on after a kill, and says what a short one says.

So is a look at many subjects.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.ingest import LookPosition, Pipeline, Request, Survey
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse
from cp_pipeline.warehouse.lineage import record_erasures
from cp_pipeline_tests.centrepoint.clients import STUDY, small_study
from cp_pipeline_tests.conftest import one, open_pipeline, rows
from cp_pipeline_tests.executions import execute_before_writing
from cp_pipeline_tests.faults import FaultySandbox

NUMBER = 450
WRITTEN = (
    "SELECT study_id, subject_id, dataset_name, study_program_id, program_execution, file_name"
)


@pytest.fixture(params=[10_000, 100], ids=["in memory", "in parts"])
def part_items(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("cp_pipeline.ingest.whole_listing.PART_ITEMS", request.param)
    return int(request.param)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySandbox]:
    with FaultySandbox(small_study(NUMBER), requests_per_minute=100_000) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CP_DATA_DIR", str(tmp_path / "data"))
        yield sandbox


def load(pipeline: Pipeline, survey: Survey) -> int:
    """Load what a survey plans, and what follows; the number of partitions."""
    with pipeline.execute(survey) as results:
        number = len(list(results))
    return number + sum(load(pipeline, pipeline.survey(each)) for each in survey.further)


def listed_pages(service: FaultySandbox) -> int:
    pages = sum(record.kind == "listing" for record in service.requests)
    service.forget_requests()
    return pages


@pytest.mark.both_engines
@pytest.mark.usefixtures("part_items")
def test_the_numbers_and_the_loads_are_those_of_a_listing_in_memory(service: FaultySandbox) -> None:
    execute_before_writing(service.study, 3)
    pipeline = open_pipeline()
    survey = pipeline.survey()
    assert survey.changed
    assert survey.numbers == (NUMBER, NUMBER, NUMBER - 1, NUMBER - 1, 1)
    assert load(pipeline, survey) == NUMBER - 1
    assert one("SELECT count(*) FROM lineage.current_loads") == NUMBER - 1
    again = open_pipeline().survey()
    assert (again.changed, again.has_something_to_load) == (False, False)
    assert again.numbers == (NUMBER, NUMBER, 0, 0, 1)
    assert rows("SELECT study_id, items, missing FROM lineage.listings") == [(STUDY, NUMBER, 0)]
    assert one("SELECT count(*) FROM lineage.listing_parts") == 0
    service.study.execute_again(subject_id=9)
    other = open_pipeline().survey()
    assert other.changed
    assert other.numbers == (NUMBER, NUMBER, 1, 1, 1)


@pytest.mark.usefixtures("part_items")
def test_what_two_whole_listings_lack_is_withdrawn_and_an_invalid_item_is_named_until_it_is_mended(
    service: FaultySandbox,
) -> None:
    pipeline = open_pipeline()
    load(pipeline, pipeline.survey(Request.of([1, 2, 449])))
    pipeline.survey()
    service.study.withdraw(subject_id=2, data_set_name="Steps")
    service.rewrite_page = lambda page: {
        **page,
        "items": [
            {**item, "fileUrl": None} if item["subjectId"] == 449 else item
            for item in page["items"]
        ],
    }
    gone = "SELECT count(*) FROM lineage.export_files WHERE subject_id = 2"
    survey = open_pipeline().survey()
    assert [item.subject_id for item in survey.invalid] == [449]
    assert one(gone + " AND unlisted_since IS NOT NULL") == 1
    open_pipeline().survey()
    assert one(gone) == 0
    # An invalid item keeps its earlier row, and is said once.
    assert one("SELECT count(*) FROM lineage.export_files WHERE subject_id = 449") == 1
    assert one("SELECT count(*) FROM lineage.failures") == 1
    service.rewrite_page = None
    assert not open_pipeline().survey().invalid
    assert one("SELECT count(*) FROM lineage.unusable_items") == 0


def test_a_listing_that_was_interrupted_goes_on_where_its_last_part_ended(
    service: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.whole_listing.PART_ITEMS", 200)
    service.rewrite_page = lambda page: page if page["offset"] < 300 else {"items": None}
    with pytest.raises(ServiceError):
        open_pipeline().survey()
    assert one("SELECT count(*) FROM lineage.export_files") == 200
    service.rewrite_page = None
    listed_pages(service)
    survey = open_pipeline().survey()
    # The third page was read, but not recorded.
    assert listed_pages(service) == 3
    assert survey.numbers.exports_to_load == NUMBER
    assert one("SELECT items FROM lineage.listings") == NUMBER
    assert one("SELECT max(unlisted_since) FROM lineage.export_files") is None


@pytest.mark.parametrize("change", ["listing", "hours", "erased warehouse"])
def test_a_listing_that_changed_or_is_old_or_lost_is_read_from_its_beginning(
    service: FaultySandbox, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.whole_listing.PART_ITEMS", 200)
    service.rewrite_page = lambda page: page if page["offset"] < 300 else {"items": None}
    with pytest.raises(ServiceError):
        open_pipeline().survey()
    service.rewrite_page = None
    listed_pages(service)
    number = NUMBER
    if change == "listing":
        small_study(1, service.study)
        service.study.put(subject_id=9000, data_set_name="Steps", csv=b"STEPS\n1\n")
        number += 1
    elif change == "hours":
        monkeypatch.setattr(
            "cp_pipeline.warehouse.listing_parts.TAKEN_UP_WITHIN", timedelta(seconds=-1)
        )
    else:
        Path(StorageSettings.from_environment().warehouse).unlink()
    survey = open_pipeline().survey()
    assert listed_pages(service) == (3 + 5 if change == "listing" else 5)
    assert one("SELECT max(items) FROM lineage.listings") == number
    assert one("SELECT count(*) FROM lineage.export_files") == number
    assert survey.numbers.exports_to_load == number


def test_a_listing_that_shrinks_while_it_is_read_marks_nothing_that_is_still_listed(
    service: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.whole_listing.PART_ITEMS", 100)
    open_pipeline().survey()
    pages = iter(range(100))

    def withdraw_at_the_third(page: dict[str, object]) -> dict[str, object]:
        if next(pages) == 2:
            service.study.withdraw(subject_id=1, data_set_name="Steps")
        return page

    service.rewrite_page = withdraw_at_the_third
    open_pipeline().survey()
    unlisted = "SELECT subject_id FROM lineage.export_files WHERE unlisted_since IS NOT NULL"
    assert rows(unlisted) == [(1,)]
    assert one("SELECT max(items) FROM lineage.listings") == NUMBER


def test_erased_subjects_are_not_recorded_from_a_long_listing(
    service: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.whole_listing.PART_ITEMS", 100)
    storage = StorageSettings.from_environment()
    storage.data_dir.mkdir(parents=True)
    with Warehouse.of(storage) as warehouse:
        record_erasures(warehouse, {7: datetime.now(UTC)})
    survey = open_pipeline().survey()
    assert survey.numbers.exports == NUMBER - 1
    assert one("SELECT count(*) FROM lineage.export_files WHERE subject_id = 7") == 0
    for each in survey.further:
        assert 7 not in (each.subject_ids or {7})


@pytest.mark.parametrize("at_once", [10_000, 1], ids=["at once", "page by page"])
def test_a_look_at_many_subjects_says_the_same_however_many_are_recorded_at_once(
    service: FaultySandbox, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.look._EXECUTIONS_AT_ONCE", at_once)
    now = datetime.now(UTC)
    looks = []
    for later in range(3):
        if later == 2:
            service.study.execute_again(subject_id=9)
            service.study.execute_again(subject_id=NUMBER)
        seen = open_pipeline().look(
            LookPosition(), 60.0, uploads=False, now=now + timedelta(minutes=later)
        )
        looks.append((seen.look.pages, seen.look.subjects, seen.look.different))
    assert looks == [(5, NUMBER, NUMBER), (5, NUMBER, 0), (5, NUMBER, 2)]
    assert one("SELECT count(*) FROM study.executions") == NUMBER
    ended = "SELECT subject_id FROM study.executions_history WHERE valid_to IS NOT NULL ORDER BY 1"
    assert rows(ended) == [(9,), (NUMBER,)]
    assert one("SELECT count(*) FROM study.executions_history") == NUMBER + 2
