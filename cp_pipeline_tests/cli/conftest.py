"""All data about one subject, as two real syncs through Dagster store it."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.ingest import rebuild
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.warehouse_contents import MARKED_SUBJECT, MARKER, run

NOTES, DAILY = "Notes", "ActivityDaily8"


def noted(value: str) -> bytes:
    return f"N,V\n1,{value}\n".encode()


def a_study() -> SandboxStudy:
    study = SandboxStudy.synthetic(study_id=4711, subjects=2, days=1, seed=1, epoch_rows=30)
    study.put(subject_id=MARKED_SUBJECT, data_set_name=NOTES, csv=noted(f"first {MARKER}"))
    study.put(subject_id=MARKED_SUBJECT, data_set_name=DAILY, csv=noted(MARKER))
    study.put(subject_id=7, data_set_name=NOTES, csv=noted("of another"))
    # Rejected, because two columns have the same name. The reason contains the value.
    study.put(subject_id=MARKED_SUBJECT, data_set_name="Bad", csv=f"{MARKER},{MARKER}\n".encode())
    return study


@pytest.fixture(scope="session")
def marked_study() -> SandboxStudy:
    return a_study()


@pytest.fixture(scope="session")
def service(marked_study: SandboxStudy) -> Iterator[Sandbox]:
    with Sandbox(marked_study) as serving:
        yield serving


@pytest.fixture(scope="session")
def recorded_study(
    service: Sandbox, marked_study: SandboxStudy, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with all data about a subject."""
    data_dir = tmp_path_factory.mktemp("recorded") / "data"
    with pytest.MonkeyPatch.context() as here:
        for name, value in service.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(data_dir))
        assert run("sync").returncode == 1
        marked_study.put(subject_id=MARKED_SUBJECT, data_set_name=NOTES, csv=noted(MARKER))
        # The very last event is the marked subject's; Dagster stores that one a second time.
        assert run("sync", "--subject", str(MARKED_SUBJECT), "--dataset", NOTES).returncode == 0
        storage = StorageSettings.from_environment()
    publish(storage)
    rebuild(storage)
    leave_in_free_pages(storage.dagster_home / "history" / "runs" / "index.db")
    return data_dir


@pytest.fixture
def storage(
    recorded_study: Path, service: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StorageSettings:
    shutil.copytree(recorded_study, tmp_path / "data")
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    # For code in this process. Other processes find the home through CP_DATA_DIR.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster_home"))
    return StorageSettings.from_environment()


def leave_in_free_pages(database: Path) -> None:
    """Make SQLite leave deleted data in free pages.

    SQLite does this unless it is compiled to overwrite deleted data, as Debian's is.
    """
    opened = sqlite3.connect(database, isolation_level=None)
    opened.execute("PRAGMA secure_delete = OFF")
    opened.execute("INSERT INTO event_logs (event) VALUES (?)", [f"once {MARKER} " * 1000])
    opened.execute("DELETE FROM event_logs WHERE event LIKE 'once %'")
    opened.close()
    assert f"once {MARKER}".encode() in database.read_bytes()


def publish(storage: StorageSettings) -> None:
    """Write a published file as docs/design.md defines it: plain tables, lineage, and models."""
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
