"""Helpers for tests of compact, rebuild and erase: a warehouse's contents, and a killed process.

The process runs the real operation. It is killed (SIGKILL) before or after one Python function or
one DuckDB statement, which the test replaces. The package has no code for this.
"""

import gzip
import hashlib
import signal
import subprocess
import sys
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import rows
from cp_pipeline_tests.warehouses import reading

# A value that occurs only in the files of one subject, and only in this spelling.
MARKER = "Zebra7319Quince"
MARKED_SUBJECT = 99
# Times and run ids may differ between two executions of the same operation.
_MOMENTS = {
    "loaded_at", "superseded_at", "compacted_at", "erased_at", "failed_at", "listed_at",
    "changed_at", "acted_at", "dagster_run_id",
}  # fmt: skip

_KILLER = """
import os, signal, sys
import duckdb
from cp_pipeline.warehouse.connection import Warehouse

when, what, nth = {when!r}, {what!r}, {nth}
seen = 0

def hit(text):
    global seen
    seen += what in text
    return what in text and seen == nth

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Watched:
    def __init__(self, connection):
        self._connection = connection
    def execute(self, statement, *rest):
        mine = hit(statement)
        if mine and when == "before":
            die()
        answer = self._connection.execute(statement, *rest)
        if mine:
            die()
        return answer
    def __getattr__(self, name):
        return getattr(self._connection, name)

made = Warehouse.__init__
def init(self, *args, **kwargs):
    made(self, *args, **kwargs)
    self.connection = Watched(self.connection)
Warehouse.__init__ = init

def audit(event, args):
    # Names by which the system calls that change a folder are told to an audit hook.
    names = {{"os.rename", "os.remove", "os.link", "shutil.rmtree", "open", "sqlite3.connect"}}
    if event in names and hit(f"{{event}} {{' '.join(str(a) for a in args)}}"):
        die()
sys.addaudithook(audit)

if what.startswith("call "):
    # A function, by the name under which a module calls it: "call module:name".
    from importlib import import_module
    where, _, name = what[5:].partition(":")
    module = import_module(where)
    called = getattr(module, name)
    def counted(*args, **kwargs):
        mine = hit(what)
        if mine and when == "before":
            die()
        answer = called(*args, **kwargs)
        if mine:
            die()
        return answer
    setattr(module, name, counted)

{work}
"""
_COMMAND = """
from cp_pipeline.cli import commands
commands({arguments!r}, standalone_mode=False)
"""

_OTHER_PROCESS = """
import duckdb, os, signal, sys
try:
    held = duckdb.connect(sys.argv[1])
    held.execute("INSERT INTO lineage.failures (stage) VALUES ('of another process')")
    print("written", flush=True)
except duckdb.Error as error:
    print(error, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # so that its log stays beside the file
"""


def run_killed(*arguments: str, when: str, what: str, nth: int = 1, work: str = "") -> None:
    """Run a command, and kill it before or after the nth matching statement or file operation.

    ``work``: Python code to run instead of a command.
    """
    work = work or _COMMAND.format(arguments=list(arguments))
    script = _KILLER.format(when=when, what=what, nth=nth, work=work)
    done = forked.program(script)
    assert done.returncode == -signal.SIGKILL, (when, what, nth, done.stdout, done.stderr)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return forked.command(*arguments)


def contents(warehouse: Path | None = None, *, but: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return a hash of each table and view: of its columns, types and rows in any order.

    Leave out times, a lake's ``lineage.turn``, and the tables in ``but`` (``lineage.failures``).
    """
    storage = StorageSettings.from_environment()
    if warehouse:
        storage = replace(storage, warehouse=str(warehouse))
    with reading(storage) as opened:
        names = opened.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name ="
            " current_database() UNION ALL SELECT schema_name, view_name FROM duckdb_views()"
            " WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
        ).fetchall()
        hashes = {}
        for schema, name in names:
            # How often a lake was written is not what is in it.
            if f"{schema}.{name}" in {"lineage.turn", *but}:
                continue
            described = opened.execute(f'DESCRIBE {schema}."{name}"').fetchall()
            columns = [(row[0], row[1]) for row in described if row[0] not in _MOMENTS]
            listed = ", ".join(f'"{column}"' for column, _ in columns)
            found = opened.execute(
                f'SELECT {listed} FROM {schema}."{name}" ORDER BY ALL'
            ).fetchall()
            text = repr((columns, found))
            hashes[f"{schema}.{name}"] = hashlib.sha256(text.encode()).hexdigest()
        return hashes


def files_beside(warehouse: Path) -> set[str]:
    """Return the file names in the warehouse's folder."""
    return {path.name for path in warehouse.parent.iterdir()}


def another_process_writes(warehouse: str) -> str:
    """Write a row from another process, which then dies; return DuckDB's error or ``written``."""
    return subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, warehouse],
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def known_of_subject() -> set[str]:
    """Return every text that belongs to this subject only, except its number."""
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
    """Return the files that contain any of the texts, including inside gzip or zlib data."""
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


def held(found: dict[str, set[str]], beginning: str) -> list[str]:
    return [name for name in found if name.startswith(beginning)]


def folders_named(data_dir: Path, name: str) -> list[Path]:
    return [path for path in data_dir.rglob(name) if "dagster_home" not in path.parts]
