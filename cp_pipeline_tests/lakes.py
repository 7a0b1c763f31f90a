"""The engine of the tests' warehouses: a DuckDB file, or a DuckLake.

``CP_TEST_WAREHOUSE`` chooses it for a whole run of the tests (``make test-lake``): ``file`` (the
default), ``catalog-file`` (a DuckLake with a catalog file), or ``postgres`` (a DuckLake whose
catalog is a real PostgreSQL on loopback).
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from cp_pipeline.warehouse.lake import extension_file
from cp_pipeline_tests.object_stores import BUCKET

ENGINE = os.environ.get("CP_TEST_WAREHOUSE", "file")
PASSWORD = "Very-Secret-Catalog"


def warehouse_variables(data_dir: Path) -> dict[str, str]:
    """Return the variables of a new warehouse with the engine of this run."""
    if ENGINE == "catalog-file":
        return {"CP_WAREHOUSE": f"ducklake:{data_dir}/warehouse.ducklake"}
    if ENGINE == "postgres":
        return postgres_lake(data_dir)
    assert ENGINE == "file", ENGINE
    return {}


def postgres_lake(folder: Path, store: dict[str, str] | None = None) -> dict[str, str]:
    """Make the secrets of a new lake, whose catalog is a new database, and name them.

    ``store``: the variables of an S3 server (``object_stores``), if the data files lie there.
    """
    database = f"lake_{uuid4().hex}"
    server().execute(f"CREATE DATABASE {database}")
    return secrets(folder, database, server().port, store)


def secrets(
    folder: Path, database: str, port: int, store: dict[str, str] | None = None
) -> dict[str, str]:
    """Make the secrets of a lake, and name them."""
    kept = folder / "secrets"
    kept.mkdir(mode=0o700, parents=True)
    data_path = f"s3://{BUCKET}/{database}/" if store else f"{folder}/lake/"
    with duckdb.connect(config={"secret_directory": str(kept)}) as connection:
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
            f" PORT {port}, DATABASE '{database}', USER 'cp', PASSWORD '{PASSWORD}')"
        )
        connection.execute(
            "CREATE PERSISTENT SECRET warehouse (TYPE ducklake, METADATA_PATH '',"
            f" DATA_PATH '{data_path}',"
            " METADATA_PARAMETERS MAP {'TYPE': 'postgres', 'SECRET': 'catalog'})"
        )
    return {"CP_WAREHOUSE": "ducklake:warehouse", "CP_DUCKDB_SECRETS": str(kept)}


class Postgres:
    """A PostgreSQL server of its own on loopback; ended with this process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cp-postgres-"))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = int(unused.getsockname()[1])
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.data), "-U", "cp", "--auth=scram-sha-256",
            f"--pwfile={password}", "--encoding=UTF8",
        )  # fmt: skip
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
            " -c max_connections=200"
        )
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options,
            "start",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        """The folder of its databases."""
        return self.folder / "data"

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Execute one statement outside a transaction."""
        with duckdb.connect() as connection:
            connection.execute(f"LOAD '{extension_file('postgres_scanner')}'")
            connection.execute(
                f"ATTACH 'host=127.0.0.1 port={self.port} dbname={database} user=cp"
                f" password={PASSWORD}' AS server (TYPE postgres)"
            )
            connection.execute(
                "CALL postgres_execute('server', ?, use_transaction => false)", [sql]
            )

    def stop(self) -> None:
        """End the server, and remove its folder."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(name), *arguments], user=self._user, cwd=self.folder, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _program(name: str) -> str:
    """The path of a program of PostgreSQL; Debian does not put all of them on the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql).")
    return found


@cache
def server() -> Postgres:
    """Return the PostgreSQL of this process, started at the first use."""
    found = Postgres()
    atexit.register(found.stop)
    return found
