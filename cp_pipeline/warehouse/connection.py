"""The connection to the warehouse: open it briefly, and wait while another process holds it.

Belongs here: attaching and detaching, the lock and the process that holds it, one transaction per
block. Does not belong: the definitions of the tables (``schema``).

All work happens in an in-memory DuckDB connection, to which the warehouse is attached as
``warehouse``, and read-write only during a load (docs/design.md, 8). ATTACH accepts a file
or a DuckLake (docs/design.md, 14).
"""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

import duckdb

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.errors import NotEnoughMemory, WarehouseBusy, WarehouseUnreadable
from cp_pipeline.warehouse.schema import create_tables, has_tables, is_current

WAIT_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 2.0
_HOLDER = re.compile(r"held in (?P<program>.*?)\s*\(PID (?P<process>\d+)\)")
# Match "lock" as a word, because DuckDB's message for a damaged file has the word "block".
_IS_LOCKED = re.compile(r"\block(ed)?\b", re.IGNORECASE)
_NOT_WRITTEN = re.compile(r"no space left|could not write|disk quota", re.IGNORECASE)
_log = logging.getLogger(__name__)
# DuckDB's file lock excludes other processes. These locks exclude other threads of this process.
_locks: dict[str, threading.RLock] = {}
_locks_guard = threading.Lock()


class Warehouse:
    """An in-memory DuckDB connection, to which the warehouse is attached while it is needed.

    Args:
        location: what ATTACH opens: a file, or ``ducklake:…``.
        wait_seconds: how long to wait for another process that holds the file, in seconds.

    A thread that reads, writes or stages holds ``in_use``; one thread at a time.
    """

    def __init__(self, location: str, wait_seconds: float = WAIT_SECONDS) -> None:
        self.location = location
        self.wait_seconds = wait_seconds
        # How long the file was attached read-write: in total, and the longest single time.
        self.held_seconds = 0.0
        self.longest_hold_seconds = 0.0
        self.in_use = threading.RLock()
        self._made = False
        self._is_read = False

    @classmethod
    def of(cls, storage: StorageSettings, wait_seconds: float | None = None) -> Self:
        """Return the warehouse of the settings; ``wait_seconds`` overrides their waiting time."""
        wait = storage.warehouse_wait_seconds if wait_seconds is None else wait_seconds
        return cls(storage.warehouse, wait)

    def __enter__(self) -> Self:
        """Close the connection at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The in-memory connection, opened at its first use, which takes 10 ms."""
        connection = duckdb.connect()
        # The order of rows in a table has no meaning, and preserving it costs a third of the speed.
        connection.execute("SET preserve_insertion_order = false")
        return connection

    def spill_to(self, folder: Path) -> None:
        """Spill what does not fit in memory to a folder, instead of the working directory.

        Args:
            folder: the spill folder of the work that begins now. The memory must hold no tables.
        """
        statement = f"SET temp_directory = {literal(folder)}"
        with self.in_use:
            try:
                self.connection.execute(statement)
            except duckdb.NotImplementedException:
                # DuckDB cannot change the folder after its first spill, so open a new connection.
                self.close()
                del self.connection
                self.connection.execute(statement)

    @property
    def is_file(self) -> bool:
        """Whether the warehouse is a DuckDB file (and not a DuckLake)."""
        return not self.location.startswith("ducklake:")

    def has_file(self) -> bool:
        """Whether there is a file to open, whatever is in it; true of a DuckLake."""
        return not self.is_file or Path(self.location).exists()

    def exists(self) -> bool:
        """Whether the warehouse exists with its tables, and not only as a file."""
        if not self._made and self.has_file():
            with self.reading() as connection:
                self._made = has_tables(connection)
        return self._made

    def bring_up_to_date(self) -> None:
        """Migrate a warehouse of an earlier version to the current tables and views.

        Raises:
            WarehouseBusy: another process held the file for ``wait_seconds``.
            WarehouseUnreadable: the warehouse cannot be opened or written.
        """
        if not self.exists():
            return
        with self.reading() as connection:
            current = is_current(connection)
        if not current:
            with self.transaction():
                # Every transaction begins with the migration.
                pass

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the warehouse read-only, as the default database.

        A nested block joins the outer one and sees the same state of the warehouse.
        """
        with self.in_use:
            if self._is_read:
                yield self.connection
                return
            with self._attached("READ_ONLY"):
                self._is_read = True
                try:
                    yield self.connection
                finally:
                    self._is_read = False

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the warehouse read-write, and run the block in one transaction.

        Raises:
            WarehouseBusy: another process held the file for ``wait_seconds``.
            WarehouseUnreadable: the warehouse cannot be opened or written.
        """
        options = ""
        if self.is_file and not Path(self.location).exists():
            Path(self.location).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # DuckDB 1.5 can open this version too. An existing file keeps its own version.
            options = "STORAGE_VERSION 'v1.5.0'"
        with self._attached(options):
            self.connection.execute("BEGIN")
            try:
                create_tables(self.connection)
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException as error:
                _quietly(self.connection, "ROLLBACK")
                if isinstance(error, duckdb.Error) and _NOT_WRITTEN.search(str(error)):
                    raise WarehouseUnreadable(
                        f"The warehouse {self.location} cannot be written: "
                        f"{str(error).splitlines()[0]}.",
                        "The warehouse is unchanged. Check the disk space and the file's owner.",
                    ) from None
                raise

    def check_writable(self) -> None:
        """Wait until no other process holds the warehouse, and check that it can be written.

        Call it before another program, such as dbt, writes the warehouse without waiting.

        Raises:
            WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened for writing.
        """
        if self.exists():
            with self.held():
                pass

    @contextmanager
    def held(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the warehouse read-write without a transaction, so no other process can use it."""
        with self._attached(""):
            yield self.connection

    def checkpoint_leftover_log(self) -> None:
        """Checkpoint a leftover write-ahead log of a killed process."""
        if self.is_file and Path(f"{self.location}.wal").exists():
            with self.held():
                self.connection.execute("CHECKPOINT warehouse")

    @contextmanager
    def _attached(self, options: str) -> Iterator[None]:
        with self.in_use, _lock_of(self.location):
            self._attach(options)
            opened = time.monotonic()
            try:
                self.connection.execute("USE warehouse")
                yield
            except duckdb.OutOfMemoryException as error:
                raise NotEnoughMemory(str(error).splitlines()[0]) from None
            finally:
                _quietly(self.connection, "USE memory")
                _quietly(self.connection, "DETACH warehouse")
                if options != "READ_ONLY":
                    seconds = time.monotonic() - opened
                    self.held_seconds += seconds
                    self.longest_hold_seconds = max(self.longest_hold_seconds, seconds)

    def _identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the file; None for a DuckLake or a missing file."""
        try:
            status = Path(self.location).stat() if self.is_file else None
        except FileNotFoundError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)

    def _attach(self, options: str) -> None:
        statement = f"ATTACH {literal(self.location)} AS warehouse" + (
            f" ({options})" if options else ""
        )
        deadline = time.monotonic() + self.wait_seconds
        pause, said = 0.05, False
        while True:
            identity = self._identity()
            message = ""
            try:
                self.connection.execute(statement)
            except duckdb.OutOfMemoryException as error:
                raise NotEnoughMemory(str(error).splitlines()[0]) from None
            except duckdb.Error as error:
                message = str(error)
            if identity is not None and identity != self._identity():
                # The file was replaced after it was opened and before it was locked (see
                # ``file_swap``). The open file has no name any more, and a load into it would be
                # lost.
                _quietly(self.connection, "DETACH warehouse")
                continue
            if not message:
                return
            if not _IS_LOCKED.search(message):
                raise WarehouseUnreadable(
                    f"The warehouse {self.location} cannot be opened: {message.splitlines()[0]}.",
                    "The file is unchanged. Check CP_WAREHOUSE and the DuckDB version.",
                )
            if time.monotonic() > deadline:
                raise WarehouseBusy(
                    f"The warehouse {self.location} is held by {holder(message)}; "
                    f"waited {self.wait_seconds:.0f} s.",
                    "End that process, or run this again later. All downloads are kept.",
                )
            if not said:
                _log.warning(
                    "waiting for the warehouse %s: held by %s", self.location, holder(message)
                )
                said = True
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def holder(message: str) -> str:
    """Return who holds a file, from DuckDB's message: ``process 4711 (/usr/bin/duckdb)``."""
    match = _HOLDER.search(message)
    if match is None:
        return "another process"
    return f"process {match['process']} ({match['program']})"


def _lock_of(location: str) -> threading.RLock:
    with _locks_guard:
        return _locks.setdefault(location, threading.RLock())


def _quietly(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Execute a clean-up statement, and only log its error, so that it hides no other error."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        _log.debug("%s: %s", statement, error)
