"""Erase a subject: none of its data stays, no other subject changes, and a sync never reloads it.

The tests use a real sandbox, two real syncs through Dagster with a failure of this subject, a
published file, and an old warehouse that ``rebuild`` kept. Then they search all files.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cp_pipeline.cli import commands
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.ingest import Pipeline, SyncRunning, erasable, rebuild
from cp_pipeline.landing import Landing
from cp_pipeline.sandbox import Sandbox
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, file_swap, record_listing
from cp_pipeline_tests.conftest import one, rows, sync_all
from cp_pipeline_tests.warehouse_contents import (
    MARKED_SUBJECT,
    MARKER,
    contents,
    folders_named,
    found_in,
    held,
    known_of_subject,
    run,
)

NOTES, DAILY = "Notes", "ActivityDaily8"
EXPORTS = dg.AssetKey("dataset_exports")
ERASE = ["erase", "--subject", str(MARKED_SUBJECT), "--yes"]


def erase() -> None:
    commands(ERASE, standalone_mode=False)


def test_no_byte_stays_and_only_that_it_was_done_is_known(
    storage: StorageSettings, recorded_study: Path
) -> None:
    texts = known_of_subject()
    assert len(texts) > 6
    # A killed publication leaves such a file.
    partial = storage.published.with_name(f".{storage.published.name}.{'0a' * 16}.partial")
    partial.write_bytes(storage.published.read_bytes())
    before = found_in(storage.data_dir, texts)
    # Check the search itself. It finds values in the landing's gzip files, the quarantine, the
    # warehouse, the old warehouse, the published file, and Dagster's index, run logs and events.
    for beginning in (
        "landing/4711/99", "quarantine/4711/99", "warehouse.duckdb", "centrepoint.duckdb",
        "warehouse.duckdb.before-rebuild", "dagster_home/history/runs/index.db",
    ):  # fmt: skip
        assert any(MARKER in before[name] for name in held(before, beginning)), beginning
    assert [n for n in before if n.startswith("dagster_home/history/runs/") and "index" not in n]

    done = run(*ERASE)
    assert done.returncode == 0, done.stderr
    assert found_in(storage.data_dir, texts) == {}
    assert folders_named(storage.data_dir, str(MARKED_SUBJECT)) == []
    assert sorted(path.name for path in storage.data_dir.iterdir()) == [
        "asked", "centrepoint.duckdb", "dagster_home", "landing", "quarantine", "run_locks",
        "warehouse.duckdb",
    ]  # fmt: skip
    ((subject, at, loads, files),) = rows(
        "SELECT subject_id, erased_at, loads, files FROM lineage.erasures"
    )
    assert (subject, loads, files) == (MARKED_SUBJECT, 3, 4)
    assert at is not None
    for table in ("loads", "export_files", "failures"):
        assert one(f"SELECT count(*) FROM lineage.{table} WHERE subject_id = 99") == 0
    # No other subject changes.
    assert rows(f'SELECT V, _subject_id FROM exports."{NOTES}"') == [("of another", 7)]
    with duckdb.connect(str(storage.published), read_only=True) as published:
        assert published.execute("FROM models.seen").fetchall() == [(7, "of another")]
        counted = published.execute(f'SELECT count(*) FROM exports."{DAILY}"').fetchall()
        assert counted == [(2,)]


def recorded(table: str, column: str, condition: str, text: str) -> int:
    """The number of rows in a Dagster table that contain a text."""
    index = StorageSettings.from_environment().dagster_home / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as opened:
        found = opened.execute(f"SELECT {column} FROM {table} WHERE {condition}").fetchall()
    return sum(text in str(value) for (value,) in found)


def test_dagster_forgets_the_subject_and_still_works(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        before = {str(key) for key in instance.get_materialized_partitions(EXPORTS)}
        last = instance.get_latest_materialization_event(EXPORTS)
    assert {key for key in before if key.endswith("|99")} == {f"{NOTES}|99", f"{DAILY}|99"}
    assert last is not None
    assert str(last.asset_materialization and last.asset_materialization.partition).endswith("|99")
    assert recorded("event_logs", "event", f"partition = '{NOTES}|99'", MARKER) > 0
    shown = '"subject": 99}'
    assert recorded("asset_check_executions", "evaluation_event", "true", shown) > 0
    with monkeypatch.context() as person:
        # As a line of `.env` has it: no shell has replaced the `~`.
        person.setenv("HOME", str(storage.dagster_home.parent))
        person.setenv("DAGSTER_HOME", f"~/{storage.dagster_home.name}")
        erase()
    assert recorded("asset_check_executions", "evaluation_event", "true", shown) == 0
    assert recorded("asset_check_executions", "evaluation_event", "true", "examined") > 0
    with dg.DagsterInstance.get() as instance:
        after = {str(key) for key in instance.get_materialized_partitions(EXPORTS)}
        assert after == {key for key in before if not key.endswith("|99")}
        assert "99" not in instance.get_dynamic_partitions("subjects")
        assert "7" in instance.get_dynamic_partitions("subjects")
        last = instance.get_latest_materialization_event(EXPORTS)
        assert last is not None
        materialization = last.asset_materialization
        assert materialization is not None
        assert str(materialization.partition) in after
        for each in instance.get_runs():
            assert instance.all_logs(each.run_id)
        checked = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(EXPORTS, "listed_execution_is_loaded"), limit=1
        )
        assert checked[0].event is not None


def test_a_later_sync_leaves_the_subject_alone_and_says_so(
    storage: StorageSettings, service: Sandbox
) -> None:
    erase()
    service.forget_requests()
    for arguments in ([], ["--refresh", "--subject", "99"]):
        done = run("sync", *arguments)
        assert done.returncode == 0, done.stderr
        assert "3 exports of an erased subject are left alone." in done.stdout
    assert not [record for record in service.requests if record.kind == "file"]
    assert one("SELECT count(*) FROM lineage.loads WHERE subject_id = 99") == 0
    assert one("SELECT count(*) FROM lineage.export_files WHERE subject_id = 99") == 0
    rebuild(storage)
    assert one("SELECT count(*) FROM lineage.loads WHERE subject_id = 99") == 0
    assert one("SELECT count(*) FROM lineage.erasures") == 1


def test_a_sync_that_had_listed_before_keeps_nothing_of_the_subject(
    service: Sandbox, tmp_path: Path
) -> None:
    storage = StorageSettings.from_environment()
    exports = Pipeline(CentrePointSettings.from_environment(service.environment), storage)
    survey = exports.survey(write=False)
    with Warehouse(storage.warehouse).transaction() as connection:
        connection.execute("INSERT INTO lineage.erasures (subject_id) VALUES (99)")
    record_listing(exports.warehouse, survey.listing, survey.scope)
    with exports.execute(survey) as results:
        failed = [str(result) for result in results if "was erased during this load" in str(result)]
    assert len(failed) == 2
    assert all("file (erased)" in words for words in failed)
    assert one("SELECT count(*) FROM lineage.loads WHERE subject_id = 99") == 0
    assert one("SELECT count(*) FROM lineage.loads WHERE subject_id <> 99") == 10
    for table in ("export_files", "failures"):
        assert one(f"SELECT count(*) FROM lineage.{table} WHERE subject_id = 99") == 0
    assert folders_named(storage.landing, "99") == []


def test_numbers_of_erased_loads_are_never_given_again(storage: StorageSettings) -> None:
    highest = one("SELECT max(load_id) FROM lineage.loads")
    assert rows(f"SELECT subject_id FROM lineage.loads WHERE load_id = {highest}") == [(99,)]
    erase()
    sync_all(refresh=True)
    assert one("SELECT min(load_id) FROM lineage.current_loads") == int(str(highest)) + 1


def test_a_table_of_which_nobody_can_tell_is_named_or_removed(
    storage: StorageSettings,
) -> None:
    for path in (storage.warehouse, storage.published):
        with duckdb.connect(str(path)) as opened:
            opened.execute(f"CREATE TABLE main.others AS SELECT '{MARKER}' AS who")
    done = run(*ERASE)
    assert done.returncode == 0, done.stderr
    assert "Tables without a column for the subject: main.others." in done.stdout
    assert "centrepoint.duckdb is removed" in done.stdout
    assert not storage.published.exists()


def test_the_subject_stays_erased_where_the_warehouse_is_lost(
    storage: StorageSettings, service: Sandbox
) -> None:
    erase()
    Path(storage.warehouse).unlink()
    done = run("sync", "--dry-run")
    assert "3 exports of an erased subject are left alone." in done.stdout
    assert "99" not in done.stdout.split()
    rebuild(storage)
    assert rows("SELECT subject_id, erased_at IS NOT NULL FROM lineage.erasures") == [(99, True)]


def test_dagsters_log_is_emptied_also_while_the_web_server_has_it_open(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = known_of_subject()
    index = storage.dagster_home / "history" / "runs" / "index.db"
    web_server = sqlite3.connect(index, isolation_level=None)
    web_server.execute("SELECT count(*) FROM event_logs").fetchall()
    done = run(*ERASE)
    assert done.returncode == 0, done.stderr
    assert index.with_suffix(".db-wal").exists()
    assert found_in(storage.data_dir, texts) == {}

    # A reader in a transaction needs the old pages. Then erase reports an error; it can run again.
    web_server.execute("BEGIN")
    web_server.execute("SELECT count(*) FROM event_logs").fetchall()
    monkeypatch.setattr("cp_pipeline.defs.instance.event_erasure._WAIT_SECONDS", 0.2)
    with pytest.raises(PipelineError, match=r"index\.db cannot be rewritten.*Stop dagster dev"):
        erase()
    web_server.close()
    erase()


def test_it_asks_first_and_waits_for_whatever_is_going(storage: StorageSettings) -> None:
    before = contents()
    asked = run("erase", "--subject", "99")
    assert asked.returncode == 1
    assert "3 loads with 3 rows, and 4 files in landing and quarantine" in asked.stdout
    assert contents() == before
    with Landing(storage.landing).scratch_folder(), pytest.raises(SyncRunning):
        erasable(storage, 99)
    with dg.DagsterInstance.get() as instance:
        run_going = instance.create_run_for_job(
            dg.JobDefinition(name="sync", graph_def=dg.GraphDefinition(name="sync")),
            status=dg.DagsterRunStatus.STARTED,
        )
        with pytest.raises(PipelineError, match=run_going.run_id):
            erase()
    assert contents() == before
    with file_swap.replacing(Path(storage.warehouse)):
        done = run(*ERASE, "--no-dagster")
    assert done.returncode == 2
    assert "Another process" in done.stderr
    assert os.listdir(storage.landing / "4711" / "99")  # noqa: PTH208
