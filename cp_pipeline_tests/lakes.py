"""The engine of the tests' warehouses: a DuckDB file, or a DuckLake.

``CP_TEST_WAREHOUSE`` chooses it for a whole run of the tests (``make test-lake``): ``file`` (the
default), ``catalog-file`` (a DuckLake with a catalog file), or ``postgres`` (a DuckLake whose
catalog is a real PostgreSQL on loopback).
"""

import atexit
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.warehouse.lake import Lake, extension_file
from cp_pipeline_tests.object_stores import BUCKET
from cp_pipeline_tests.postgres_servers import PASSWORD, USER, PostgresServer

ENGINE = os.environ.get("CP_TEST_WAREHOUSE", "file")


@cache
def warehouse_variables(data_dir: Path) -> dict[str, str]:
    """Return the variables of the warehouse of a data folder, with the engine of this run."""
    if ENGINE == "catalog-file":
        return {"CP_WAREHOUSE": f"ducklake:{data_dir}/warehouse.ducklake"}
    if ENGINE == "postgres":
        return postgres_lake(data_dir)
    assert ENGINE == "file", ENGINE
    return {}


@contextmanager
def extensions_verified_once() -> Iterator[None]:
    """Let DuckDB verify its extensions once, and not for each connection of this process.

    It hashes 80 MB each time, which is most of the time of a small test.
    """
    if ENGINE == "file":
        yield
        return
    with duckdb.connect() as connection:
        for name in ("ducklake", "postgres_scanner"):
            connection.execute(f"LOAD '{extension_file(name)}'")
    config = Lake.config
    with pytest.MonkeyPatch.context() as here:
        here.setattr(Lake, "config", lambda lake: config(lake) | _VERIFIED)
        yield


# The configuration of a connection whose extensions are verified.
_VERIFIED: dict[str, str | bool | int | float | list[str]] = {"allow_unsigned_extensions": "true"}


def copied(old: Path, new: Path) -> None:
    """Copy a data folder with its warehouse, which no process may have open."""
    taken = warehouse_variables(old), warehouse_variables(new)
    shutil.copytree(old, new, ignore=shutil.ignore_patterns("secrets"), dirs_exist_ok=True)
    moved = f"UPDATE ducklake_metadata SET value = '{new}/lake/' WHERE key = 'data_path'"
    if ENGINE == "catalog-file":
        with duckdb.connect(f"{new}/warehouse.ducklake") as catalog:
            catalog.execute(moved)
    if ENGINE == "postgres":
        before, after = (_databases[each["CP_DUCKDB_SECRETS"]] for each in taken)
        server().execute(f"DROP DATABASE {after}")
        server().execute(f"CREATE DATABASE {after} TEMPLATE {before}")
        server().execute(moved, after)


def many(value: str) -> str:
    """A file with too many rows to be in the catalog itself."""
    return "N,V\n" + "".join(f"{n},{value}\n" for n in range(40))


# The database of each folder of secrets.
_databases: dict[str, str] = {}


def postgres_lake(folder: Path, store: dict[str, str] | None = None) -> dict[str, str]:
    """Make the secrets of a new lake, whose catalog is a new database, and name them.

    ``store``: the variables of an S3 server (``object_stores``), if the data files lie there.
    """
    return secrets(folder, server().new_database(), server().port, store)


def secrets(
    folder: Path, database: str, port: int, store: dict[str, str] | None = None
) -> dict[str, str]:
    """Make the secrets of a lake, and name them."""
    kept = folder / "secrets"
    _databases[str(kept)] = database
    kept.mkdir(mode=0o700, parents=True)
    data_path = f"s3://{BUCKET}/{database}/" if store else f"{folder}/lake/"
    with duckdb.connect(config={**_VERIFIED, "secret_directory": str(kept)}) as connection:
        for name in ("ducklake", "postgres_scanner", *(["httpfs"] if store else [])):
            connection.execute(f"LOAD '{extension_file(name)}'")
        if store:
            connection.execute(
                f"CREATE PERSISTENT SECRET store (TYPE s3, KEY_ID '{store['AWS_ACCESS_KEY_ID']}',"
                f" SECRET '{store['AWS_SECRET_ACCESS_KEY']}', REGION '{store['AWS_REGION']}',"
                f" ENDPOINT '{store['AWS_ENDPOINT_URL'].removeprefix('http://')}', USE_SSL false,"
                f" URL_STYLE 'path', SCOPE 's3://{BUCKET}/')"
            )
        connection.execute(
            f"CREATE PERSISTENT SECRET catalog (TYPE postgres, HOST '127.0.0.1',"
            f" PORT {port}, DATABASE '{database}', USER '{USER}', PASSWORD '{PASSWORD}')"
        )
        connection.execute(
            "CREATE PERSISTENT SECRET warehouse (TYPE ducklake, METADATA_PATH '',"
            f" DATA_PATH '{data_path}',"
            " METADATA_PARAMETERS MAP {'TYPE': 'postgres', 'SECRET': 'catalog'})"
        )
    return {"CP_WAREHOUSE": "ducklake:warehouse", "CP_DUCKDB_SECRETS": str(kept)}


@cache
def server() -> PostgresServer:
    """Return the PostgreSQL of this process, started at the first use."""
    found = PostgresServer()
    atexit.register(found.stop)
    return found
