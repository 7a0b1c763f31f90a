"""Erasing a subject from Dagster's tables on PostgreSQL.

Belongs here: the connection, and rewriting the tables. Does not belong: which rows and texts
(``table_erasure``).

PostgreSQL keeps a changed or deleted row until its table is rewritten, and in its write-ahead log
until that is recycled. So each table is rewritten (``VACUUM FULL``). The log, replicas and backups
are the administrator's (docs/hosts.md).
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from cp_pipeline.defs.instance.table_erasure import StorageInUse, erase_from_tables

_WAIT_SECONDS = 30


def databases_of(instance: dg.DagsterInstance) -> list[str]:
    """Return the addresses of the PostgreSQL databases with Dagster's storages, with passwords."""
    storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    urls = [getattr(storage, "postgres_url", "") for storage in storages]
    return list(dict.fromkeys(url for url in urls if url))


def erase_from_database(url: str, subject_id: int, pattern: re.Pattern[str]) -> None:
    """Erase a subject from all tables of a database, and rewrite them.

    Raises:
        StorageInUse: another process holds a table for too long, or the server cannot be used;
            nothing is half changed.
    """
    # Part of dagster-postgres, which is an extra.
    import psycopg2  # noqa: PLC0415

    # libpq does not know SQLAlchemy's name of the driver.
    address = re.sub(r"^postgres(ql)?\+\w+:", "postgresql:", url)
    try:
        with closing(psycopg2.connect(address)) as connection:
            connection.autocommit = True
            opened = _Opened(connection.cursor())
            opened.execute(f"SET lock_timeout = '{_WAIT_SECONDS}s'")
            tables = _columns(opened)
            opened.execute("BEGIN")
            erase_from_tables(opened, tables, subject_id, pattern)
            opened.execute("COMMIT")
            for table in tables:
                opened.execute(f'VACUUM FULL "{table}"')
    except psycopg2.Error as error:
        # The first line has no statement and no values.
        reason = str(error).partition("\n")[0]
        raise StorageInUse(
            f"Dagster's tables on PostgreSQL cannot be rewritten: {reason}.",
            "Stop Dagster's web servers and daemon on all hosts, then run this command again.",
        ) from None


def _columns(opened: "_Opened") -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for table, column in opened.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        " ORDER BY table_name, ordinal_position"
    ):
        tables.setdefault(table, []).append(column)
    return tables


class _Opened:
    """A cursor of psycopg2 that understands SQLite's ``?`` and ``rowid``."""

    def __init__(self, cursor: Any) -> None:  # noqa: ANN401  (psycopg2 has no types)
        self._cursor = cursor

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        """Execute a statement; the cursor's rows are gone with the next one."""
        self._cursor.execute(_translated(sql, parameters), parameters or None)
        return self._cursor

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Any:  # noqa: ANN401
        """Execute a statement for each of the parameters."""
        for each in parameters:
            self.execute(sql, each)
        return self._cursor


def _translated(sql: str, parameters: Sequence[Any]) -> str:
    sql = sql.replace("rowid = ?", "ctid = ?::tid").replace("rowid", "ctid")
    return sql.replace("%", "%%").replace("?", "%s") if parameters else sql
