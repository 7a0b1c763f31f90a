"""The version of a load: execution, modification time and file name (docs/api.md)."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cp_pipeline.domain.exports import Instant, StudyListing, Version
from cp_pipeline.ingest import PartitionLoaded, Pipeline, Question, Reason
from cp_pipeline.ingest.plan import PENDING_AT_MOST
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Scope, Warehouse, record_listing
from cp_pipeline_tests.conftest import files_fetched, one, open_pipeline, rows, sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import changing

FIRST = "2024-02-28T10:05:08.1000000+00:00"
SECOND = "2024-02-29T10:05:08.5899754+00:00"
BEFORE = "2024-02-28T10:09:20.1000000+00:00"
AFTER = "2024-02-29T10:09:20.5899754+00:00"
LATER = "2024-03-01T10:09:20.5899754+00:00"


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, value in site.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CP_DATA_DIR", str(site.storage.data_dir))
    return site


def listed(here: Site, number: int, execution: str, modified: str, name: str = "") -> None:
    """List subject 1's export with these values, and this number as its only row."""
    here.sandbox.study.put(
        subject_id=1,
        data_set_name=DATASET,
        csv=f"N\n{number}\n".encode(),
        execution=execution,
        modified=modified,
        file_name=name or "1_file.csv.gz",
    )


def current() -> list[tuple[object, ...]]:
    """Return the current rows with their recorded execution."""
    return rows(f'SELECT N, _program_execution FROM exports."{DATASET}"')


def state() -> object:
    return one("SELECT state FROM lineage.partition_status")


def reasons() -> list[object]:
    return [reason for (reason,) in rows("SELECT reason FROM lineage.loads ORDER BY load_id")]


# Pending ------------------------------------------------------------------------------------------


def test_the_old_file_is_not_loaded_under_the_new_execution(here: Site) -> None:
    listed(here, 1, FIRST, BEFORE)
    sync_all()
    # The execution has ended, but its file is not written yet: the link leads to the old file.
    listed(here, 1, SECOND, BEFORE)
    done = run("sync")
    assert done.returncode == 0
    assert "1 export pending" in done.stdout
    assert current() == [(1, FIRST)]
    assert state() == "pending"
    assert one("SELECT pending_since IS NOT NULL FROM lineage.export_files")
    assert "1" in run("status").stdout.split("pending")[1]
    # The file is written now.
    listed(here, 2, SECOND, AFTER)
    sync_all()
    assert current() == [(2, SECOND)]
    assert state() == "current"
    assert reasons() == [Reason.NEW, Reason.EXECUTED_AGAIN]
    assert one("SELECT pending_since IS NULL FROM lineage.export_files")


def test_a_pending_export_that_was_never_loaded_waits_and_others_do_not(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    here.put("N\n7\n", subject_id=2)
    (result,) = sync_all()
    assert result.partition.subject_id == 2
    assert rows("SELECT subject_id, state FROM lineage.partition_status ORDER BY ALL") == [
        (1, "pending"),
        (2, "current"),
    ]
    # An explicit request does not load it either.
    assert [each.partition.subject_id for each in sync_all(refresh=True)] == [2]


def wait(hours: float) -> None:
    """Make the pending exports look as if they were pending for this many hours."""
    with changing(StorageSettings.from_environment()) as opened:
        opened.execute(
            "UPDATE lineage.export_files SET pending_since = pending_since - ? * INTERVAL 1 HOUR",
            [hours],
        )


def test_after_a_day_it_is_loaded_all_the_same_and_a_check_is_red(here: Site) -> None:
    listed(here, 1, FIRST, BEFORE)
    sync_all()
    listed(here, 1, SECOND, BEFORE)
    assert sync_all() == []
    wait(23)
    assert sync_all() == []
    assert current() == [(1, FIRST)]
    wait(1.5)
    assert len(sync_all()) == 1
    assert current() == [(1, SECOND)]
    assert reasons() == [Reason.NEW, Reason.OVERDUE]
    finding = open_pipeline().ask(Question.FILES_ARE_OF_THEIR_EXECUTION)
    assert (finding.at_fault, finding.rows[0][0]) == (1, 1)
    assert sync_all() == []
    # When the file is written, the check passes again.
    listed(here, 2, SECOND, AFTER)
    assert len(sync_all()) == 1
    assert current() == [(2, SECOND)]
    assert open_pipeline().ask(Question.FILES_ARE_OF_THEIR_EXECUTION).at_fault == 0


def test_another_execution_meanwhile_begins_the_day_anew(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    sync_all()
    wait(23)
    listed(here, 1, "2024-03-05T10:05:08+00:00", BEFORE)
    sync_all()
    wait(2)
    assert sync_all() == []
    wait(22)
    assert len(sync_all()) == 1


def test_a_clock_that_goes_back_makes_nobody_wait_longer_than_a_day(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    sync_all()
    wait(-24 * 365)
    # Listed in another form, as of now.
    listed(here, 1, SECOND, BEFORE, "another.csv.gz")
    sync_all()
    since = one("SELECT pending_since FROM lineage.export_files")
    assert isinstance(since, datetime)
    assert abs(since - datetime.utcnow()) < timedelta(hours=1)  # noqa: DTZ003
    assert timedelta(days=1) == PENDING_AT_MOST


# Written again ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modified", "name"),
    [(LATER, "1_file.csv.gz"), (LATER, "2_file.csv.gz"), (AFTER, "2_file.csv.gz")],
    ids=["modified-later", "modified-later-and-renamed", "renamed"],
)
def test_a_file_written_again_supersedes_the_one_before(
    here: Site, modified: str, name: str
) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    listed(here, 2, SECOND, modified, name)
    open_pipeline().survey()
    assert state() == "stale"
    planned = run("sync", "--dry-run")
    assert "written again" in planned.stdout
    assert len(sync_all()) == 1
    assert current() == [(2, SECOND)]
    assert state() == "current"
    assert reasons() == [Reason.NEW, Reason.WRITTEN_AGAIN]
    assert rows("SELECT load_id, superseded_by FROM lineage.superseded") == [(1, 2)]
    assert one("SELECT modified_at FROM lineage.export_files") == one(
        "SELECT max(modified_at) FROM lineage.loads"
    )
    assert rows(f"SELECT N FROM as_of('{DATASET}', '2024-03-01')") == [(2,)]
    assert sync_all() == []


def test_an_older_version_than_the_loaded_one_is_left_alone(here: Site) -> None:
    listed(here, 2, SECOND, LATER)
    sync_all()
    listed(here, 1, SECOND, AFTER)
    assert sync_all() == []
    assert (current(), state()) == ([(2, SECOND)], "current")


def test_two_files_that_take_turns_without_a_date_are_loaded_once_each(here: Site) -> None:
    here.sandbox.rewrite_page = undated
    for number in (1, 2, 1, 2, 1):
        listed(here, number, SECOND, AFTER, f"{number}_file.csv.gz")
        sync_all()
        assert state() == "current"
    assert one("SELECT count(*) FROM lineage.loads") == 2


def undated(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"items": [item | {"modifiedDate": None} for item in page["items"]]}


def test_a_date_that_is_no_longer_said_is_no_reason_to_load_again(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    here.sandbox.rewrite_page = undated
    assert sync_all() == []
    assert (state(), len(current())) == ("current", 1)
    # But another file is a reason, and it is the newer version.
    listed(here, 2, SECOND, AFTER, "2_file.csv.gz")
    assert len(sync_all()) == 1
    assert current() == [(2, SECOND)]
    assert rows(f"SELECT N FROM as_of('{DATASET}', '2024-03-01')") == [(2,)]


def test_a_slow_sync_does_not_put_the_older_file_back(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    slow = open_pipeline()
    with slow.execute(slow.survey()) as results:
        # The batch is staged and waits. Now the file is written again, and another sync loads it.
        listed(here, 2, SECOND, LATER)
        sync_all()
        (result,) = list(results)
    assert isinstance(result, PartitionLoaded)
    assert current() == [(2, SECOND)]


def test_a_version_that_failed_rests_and_the_next_version_is_tried_at_once(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    here.sandbox.study.put(
        subject_id=1, data_set_name=DATASET, csv=b"N,N\n1,2\n", execution=SECOND, modified=LATER
    )
    sync_all()
    assert state() == "failed"
    exports = open_pipeline()
    retry_schedule = exports.retry_schedule(exports.survey().plan)
    assert (len(retry_schedule.due), len(retry_schedule.waiting)) == (0, 1)
    listed(here, 3, SECOND, "2024-03-02T00:00:00+00:00")
    exports.survey()
    assert len(exports.retry_schedule(exports.survey().plan).due) == 1
    sync_all()
    assert (current(), state()) == ([(3, SECOND)], "current")


def test_a_new_version_is_fetched_though_another_of_the_execution_is_landed(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    here.sandbox.forget_requests()
    listed(here, 2, SECOND, LATER)
    sync_all()
    assert files_fetched(here.sandbox) == 1


# Content of a listing -----------------------------------------------------------------------------


def test_the_latest_listing_is_what_is_written_down(here: Site) -> None:
    listed(here, 1, SECOND, LATER)
    sync_all()
    listed(here, 1, SECOND, AFTER)
    sync_all()
    assert one("SELECT modified_at::VARCHAR FROM lineage.export_files") == (
        "2024-02-29 10:09:20.5899754"
    )


@pytest.mark.parametrize("never", [None, "0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00Z"])
def test_never_is_no_broken_contract(here: Site, never: str | None) -> None:
    for subject in (1, 2, 3):
        here.put(f"N\n{subject}\n", subject_id=subject)

    def rewrite(page: dict[str, Any]) -> dict[str, Any]:
        for item in page["items"]:
            if item["subjectId"] == 1:
                item["modifiedDate"] = never
            if item["subjectId"] == 2:
                item["lastSuccessfulProgramExecutionTimeStamp"] = never
        return page

    here.sandbox.rewrite_page = rewrite
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert "1 listed export of programs that never ran" in done.stderr
    assert rows(f'SELECT N FROM exports."{DATASET}" ORDER BY N') == [(1,), (3,)]
    assert one("SELECT count(*) FROM lineage.unusable_items") == 0
    here.sandbox.rewrite_page = None
    assert [each.partition.subject_id for each in sync_all()] == [2]


def capitals(page: dict[str, Any]) -> dict[str, Any]:
    changed = [item | {"studyProgramId": item["studyProgramId"].upper()} for item in page["items"]]
    return page | {"items": changed}


def test_a_program_in_capitals_is_the_same_program(sandbox: FaultySandbox) -> None:
    sync_all()
    before = rows("SELECT * FROM lineage.current_loads ORDER BY load_id")
    sandbox.forget_requests()
    sandbox.rewrite_page = capitals
    assert sync_all() == []
    assert files_fetched(sandbox) == 0
    assert rows("SELECT * FROM lineage.current_loads ORDER BY load_id") == before
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0


def test_a_warehouse_that_has_a_program_in_both_cases_counts_its_rows_once(
    sandbox: FaultySandbox,
) -> None:
    sync_all()
    counted = one('SELECT count(*) FROM exports."ActivityDaily8"')
    # As an earlier version left it: every export twice, also with the program in capitals.
    with changing(StorageSettings.from_environment()) as opened:
        opened.execute("DELETE FROM lineage.schema_version")
        opened.execute(
            "INSERT INTO lineage.loads SELECT * REPLACE (load_id + 1000 AS load_id,"
            " upper(study_program_id) AS study_program_id) FROM lineage.loads"
        )
        opened.execute(
            'INSERT INTO history."ActivityDaily8" SELECT * REPLACE (_load_id + 1000 AS _load_id)'
            ' FROM history."ActivityDaily8"'
        )
    assert one('SELECT count(*) FROM exports."ActivityDaily8"') == 2 * int(str(counted))
    sandbox.forget_requests()
    assert sync_all() == []
    assert files_fetched(sandbox) == 0
    assert one('SELECT count(*) FROM exports."ActivityDaily8"') == counted


def test_a_listing_that_lacks_items_withdraws_nothing_and_says_so(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    sync_all()

    def half(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"items": page["items"][::2]}

    sandbox.rewrite_page = half
    for _ in range(3):
        done = run("sync")
        assert done.returncode == 0
        assert re.search(r"CentrePoint counts [0-9]+ more exports than it listed", done.stderr)
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0
    assert one("SELECT count(*) FROM lineage.export_files WHERE unlisted_since IS NOT NULL") == 0


def test_a_first_sync_loads_what_came_of_a_listing_that_lacks_items(sandbox: FaultySandbox) -> None:
    sandbox.rewrite_page = lambda page: page | {"items": page["items"][10:]}
    assert sum(len(each.loads) for each in sync_all() if isinstance(each, PartitionLoaded)) == 49
    sandbox.rewrite_page = None
    assert sum(len(each.loads) for each in sync_all() if isinstance(each, PartitionLoaded)) == 10


def test_withdrawn_needs_two_whole_listings(here: Site) -> None:
    exports = list(_items(here, 4))
    warehouse = Warehouse(here.storage.warehouse)
    everything = Scope((4711,))
    one_subject = Scope((4711,), frozenset({exports[0].subject_id}))
    record_listing(warehouse, StudyListing(tuple(exports)), everything)

    def still() -> int:
        return int(str(here.rows("SELECT count(*) FROM lineage.export_files")[0][0]))

    without = StudyListing(tuple(exports[1:]))
    # Not a whole listing: of one subject only, or with items missing.
    for _ in range(3):
        record_listing(warehouse, StudyListing(), one_subject)
        record_listing(warehouse, StudyListing(tuple(exports[1:]), missing=1), everything)
    assert still() == 4
    record_listing(warehouse, without, everything)
    assert still() == 4
    # Listed again in between, so the count starts again.
    record_listing(warehouse, StudyListing(tuple(exports)), everything)
    record_listing(warehouse, without, everything)
    assert still() == 4
    # An item in another format, or of a program that never ran, still counts as listed.
    key = exports[0].key
    record_listing(warehouse, StudyListing(tuple(exports[1:]), never_executed=(key,)), everything)
    record_listing(
        warehouse, StudyListing(tuple(exports[1:]), other_formats=((key, "avro"),)), everything
    )
    assert still() == 4
    record_listing(warehouse, without, everything)
    assert still() == 3


def _items(here: Site, number: int) -> Iterator[Any]:
    for subject in range(1, number + 1):
        here.put("N\n1\n", subject_id=subject)
    access = CentrePointSettings.from_environment(here.sandbox.environment)
    yield from Pipeline(access, here.storage).survey().items


def test_an_export_that_is_listed_as_csv_and_as_avro_is_loaded_as_csv(
    sandbox: FaultySandbox,
) -> None:
    def twice(page: dict[str, Any]) -> dict[str, Any]:
        items = [
            item | {"fileFormat": name, "fileName": f"{item['fileName']}.{name}"}
            for item in page["items"]
            for name in ("avro", "csv")
        ]
        return page | {"items": items, "totalCount": 2 * page["totalCount"]}

    sandbox.rewrite_page = twice
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert "47 partitions loaded" in done.stdout
    assert done.stderr.count("59 listed items left out: the format is avro, not csv") == 1
    assert run("sync").returncode == 0
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0


# Any order ----------------------------------------------------------------------------------------

_moments = st.one_of(st.none(), st.integers(0, 3))
_versions = st.builds(Version, st.integers(0, 2), _moments, st.sampled_from("ab"))


@given(_versions, _versions)
def test_of_two_versions_at_least_one_covers_the_other(one: Version, other: Version) -> None:
    assert one.covers(one)
    if one.covers(other) and other.covers(one):
        assert (one.executed, one.file_name) == (other.executed, other.file_name)
    if one.executed > other.executed:
        assert one.covers(other)
        assert not other.covers(one)


class _Step(NamedTuple):
    """One listing: the number of the execution, the minutes until its file, the file name."""

    execution: int
    written: int
    name: str


_steps = st.lists(
    st.builds(_Step, st.integers(0, 2), st.integers(-1, 2), st.sampled_from("ab")),
    min_size=1,
    max_size=6,
)


@given(steps=_steps)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_listed_in_whatever_order_no_row_has_the_name_of_another_execution(
    tmp_path_factory: pytest.TempPathFactory, steps: list[_Step]
) -> None:
    """Each file holds its own execution; a pending file holds an earlier one."""
    folder = tmp_path_factory.mktemp("versions")
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, folder / "data")
        best: tuple[int, int] | None = None
        for step in steps:
            execution = f"2024-01-{step.execution + 10:02}T10:00:00+00:00"
            modified = f"2024-01-{step.execution + 10:02}T10:{5 + step.written:02}:00+00:00"
            pending = step.written < 0
            if pending:
                modified = f"2024-01-{step.execution + 9:02}T10:05:00+00:00"
            sandbox.study.put(
                subject_id=1,
                data_set_name=DATASET,
                csv=f"E,W\n{-1 if pending else step.execution},{step.written}\n".encode(),
                execution=execution,
                modified=modified,
                file_name=f"{step.name}.csv.gz",
            )
            site.sync()
            if not pending:
                best = max(best or (-1, -1), (step.execution, step.written))
            if best is None:
                assert site.loaded_partitions() == 0
                continue
            found = site.rows(f'SELECT E, W, _program_execution FROM exports."{DATASET}"')
            assert [(e, w) for e, w, _ in found] == [best]
            assert Instant.parse(str(found[0][2])) == Instant.parse(
                f"2024-01-{best[0] + 10:02}T10:00:00+00:00"
            )


def test_a_warehouse_rebuilt_from_the_landing_alone_has_the_same_current_rows(here: Site) -> None:
    from cp_pipeline.ingest import rebuild

    listed(here, 1, FIRST, BEFORE)
    sync_all()
    for number, modified in ((2, AFTER), (3, LATER)):
        listed(here, number, SECOND, modified)
        sync_all()
    assert current() == [(3, SECOND)]
    before = rows(f'SELECT * EXCLUDE (_load_id) FROM exports."{DATASET}"')
    Path(here.storage.warehouse).unlink()
    assert rebuild(here.storage).loads == 3
    assert rows(f'SELECT * EXCLUDE (_load_id) FROM exports."{DATASET}"') == before
