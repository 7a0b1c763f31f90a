"""Dagster's own SQLite event log, with its connections kept open.

Belongs here: how the files are opened. Does not belong: what is in them, which is Dagster's.

Dagster 1.13 makes an engine and a connection for each of the four accesses that one materialization
takes, so every statement is compiled anew, and closing the last connection makes SQLite write its
log back each time. Kept open, an event costs a seventh (benchmarks/README.md). The files are the
same: Dagster's class and this one read what the other wrote, also at the same time. The
``dagster.yaml`` that cp-pipeline writes names this class; without it all works as well, slower.

An event outlives any process as soon as it is stored. A power cut it outlives from the end of its
run on: SQLite waits for the disk when a run begins or ends, and every thousand pages, but not for
each event, which would be 40 % of its time (https://sqlite.org/pragma.html#pragma_synchronous).
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from dagster import EventLogEntry
from dagster._core.events import EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from dagster._time import datetime_from_timestamp
from sqlalchemy import Connection, Engine, QueuePool, create_engine

from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.settings import SettingsError

# The web server reads the logs of many runs; those of the last ones are worth a file handle.
_ENGINES = 8


class KeptOpenEventLog(SqliteEventLogStorage):
    """A ``SqliteEventLogStorage`` for ``dagster.yaml``, with the same configuration."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        self._asset_columns: set[str] = set()
        # The event that was made into text last, and the text.
        self._written: tuple[EventLogEntry | None, str] = (None, "")
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with what ``dagster.yaml`` says.

        Raises:
            SettingsError: ``base_dir`` is relative, as in our own file, which can be moved so, and
                ``DAGSTER_HOME`` does not say to what.
        """
        folder, home = Path(config_value["base_dir"]), os.environ.get("DAGSTER_HOME", "")
        if not folder.is_absolute() and not home:
            raise SettingsError(
                "DAGSTER_HOME is not set, and its dagster.yaml names its event log by it.",
                "Set DAGSTER_HOME to the folder of that dagster.yaml.",
            )
        return cls(str(Path(home, folder)), inst_data)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and let those who watch the run's file know.

        Raises:
            StorageUnwritable: there is no room, or the file may not be written.
        """
        with storage_errors_explained():
            self._store_event(event)

    def _store_event(self, event: EventLogEntry) -> None:
        run_begins_or_ends = event.dagster_event is not None and (
            event.dagster_event_type in EVENT_TYPE_TO_PIPELINE_RUN_STATUS
        )
        if run_begins_or_ends:
            self._set_synchronous(event.run_id, "FULL")
        super().store_event(event)
        if run_begins_or_ends:
            self._set_synchronous(event.run_id, "NORMAL")
        # The web server watches that file alone, and what is new is in SQLite's log beside it.
        with suppress(FileNotFoundError):
            os.utime(self.path_for_shard(event.run_id))

    def _event_to_row(self, event: EventLogEntry) -> dict[str, Any]:
        row = super()._event_to_row(event)
        self._written = (event, row["event"])
        return row

    def _get_asset_entry_values(
        self, event: EventLogEntry, event_id: int, has_asset_key_index_cols: bool
    ) -> dict[str, Any]:
        """What Dagster's own method answers, without making the same event into text once more."""
        written, text = self._written
        materialized = (
            event.dagster_event is not None and event.dagster_event.is_step_materialization
        )
        if written is not event or not materialized or not has_asset_key_index_cols:
            return super()._get_asset_entry_values(event, event_id, has_asset_key_index_cols)
        return {
            "last_materialization": '{"__class__": "EventLogRecord", "event_log_entry": '
            f'{text}, "storage_id": {event_id}}}',
            "last_run_id": event.run_id,
            "last_materialization_timestamp": datetime_from_timestamp(event.timestamp),
        }

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """Change the asset's row, which is nearly always there, and make it only if it is not.

        Dagster makes it, is refused, and changes it then, which takes twice as long.
        """
        asset_key = event.dagster_event and event.dagster_event.asset_key
        if asset_key:
            values = self._get_asset_entry_values(
                event, event_id, self._has_asset_key_index_cols_on_connection(conn)
            )
            row = AssetKeyTable.c.asset_key == asset_key.to_string()
            if values and conn.execute(AssetKeyTable.update().values(**values).where(row)).rowcount:
                return
        super()._store_asset_event(conn, event, event_id)

    def _set_synchronous(self, run_id: str, level: str) -> None:
        """Whether a commit waits for the disk: then with all that was stored before."""
        for shard in (run_id, INDEX_SHARD_NAME):
            with self._connect(shard) as connection:
                connection.exec_driver_sql(f"PRAGMA synchronous = {level}")

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table; what is there once stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Remove all events; files that are open would stay."""
        self._close_files()
        super().wipe()

    def dispose(self) -> None:
        """Close all files and stop watching."""
        self._close_files()
        super().dispose()

    def _close_files(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                # One connection, because Dagster's own lock lets one thread in at a time.
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            if shard not in self._initialized_dbs:
                # Dagster does not say this here, and takes an old index for a new one.
                self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > _ENGINES:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if column_name not in self._asset_columns:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._asset_columns.add(column_name)
        return True
