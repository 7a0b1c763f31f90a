"""Dagster's own SQLite event log, with its connections kept open.

Belongs here: opening the files. Does not belong: their contents (Dagster's own class).

For one materialization, Dagster 1.13 opens an engine and a connection four times. So SQLAlchemy
compiles every statement again, and SQLite checkpoints its write-ahead log each time the last
connection closes. With open connections, an event takes a fraction of that time
(benchmarks/README.md). The files are the same: this class and Dagster's class can read and write
them at the same time. The ``dagster.yaml`` that cp-pipeline writes names this class. With Dagster's
class everything works too, but slower.

A stored event survives the end of its process. It survives a power cut only after the end of its
run: SQLite waits for the disk when a run begins or ends, and every thousand pages, but not for each
event (https://sqlite.org/pragma.html#pragma_synchronous).

Private parts of Dagster: the class ``SqliteEventLogStorage``, its methods ``_connect`` and
``_initdb``, its attributes ``_db_lock`` and ``_initialized_dbs``, and the name of the index shard.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from sqlalchemy import Connection, CursorResult, Engine, QueuePool, create_engine

from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.settings import SettingsError

# The web server reads the logs of many runs. Only the files of the last few stay open.
_ENGINES = 8
_WAIT_SECONDS = 30
# Events of the begin and the end of a run; Dagster's names for them start like this.
_OF_RUNS = frozenset(each for each in dg.DagsterEventType if each.value.startswith("PIPELINE_"))


_OF_PARTITIONS = frozenset(
    {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
)


def _id_of(inserted: CursorResult[Any]) -> int:
    key = inserted.inserted_primary_key
    return int(key[0]) if key else 0


def _is_of_partition(event: dg.EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in _OF_PARTITIONS


class KeptOpenEventLog(SqliteEventLogStorage):
    """A ``SqliteEventLogStorage`` for ``dagster.yaml``, with the same configuration."""

    # `Any`, because the type `ConfigurableClassData` is private.
    def __init__(self, base_dir: str, inst_data: Any = None) -> None:  # noqa: ANN401
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:  # noqa: ANN401
        """Return an event log for the configuration in ``dagster.yaml``; Dagster calls this.

        ``base_dir`` may be relative to ``DAGSTER_HOME``, so that the home can be moved.

        Raises:
            SettingsError: ``base_dir`` is relative, and ``DAGSTER_HOME`` is not set.
        """
        folder, home = Path(config_value["base_dir"]), os.environ.get("DAGSTER_HOME", "")
        if not folder.is_absolute() and not home:
            raise SettingsError(
                "DAGSTER_HOME is not set, but the event log's path in dagster.yaml is relative to "
                "it.",
                "Set DAGSTER_HOME to the folder of that dagster.yaml.",
            )
        # Dagster, too, takes a `~` that no shell has replaced: in `.env`, or a service of systemd.
        return cls(str(Path(home, folder).expanduser()), inst_data)

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event, and notify the watchers of the run's file.

        Raises:
            StorageUnwritable: the disk is full, or the file cannot be written.
        """
        run_begins_or_ends = event.is_dagster_event and event.dagster_event_type in _OF_RUNS
        with storage_errors_explained():
            if run_begins_or_ends:
                self._set_synchronous(event.run_id, "FULL")
            super().store_event(event)
            if run_begins_or_ends:
                self._set_synchronous(event.run_id, "NORMAL")
            # The web server watches this file only, but SQLite writes new events to its log.
            with suppress(FileNotFoundError):
                os.utime(self.path_for_shard(event.run_id))

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of assets, all of one run and one kind, in three transactions.

        Raises:
            StorageUnwritable: the disk is full, or a file cannot be written.
        """
        run_ids = {event.run_id for event in events}
        if len(run_ids) != 1 or not all(map(_is_of_partition, events)):
            super().store_event_batch(events)
            return
        (run_id,) = run_ids
        with storage_errors_explained():
            rows = [self.prepare_insert_event(event) for event in events]
            with self.run_connection(run_id) as connection:
                for row in rows:
                    connection.execute(row)
            with self.index_transaction() as connection:
                ids = [_id_of(connection.execute(row)) for row in rows]
            self.store_asset_event_tags(events, ids)
            # As Dagster's own storage on PostgreSQL: the asset knows its last event.
            self.store_asset_event(events[-1], ids[-1])
            with suppress(FileNotFoundError):
                os.utime(self.path_for_shard(run_id))

    def _set_synchronous(self, run_id: str, level: str) -> None:
        """Set whether a commit waits until all stored events are on the disk."""
        for shard in (run_id, INDEX_SHARD_NAME):
            with self._connect(shard) as connection:
                connection.exec_driver_sql(f"PRAGMA synchronous = {level}")

    def has_table(self, table_name: str) -> bool:
        """Whether a table exists; cached, because Dagster calls this for each event."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Close all files, then remove all events; removed files that are open would live on."""
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
                # One connection is enough: Dagster's own lock lets one thread in at a time.
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
            )
            if shard not in self._initialized_dbs:
                # Dagster's class does not pass `for_index_shard` here. So it treats an old index as
                # a new one.
                self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > _ENGINES:
            self._engines.popitem(last=False)[1].dispose()
        return engine
