"""A real PostgreSQL for the tests, on loopback.

Belongs here: starting and ending it. Does not belong: what is tested with it.
"""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "dagster", "TopSecretOfPostgres"
# PostgreSQL refuses to run as root.
_ROOT, _NOBODY = 0, "nobody"


class PostgresServer:
    """A running server; each database is a new one."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._databases = 0

    def new_database(self) -> str:
        """Create a database, and return its name."""
        import psycopg2

        self._databases += 1
        name = f"dagster_{self._databases}"
        opened = psycopg2.connect(self.url("postgres"))
        opened.autocommit = True
        with opened.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        opened.close()
        return name

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"


def dagster_yaml(server: PostgresServer, database: str, scheme: str = "postgresql+psycopg2") -> str:
    """The `dagster.yaml` of docs/hosts.md, for this server."""
    documented = Path(__file__).parents[1] / "docs" / "hosts.md"
    found: list[str] = re.findall(r"```yaml\n(storage:.*?)```", documented.read_text(), re.DOTALL)
    text = found[0]
    text = text.replace("db.example.com", "127.0.0.1").replace("5432", str(server.port))
    text = text.replace("username: dagster", f"username: {USER}").replace(
        "db_name: dagster", f"db_name: {database}"
    )
    return text.replace("postgresql+psycopg2", scheme)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start PostgreSQL in a folder of its own; skip the test if it is not installed."""
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    other: dict[str, Any] = {}
    if os.getuid() == _ROOT:
        nobody = pwd.getpwnam(_NOBODY)
        other = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    make = f"initdb -D {data} -U {USER} -A scram-sha-256 --pwfile {secret} -N".split()
    subprocess.run(make, check=True, capture_output=True, cwd=folder, **other)
    # Its fast shutdown ends all connections.
    control = f"pg_ctl -D {data} -w -m fast -l {folder}/log".split()
    options = f"-k {folder} -p {port} -h 127.0.0.1 -F"
    subprocess.run([*control, "-o", options, "start"], check=True, cwd=folder, **other)
    try:
        yield PostgresServer(port)
    finally:
        subprocess.run([*control, "stop"], check=True, cwd=folder, **other)
        shutil.rmtree(folder, ignore_errors=True)
