"""What the commands do on a lake, with a catalog file and with PostgreSQL."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
import yaml  # type: ignore[import-untyped]

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import DBT_PROJECT, StorageSettings
from cp_pipeline.warehouse import (
    Warehouse,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnreadable,
    building_anew,
    compact,
    erase_from_warehouse,
    publish_current,
    query,
)
from cp_pipeline.warehouse.lake import CATALOG, extension_file
from cp_pipeline_tests import lakes
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.postgres_servers import PASSWORD
from cp_pipeline_tests.small_project import small_project
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import MARKER


class Lake(Site):
    """A site whose warehouse is a lake."""

    def __init__(self, sandbox: FaultySandbox, data_dir: Path, variables: dict[str, str]) -> None:
        super().__init__(sandbox, data_dir, variables)
        self.variables = {"CP_DATA_DIR": str(data_dir), **sandbox.environment, **variables}

    def warehouse(self) -> Warehouse:
        return Warehouse.of(self.storage)

    def stored(self, text: str) -> list[Path]:
        """The files of the lake and of its catalog that have a text."""
        roots = [self.storage.data_dir]
        if self.storage.warehouse == "ducklake:warehouse":
            lakes.server().execute("CHECKPOINT")
            # Other databases are those of other tests, whose files have the same names.
            own = "SELECT oid::VARCHAR FROM pg_database WHERE datname = current_database()"
            ((oid,),) = self.rows(f"FROM postgres_query('{CATALOG}', '{own}')")
            roots.append(lakes.server().data / "base" / str(oid))
        mine = {self.storage.landing, self.storage.published}
        return [
            file
            for root in roots
            for file in root.rglob("*")
            if file.is_file() and not mine & {file, *file.parents}
            if text.encode() in file.read_bytes()
        ]


@pytest.fixture(params=["catalog-file", "postgres"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    variables = {"CP_WAREHOUSE": f"ducklake:{tmp_path}/data/warehouse.ducklake"}
    if request.param == "postgres":
        variables = lakes.postgres_lake(tmp_path / "data")
    with FaultySandbox(SandboxStudy.empty()) as service:
        yield Lake(service, tmp_path / "data", variables)


def test_versions_are_kept_published_compacted_and_erased(lake: Lake) -> None:
    first = lake.load("N,V\n1,7\n")
    marked = lake.load(f"N,V\n1,{MARKER}\n2,{MARKER}0\n", subject_id=2)
    again = lake.load("N,V\n1,1.50\n2,3\n")
    assert [first.load_id, marked.load_id, again.load_id] == [1, 2, 3]
    assert lake.sync() == []
    mine = "WHERE _subject_id = 1 ORDER BY N"
    assert lake.rows(f"SELECT V FROM exports.Kinds {mine}") == [("1.50",), ("3",)]
    executed = lake.rows("SELECT program_executed_at::VARCHAR FROM lineage.loads WHERE load_id = 1")
    as_of = f"SELECT V FROM as_of('Kinds', '{executed[0][0]}') {mine}"
    assert lake.rows(as_of) == [("7",)]

    with lake.warehouse() as warehouse:
        published = publish_current(warehouse, lake.storage.published)
        assert published.rows >= 4
    with duckdb.connect(str(lake.storage.published), read_only=True) as opened:
        found = opened.execute("SELECT count(*) FROM exports.Kinds").fetchall()
        tables = opened.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert found == [(4,)]
    assert ("turn",) not in tables

    with lake.warehouse() as warehouse:
        done = compact(warehouse, timedelta(0))
        assert (done.loads, done.rows) == (1, 1)
        assert done.bytes_after > 0
        assert lake.stored(MARKER)
        named = lake.rows("SELECT file_name, file_sha256 FROM lineage.loads WHERE subject_id = 2")
        assert erase_from_warehouse(warehouse, 2, 1) == ()
        for text in (MARKER, *map(str, named[0])):
            assert lake.stored(text) == []
    assert lake.rows(f"SELECT V FROM exports.Kinds {mine}") == [("1.50",), ("3",)]
    assert lake.rows("SELECT subject_id, loads FROM lineage.erasures") == [(2, 1)]
    # No number is used again, and loading goes on.
    assert lake.load("N,V\n1,x\n", subject_id=3).load_id == 4


def test_erasing_waits_for_a_transaction_that_sees_the_rows(tmp_path: Path) -> None:
    import psycopg2

    with FaultySandbox(SandboxStudy.empty()) as service:
        lake = Lake(service, tmp_path / "data", lakes.postgres_lake(tmp_path / "data"))
        lake.load(f"N,V\n1,{MARKER}\n")
        own = "SELECT current_database()::VARCHAR"
        ((database,),) = lake.rows(f"FROM postgres_query('{CATALOG}', '{own}')")
        older = psycopg2.connect(lakes.server().url(str(database)))
        older.set_session(isolation_level="REPEATABLE READ")
        older.cursor().execute("SELECT 1")
        with (
            Warehouse.of(lake.storage, wait_seconds=1) as warehouse,
            pytest.raises(WarehouseBusy, match="still have their bytes"),
        ):
            erase_from_warehouse(warehouse, 1, 1)
        older.close()
        with lake.warehouse() as warehouse:
            erase_from_warehouse(warehouse, 1, 1)
        assert lake.stored(MARKER) == []


def test_a_reader_sees_one_state(tmp_path: Path) -> None:
    with FaultySandbox(SandboxStudy.empty()) as service:
        lake = Lake(service, tmp_path / "data", lakes.postgres_lake(tmp_path / "data"))
        lake.load("N,V\n1,7\n")
        counted = "SELECT count(*) FROM history.Kinds"
        with lake.warehouse() as warehouse:
            with warehouse.reading() as connection:
                before = connection.execute(counted).fetchall()
                writer = subprocess.run(
                    [sys.executable, "-m", "cp_pipeline.cli", "sync", "--refresh"],
                    env=_environment(lake), capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert writer.returncode == 0, writer.stdout + writer.stderr
                assert connection.execute(counted).fetchall() == before
            with warehouse.reading() as connection:
                assert connection.execute(counted).fetchall() == [(2,)]


def test_the_catalog_has_statistics_of_tables_without_rows(tmp_path: Path) -> None:
    # Without them DuckLake asks its catalog for each column in each query.
    storage = StorageSettings.from_environment(
        {"CP_DATA_DIR": str(tmp_path), **lakes.postgres_lake(tmp_path)}
    )
    with Warehouse.of(storage) as warehouse:
        with warehouse.transaction():
            pass
        with warehouse.reading() as connection:
            without = connection.execute(
                f"FROM postgres_query('{CATALOG}', 'SELECT table_name"
                " FROM ducklake_table LEFT JOIN ducklake_table_stats USING (table_id)"
                " WHERE record_count IS NULL')"
            ).fetchall()
            rows = connection.execute("SELECT count(*) FROM lineage.loads").fetchone()
    assert without == []
    assert rows == (0,)


def test_models_are_built_inside_a_turn(tmp_path: Path) -> None:
    project = small_project(tmp_path / "models")
    locks = "SELECT pid FROM pg_locks WHERE locktype = ''advisory'' AND granted"
    (project / "models" / "locks.sql").write_text(f"FROM postgres_query('{CATALOG}', '{locks}')")
    with FaultySandbox(SandboxStudy.empty()) as service:
        lake = Lake(service, tmp_path / "data", lakes.postgres_lake(tmp_path / "data"))
        lake.load("N,V\n1,7\n")
        lake.variables["CP_DBT_PROJECT"] = str(project)
        _run(lake, ["publish"])
        assert lake.rows("SELECT count(*) FROM marts.locks") == [(1,)]
        assert lake.rows("SELECT loads FROM marts.loads") == [(1,)]


def test_no_output_has_the_password(tmp_path: Path) -> None:
    """Of commands that work and of commands that cannot reach the catalog; nor does any file."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        lake = Lake(service, tmp_path / "data", lakes.postgres_lake(tmp_path / "data"))
        lake.put("N,V\n1,7\n")
        lake.variables["CP_DBT_PROJECT"] = str(small_project(tmp_path / "models"))
        said = ""
        commands = (
            ["sync"], ["status"], ["doctor"], ["query", "--warehouse", "FROM lineage.loads"],
            ["query", "--warehouse", "FROM duckdb_secrets()"], ["publish"],
            ["compact", "--older-than", "0", "--yes"], ["cut", "first"],
            ["erase", "--subject", "1", "--yes"], ["rebuild"],
        )  # fmt: skip
        for command in commands:
            said += _run(lake, command)
        assert "Subject 1 is erased" in said
        unreachable = Lake(service, tmp_path / "other", _unreachable(tmp_path / "other"))
        for command in (["sync"], ["status"], ["doctor"]):
            said += _run(unreachable, command)
    assert "cannot be opened" in said
    assert "in the new ducklake:warehouse" in said
    assert PASSWORD not in said
    secret = re.compile(r"\.duckdb_secret$")
    for folder in (tmp_path / "data", tmp_path / "other"):
        for file in folder.rglob("*"):
            if file.is_file() and not secret.search(file.name):
                assert PASSWORD.encode() not in file.read_bytes(), file


def test_what_a_lake_cannot_do_is_said(tmp_path: Path) -> None:
    variables = {"CP_DATA_DIR": str(tmp_path), "CP_WAREHOUSE": f"ducklake:{tmp_path}/w.ducklake"}
    with Warehouse.of(StorageSettings.from_environment(variables)) as warehouse:
        assert not warehouse.exists()
        with (
            pytest.raises(WarehouseError, match="cannot be rebuilt"),
            building_anew(warehouse, tmp_path),
        ):
            pass
    assert list(tmp_path.iterdir()) == []
    secret = {"CP_DATA_DIR": str(tmp_path), "CP_WAREHOUSE": "ducklake:nothing"}
    with pytest.raises(WarehouseUnreadable, match="names the DuckDB secret nothing"):
        query(Warehouse.of(StorageSettings.from_environment(secret)), "SELECT 1")
    folder = tmp_path / "secrets"
    folder.mkdir()
    with duckdb.connect(config={"secret_directory": str(folder)}) as connection:
        connection.execute(f"LOAD '{extension_file('ducklake')}'")
        connection.execute(
            "CREATE PERSISTENT SECRET open (TYPE ducklake, DATA_PATH '/tmp/nowhere/',"
            f" METADATA_PATH 'postgres:host=127.0.0.1 password={PASSWORD}')"
        )
    secret |= {"CP_WAREHOUSE": "ducklake:open", "CP_DUCKDB_SECRETS": str(folder)}
    with pytest.raises(WarehouseUnreadable, match="has a password in its METADATA_PATH") as caught:
        query(Warehouse.of(StorageSettings.from_environment(secret)), "SELECT 1")
    assert PASSWORD not in str(caught.value)


def test_models_are_built_one_at_a_time() -> None:
    """Two threads of dbt would be two writers that take no turns."""
    profile = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text())["cp_models"]
    assert profile["outputs"]["lake"]["threads"] == 1


def _environment(lake: Lake) -> dict[str, str]:
    return {**os.environ, **lake.variables}


def _run(lake: Lake, command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cp_pipeline.cli", *command],
        env=_environment(lake), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def _unreachable(folder: Path) -> dict[str, str]:
    """The secrets of a catalog whose server does not answer."""
    return lakes.secrets(folder, "nothing", port=1)
