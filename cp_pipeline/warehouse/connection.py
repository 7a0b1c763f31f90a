"""The connection to the warehouse: open it briefly, and wait while another process holds it.

Belongs here: attaching and detaching, the lock and the process that holds it, one transaction per
block. Does not belong: the definitions of the tables (``schema``).

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
from typing import Self

import duckdb

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.errors import NotEnoughMemory, WarehouseUnreadable
from cp_pipeline.warehouse.holders import Wait
from cp_pipeline.warehouse.lake import (
    Lake,
    LakeMissing,
    TurnLost,
    extension_file,
    first_line,
    is_conflict,
    lake_of,
    take_turn,
    unreachable_data,
    without_passwords,
)
from cp_pipeline.warehouse.quiet_connections import connect
from cp_pipeline.warehouse.schema import create_tables, has_tables, has_version, is_current

WAIT_SECONDS = 600.0
# DuckDB merges small row groups, up to three of full size at once. At its own size (122,880 rows)
# that takes hundreds of MB, and GB for tables of a thousand columns. Smaller ones are as fast
# (benchmarks/README.md). DuckDB: "ATTACH", `row_group_size`.
ROW_GROUP_ROWS = 30_720
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
        self._made = False
        self._checked = False
        self._is_read = False
        # How a DuckLake is attached; None while it is not.
        self._stays_attached: str | None = None

    @classmethod
    def of(cls, storage: StorageSettings, wait_seconds: float | None = None) -> Self:
        """Return the warehouse of the settings; ``wait_seconds`` overrides their waiting time.

        Raises:
            WarehouseUnreadable: it is a DuckLake, and DuckDB's extensions are not installed.
        """
        wait = storage.warehouse_wait_seconds if wait_seconds is None else wait_seconds
        lake = lake_of(storage.warehouse)
        if lake is not None:
            # Said now, before anything is listed or downloaded.
            extension_file("ducklake")
            lake = Lake(storage.warehouse, storage.lake_data_path, storage.duckdb_secrets)
        return cls(storage.warehouse, wait, lake)

    def __enter__(self) -> Self:
        """Close the connection at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    @property
    def is_file(self) -> bool:
        """Whether the warehouse is a DuckDB file (and not a DuckLake)."""
        return self.lake is None

    def has_file(self) -> bool:
        """Whether there is a file to open, whatever is in it, or a lake."""
        return self.lake.exists() if self.lake else Path(self.location).exists()

    def exists(self) -> bool:
        """Whether the warehouse exists with its tables, and not only as a file."""
        if not self._made and self.has_file():
            try:
                with self.reading() as connection:
                    self._made = has_tables(connection)
            except LakeMissing:
                return False
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
        """Close the connection, which gives DuckDB's memory back; the next use opens a new one."""
        with self.in_use:
            if opened := self.__dict__.pop("connection", None):
                opened.close()
            self._stays_attached = None

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
                if self.lake:
                    # Another host can write at any time; a transaction sees one state.
                    self._begin()
                self._is_read = True
                try:
                    yield self.connection
                finally:
                    self._is_read = False
                    if self.lake:
                        _quietly(self.connection, "COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the warehouse read-write, and run the block in one transaction.

        Raises:
            WarehouseBusy: another process held the file for ``wait_seconds``.
            TurnLost: another host wrote at the same time; nothing of this block is written.
            WarehouseUnreadable: the warehouse cannot be opened or written.
        """
        options = ""
        if self.is_file and not Path(self.location).exists():
            Path(self.location).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # DuckDB 1.5 can open this version too. An existing file keeps its own version.
            options = "STORAGE_VERSION 'v1.5.0'"
        with self._attached(options):
            try:
                if self.lake:
                    self._begin(self.lake)
                    take_turn(self.connection)
                else:
                    self.connection.execute("BEGIN")
                if not self._is_known_to_be_current():
                    create_tables(self.connection)
                yield self.connection
                self.connection.execute("COMMIT")
                self._checked = True
            except BaseException as error:
                _quietly(self.connection, "ROLLBACK")
                if is_conflict(error):
                    raise TurnLost(
                        f"Another host wrote to {self.location} at the same moment.",
                        "Nothing is lost. Run this again.",
                    ) from None
                if isinstance(error, duckdb.Error) and _NOT_WRITTEN.search(str(error)):
                    raise WarehouseUnreadable(
                        f"The warehouse {self.location} cannot be written: "
                        f"{str(error).splitlines()[0]}.",
                        "The warehouse is unchanged. Check the disk space and the file's owner.",
                    ) from None
                raise

    def _is_known_to_be_current(self) -> bool:
        """Whether this process made all tables, and nobody changed or replaced them since."""
        # Looking for the tables takes queries of a lake's catalog, which nobody replaces.
        has_all = self._checked and (self.lake is not None or has_tables(self.connection))
        return has_all and has_version(self.connection)

    @contextmanager
    def turn(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run the block in a transaction in which no other host writes, without ``lineage.turn``.

        For a DuckLake's maintenance: DuckLake refuses it beside other changes.

        Raises:
            WarehouseBusy: another host writes for longer than ``wait_seconds``.
        """
        with self._attached(""):
            try:
                self._begin(self.lake)
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                _quietly(self.connection, "ROLLBACK")
                raise

    def _begin(self, turn_of: Lake | None = None) -> None:
        """Begin a transaction on the DuckLake; with ``turn_of``, wait for the turn first."""
        for attempt in (1, 2):
            self.connection.execute("USE memory")
            self.connection.execute("BEGIN")
            try:
                if turn_of:
                    turn_of.lock(self.connection, self.wait_seconds)
                self.connection.execute("USE warehouse")
            except duckdb.Error as error:
                _quietly(self.connection, "ROLLBACK")
                if attempt == 2:  # noqa: PLR2004  (the last one)
                    raise WarehouseUnreadable(
                        f"The warehouse {self.location} cannot be used: "
                        f"{without_passwords(first_line(error))}.",
                        "Check that its catalog is reachable, and run this again.",
                    ) from None
                # The catalog may have closed a connection that was not in use.
                options = self._stays_attached or ""
                self._detach()
                self._attach(options)
            else:
                return

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
            self.connection.execute("USE warehouse")
            yield self.connection

    def checkpoint_leftover_log(self) -> None:
        """Checkpoint a leftover write-ahead log of a killed process."""
        if self.is_file and Path(f"{self.location}.wal").exists():
            with self.held():
                self.connection.execute("CHECKPOINT warehouse")

    @contextmanager
    def _attached(self, options: str) -> Iterator[None]:
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
                    _quietly(self.connection, "USE memory")
                    self._stays_attached = self._stays_attached or options
                else:
                    self._detach()
                if options != "READ_ONLY":
                    seconds = time.monotonic() - opened
                    self.held_seconds += seconds
                    self.longest_hold_seconds = max(self.longest_hold_seconds, seconds)

    def _detach(self) -> None:
        _quietly(self.connection, "USE memory")
        _quietly(self.connection, "DETACH warehouse")
        self._stays_attached = None

    def _identity(self) -> tuple[int, int] | None:
        """Return the device and inode of the file; None for a DuckLake or a missing file."""
        try:
            status = Path(self.location).stat() if self.is_file else None
        except FileNotFoundError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)

    def _attach(self, options: str) -> None:
        if self.lake:
            statement = self.lake.attach(options)
        else:
            chosen = ", ".join(filter(None, [options, f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}"]))
            statement = f"ATTACH {literal(self.location)} AS warehouse ({chosen})"
        deadline = time.monotonic() + self.wait_seconds
        wait = Wait(self.location, self.wait_seconds, deadline)
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
            if self.lake:
                message = self.lake.refusal(message)
            wait.for_holder(message)


def _lock_of(location: str) -> threading.RLock:
    with _locks_guard:
        return _locks.setdefault(location, threading.RLock())


def _quietly(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Execute a clean-up statement, and only log its error, so that it hides no other error."""
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        _log.debug("%s: %s", statement, error)
