"""A new file in the place of the warehouse's: at no moment none, and at no moment half of one.

Belongs here: who may replace, writing a fresh copy, putting a file in place, what a killed process
left beside it. Does not belong: what is dropped or built anew (``compaction``, ``subject_erasure``,
``warehouse_rebuild``).

What DuckDB does (2.0.0 and 1.5.5 alike, by experiment), and what follows from it:

- It locks the open file, not its name. So whoever replaces the file keeps the old one attached
  until the new one has the name, and nobody writes in between. Whoever had opened the old file just
  before, and gets its lock just after, finds out by ``Warehouse`` that it has no name any more.
- The log is found by name, ``<file>.wal``. One of the old file beside the new one makes the new one
  impossible to open ("WAL does not match database file"). So the old file is checkpointed first,
  which removes its log, and nothing is written to it afterwards.
- DETACH of a file that was replaced leaves a log alone that another process has meanwhile begun
  for the new file.
- The lock is one of POSIX: it is gone when this process closes any other handle of the file. So
  nothing here opens the attached file by its name, not even to read it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import WarehouseBusy, WarehouseError


def file_of(warehouse: Warehouse) -> Path:
    """The warehouse's file itself, where ``CP_WAREHOUSE`` is a link to it."""
    return Path(warehouse.location).resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Be the only one who replaces ``path``; yields where the new file is to be written.

    What a killed process had written there is removed first, and what is left there at the end.

    Raises:
        WarehouseBusy: another process is at it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.aside")
    # A lock on the folder, because one on a file of its own would have to stay there for ever.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WarehouseBusy(
                f"Another process is compacting, erasing from, or rebuilding {path}.",
                "Run this again when it has ended.",
            ) from None
        _remove(scratch)
        try:
            yield scratch
        finally:
            _remove(scratch)
    finally:
        os.close(folder)


def write_anew(warehouse: Warehouse) -> tuple[int, int]:
    """Replace the warehouse's file by a fresh copy, without free pages; bytes before and after.

    Raises:
        WarehouseBusy: another process holds the file.
        WarehouseError: there is no room for the copy; the file is as it was.
    """
    path = file_of(warehouse)
    with replacing(path) as scratch, warehouse.held() as connection:
        connection.execute("CHECKPOINT warehouse")
        before = path.stat().st_size
        copy_database(connection, "warehouse", scratch)
        shutil.copymode(path, scratch)
        put_in_place(scratch, path)
    return before, path.stat().st_size


def copy_database(connection: duckdb.DuckDBPyConnection, database: str, target: Path) -> None:
    """Copy an attached database to a new file, for DuckDB 1.5 and newer.

    Raises:
        WarehouseError: it cannot be written.
    """
    try:
        connection.execute(f"ATTACH {literal(target)} AS fresh (STORAGE_VERSION 'v1.5.0')")
        try:
            connection.execute(f"COPY FROM DATABASE {database} TO fresh")
        finally:
            connection.execute("DETACH fresh")
    except duckdb.Error as error:
        raise WarehouseError(
            f"A copy cannot be written to {target}: {str(error).splitlines()[0]}.",
            "Nothing else has changed. The disk needs room for a second file of this size.",
        ) from error


def put_in_place(new: Path, path: Path) -> None:
    """Give a finished file the name of the old one, also if the power fails just then.

    Raises:
        WarehouseError: there is a log of the old file, which would make the new one unreadable.
    """
    if log_of(path).exists():
        raise WarehouseError(
            f"{log_of(path)} is still there, and does not belong to the new file.",
            "Nothing has changed. Run this again.",
        )
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.replace(path)
    sync_folder(path.parent)


def log_of(path: Path) -> Path:
    """DuckDB's write-ahead log of a file."""
    return path.with_name(f"{path.name}.wal")


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(scratch: Path) -> None:
    scratch.unlink(missing_ok=True)
    log_of(scratch).unlink(missing_ok=True)
