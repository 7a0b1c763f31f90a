"""The warehouse: read in blocks of one state, written in transactions.

Belongs here: whether it exists, reading it, one transaction per block. Does not belong: attaching
it, and waiting for another process (``attaching``), the definitions of the tables
(``lineage_tables``).
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.attaching import WAIT_SECONDS, Attachable, quietly
from cp_pipeline.warehouse.errors import WarehouseUnreadable
from cp_pipeline.warehouse.lake import (
    Lake,
    LakeMissing,
    TurnLost,
    extension_file,
    first_line,
    is_conflict,
    lake_of,
    take_turn,
    without_passwords,
)
from cp_pipeline.warehouse.quiet_connections import NEW_FILE
from cp_pipeline.warehouse.schema import create_tables, has_tables, has_version, is_current

_NOT_WRITTEN = re.compile(r"no space left|could not write|disk quota", re.IGNORECASE)


class Warehouse(Attachable):
    """The warehouse; see ``Attachable`` for its arguments."""

    def __init__(
        self, location: str, wait_seconds: float = WAIT_SECONDS, lake: Lake | None = None
    ) -> None:
        super().__init__(location, wait_seconds, lake)
        self._made = False
        self._checked = False
        self._is_read = False

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

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the warehouse read-only, as the default database.

        A nested block joins the outer one and sees the same state of the warehouse.
        """
        with self.in_use:
            if self._is_read:
                yield self.connection
                return
            with self.attached("READ_ONLY"):
                if self.lake:
                    # Another host can write at any time; a transaction sees one state.
                    self._begin()
                self._is_read = True
                try:
                    yield self.connection
                finally:
                    self._is_read = False
                    if self.lake:
                        quietly(self.connection, "COMMIT")

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query; none if the warehouse does not exist yet."""
        if not self.exists():
            return []
        with self.reading() as connection:
            return connection.execute(statement, list(parameters)).fetchall()

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
            options = NEW_FILE
        with self.attached(options):
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
                quietly(self.connection, "ROLLBACK")
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
        with self.attached(""):
            try:
                self._begin(self.lake)
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                quietly(self.connection, "ROLLBACK")
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
                quietly(self.connection, "ROLLBACK")
                if attempt == 2:  # noqa: PLR2004  (the last one)
                    raise WarehouseUnreadable(
                        f"The warehouse {self.location} cannot be used: "
                        f"{without_passwords(first_line(error))}.",
                        "Check that its catalog is reachable, and run this again.",
                    ) from None
                self.attach_again()
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
        with self.attached(""):
            self.connection.execute("USE warehouse")
            yield self.connection

    def checkpoint_leftover_log(self) -> None:
        """Checkpoint a leftover write-ahead log of a killed process."""
        if self.is_file and Path(f"{self.location}.wal").exists():
            with self.held():
                self.connection.execute("CHECKPOINT warehouse")
