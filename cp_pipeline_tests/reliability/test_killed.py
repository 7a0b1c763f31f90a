"""Kill a sync (SIGKILL) at each named point, and run it again: the result is as if never killed."""

from collections.abc import Iterator

import dagster as dg
import pytest

from cp_pipeline.cli.sync import run_sync
from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.defs.events import DATASET_EXPORTS, LISTED_EXECUTIONS
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.instance.orphaned_runs import end_orphaned_runs
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.exports import Partition
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import files_fetched, one, rows, sync_all
from cp_pipeline_tests.reliability.leftovers import (
    leftovers,
    processes_left,
    unfinished,
    without_event,
)
from cp_pipeline_tests.warehouse_contents import run, run_killed

# Load ids, the landing order and the load order differ between syncs.
_KEY = "study_id, subject_id, dataset_name, study_program_id, program_execution"
LOADS = (
    f"SELECT {_KEY}, file_sha256, file_bytes, csv_bytes, row_count, landing_path FROM lineage.loads"
    " ORDER BY ALL"
)
ORPHANS = (
    "SELECT count(*) FROM (SELECT _load_id FROM history.{table} EXCEPT"
    " SELECT load_id FROM lineage.loads)"
)

POINTS = [
    ("before", "call cp_pipeline.ingest.fetching:read_csv_text", 1),
    ("after", "call cp_pipeline.landing.folder:write_all", 7),
    ("after", "call cp_pipeline.landing.store:named", 5),
    ("before", "os.rename {data}/landing/.aside", 4),
    ("after", "call cp_pipeline.ingest.fetching:read_csv_text", 9),
    # The first transaction stores the listing; the second one loads.
    ("after", "BEGIN", 1),
    ("after", "COMMIT", 1),
    ("before", "BEGIN", 2),
    ("after", "INSERT INTO history.", 2),
    ("before", "COMMIT", 2),
    ("after", "COMMIT", 2),
    ("before", "call cp_pipeline.defs.load_steps:materialization", 1),
    ("after", "call cp_pipeline.defs.load_steps:materialization", 3),
    ("before", "call cp_pipeline.defs.load_outcome:log_checks", 1),
]  # fmt: skip


def small_study() -> SandboxStudy:
    return SandboxStudy.synthetic(study_id=4711, subjects=3, days=1, seed=1, epoch_rows=20)


@pytest.fixture(scope="module")
def service() -> Iterator[Sandbox]:
    with Sandbox(small_study()) as serving:
        yield serving


@pytest.fixture
def storage(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return StorageSettings.from_environment()


def state() -> dict[str, list[tuple[object, ...]]]:
    """All loaded data, without load ids and times."""
    found = {"loads": rows(LOADS), "superseded": rows("FROM lineage.superseded")}
    for (name,) in rows("SELECT DISTINCT dataset_name FROM lineage.loads ORDER BY 1"):
        assert one(ORPHANS.format(table=f'"{name}"')) == 0
        found[str(name)] = rows(f'SELECT * EXCLUDE (_load_id) FROM exports."{name}" ORDER BY ALL')
    return found


@pytest.fixture(scope="module")
def undisturbed(
    service: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[object, ...]]]:
    with pytest.MonkeyPatch.context() as here:
        for name, value in service.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(tmp_path_factory.mktemp("undisturbed")))
        sync_all()
        return state()


@pytest.mark.parametrize(("when", "what", "nth"), POINTS)
def test_killed_at_a_point_and_run_again_it_ends_as_if_never_killed(
    storage: StorageSettings,
    undisturbed: dict[str, list[tuple[object, ...]]],
    when: str,
    what: str,
    nth: int,
) -> None:
    run_killed("sync", when=when, what=what.format(data=storage.data_dir), nth=nth)
    # The killed sync left work to do: the rest of the load, or of the Dagster events.
    assert run_sync() == 0
    assert state() == undisturbed
    assert run_sync() == 0
    assert leftovers(storage) == []
    assert unfinished(storage) == []
    assert processes_left(storage) == []
    assert without_event(storage) == {}


RECORD = "call cp_pipeline.defs.load_steps:materialization"


def test_what_was_loaded_and_not_recorded_is_recorded_by_a_sync_with_nothing_to_load(
    storage: StorageSettings, service: Sandbox
) -> None:
    run_killed("sync", when="before", what=RECORD, nth=4)
    # Events are stored in batches: of the three before, any number may be.
    missing = len(without_event(storage, newest_is_killed=True))
    assert 11 - 3 <= missing <= 11
    loads = rows("FROM lineage.loads ORDER BY load_id")
    service.forget_requests()
    done = run("sync")
    assert "0 exports in 0 partitions to load" in done.stdout
    assert f"{missing} partitions loaded by a run that ended badly had no event" in done.stdout
    assert without_event(storage) == {}
    assert files_fetched(service) == 0
    assert rows("FROM lineage.loads ORDER BY load_id") == loads
    with open_instance(storage) as instance:
        given = instance.fetch_materializations(DATASET_EXPORTS, limit=100).records
        assert len({each.partition_key for each in given}) == len(given) == 11
    # After that, a sync does not need to look for missing events.
    assert "ended badly" not in run("sync").stdout


def test_what_was_loaded_and_not_recorded_is_recorded_by_a_sync_that_loads_something_else(
    storage: StorageSettings, service: Sandbox
) -> None:
    run_killed("sync", when="before", what=RECORD, nth=1)
    service.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
    assert run_sync() == 0
    assert without_event(storage) == {}
    with open_instance(storage) as instance:
        check = dg.AssetCheckKey(DATASET_EXPORTS, "records_match_lineage")
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        event = history[0].event
        assert event is not None
        assert event.dagster_event is not None
        assert event.dagster_event.asset_check_evaluation_data.passed


def test_what_was_loaded_and_not_recorded_is_recorded_by_the_sensor_and_looks_stale_if_it_is(
    storage: StorageSettings, service: Sandbox
) -> None:
    run_killed("sync", when="before", what=RECORD, nth=1)
    service.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
    again = Partition(10821, "ActivityDaily8")
    with open_instance(storage) as instance:
        memory = Memory()
        result = tick(instance, PipelineResource(), memory, 60)
        assert result.run_requests
        assert without_event(storage) == {}
        newest = dg.AssetRecordsFilter(DATASET_EXPORTS, asset_partitions=[key_of(again)])
        (record,) = instance.fetch_materializations(newest, limit=1).records
        given = record.asset_materialization
        assert given is not None
        # It points before the observation of the waiting execution, so Dagster shows it as stale.
        pointer = f"dagster/input_event_pointer/{LISTED_EXECUTIONS.to_user_string()}"
        assert (given.tags or {})[pointer] == "1"


def test_a_run_whose_process_is_gone_neither_blocks_the_sensor_nor_keeps_its_slot(
    storage: StorageSettings, service: Sandbox
) -> None:
    run_killed("sync", when="before", what=RECORD, nth=1)
    service.execute_again(data_set_name="ActivityDaily8")
    with open_instance(storage) as instance:
        (dead,) = instance.get_runs()
        assert dead.status == dg.DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 1
        result = tick(instance, PipelineResource(), Memory(), 60)
        assert result.run_requests
        ended = instance.get_run_by_id(dead.run_id)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 0


def test_a_publication_killed_while_models_are_built_does_not_hold_up_the_next_one(
    storage: StorageSettings,
) -> None:
    sync_all()
    # Otherwise dbt would parse the models first, in the process that is killed.
    prepared_project(storage)
    building = "call cp_pipeline.defs.dbt_assets:_check_warehouse"
    for _ in range(2):
        # The second one can only reach this point if it gets the slot of the first one.
        run_killed("publish", when="before", what=building, nth=1)
    with open_instance(storage) as instance:
        last, first = instance.get_runs()
        assert first.status == dg.DagsterRunStatus.FAILURE
        assert end_orphaned_runs(instance, RunLocks(storage.data_dir)) == [last.run_id]
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 0


def test_the_slot_of_a_run_that_dagster_itself_reported_failed_is_free_for_the_next_one(
    storage: StorageSettings,
) -> None:
    run_killed("sync", when="before", what=RECORD, nth=1)
    with open_instance(storage) as instance:
        (dead,) = instance.get_runs()
        # Dagster's code server does this, and leaves it to the daemon to free the slot.
        instance.report_run_failed(dead)
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 1
        assert end_orphaned_runs(instance, RunLocks(storage.data_dir)) == []
        assert instance.event_log_storage.get_concurrency_info("warehouse").active_slot_count == 0
