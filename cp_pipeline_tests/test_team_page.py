"""docs/team.md: its commands run, and its files are accepted by the programs that read them.

Belongs here: backup, restore, upgrade, units, the login, what is said on Windows. Does not belong:
links and words (``test_documents``).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError

import dagster as dg
import duckdb
import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests import forked
from cp_pipeline_tests.browser.dagster_ui import free_port
from cp_pipeline_tests.cli.test_commands import run
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.test_documents import BLOCK

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "team.md"
TEAM = ROOT / "examples" / "team"
PARTITIONS, NOTHING_NEW = 11, "0 exports in 0 partitions to load"
UNITS = sorted(TEAM.glob("*.service"))
# As a script in `bin`.
_SCRIPT = """
import sys
from importlib.metadata import entry_points
name = sys.argv.pop(1)
(script,) = entry_points(group="console_scripts", name=name)
script.load()()
"""


@pytest.fixture
def study() -> SandboxStudy:
    return SandboxStudy.synthetic(study_id=4711, subjects=3, days=1, epoch_rows=60)


def folder_of_a_study(path: Path) -> Path:
    """As the page has it: with `.venv` and `backup.py`."""
    path.mkdir()
    (path / ".venv").symlink_to(sys.prefix)
    (path / "backup.py").symlink_to(TEAM / "backup.py")
    return path


def from_the_page(kind: str, folder: Path, backup: Path) -> str:
    """Run the block that the page marks so, in a folder, as a shell does."""
    (script,) = (body for name, body in BLOCK.findall(PAGE.read_text()) if name == f"sh {kind}")
    settings = {"BACKUP": str(backup), "CP_DATA_DIR": str(folder / "data")}
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(folder: Path) -> str:
    done = run("status", folder=folder, CP_DATA_DIR=str(folder / "data"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def loads(folder: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(folder / "data/warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute("FROM lineage.loads ORDER BY load_id").fetchall()


def materialized(folder: Path) -> int:
    """How many partitions Dagster has; no run may look active."""
    with pytest.MonkeyPatch.context() as here:
        here.setenv("DAGSTER_HOME", str(folder / "data/dagster_home"))
        with dg.DagsterInstance.get() as instance:
            assert all(run.is_finished for run in instance.get_runs())
            return len(instance.get_materialized_partitions(dg.AssetKey("dataset_exports")))


def test_a_backup_can_be_restored_in_a_new_folder_and_upgraded(
    sandbox: FaultySandbox, tmp_path: Path
) -> None:
    old = folder_of_a_study(tmp_path / "old")
    assert run("sync", folder=old, CP_DATA_DIR=str(old / "data")).returncode == 0
    before, loaded = status(old), loads(old)
    assert materialized(old) == PARTITIONS
    backup = tmp_path / "backups" / "first"
    from_the_page("backup", old, backup)
    modes = {path.stat().st_mode & 0o077 for path in (backup, *backup.iterdir())}
    assert modes == {0}
    shutil.rmtree(old)

    new = folder_of_a_study(tmp_path / "new")
    said = from_the_page("restore", new, backup)
    assert said.startswith(before.replace(str(old), str(new)))
    assert NOTHING_NEW in said
    assert loads(new) == loaded
    assert materialized(new) == PARTITIONS
    assert NOTHING_NEW in from_the_page("upgrade", new, backup)

    # The restored study is as good as the first one. Copy it while a run loads all of it again.
    sandbox.trickle("file", pause_seconds=0.01)
    during = backup_during_a_run(new, tmp_path / "backups")
    last = folder_of_a_study(tmp_path / "last")
    assert NOTHING_NEW in from_the_page("restore", last, during)
    assert len(loads(last)) >= len(loaded)
    assert materialized(last) == PARTITIONS


def backup_during_a_run(folder: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "cp_pipeline.cli", "sync", "--refresh", "--quiet"]
    settings = {**os.environ, "CP_DATA_DIR": str(folder / "data")}
    with subprocess.Popen(command, cwd=folder, env=settings) as sync:
        backup = target / "before the run"
        while not [*backup.glob("data/run_locks/*")]:
            assert sync.poll() is None, "the run was over before it could be copied"
            backup = target / f"{time.monotonic()}"
            from_the_page("backup", folder, backup)
        assert sync.wait() == 0
    return backup


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_with_options_that_exist(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert Path(program).parent == Path("/srv/study/.venv/bin")
    command = [each for each in arguments if each == "run"]
    done = forked.program(_SCRIPT, Path(program).name, *command, "--help")
    assert done.returncode == 0, done.stderr
    options = {each for each in arguments if each.startswith("--")}
    assert "--module-name" in options
    assert {each for each in options if not re.search(rf"{each}\b", done.stdout)} == set()
    # Without a login, and with nothing to start, but for the daemon.
    if "daemon" not in program:
        assert "--read-only" in options
        assert arguments[arguments.index("--host") + 1] == "127.0.0.1"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    folder_of_a_study(tmp_path / "study")
    for unit in UNITS:
        text = unit.read_text().replace("/srv/study", str(tmp_path / "study"))
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, ours) == (0, [])


class _Dagster(BaseHTTPRequestHandler):
    """In place of the webserver: says which credentials reached it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"seen: {self.headers['Authorization']}".encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    """The page's site in an nginx of our own, without TLS; yields its address."""
    port, behind = free_port(), HTTPServer(("127.0.0.1", 0), _Dagster)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    text = (TEAM / "nginx.conf").read_text()
    assert "ssl_certificate_key" in text
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE)
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port}",
        "127.0.0.1:3000": f"127.0.0.1:{behind.server_port}",
        "_user_file /etc/nginx/study.htpasswd": f"_user_file {tmp_path}/passwords",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "passwords").write_text("me:{PLAIN}secret\n")
    temporary = "".join(
        f"{each}_temp_path {tmp_path}/{each};"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; daemon off; master_process off; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text} }}\n"
    )
    command = ["nginx", "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "errors")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(command) as running:
        yield f"http://127.0.0.1:{port}"
        running.terminate()
    behind.shutdown()
    behind.server_close()


def answer(address: str, password: str = "") -> tuple[int, str]:
    opener = urllib.request.build_opener()
    if password:
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, address, "me", password, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    for _ in range(100):
        try:
            with opener.open(address, timeout=10) as said:
                return said.status, said.read().decode()
        except HTTPError as refused:
            return refused.code, ""
        except URLError:
            time.sleep(0.1)
    raise AssertionError("nginx does not listen")


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx")
def test_the_login_lets_nobody_in_without_a_password(nginx: str) -> None:
    assert answer(nginx)[0] == 401
    assert answer(nginx, "wrong")[0] == 401
    assert answer(nginx, "secret") == (200, "seen: None")


@pytest.mark.parametrize("module", ["cp_pipeline.cli", "cp_pipeline.definitions", "cp_pipeline"])
def test_windows_is_told_in_words(module: str) -> None:
    # Windows has no fcntl. A module that is None cannot be imported.
    code = f"import sys; sys.modules['fcntl'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert "Linux and macOS" in last
    assert "WSL 2" in last
