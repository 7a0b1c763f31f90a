"""Dagster's storage on a real PostgreSQL, which other hosts use too (docs/hosts.md)."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.instance.orphaned_runs import end_orphaned_runs
from cp_pipeline.defs.instance.storage_errors import StorageUnwritable
from cp_pipeline.defs.missing_events import runs_ended_badly
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.exports import Partition
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import one
from cp_pipeline_tests.defs.conftest import EXPORTS, materialize, pair, rectangle, run_job
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.postgres_servers import PASSWORD, PostgresServer, dagster_yaml
from cp_pipeline_tests.reliability.leftovers import unfinished, without_event
from cp_pipeline_tests.warehouse_contents import MARKER, found_in, run, run_killed

SUBJECT = 73190462


@pytest.fixture(scope="module")
def database(server: PostgresServer) -> str:
    """One database for the module: Dagster makes its tables once."""
    return server.new_database()


def a_study() -> SandboxStudy:
    study = SandboxStudy.synthetic(study_id=4711, subjects=3, days=1, seed=1, epoch_rows=20)
    rows = f"TIMESTAMPUTC,STEPS,V\n2024-01-01T00:00:00Z,{MARKER},{MARKER}\n".encode()
    study.put(subject_id=SUBJECT, data_set_name="ActivityDaily8", csv=rows)
    study.put(subject_id=SUBJECT, data_set_name="Bad", csv=f"{MARKER},{MARKER}\n".encode())
    return study


@pytest.fixture(scope="module")
def service() -> Iterator[FaultySandbox]:
    with FaultySandbox(a_study()) as running:
        yield running


@pytest.fixture
def storage(
    server: PostgresServer, database: str, service: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> StorageSettings:
    """A host of its own: another data folder, the same PostgreSQL."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    storage = StorageSettings.from_environment()
    monkeypatch.setenv("DAGSTER_HOME", str(storage.dagster_home))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", PASSWORD)
    storage.dagster_home.mkdir(parents=True)
    (storage.dagster_home / "dagster.yaml").write_text(dagster_yaml(server, database))
    return storage


def rows_with(server: PostgresServer, database: str, text: str) -> list[str]:
    """The tables in which a row has the text, in any column."""
    import psycopg2

    found = []
    with closing(psycopg2.connect(server.url(database))) as opened, opened.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS row WHERE row::text LIKE %s', [f"%{text}%"]
            )
            if cursor.fetchone() != (0,):
                found.append(table)
    return found


def materializations(instance: dg.DagsterInstance, partition: Partition) -> int:
    """The number of materializations of a partition."""
    of_it = dg.AssetRecordsFilter(EXPORTS, asset_partitions=[key_of(partition)])
    return len(instance.fetch_materializations(of_it, limit=1000).records)


def test_a_killed_sync_is_ended_and_its_rerun_has_all_events(storage: StorageSettings) -> None:
    run_killed("sync", when="after", what="call cp_pipeline.defs.load_steps:materialization", nth=3)
    assert len(unfinished(storage)) == 1
    done = run("sync")
    # A partition fails on purpose: its header is no header.
    assert done.returncode == 1, done.stdout + done.stderr
    assert unfinished(storage) == []
    assert without_event(storage) == {}
    assert PASSWORD not in done.stdout + done.stderr
    assert found_in(storage.data_dir, {PASSWORD}) == {}
    with open_instance(storage) as instance:
        assert len(instance.get_materialized_partitions(EXPORTS)) == one(
            "SELECT count(*) FROM (SELECT DISTINCT subject_id, dataset_name FROM lineage.loads)"
        )


def test_the_sensor_and_a_range_of_the_ui_load_what_is_new(
    storage: StorageSettings, service: FaultySandbox
) -> None:
    run("sync")
    service.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
    with open_instance(storage) as instance:
        asked = tick(instance, PipelineResource(), Memory(), 30, datetime.now(UTC))
        (request,) = asked.run_requests or ()
        assert request.job_name == "load_partitions"
        (config,) = request.run_config["ops"].values()
        assert config["config"]["partitions"]["ActivityDaily8"] == [10821]
        assert run_job(instance, "load_partitions", config["config"]).success
        service.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
        before = one("SELECT count(*) FROM lineage.loads")
        tags = rectangle(str(pair(10821, "ActivityDaily8")), str(pair(10822, "ActivityDaily8")))
        assert materialize(instance, EXPORTS, tags=tags).success
        assert one("SELECT count(*) FROM lineage.loads") == int(str(before)) + 1
    assert without_event(storage) == {}


def test_runs_of_other_hosts_are_left_to_run_monitoring(
    storage: StorageSettings, tmp_path: Path
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    locks = RunLocks(storage.data_dir)
    with open_instance(storage) as instance:
        job = build_defs().resolve_job_def("sync")
        runs = [
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
            for _ in range(3)
        ]
        unlocked, there, here = runs
        for run_id in (there, here):
            locks.hold(run_id)
            locks.release(run_id)
        # In a folder that both hosts have mounted.
        (locks.folder / there).write_text("another-host")
        assert end_orphaned_runs(instance, locks, later) == [here]
        for run_id in (unlocked, there):
            found = instance.get_run_by_id(run_id)
            assert found is not None
            assert found.status is dg.DagsterRunStatus.STARTED
            instance.delete_run(run_id)


@pytest.mark.parametrize("finder", ["sync", "sensor"])
def test_another_host_stores_the_events_of_a_run_that_dagster_has_ended(
    storage: StorageSettings,
    service: FaultySandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finder: str,
) -> None:
    def look_after() -> str:
        if finder == "sync":
            return run("sync", "--subject", "10821").stdout
        with open_instance(other) as instance:
            asked = tick(instance, PipelineResource(), Memory(), 30, datetime.now(UTC))
            return str(asked.skip_reason)

    run("sync")
    lost = {Partition(subject, "ActivityDaily8") for subject in (10821, 10822)}
    for partition in lost:
        service.execute_again(subject_id=partition.subject_id, data_set_name="ActivityDaily8")
    run_killed("sync", when="after", what="call cp_pipeline.defs.load_steps:materialization", nth=2)
    # Another host has its own data folder, and the same warehouse and Dagster.
    monkeypatch.setenv("CP_WAREHOUSE", str(storage.warehouse))
    monkeypatch.setenv("CP_DATA_DIR", str(tmp_path / "other_host"))
    other = StorageSettings.from_environment()
    monkeypatch.setenv("DAGSTER_HOME", str(other.dagster_home))
    shutil.copytree(storage.dagster_home, other.dagster_home)
    # The run may live on its own host. So it is left alone, and so are its events.
    look_after()
    (killed,) = unfinished(other)
    assert without_event(other) == {}
    with open_instance(other) as instance:
        before = {each: materializations(instance, each) for each in lost}
        # As run monitoring does.
        instance.report_run_failed(killed)
        assert without_event(other).keys() == lost
        look_after()
        assert without_event(other) == {}
        assert {each: materializations(instance, each) for each in lost} == {
            each: number + 1 for each, number in before.items()
        }
        # That is done once.
        assert runs_ended_badly(instance, RunLocks(other.data_dir)) == set()


def test_no_row_of_an_erased_subject_is_left_on_the_server(
    storage: StorageSettings, server: PostgresServer, database: str
) -> None:
    assert run("sync").returncode == 1
    assert rows_with(server, database, MARKER)
    assert "event_logs" in rows_with(server, database, str(SUBJECT))
    done = run("erase", "--subject", str(SUBJECT), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_with(server, database, MARKER) == []
    assert rows_with(server, database, str(SUBJECT)) == []
    with open_instance(storage) as instance:
        assert len(instance.get_materialized_partitions(EXPORTS)) > 5
        for each in instance.get_runs():
            assert instance.all_logs(each.run_id)
    assert run("sync").returncode == 0
    assert rows_with(server, database, str(SUBJECT)) == []


def test_a_server_that_cannot_be_used_is_explained_without_its_password(
    storage: StorageSettings,
    server: PostgresServer,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yaml = storage.dagster_home / "dagster.yaml"
    yaml.write_text(dagster_yaml(server, database, scheme="postgresql"))
    with pytest.raises(StorageUnwritable, match=r"scheme: postgresql\+psycopg2"):
        open_instance(storage)
    yaml.write_text(dagster_yaml(server, database))
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "WrongSecretOfPostgres")
    with pytest.raises(StorageUnwritable, match="password authentication failed") as raised:
        open_instance(storage)
    assert "WrongSecret" not in str(raised.value)
    assert os.environ["DAGSTER_PG_PASSWORD"] not in yaml.read_text()
