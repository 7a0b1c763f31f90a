"""Kill commands (SIGKILL) at random times, and run them again: the result is as if never killed.

By default, only a few commands are killed. Set KILLS for more. Set SEED to repeat the times of a
failure, as far as the machine is deterministic:
``KILLS=300 SEED=11 pytest cp_pipeline_tests/reliability/…at_random.py``.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.cli.sync import run_sync
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.reliability.leftovers import (
    leftovers,
    processes_left,
    unfinished,
    without_event,
)
from cp_pipeline_tests.warehouses import compact, publish

KILLS = int(os.environ.get("KILLS", "3"))
SEED = int(os.environ.get("SEED", "7"))
# The process kills itself, so that the time that Python and the imports take does not matter: a
# random time after a random one of the steps in which it uses its data folder or CentrePoint.
KILL = """
import os, signal, sys, threading
import cp_pipeline.defs.definitions, cp_pipeline.defs.instance.command_runs
from cp_pipeline.cli import commands
from cp_pipeline.ingest import Pipeline
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, publish_current
at, seconds, group = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "all"
folder, steps = os.environ["CP_DATA_DIR"], []

def kill():
    os.kill(-os.getpid() if group else os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    kind = event.partition(".")[0]
    in_folder = kind in {"open", "os", "sqlite3"} and folder in repr(arguments)
    if in_folder or kind in {"socket", "fcntl"}:
        steps.append(event)
        if len(steps) == at:
            threading.Timer(seconds, kill).start()

sys.addaudithook(watch)
"""
PUBLISH = """
storage = StorageSettings.from_environment()
with Warehouse.of(storage) as warehouse:
    publish_current(warehouse, storage.published)
"""
# Sync as with many exports: a subprocess loads them, and it must end with its parent.
SYNC_APART = 'Pipeline.subprocess_from = 0\ncommands(["sync"])'
COMPACT = 'commands(["compact", "--older-than", "0", "--yes"])'
# The commands to kill, how many steps they have, and the longest time after one, in seconds.
COMMANDS = {
    "sync": ('commands(["sync"])', 250, 0.03),
    "sync apart": (SYNC_APART, 125, 0.1),
    "publish": (PUBLISH, 5, 0.3),
    "compact": (COMPACT, 17, 0.1),
}
# Load ids depend on the order of the downloads, and times on the clock.
_NUMBERS = ("_load_id", "load_id", "superseded_by", "caused_by_load_id", "dagster_run_id")
_MOMENTS = ("loaded_at", "superseded_at", "compacted_at", "listed_at", "failed_at", "changed_at")
# Tables about what was done, and how often: the publication, questions to CentrePoint, commands.
_LEFT_OUT = {"actions", "listings", "publication", "superseded"}


@pytest.fixture(scope="module")
def service() -> Iterator[Sandbox]:
    """A study that ``begun`` has loaded in part, with programs executed again since then."""
    study = SandboxStudy.synthetic(study_id=4711, subjects=4, days=1, seed=1, epoch_rows=200)
    with Sandbox(study) as serving:
        yield serving


@pytest.fixture(scope="module")
def begun(service: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in normal use: synced twice, published, and with new exports to load."""
    folder = tmp_path_factory.mktemp("begun") / "data"
    with pytest.MonkeyPatch.context() as here:
        storage = settle(here, service, folder)
        assert run_sync() == 0
        publish(storage)
        service.execute_again(data_set_name="ActivityDaily8")
        assert run_sync() == 0
        service.execute_again()
    return folder


def settle(here: pytest.MonkeyPatch, service: Sandbox, folder: Path) -> StorageSettings:
    for name, value in service.environment.items():
        here.setenv(name, value)
    here.setenv("CP_DATA_DIR", str(folder))
    here.setenv("DAGSTER_HOME", str(folder / "dagster_home"))
    return StorageSettings.from_environment()


@pytest.fixture(scope="module")
def undisturbed(
    service: Sandbox, begun: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(begun, folder)
    with pytest.MonkeyPatch.context() as here:
        return finish(settle(here, service, folder))


def finish(storage: StorageSettings) -> dict[str, str]:
    """Run all commands without a kill, and return hashes of the resulting tables."""
    assert run_sync() == 0
    compact(storage, timedelta(0))
    publish(storage)
    assert run_sync() == 0
    both = (Path(storage.warehouse), storage.published)
    return {f"{path.name} {name}": text for path in both for name, text in hashes(path).items()}


def hashes(path: Path) -> dict[str, str]:
    """A hash of each table's rows, in any order, without load ids and times."""
    found = {}
    with duckdb.connect(str(path), read_only=True) as opened:
        tables = opened.execute(
            "SELECT schema_name, table_name, list(column_name) FROM duckdb_columns()"
            " WHERE schema_name IN ('exports', 'history', 'lineage') GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        for schema, table, columns in tables:
            if table in _LEFT_OUT:
                continue
            kept = [name for name in sorted(columns) if name not in {*_NUMBERS, *_MOMENTS}]
            listed = ", ".join(f'"{name}"' for name in kept)
            sql = f'SELECT {listed} FROM {schema}."{table}" ORDER BY ALL'
            rows = repr((kept, opened.execute(sql).fetchall()))
            found[f"{schema}.{table}"] = hashlib.sha256(rows.encode()).hexdigest()
    return found


def kill_at_random(command: str, moments: random.Random, *, all_of_it: bool) -> tuple[object, ...]:
    """Start a command that is killed, with or without its children. Return when, and its end."""
    program, steps, longest = COMMANDS[command]
    when = (moments.randint(1, steps), moments.uniform(0, longest))
    done = subprocess.run(
        [sys.executable, "-c", KILL + program, *map(str, when), "all" if all_of_it else "alone"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=False,
    )  # fmt: skip
    return command, *when, done.returncode


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_random_and_run_again_it_ends_as_if_never_killed(
    begun: Path, service: Sandbox, undisturbed: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, number: int,
) -> None:  # fmt: skip
    moments = random.Random(SEED * 1_000_003 + number)
    storage = settle(monkeypatch, service, tmp_path / "data")
    shutil.copytree(begun, storage.data_dir)
    told = []
    # Sometimes the command that should repair the state is killed too.
    for _ in range(moments.choice([1, 1, 2, 3])):
        command = moments.choice(["sync", "sync apart", *COMMANDS])
        told.append(kill_at_random(command, moments, all_of_it=number % 2 == 0))
    ended = finish(storage)
    assert ended == undisturbed, (SEED, told)
    assert leftovers(storage) == [], (SEED, told)
    assert unfinished(storage) == [], (SEED, told)
    assert without_event(storage) == {}, (SEED, told)
    assert processes_left(storage) == [], (SEED, told)
    assert not list(storage.data_dir.glob(".centrepoint.*")), (SEED, told)
