"""Replace the warehouse file atomically: the file is never missing and never partial.

Belongs here: the lock for replacing, writing a fresh copy, putting a file in place, removing the
files of a killed process. Does not belong: what is dropped or rebuilt (``compaction``,
``subject_erasure``, ``warehouse_rebuild``).

Facts about DuckDB (tested with 2.0.0 and 1.5.5), and what follows from each:

- DuckDB locks the open file, not its name. So the process that replaces the file keeps the old one
  attached until the new one has the name, and no process writes in between. A process that opened
  the old file just before, and gets its lock just after, finds in ``Warehouse`` that the file has
  no name any more.
- DuckDB finds the write-ahead log by name, ``<file>.wal``. A log of the old file next to the new
  one makes the new one impossible to open ("WAL does not match database file"). So the old file is
  checkpointed first, which removes its log, and is not written afterwards.
- DETACH of a replaced file does not touch a log that another process has begun for the new file.
- The lock is a POSIX lock: it is lost when this process closes any other handle of the file. So
  this module never opens the attached file by name, not even to read it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import WarehouseBusy, WarehouseError
from cp_pipeline.warehouse.quiet_connections import NEW_FILE, attached


def file_of(warehouse: Warehouse) -> Path:
    """Return the path of the warehouse file, with symbolic links resolved."""
    return Path(warehouse.location).resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lock the replacement of ``path``; yield the path at which to write the new file.

    Remove a file at that path before the block (left by a killed process) and after it.

    Raises:
        WarehouseBusy: another process is replacing the file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.aside")
    # Lock the folder, because a separate lock file could never be removed.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WarehouseBusy(
                f"Another process is compacting, erasing from, or rebuilding {path}.",
                "Run this again when that process has ended.",
            ) from None
        _remove(scratch)
        try:
            yield scratch
        finally:
            _remove(scratch)
    finally:
        os.close(folder)


def write_anew(warehouse: Warehouse) -> tuple[int, int]:
    """Replace the warehouse file with a fresh copy without free pages; return old and new bytes.

    Raises:
        WarehouseBusy: another process holds the file.
        WarehouseError: the disk has no space for the copy; the file is unchanged.
    """
    path = file_of(warehouse)
    with replacing(path) as scratch, warehouse.held() as connection:
        connection.execute("CHECKPOINT warehouse")
        before = path.stat().st_size
        copy_database(connection, scratch)
        shutil.copymode(path, scratch)
        put_in_place(scratch, path)
    return before, path.stat().st_size


def copy_database(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    """Copy the attached warehouse to a new file that DuckDB 1.5 and newer can open.

    Raises:
        WarehouseError: the new file cannot be written.
    """
    try:
        with attached(connection, target, "fresh", NEW_FILE):
            connection.execute("COPY FROM DATABASE warehouse TO fresh")
    except duckdb.Error as error:
        raise WarehouseError(
            f"A copy cannot be written to {target}: {str(error).splitlines()[0]}.",
            "Nothing else has changed. The disk needs space for a second file of this size.",
        ) from error


def put_in_place(new: Path, path: Path) -> None:
    """Rename a finished file to the name of the old one, safe against a power failure.

    Raises:
        WarehouseError: the old file has a log, which would make the new file unreadable.
    """
    if log_of(path).exists():
        raise WarehouseError(
            f"{log_of(path)} still exists, but does not belong to the new file.",
            "Nothing has changed. Run this again.",
        )
    with new.open("rb") as written:
        os.fsync(written.fileno())
    new.replace(path)
    sync_folder(path.parent)


def log_of(path: Path) -> Path:
    """Return the path of a file's write-ahead log."""
    return path.with_name(f"{path.name}.wal")


def sync_folder(folder: Path) -> None:
    """Flush the file names of a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(scratch: Path) -> None:
    scratch.unlink(missing_ok=True)
    log_of(scratch).unlink(missing_ok=True)
