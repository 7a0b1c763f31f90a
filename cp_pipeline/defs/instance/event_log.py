"""Dagster's own SQLite event log, with its connections kept open.

Belongs here: how the files are opened. Does not belong: what is in them, which is Dagster's.

Dagster 1.13 makes an engine and a connection for each of the four accesses that one materialization
takes. So every statement is compiled again, and closing the last connection makes SQLite checkpoint
its write-ahead log each time. With open connections an event costs a fraction of that
(benchmarks/README.md). The files are the same: Dagster's class and this one read what the other
wrote, also at the same time. The ``dagster.yaml`` that cp-pipeline writes names this class; without
it everything works as well, slower.

An event survives the end of any process as soon as it is stored. It survives a power cut from the
end of its run on: SQLite waits for the disk when a run begins or ends, and every thousand pages,
but not for each event (https://sqlite.org/pragma.html#pragma_synchronous).

Private parts of Dagster: the class ``SqliteEventLogStorage``, its methods ``_connect`` and
``_initdb``, its attributes ``_db_lock`` and ``_initialized_dbs``, and the name of the index shard.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from sqlalchemy import Connection, Engine, QueuePool, create_engine

from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.settings import SettingsError

# The web server reads the logs of many runs; those of the last ones are worth a file handle.
_ENGINES = 8
_WAIT_SECONDS = 30
# The begin and the end of a run, by Dagster's own names of events.
_OF_RUNS = frozenset(each for each in dg.DagsterEventType if each.value.startswith("PIPELINE_"))


class KeptOpenEventLog(SqliteEventLogStorage):
    """A ``SqliteEventLogStorage`` for ``dagster.yaml``, with the same configuration."""

    # `Any`: Dagster's type of it, `ConfigurableClassData`, is private.
    def __init__(self, base_dir: str, inst_data: Any = None) -> None:  # noqa: ANN401
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:  # noqa: ANN401
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

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event, and notify those who watch the run's file.

        Raises:
            StorageUnwritable: there is no disk space, or the file may not be written.
        """
        run_begins_or_ends = event.is_dagster_event and event.dagster_event_type in _OF_RUNS
        with storage_errors_explained():
            if run_begins_or_ends:
                self._set_synchronous(event.run_id, "FULL")
            super().store_event(event)
            if run_begins_or_ends:
                self._set_synchronous(event.run_id, "NORMAL")
            # The web server watches this file alone. SQLite writes new events to the log beside it.
            with suppress(FileNotFoundError):
                os.utime(self.path_for_shard(event.run_id))

    def _set_synchronous(self, run_id: str, level: str) -> None:
        """Whether a commit waits for the disk: then with everything that was stored before."""
        for shard in (run_id, INDEX_SHARD_NAME):
            with self._connect(shard) as connection:
                connection.exec_driver_sql(f"PRAGMA synchronous = {level}")

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table. Dagster asks for each event; tables are never removed."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Remove all events; open files would stay."""
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
                connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
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
