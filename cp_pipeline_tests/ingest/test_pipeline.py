"""From the API to the warehouse, as in "Must be shown" of issue 2."""

import csv
import io

import pytest

from cp_pipeline.domain.exports import Instant, Partition
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded, Request
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline_tests.conftest import files_fetched, one, open_pipeline, rows, sync_all
from cp_pipeline_tests.executions import put_file, with_column
from cp_pipeline_tests.faults import FaultySandbox

DAILY = "ActivityDaily8"


@pytest.mark.both_engines
def test_every_export_is_loaded_once_with_the_rows_of_its_file_and_a_second_sync_does_nothing(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    results = sync_all()

    assert len(results) == 47
    assert all(isinstance(result, PartitionLoaded) for result in results)
    counted = {
        (item.subject_id, item.data_set_name, item.study_program_id): len(
            list(csv.DictReader(io.StringIO(item.csv.decode())))
        )
        for item in study.export_files
    }
    loaded = rows("SELECT subject_id, dataset_name, study_program_id, row_count FROM lineage.loads")
    assert {row[:3]: row[3] for row in loaded} == counted
    assert len(loaded) == 59
    for dataset in {key[1] for key in counted}:
        total = sum(count for key, count in counted.items() if key[1] == dataset)
        assert one(f'SELECT count(*) FROM exports."{dataset}"') == total

    # Two programs, whose executions differ in the seventh digit, are two exports.
    found = rows(
        "SELECT program_execution, file_name, epoch_ns(program_executed_at) FROM lineage.loads"
        " WHERE subject_id = 10821 AND dataset_name = 'ParamsAndSubject (31)'"
    )
    assert len(found) == 2
    assert len({row[1] for row in found}) == 1
    assert abs(int(str(found[0][2])) - int(str(found[1][2]))) < 1000
    for verbatim, _, nanoseconds in found:
        assert Instant.parse(str(verbatim)).nanoseconds == nanoseconds

    before = rows("SELECT * FROM lineage.loads ORDER BY load_id")
    sandbox.forget_requests()
    assert sync_all() == []
    assert files_fetched(sandbox) == 0
    assert rows("SELECT * FROM lineage.loads ORDER BY load_id") == before


@pytest.mark.both_engines
def test_a_program_executed_again_is_fetched_once_and_the_old_rows_stay_in_history(
    sandbox: FaultySandbox,
) -> None:
    sync_all()
    steps = f'SELECT STEPS FROM exports."{DAILY}" WHERE _subject_id = 10821 ORDER BY "DATE"'
    old, (executed_at,) = (
        rows(steps),
        rows(
            f"SELECT program_execution FROM lineage.loads"
            f" WHERE subject_id = 10821 AND dataset_name = '{DAILY}'"
        )[0],
    )
    sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
    sandbox.forget_requests()

    assert len(sync_all()) == 1
    assert files_fetched(sandbox) == 1
    new = rows(steps)
    assert new != old
    assert one(f'SELECT count(*) FROM history."{DAILY}"') == 13
    as_of = f"SELECT STEPS FROM as_of('{DAILY}', '{executed_at}'::TIMESTAMPTZ::TIMESTAMP_NS)"
    assert rows(f"{as_of} WHERE _subject_id = 10821") == old
    assert rows("SELECT count(*) FROM lineage.superseded") == [(1,)]
    assert (
        one(
            f"SELECT state FROM lineage.partition_status"
            f" WHERE subject_id = 10821 AND dataset_name = '{DAILY}'"
        )
        == "current"
    )


@pytest.mark.both_engines
def test_an_older_execution_never_replaces_a_newer_one(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    newer, older = "2024-05-01T00:00:00.0000002+00:00", "2024-05-01T00:00:00.0000001+00:00"
    for execution, value in ((newer, 2), (older, 1)):
        study.put(
            subject_id=1,
            data_set_name="X",
            csv=b"A\n%d\n" % value,
            study_program_id="p",
            execution=execution,
        )
        sync_all()
    assert rows('SELECT A FROM exports."X"') == [(2,)]


@pytest.mark.both_engines
def test_new_columns_are_added_at_the_end_and_are_null_for_older_exports(
    sandbox: FaultySandbox,
) -> None:
    sync_all()
    before = [row[0] for row in rows(f'DESCRIBE history."{DAILY}"')]
    (executed,) = sandbox.execute_again(subject_id=10822, data_set_name=DAILY)
    put_file(sandbox.study, with_column(executed, "NONWEARMINUTES", "20"))
    sync_all()
    after = [row[0] for row in rows(f'DESCRIBE history."{DAILY}"')]
    assert after[: len(before)] == before
    added = after[len(before)]
    assert one(f'SELECT count(*) FROM exports."{DAILY}" WHERE "{added}" IS NOT NULL') == 1
    exported = [row[0] for row in rows(f'DESCRIBE exports."{DAILY}"')]
    assert exported[-6:] == [
        "_study_id", "_subject_id", "_study_program_id", "_program_execution",
        "_program_executed_at", "_load_id",
    ]  # fmt: skip


@pytest.mark.parametrize("packing", list(Packing))
def test_all_packings_give_the_same_rows(packing: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SandboxStudy.synthetic(study_id=4711, subjects=2, days=1, seed=3, epoch_rows=30)
    with FaultySandbox(small, packing=packing) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        sync_all()
    assert one("SELECT count(*) FROM lineage.loads") == 9
    assert one('SELECT count(*) FROM exports."ActivityEpochs10"') == 60
    assert one('SELECT sum(STEPS) >= 0 FROM exports."ActivityEpochs10"') is True


@pytest.mark.parametrize("dialect", ["datasetexportfiles", "datasetfiles"])
def test_short_tokens_and_short_links_are_renewed_in_both_dialects(
    dialect: str, study: SandboxStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultySandbox(study, token_seconds=2, link_seconds=3) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CP_EXPORT_DIALECT", dialect)
        monkeypatch.setenv("CP_DOWNLOAD_THREADS", "2")
        exports = open_pipeline()
        listed = exports.survey()
        # The token and the links have expired, so each file must be listed again.
        import time

        time.sleep(3.2)
        with exports.execute(listed) as under_way:
            results = list(under_way)
    assert [result for result in results if isinstance(result, PartitionFailed)] == []
    assert one("SELECT count(*) FROM lineage.loads") == 59


def test_one_bad_file_fails_its_own_partition_and_no_other(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    study.put(subject_id=10821, data_set_name=DAILY, csv=b"A,B\n1\n", file_name="bad.csv.gz",
              study_program_id="other-program")  # fmt: skip
    results = sync_all()
    failures = [result for result in results if isinstance(result, PartitionFailed)]
    assert [failure.partition for failure in failures] == [Partition(10821, DAILY)]
    for words in ("study 4711", "subject 10821", DAILY, "bad.csv.gz", "Line 2", "shorter"):
        assert words.lower() in str(failures[0]).lower()
    assert one("SELECT count(*) FROM lineage.loads") == 58
    assert rows("SELECT subject_id, dataset_name, stage FROM lineage.failures") == [
        (10821, DAILY, "decode")
    ]
    assert rows("SELECT subject_id FROM lineage.partition_status WHERE state = 'failed'") == [
        (10821,)
    ]


def test_a_withdrawn_export_keeps_its_rows_and_is_called_so_when_two_listings_lack_it(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    sync_all()
    study.withdraw(subject_id=10823, data_set_name=DAILY)
    sync_all()
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0
    sync_all()
    assert rows("SELECT subject_id, dataset_name FROM lineage.partition_status"
                " WHERE state = 'withdrawn'") == [(10823, DAILY)]  # fmt: skip
    assert one(f'SELECT count(*) FROM exports."{DAILY}" WHERE _subject_id = 10823') == 1


def test_refresh_loads_the_same_execution_again_and_supersedes_it(sandbox: FaultySandbox) -> None:
    sync_all()
    sandbox.forget_requests()
    assert len(sync_all(refresh=True)) == 47
    assert files_fetched(sandbox) == 59
    assert one("SELECT count(*) FROM lineage.loads") == 118
    assert one("SELECT count(*) FROM lineage.current_loads") == 59
    assert one(f'SELECT count(*) FROM exports."{DAILY}"') == 12


def test_a_narrow_listing_asks_the_api_for_little_and_leaves_the_rest_alone(
    sandbox: FaultySandbox,
) -> None:
    sync_all()
    sandbox.forget_requests()
    exports = open_pipeline()
    listed = exports.survey(Request.of([10821], [DAILY]))
    assert [item.partition for item in listed.items] == [Partition(10821, DAILY)]
    assert sum(record.kind == "listing" for record in sandbox.requests) == 1
    assert one("SELECT count(*) FROM lineage.export_files") == 59
