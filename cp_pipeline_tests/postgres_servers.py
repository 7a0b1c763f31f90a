"""A real PostgreSQL for the tests, on loopback: for Dagster, and for the catalogs of lakes.

Belongs here: starting and ending it, its databases. Does not belong: what is tested with it.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest

USER, PASSWORD = "cp", "Very-Secret-Of-Postgres"


class PostgresServer:
    """A PostgreSQL server in a folder of its own, with the user ``cp``; each database is a new one.

    ``durable``: whether a commit waits for the disk, as in earnest. Skips the test where PostgreSQL
    is not installed.
    """

    def __init__(self, *, durable: bool = False) -> None:
        initdb, self._pg_ctl = _program("initdb"), _program("pg_ctl")
        self._folder = Path(tempfile.mkdtemp(prefix="cp-postgres-"))
        # PostgreSQL refuses to run as root.
        self._person = "nobody" if os.geteuid() == 0 else None
        if self._person:
            shutil.chown(self._folder, self._person)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.port = int(unused.getsockname()[1])
        self._run(
            initdb, "-D", str(self.data), "-U", USER, "-A", "scram-sha-256", "-N",
            f"--pwfile={secret}", "--encoding=UTF8",
        )  # fmt: skip
        self._control(
            "start", "-l", f"{self._folder}/log", "-o",
            f"-p {self.port} -h 127.0.0.1 -k {self._folder} -c max_connections=200"
            f" -c fsync={'on' if durable else 'off'}",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        """The folder of its databases."""
        return self._folder / "data"

    def new_database(self) -> str:
        """Create a database, and return its name."""
        name = f"cp_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Execute one statement outside a transaction."""
        # Not everybody has it who reads the tests.
        import psycopg2

        opened = psycopg2.connect(self.url(database))
        try:
            opened.autocommit = True
            opened.cursor().execute(sql)
        finally:
            opened.close()

    def stop(self) -> None:
        """End the server and all connections to it, and remove its folder."""
        self._control("stop", "-m", "fast")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        self._run(self._pg_ctl, "-D", str(self.data), "-w", *arguments)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, user=self._person, cwd=self._folder, text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, check=False,
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
