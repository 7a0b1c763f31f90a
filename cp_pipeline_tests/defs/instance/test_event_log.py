"""The event log with open files stores the same events as Dagster's own class."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster import EventLogEntry, EventLogRecord, deserialize_value, serialize_value
from dagster._core.storage.event_log import SqliteEventLogStorage

from cp_pipeline.defs.event_log import KeptOpenEventLog
from cp_pipeline.defs.instance.dagster_home import DAGSTER_YAML
from cp_pipeline.settings import SettingsError

PARTS = [f"part-{number}" for number in range(5)]
DATASET_EXPORTS = dg.AssetKey("dataset_exports")


@dg.op
def record(context: dg.OpExecutionContext) -> None:
    for part in PARTS:
        context.log_event(
            dg.AssetMaterialization(
                DATASET_EXPORTS,
                partition=part,
                metadata={"rows": 7},
                tags={"dagster/data_version": f"version of {part}"},
            )
        )
        context.log_event(dg.AssetObservation(DATASET_EXPORTS, partition=part))


@dg.job
def recording() -> None:
    record()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home whose event log is kept open."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def kept(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is KeptOpenEventLog
        yield instance


def logs(home: Path) -> Path:
    return home / "history" / "runs"


def stored(folder: Path, run_id: str) -> dict[str, list[tuple[object, ...]]]:
    """Return the contents of the tables, without times and ids."""
    contents: dict[str, list[tuple[object, ...]]] = {}
    for shard in ("index", run_id):
        with closing(sqlite3.connect(folder / f"{shard}.db")) as opened:
            tables = [
                name
                for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            contents[f"{shard} has"] = [(name,) for name in sorted(tables)]
            queries = {
                "events": "SELECT dagster_event_type, asset_key, partition, step_key"
                " FROM event_logs ORDER BY id",
                "assets": "SELECT asset_key, last_run_id = ?1, last_materialization IS NOT NULL"
                " FROM asset_keys",
                "tags": "SELECT asset_key, key, value FROM asset_event_tags ORDER BY event_id",
            }
            for name, sql in queries.items():
                parameters = (run_id,) if "?1" in sql else ()
                contents[f"{shard if shard == 'index' else 'run'} {name}"] = opened.execute(
                    sql, parameters
                ).fetchall()
    contents["run has"] = contents.pop(f"{run_id} has")
    return contents


def test_the_events_are_those_of_dagsters_own_event_log(
    kept: dg.DagsterInstance, home: Path, tmp_path: Path
) -> None:
    mine = recording.execute_in_process(instance=kept).run_id
    (tmp_path / "own").mkdir()
    with dg.DagsterInstance.from_config(str(_plain_home(tmp_path / "own"))) as own:
        theirs = recording.execute_in_process(instance=own).run_id
        assert type(own.event_log_storage) is SqliteEventLogStorage
    kept.dispose()
    expected = stored(logs(tmp_path / "own"), theirs)
    assert stored(logs(home), mine) == expected
    assert len(expected["index events"]) >= 2 * len(PARTS)
    assert len(expected["index tags"]) == len(PARTS)


def _plain_home(folder: Path) -> Path:
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


def test_the_last_materialization_of_an_asset_is_the_text_that_dagster_writes(
    kept: dg.DagsterInstance, home: Path
) -> None:
    for times in (1, 2):
        recording.execute_in_process(instance=kept)
        with closing(sqlite3.connect(logs(home) / "index.db")) as opened:
            (text, run_id, moment) = opened.execute(
                "SELECT last_materialization, last_run_id, last_materialization_timestamp"
                " FROM asset_keys"
            ).fetchone()
            number, event, logged = opened.execute(
                "SELECT max(id), event, timestamp FROM event_logs"
                " WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
            ).fetchone()
            (observed,) = opened.execute(
                "SELECT max(timestamp) FROM event_logs"
                " WHERE dagster_event_type = 'ASSET_OBSERVATION'"
            ).fetchone()
        last = EventLogRecord(number, deserialize_value(event, EventLogEntry))
        assert text == serialize_value(last)
        assert run_id == last.event_log_entry.run_id
        assert moment == max(logged, observed)
        assert number >= times * len(PARTS)
        newest = kept.get_latest_materialization_event(DATASET_EXPORTS)
        assert newest == last.event_log_entry


def test_dagsters_own_class_reads_and_writes_the_same_files_at_the_same_time(
    kept: dg.DagsterInstance, home: Path, tmp_path: Path
) -> None:
    for number in range(3):
        run_id = recording.execute_in_process(instance=kept).run_id
        beside = SqliteEventLogStorage(str(logs(home)))
        beside.register_instance(kept)
        assert beside.get_materialized_partitions(DATASET_EXPORTS) == set(PARTS) | {
            f"beside-{earlier}" for earlier in range(number)
        }
        assert len(beside.get_logs_for_run(run_id)) == len(kept.all_logs(run_id))
        entry = next(
            log
            for log in kept.all_logs(run_id)
            if log.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        beside.store_event(_of_partition(entry, f"beside-{number}"))
        assert f"beside-{number}" in kept.get_materialized_partitions(DATASET_EXPORTS)


def _of_partition(entry: dg.EventLogEntry, partition: str) -> dg.EventLogEntry:
    from dagster._core.events import StepMaterializationData

    event = entry.get_dagster_event()
    return entry._replace(
        dagster_event=event._replace(
            event_specific_data=StepMaterializationData(
                dg.AssetMaterialization(DATASET_EXPORTS, partition=partition)
            )
        )
    )


def test_a_watcher_of_a_run_gets_its_events_while_it_runs(
    kept: dg.DagsterInstance, home: Path
) -> None:
    seen: list[str] = []
    is_notified = threading.Event()
    waited = []

    @dg.op
    def slow(context: dg.OpExecutionContext) -> None:
        watcher = SqliteEventLogStorage(str(logs(home)))
        watcher.register_instance(kept)

        def notify(event: dg.EventLogEntry, _: str) -> None:
            if "you should see" in (event.user_message or ""):
                seen.append(event.user_message)
                is_notified.set()

        watcher.watch(context.run_id, None, notify)
        deadline = time.monotonic() + 60
        while not is_notified.wait(0.2) and time.monotonic() < deadline:
            context.log.info("this is what you should see")
        waited.append(is_notified.is_set())
        watcher.dispose()

    @dg.job
    def watched() -> None:
        slow()

    watched.execute_in_process(instance=kept)
    assert waited == [True]
    assert seen


def test_a_run_waits_for_the_disk_when_it_begins_and_ends(
    kept: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: dict[str, set[tuple[int, ...]]] = {}
    store = SqliteEventLogStorage.store_event

    def store_and_note_levels(self: KeptOpenEventLog, event: dg.EventLogEntry) -> None:
        store(self, event)
        levels_now: list[int] = []
        for shard in (event.run_id, "index"):
            with self._connect(shard) as connection:
                levels_now.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        kind = str(event.dagster_event_type and event.dagster_event_type.value)
        levels.setdefault(kind, set()).add(tuple(levels_now))

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", store_and_note_levels)
    recording.execute_in_process(instance=kept)
    normal, full = (1, 1), (2, 2)
    assert levels.pop("PIPELINE_START") == levels.pop("PIPELINE_SUCCESS") == {full}
    assert levels["ASSET_MATERIALIZATION"] == {normal}
    assert set().union(*levels.values()) == {normal}


def test_a_wiped_log_is_empty_and_takes_new_events(kept: dg.DagsterInstance) -> None:
    recording.execute_in_process(instance=kept)
    kept.event_log_storage.wipe()
    assert kept.get_materialized_partitions(DATASET_EXPORTS) == set()
    recording.execute_in_process(instance=kept)
    assert kept.get_materialized_partitions(DATASET_EXPORTS) == set(PARTS)


def test_only_the_files_of_the_last_runs_stay_open(kept: dg.DagsterInstance, home: Path) -> None:
    for _ in range(12):
        recording.execute_in_process(instance=kept)
    opened = {
        link.resolve().name
        for link in Path("/proc/self/fd").iterdir()
        if link.resolve().parent == logs(home) and link.resolve().suffix == ".db"
    }
    assert "index.db" in opened
    assert len(opened) <= 8
    assert len(list(logs(home).glob("*.db"))) == 13


def test_a_home_that_begins_with_a_tilde_is_that_of_the_person(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "~/kept")
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.get() as instance:
        recording.execute_in_process(instance=instance)
    assert len(list(logs(home).glob("*.db"))) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_a_relative_path_without_dagster_home_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(SettingsError, match="Set DAGSTER_HOME"):
        assert dg.DagsterInstance.from_config(str(home)).event_log_storage


def _layout(file: Path) -> tuple[list[tuple[object, ...]], ...]:
    """Return the tables and indexes, the version and the journal mode of a file."""
    with closing(sqlite3.connect(file)) as opened:
        return (
            opened.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall(),
            opened.execute("SELECT version_num FROM alembic_version").fetchall(),
            opened.execute("PRAGMA journal_mode").fetchall(),
        )


def test_its_files_are_created_like_dagsters_own(tmp_path: Path) -> None:
    for name, kind in (("own", SqliteEventLogStorage), ("kept", KeptOpenEventLog)):
        storage = kind(str(tmp_path / name))
        storage.get_logs_for_run("a-run")
        storage.dispose()
    for shard in ("index.db", "a-run.db"):
        layout = _layout(tmp_path / "kept" / shard)
        assert layout == _layout(tmp_path / "own" / shard)
        assert layout[2] == [("wal",)]


@pytest.mark.parametrize(
    "half",
    [
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "DROP TABLE alembic_version",
    ],
)
def test_a_file_that_a_killed_process_left_incomplete_is_completed(
    half: str, tmp_path: Path
) -> None:
    storage = KeptOpenEventLog(str(tmp_path))
    file = tmp_path / "a-run.db"
    if half.startswith("DROP"):
        storage.get_logs_for_run("a-run")
        storage.dispose()
    with closing(sqlite3.connect(file)) as opened:
        opened.execute(half)
        opened.commit()
    again = KeptOpenEventLog(str(tmp_path))
    assert again.get_logs_for_run("a-run") == []
    again.dispose()
    tables, version, _ = _layout(file)
    assert "event_logs" in {name for _, name, _ in tables}
    assert version == _layout(tmp_path / "index.db")[1]


def test_a_file_that_several_threads_create_at_once_is_complete(tmp_path: Path) -> None:
    KeptOpenEventLog(str(tmp_path)).dispose()
    together = threading.Barrier(4)

    def create(_: int) -> None:
        storage = KeptOpenEventLog(str(tmp_path))
        together.wait()
        for number in range(5):
            assert storage.get_logs_for_run(f"run-{number}") == []
        storage.dispose()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(create, range(4)))
    expected = _layout(tmp_path / "index.db")
    for number in range(5):
        assert _layout(tmp_path / f"run-{number}.db")[:2] == expected[:2]
