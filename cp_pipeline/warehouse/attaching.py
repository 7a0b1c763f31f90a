"""Attach the warehouse to a connection, and wait while another process holds it.

Belongs here: the in-memory connection, attaching and detaching, the process that holds the file.
Does not belong: transactions (``connection``).

All work happens in an in-memory DuckDB connection, to which the warehouse is attached as
``warehouse``, and read-write only during a load (docs/design.md, 8). A DuckLake is attached in the
same way; its transactions take turns (``lake``).
"""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.errors import NotEnoughMemory, WarehouseBusy, WarehouseUnreadable
from cp_pipeline.warehouse.lake import Lake, lake_of, unreachable_data
from cp_pipeline.warehouse.quiet_connections import connect

WAIT_SECONDS = 600.0
# DuckDB merges small row groups, up to three of full size at once. At its own size (122,880 rows)
# that takes hundreds of MB, and GB for tables of a thousand columns. Smaller ones are as fast
# (benchmarks/README.md). DuckDB: "ATTACH", `row_group_size`.
ROW_GROUP_ROWS = 30_720
_LONGEST_PAUSE_SECONDS = 2.0
_HOLDER = re.compile(r"held in (?P<program>.*?)\s*\(PID (?P<process>\d+)\)")
# Match "lock" as a word, because DuckDB's message for a damaged file has the word "block".
_IS_LOCKED = re.compile(r"\block(ed)?\b", re.IGNORECASE)
_log = logging.getLogger(__name__)
# DuckDB's file lock excludes other processes. These locks exclude other threads of this process.
_locks: dict[str, threading.RLock] = {}
_locks_guard = threading.Lock()


class Attachable:
    """An in-memory DuckDB connection, to which the warehouse is attached while it is needed.

    Args:
        location: what ATTACH opens: a file, or ``ducklake:…``.
        wait_seconds: how long to wait for another process that holds the file, in seconds.
        lake: how to open a DuckLake; by default, as its location alone tells.

    A thread that reads, writes or stages holds ``in_use``; one thread at a time.
    """

    def __init__(
        self, location: str, wait_seconds: float = WAIT_SECONDS, lake: Lake | None = None
    ) -> None:
        self.location = location
        self.lake = lake or lake_of(location)
        self.wait_seconds = wait_seconds
        # How long the file was attached read-write: in total, and the longest single time.
        self.held_seconds = 0.0
        self.longest_hold_seconds = 0.0
        # Whether DuckDB has one thread, and gives memory back as soon as it is free. Queries of
        # lineage are as fast then, and loads are slower. Set it before the first use.
        self.spares_memory = False
        self.in_use = threading.RLock()
        # How a DuckLake is attached; None while it is not.
        self._stays_attached: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether the warehouse is a DuckDB file (and not a DuckLake)."""
        return self.lake is None

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The in-memory connection, opened at its first use, which takes 10 ms."""
        connection = self.lake.connect() if self.lake else connect()
        # The order of rows in a table has no meaning, and preserving it costs a third of the speed.
        connection.execute("SET preserve_insertion_order = false")
        if self.spares_memory:
            connection.execute("SET threads = 1")
            connection.execute("SET allocator_bulk_deallocation_flush_threshold = '1MB'")
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
                self.connection.execute(statement)

    def close(self) -> None:
        """Close the connection, which gives DuckDB's memory back; the next use opens a new one."""
        with self.in_use:
            if opened := self.__dict__.pop("connection", None):
                opened.close()
            self._stays_attached = None

    @contextmanager
    def attached(self, options: str) -> Iterator[None]:
        """Attach the warehouse, as the default database if it is a file.

        Raises:
            WarehouseBusy: another process held the file for ``wait_seconds``.
            WarehouseUnreadable: it cannot be opened.
            NotEnoughMemory: DuckDB cannot get the memory that the block needs.
        """
        with self.in_use, _lock_of(self.location):
            if self._stays_attached == "READ_ONLY" != options:
                self._detach()
            if self._stays_attached is None:
                self._attach(options)
            opened = time.monotonic()
            try:
                if self.is_file:
                    self.connection.execute("USE warehouse")
                yield
            except duckdb.OutOfMemoryException as error:
                raise NotEnoughMemory(str(error).splitlines()[0]) from None
            except duckdb.IOException as error:
                refusal = unreachable_data(self.location, error) if self.lake else None
                raise refusal or error from None
            finally:
                if self.lake and self.lake.catalog_file is None:
                    # Attaching reads the whole catalog, and no other process has to wait for it.
                    quietly(self.connection, "USE memory")
                    self._stays_attached = self._stays_attached or options
                else:
                    self._detach()
                if options != "READ_ONLY":
                    seconds = time.monotonic() - opened
                    self.held_seconds += seconds
                    self.longest_hold_seconds = max(self.longest_hold_seconds, seconds)

    def attach_again(self) -> None:
        """Attach the DuckLake again, because its catalog may have closed the connection."""
        options = self._stays_attached or ""
        self._detach()
        self._attach(options)

    def _detach(self) -> None:
        quietly(self.connection, "USE memory")
        quietly(self.connection, "DETACH warehouse")
        self._stays_attached = None

    def _attach(self, options: str) -> None:
        if self.lake:
            statement = self.lake.attach(options)
        else:
            chosen = ", ".join(filter(None, [options, f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}"]))
            statement = f"ATTACH {literal(self.location)} AS warehouse ({chosen})"
        wait = _Wait(self.location, self.wait_seconds)
        while True:
            identity = identity_of(Path(self.location)) if self.is_file else None
            message = ""
            try:
                self.connection.execute(statement)
            except duckdb.OutOfMemoryException as error:
                raise NotEnoughMemory(str(error).splitlines()[0]) from None
            except duckdb.Error as error:
                message = str(error)
            if identity is not None and identity != identity_of(Path(self.location)):
                # The file was replaced after it was opened and before it was locked (see
                # ``file_swap``). The open file has no name any more, and a load into it would be
                # lost.
                quietly(self.connection, "DETACH warehouse")
                continue
            if not message:
                return
            if self.lake:
                message = self.lake.refusal(message)
            wait.for_holder(message)


class _Wait:
    """Pauses between attempts to open the warehouse, which get longer, for some seconds."""

    def __init__(self, location: str, seconds: float) -> None:
        self._location = location
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._pause = 0.05
        self._said = False

    def for_holder(self, message: str) -> None:
        """Sleep before the next attempt, if DuckDB's message says that another process holds it.

        Raises:
            WarehouseBusy: the time is over.
            WarehouseUnreadable: the message says something else.
        """
        if not _IS_LOCKED.search(message):
            raise WarehouseUnreadable(
                f"The warehouse {self._location} cannot be opened: {message.splitlines()[0]}.",
                "It is unchanged. Check CP_WAREHOUSE and the DuckDB version.",
            )
        if time.monotonic() > self._deadline:
            raise WarehouseBusy(
                f"The warehouse {self._location} is held by {_holder(message)}; "
                f"waited {self._seconds:.0f} s.",
                "End that process, or run this again later. All downloads are kept.",
            )
        if not self._said:
            _log.warning(
                "waiting for the warehouse %s: held by %s", self._location, _holder(message)
            )
            self._said = True
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_SECONDS)


def _holder(message: str) -> str:
    """Return who holds a file, from DuckDB's message: ``process 4711 (/usr/bin/duckdb)``."""
    match = _HOLDER.search(message)
    if match is None:
        return "another process"
    return f"process {match['process']} ({match['program']})"


def _lock_of(location: str) -> threading.RLock:
    with _locks_guard:
        return _locks.setdefault(location, threading.RLock())


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def quietly(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Execute a clean-up statement, and only log its error, so that it hides no other error."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        _log.debug("%s: %s", statement, error)
