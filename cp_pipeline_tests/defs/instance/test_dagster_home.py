"""A Dagster home that cp-pipeline creates is the same as one that Dagster creates."""

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.settings import StorageSettings


def layout(home: Path) -> dict[str, tuple[list[tuple[object, ...]], ...]]:
    """Return, by SQLite file in a home: tables, indexes, version, journal mode, migrations."""
    layouts: dict[str, tuple[list[tuple[object, ...]], ...]] = {}
    for file in home.rglob("*.db"):
        with closing(sqlite3.connect(file)) as opened:
            tables = opened.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
            layouts[str(file.relative_to(home))] = (
                tables.fetchall(),
                opened.execute("SELECT version_num FROM alembic_version").fetchall(),
                opened.execute("PRAGMA journal_mode").fetchall(),
                opened.execute("SELECT name FROM secondary_indexes ORDER BY name").fetchall(),
            )
    return layouts


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path / "data")})


def test_a_home_is_created_like_dagsters_own(storage: StorageSettings, tmp_path: Path) -> None:
    open_instance(storage).dispose()
    own = tmp_path / "own"
    own.mkdir()
    (own / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(own)) as instance:
        instance.get_runs_count()
        instance.get_dynamic_partitions("subjects")
        instance.all_instigator_state()
    expected = layout(own)
    assert len(expected) == 3
    assert layout(storage.dagster_home) == expected
