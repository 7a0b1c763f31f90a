"""Copy a study's data and Dagster's home into a new folder, also while a sync or the UI runs.

    cd /srv/study && .venv/bin/python examples/team/backup.py /backup/2026-11-28

Belongs here: one copy, in an order that can be restored (docs/team.md). Does not belong: where
copies are kept, and for how long.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from cp_pipeline.env_file import read_env_file
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse

# Scratch folders, locks of moments, and what dbt writes anew.
_LEFT_OUT = (".aside", "*.aside", "*.partial", "*.lock", "dbt")


def main(target: Path) -> None:
    """Copy everything into ``target``, which must not exist yet."""
    read_env_file(Path.cwd())
    storage = StorageSettings.from_environment()
    home = Path(os.environ.get("DAGSTER_HOME", "") or storage.dagster_home)
    os.umask(0o077)
    target.mkdir(parents=True)
    # By a run's lock file, which nobody holds in the copy, the next sync sees that the run is gone.
    # Now, and again with all other files: a run may begin or end in between.
    locks = storage.data_dir / "run_locks"
    if locks.exists():
        shutil.copytree(locks, target / "data" / "run_locks", copy_function=_copied)
    # In this order: missing events are added by the next run, and a landed file that the warehouse
    # does not know yet is loaded by the next sync. The other way round, something would be missing.
    _copy_home(home, target / "dagster_home")
    _copy_warehouse(storage, target / "data")
    _copy_files(storage, home, target / "data")


def _copy_home(home: Path, target: Path) -> None:
    """Copy Dagster's home. SQLite copies each of its files as it is at one moment."""
    shutil.copytree(home, target, ignore=shutil.ignore_patterns("*.db", "*.db-*", "*.lock"))
    # A run's events come before the run: a run without events is ended by the next sync.
    for file in sorted(home.rglob("*.db"), key=lambda path: (path.name == "runs.db", path)):
        with (
            closing(sqlite3.connect(file, timeout=60)) as source,
            closing(sqlite3.connect(target / file.relative_to(home))) as copy,
        ):
            source.backup(copy)


def _copy_warehouse(storage: StorageSettings, target: Path) -> None:
    """Copy the warehouse's file, with its log if it has one, while nobody can write it."""
    target.mkdir(exist_ok=True)
    file = Path(storage.warehouse)
    with Warehouse.of(storage) as warehouse, warehouse.reading():
        # In another process: if this one closed a second handle of the file, its lock was gone.
        for each in (file, file.with_name(f"{file.name}.wal")):
            if each.exists():
                subprocess.run(["cp", "-p", each, target], check=True)  # noqa: S603, S607


def _copy_files(storage: StorageSettings, home: Path, target: Path) -> None:
    warehouse = Path(storage.warehouse)
    elsewhere = {home, warehouse, warehouse.with_name(f"{warehouse.name}.wal")}

    def left_out(folder: str, names: list[str]) -> set[str]:
        there = {name for name in names if Path(folder, name) in elsewhere}
        return there | shutil.ignore_patterns(*_LEFT_OUT)(folder, names)

    shutil.copytree(
        storage.data_dir, target, ignore=left_out, dirs_exist_ok=True, copy_function=_copied
    )
    if not storage.published.is_relative_to(storage.data_dir) and storage.published.exists():
        shutil.copy2(storage.published, target)


def _copied(source: str, target: str) -> None:
    # A note that was moved into the warehouse meanwhile, for example.
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
