"""Dagster's home is made as Dagster makes it, with its migrations read once."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cp_pipeline.cli.dagster_home import open_instance
from cp_pipeline.defs import migrations
from cp_pipeline.settings import StorageSettings


def made(home: Path) -> dict[str, tuple[list[tuple[object, ...]], ...]]:
    """Of each SQLite file in a home: tables and indexes, version, journal, and what is done."""
    found: dict[str, tuple[list[tuple[object, ...]], ...]] = {}
    for file in home.rglob("*.db"):
        with closing(sqlite3.connect(file)) as opened:
            tables = opened.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
            found[str(file.relative_to(home))] = (
                tables.fetchall(),
                opened.execute("SELECT version_num FROM alembic_version").fetchall(),
                opened.execute("PRAGMA journal_mode").fetchall(),
                opened.execute("SELECT name FROM secondary_indexes ORDER BY name").fetchall(),
            )
    return found


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return StorageSettings.from_environment({"CP_DATA_DIR": str(tmp_path / "data")})


def test_a_home_is_made_as_dagsters_own(storage: StorageSettings, tmp_path: Path) -> None:
    open_instance(storage).dispose()
    own = tmp_path / "own"
    own.mkdir()
    (own / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(own)) as instance:
        instance.get_runs_count()
        instance.get_dynamic_partitions("subjects")
        instance.all_instigator_state()
    expected = made(own)
    assert len(expected) == 3
    assert made(storage.dagster_home) == expected


def test_for_a_home_and_the_logs_of_its_runs_the_migrations_are_read_once(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    actual = migrations._read

    def counted(config: Config) -> ScriptDirectory:
        read.append(str(config.get_main_option("script_location")))
        return actual(config)

    monkeypatch.setattr(migrations, "_read", counted)
    monkeypatch.setattr(ScriptDirectory, "from_config", counted)
    migrations._migrations.cache_clear()
    for number in range(2):
        instance = open_instance(storage)
        instance.event_log_storage.get_logs_for_run(f"run-{number}")
        instance.dispose()
    assert len(list(storage.dagster_home.rglob("run-*.db"))) == 2
    assert len(read) == 1


def test_others_migrations_are_their_own_and_afterwards_alembic_is_as_it_was(
    tmp_path: Path,
) -> None:
    (tmp_path / "versions").mkdir()
    others = Config()
    others.set_main_option("script_location", str(tmp_path))
    before = ScriptDirectory.from_config
    with migrations.migrations_read_once():
        assert ScriptDirectory.from_config(others).dir == str(tmp_path)
        assert ScriptDirectory.from_config(others).get_heads() == []
    assert ScriptDirectory.from_config == before


def test_threads_at_the_same_time_leave_alembic_as_it_was() -> None:
    before = ScriptDirectory.from_config

    def hold(number: int) -> None:
        with migrations.migrations_read_once():
            time.sleep(0.01 * (number % 3))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, range(12)))
    assert ScriptDirectory.from_config == before
