"""Erasing a subject: no byte of it stays anywhere, nobody else is touched, it does not come back.

A real sandbox, two real syncs through Dagster with a failure of this subject in them, a published
file, an old warehouse that ``rebuild`` kept. Then all files are searched.
"""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cp_pipeline.cli import commands
from cp_pipeline.errors import PipelineError
from cp_pipeline.ingest import StudyExports, SyncGoing, erasable, rebuild
from cp_pipeline.landing import Landing
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Workbench, replacing
from cp_pipeline_tests.conftest import one, rows, sync_all
from cp_pipeline_tests.keeping import MARKED_SUBJECT, MARKER, contents, run, run_killed

NOTES, DAILY = "Notes", "ActivityDaily8"
EXPORTS = dg.AssetKey("dataset_exports")
ERASE = ["erase", "--subject", str(MARKED_SUBJECT), "--yes"]


def noted(value: str) -> bytes:
    return f"N,V\n1,{value}\n".encode()


def a_study() -> SandboxStudy:
    study = SandboxStudy.synthetic(study_id=4711, subjects=2, days=1, seed=1, epoch_rows=30)
    study.put(subject_id=MARKED_SUBJECT, data_set_name=NOTES, csv=noted(f"first {MARKER}"))
    study.put(subject_id=MARKED_SUBJECT, data_set_name=DAILY, csv=noted(MARKER))
    study.put(subject_id=7, data_set_name=NOTES, csv=noted("of another"))
    # Refused, with the value in the reason: two columns of one name.
    study.put(subject_id=MARKED_SUBJECT, data_set_name="Bad", csv=f"{MARKER},{MARKER}\n".encode())
    return study


@pytest.fixture(scope="module")
def study() -> SandboxStudy:
    return a_study()


@pytest.fixture(scope="module")
def service(study: SandboxStudy) -> Iterator[Sandbox]:
    with Sandbox(study) as serving:
        yield serving


@pytest.fixture(scope="module")
def recorded_study(
    service: Sandbox, study: SandboxStudy, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with all that can be known of a subject."""
    data_dir = tmp_path_factory.mktemp("recorded") / "data"
    with pytest.MonkeyPatch.context() as here:
        for name, value in service.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(data_dir))
        assert run("sync").returncode == 1
        study.put(subject_id=MARKED_SUBJECT, data_set_name=NOTES, csv=noted(MARKER))
        # The last record of all is the marked subject's, which Dagster keeps once more.
        assert run("sync", "--subject", str(MARKED_SUBJECT), "--dataset", NOTES).returncode == 0
        storage = StorageSettings.from_environment()
    publish(storage)
    rebuild(storage)
    return data_dir


@pytest.fixture
def storage(
    recorded_study: Path, service: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StorageSettings:
    shutil.copytree(recorded_study, tmp_path / "data")
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    # For what runs in this process; a process of its own finds it by CP_DATA_DIR.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster_home"))
    return StorageSettings.from_environment()


def publish(storage: StorageSettings) -> None:
    """A published file as DESIGN.md has it: plain tables, lineage, and models."""
    with duckdb.connect(str(storage.published)) as published:
        published.execute(f"ATTACH '{storage.warehouse}' AS warehouse (READ_ONLY)")
        for schema in ("exports", "lineage", "models"):
            published.execute(f"CREATE SCHEMA {schema}")
        for name in (NOTES, DAILY):
            published.execute(f'CREATE TABLE exports."{name}" AS FROM warehouse.exports."{name}"')
        for name in ("loads", "superseded", "export_files", "failures", "erasures"):
            published.execute(f"CREATE TABLE lineage.{name} AS FROM warehouse.lineage.{name}")
        published.execute(
            "CREATE TABLE models.notes AS"
            f' SELECT _subject_id AS Subject_ID, V FROM exports."{NOTES}"'
        )
        published.execute("CREATE VIEW models.seen AS FROM models.notes")


def erase() -> None:
    commands(ERASE, standalone_mode=False)


def known_of_subject() -> set[str]:
    """Everything that is of this subject alone, but its number."""
    texts = {
        str(value)
        for row in rows(
            "SELECT file_name, file_sha256, program_execution FROM lineage.loads"
            f" WHERE subject_id = {MARKED_SUBJECT} UNION ALL SELECT file_name, error,"
            f" program_execution FROM lineage.failures WHERE subject_id = {MARKED_SUBJECT}"
        )
        for value in row
    }
    return {MARKER, *texts}


def found_in(data_dir: Path, texts: set[str]) -> dict[str, set[str]]:
    """Which files hold any of the texts, also inside gzip and in whatever is compressed so."""
    found: dict[str, set[str]] = {}
    for path in sorted(data_dir.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if content.startswith(b"\x1f\x8b"):
                with suppress(OSError, EOFError, zlib.error):
                    content += gzip.decompress(content)
            held = {text for text in texts if text.encode() in content}
            if held:
                found[str(path.relative_to(data_dir))] = held
    return found


def holding(found: dict[str, set[str]], beginning: str) -> list[str]:
    return [name for name in found if name.startswith(beginning)]


def folders_named(data_dir: Path, name: str) -> list[Path]:
    return [path for path in data_dir.rglob(name) if "dagster_home" not in path.parts]


def test_no_byte_stays_and_only_that_it_was_done_is_known(
    storage: StorageSettings, recorded_study: Path
) -> None:
    texts = known_of_subject()
    assert len(texts) > 6
    before = found_in(storage.data_dir, texts)
    # The search finds what is there: values in the landing's gzip, the quarantine, the warehouse,
    # the old one, the published file, and Dagster's index, logs of runs and records of the asset.
    for beginning in (
        "landing/4711/99", "quarantine/4711/99", "warehouse.duckdb", "centrepoint.duckdb",
        "warehouse.duckdb.before-rebuild", "dagster_home/history/runs/index.db",
    ):  # fmt: skip
        assert any(MARKER in before[name] for name in holding(before, beginning)), beginning
    assert [n for n in before if n.startswith("dagster_home/history/runs/") and "index" not in n]

    done = run(*ERASE)
    assert done.returncode == 0, done.stderr
    assert found_in(storage.data_dir, texts) == {}
    assert folders_named(storage.data_dir, str(MARKED_SUBJECT)) == []
    assert sorted(path.name for path in storage.data_dir.iterdir()) == [
        "centrepoint.duckdb", "dagster_home", "landing", "quarantine", "warehouse.duckdb",
    ]  # fmt: skip
    ((subject, at, loads, files),) = rows(
        "SELECT subject_id, erased_at, loads, files FROM lineage.erasures"
    )
    assert (subject, loads, files) == (MARKED_SUBJECT, 3, 4)
    assert at is not None
    for table in ("loads", "export_files", "failures"):
        assert one(f"SELECT count(*) FROM lineage.{table} WHERE subject_id = 99") == 0
    # Nobody else is touched.
    assert rows(f'SELECT V, _subject_id FROM exports."{NOTES}"') == [("of another", 7)]
    with duckdb.connect(str(storage.published), read_only=True) as published:
        assert published.execute("FROM models.seen").fetchall() == [(7, "of another")]
        counted = published.execute(f'SELECT count(*) FROM exports."{DAILY}"').fetchall()
        assert counted == [(2,)]


def test_dagster_forgets_the_subject_and_still_works(storage: StorageSettings) -> None:
    with dg.DagsterInstance.get() as instance:
        before = {str(key) for key in instance.get_materialized_partitions(EXPORTS)}
        last = instance.get_latest_materialization_event(EXPORTS)
    assert {key for key in before if key.endswith("|99")} == {f"{NOTES}|99", f"{DAILY}|99"}
    assert last is not None
    assert str(last.asset_materialization and last.asset_materialization.partition).endswith("|99")
    erase()
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
    exports = StudyExports(CentrePointSettings.from_environment(service.environment), storage)
    listed = exports.list_exports()
    plan = exports.plan(listed)
    with Workbench(storage.warehouse).transaction() as connection:
        connection.execute("INSERT INTO lineage.erasures (subject_id) VALUES (99)")
    exports.record(listed)
    with exports.carry_out(plan) as results:
        failed = [str(result) for result in results if "was erased meanwhile" in str(result)]
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


POINTS = [
    ("before", "os.rename {data}/centrepoint.duckdb.aside", 1),
    ("before", "COMMIT", 1),
    ("after", "COMMIT", 1),
    ("after", "COPY FROM DATABASE warehouse TO fresh", 1),
    ("before", "os.rename {data}/warehouse.duckdb.aside", 1),
    ("before", "os.remove {data}/warehouse.duckdb.before-rebuild", 1),
    ("before", "shutil.rmtree {data}/landing/4711/99", 1),
    ("before", "shutil.rmtree {data}/quarantine/4711/99", 1),
    # Two of its files are gone by then.
    ("before", "os.remove ", 8),
]


@pytest.mark.parametrize(("when", "what", "nth"), POINTS)
def test_killed_anywhere_and_run_again_it_ends_as_if_never_killed(
    storage: StorageSettings, undisturbed: list[dict[str, str]], when: str, what: str, nth: int
) -> None:
    texts = known_of_subject()
    run_killed(*ERASE, when=when, what=what.format(data=storage.data_dir), nth=nth)
    assert found_in(storage.data_dir, texts) or folders_named(storage.data_dir, "99")
    erase()
    assert found_in(storage.data_dir, texts) == {}
    assert folders_named(storage.data_dir, "99") == []
    assert [contents(), contents(storage.published)] == undisturbed
    assert {path.name for path in storage.data_dir.iterdir()} == {
        "centrepoint.duckdb", "dagster_home", "landing", "quarantine", "warehouse.duckdb",
    }  # fmt: skip


def test_killed_between_dagsters_files_the_rest_is_done_the_next_time(
    storage: StorageSettings,
) -> None:
    texts = known_of_subject()
    shards = sorted((storage.dagster_home / "history" / "runs").glob("*.db"))
    assert len(shards) > 2
    run_killed(*ERASE, when="before", what=f"sqlite3.connect {shards[1]}", nth=1)
    assert found_in(storage.dagster_home, texts)
    erase()
    assert found_in(storage.data_dir, texts) == {}


@pytest.fixture(scope="module")
def undisturbed(
    recorded_study: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    data_dir = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(recorded_study, data_dir)
    with pytest.MonkeyPatch.context() as here:
        here.setenv("CP_DATA_DIR", str(data_dir))
        here.delenv("DAGSTER_HOME", raising=False)
        assert run(*ERASE).returncode == 0
    return [contents(data_dir / "warehouse.duckdb"), contents(data_dir / "centrepoint.duckdb")]


def test_a_table_of_which_nobody_can_tell_is_named_or_removed(
    storage: StorageSettings,
) -> None:
    for path in (storage.warehouse, storage.published):
        with duckdb.connect(str(path)) as opened:
            opened.execute(f"CREATE TABLE main.others AS SELECT '{MARKER}' AS who")
    done = run(*ERASE)
    assert done.returncode == 0, done.stderr
    assert "In main.others no column tells" in done.stdout
    assert "centrepoint.duckdb is removed" in done.stdout
    assert not storage.published.exists()


def test_it_asks_first_and_waits_for_whatever_is_going(storage: StorageSettings) -> None:
    before = contents()
    asked = run("erase", "--subject", "99")
    assert asked.returncode == 1
    assert "3 loads with 3 rows, and 4 files in landing and quarantine" in asked.stdout
    assert contents() == before
    with Landing(storage.landing).workspace(), pytest.raises(SyncGoing):
        erasable(storage, 99)
    with dg.DagsterInstance.get() as instance:
        run_going = instance.create_run_for_job(
            dg.JobDefinition(name="sync", graph_def=dg.GraphDefinition(name="sync")),
            status=dg.DagsterRunStatus.STARTED,
        )
        with pytest.raises(PipelineError, match=run_going.run_id):
            erase()
    assert contents() == before
    with replacing.replacing(Path(storage.warehouse)):
        done = run(*ERASE, "--no-dagster")
    assert done.returncode == 2
    assert "Another process" in done.stderr
    assert os.listdir(storage.landing / "4711" / "99")  # noqa: PTH208
