"""Maintenance of a DuckLake: fewer files, older snapshots given up, nothing left of erased rows.

Belongs here: DuckLake's own functions for it, in the right order, each in a turn. Does not belong:
which rows are dropped (``compaction``, ``row_erasure``).

DuckLake keeps every row that was ever written, as long as a snapshot shows it: in data files, in
rows that the catalog itself has (inlined data), and as least and greatest values in its statistics.
The statistics of a table never shrink. So an erasure writes the tables anew, without the rows: when
no snapshot shows the old table any more, all that belonged to it is removed.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import literal
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import WarehouseBusy, WarehouseError
from cp_pipeline.warehouse.lake import CATALOG, first_line, without_passwords

# So long a query on another host may go on with what it sees.
_KEPT = timedelta(days=1)
_PAUSE_SECONDS = 0.1
_CATALOG_TABLES = (
    "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables"
    " WHERE relname LIKE 'ducklake%'"
)


def tidy_lake(warehouse: Warehouse) -> tuple[int, int]:
    """Merge small files, and give up snapshots older than a day; return old and new bytes.

    The bytes are those of the data files that the current snapshot needs.

    Raises:
        WarehouseBusy: another host writes for longer than the waiting time.
        WarehouseError: DuckLake refused a step; all rows are as they were. Run it again.
    """
    before = _data_bytes(warehouse)
    _call(warehouse, "ducklake_flush_inlined_data('warehouse')")
    _call(warehouse, "ducklake_rewrite_data_files('warehouse')")
    _call(warehouse, "ducklake_merge_adjacent_files('warehouse')")
    _expire(warehouse, datetime.now(UTC) - _KEPT)
    return before, _data_bytes(warehouse)


def forget_snapshots(warehouse: Warehouse) -> None:
    """Give up all snapshots but the current one, and remove what only they needed.

    Raises:
        WarehouseBusy: another host writes for longer than the waiting time.
        WarehouseError: DuckLake refused a step. Run it again.
    """
    # A snapshot stays as long as it is the current one.
    _expire(warehouse, datetime.now(UTC) + _KEPT)
    if warehouse.lake is not None and warehouse.lake.catalog_file is not None:
        _write_catalog_anew(warehouse, warehouse.lake.catalog_file)
    else:
        _vacuum_catalog(warehouse)


def check_data_files(warehouse: Warehouse) -> str:
    """Write a data file of the lake, read it, and remove it; return the data path.

    Raises:
        WarehouseBusy: another host writes for longer than the waiting time.
        WarehouseError: one of them is refused.
    """
    with warehouse.turn() as connection:
        row = connection.execute("SELECT data_path FROM ducklake_settings('warehouse')").fetchone()
        # More rows than the catalog itself would keep.
        connection.execute("CREATE TABLE lineage._doctor AS FROM range(1000)")
        files = connection.execute(
            "SELECT filename FROM lineage._doctor GROUP BY ALL HAVING count(*) = 1000"
        ).fetchall()
        # DuckLake removes the file.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
        left = [
            file
            for (file,) in files
            # DuckDB lists only what has a wildcard.
            if connection.execute("FROM glob(?)", [f"{file}*"]).fetchall()
        ]
    if left or not files:
        raise WarehouseError(
            f"A data file cannot be removed: {left[0]}." if left else "Data files are not written.",
            "Allow it to read, write, list and delete below the lake's data path (docs/lake.md).",
        )
    return str(row[0]) if row else ""


@contextmanager
def only_writer(warehouse: Warehouse) -> Iterator[None]:
    """Let no other host write in the block: loads, builds of models and maintenance wait.

    For another program that writes the lake without turns, such as dbt: what it writes would
    conflict with a load, and its models would see different loads. Nothing happens where the
    warehouse is a file, or a lake with a catalog file: one process at a time can open it.

    Raises:
        WarehouseBusy: another host writes for longer than the waiting time.
    """
    lake = warehouse.lake
    if lake is None or lake.catalog_file is not None:
        yield
        return
    with closing(Warehouse(warehouse.location, warehouse.wait_seconds, lake)) as apart:
        with apart.held() as connection:
            connection.execute("USE memory")
            connection.execute("BEGIN")
            lake.lock(connection, warehouse.wait_seconds)
        # The lock ends with the connection, and so with this process.
        yield


def write_table_anew(connection: duckdb.DuckDBPyConnection, name: str, without: str) -> None:
    """Replace a table by one without some rows, inside a transaction.

    Args:
        connection: a connection with an open transaction.
        name: the table, quoted.
        without: the SQL condition of the rows to leave out.
    """
    schema, _, table = name.partition(".")
    found = connection.execute(f"SELECT count(*) FROM {name} WHERE {without}").fetchone()
    if not found or not found[0]:
        return
    connection.execute(f"DROP TABLE IF EXISTS {schema}._written_anew")
    connection.execute(
        f"CREATE TABLE {schema}._written_anew AS FROM {name} WHERE ({without}) IS NOT TRUE"
    )
    connection.execute(f"DROP TABLE {name}")
    connection.execute(f"ALTER TABLE {schema}._written_anew RENAME TO {table}")


def _expire(warehouse: Warehouse, until: datetime) -> None:
    moment = f"TIMESTAMPTZ {literal(until.isoformat())}"
    _call(warehouse, f"ducklake_expire_snapshots('warehouse', older_than => {moment})")
    # Files are scheduled for deletion once no snapshot needs them; no one can read them then.
    _call(warehouse, "ducklake_cleanup_old_files('warehouse', cleanup_all => true)")
    # What a killed process wrote and did not commit; nobody else writes.
    moment = f"TIMESTAMPTZ {literal((datetime.now(UTC) + _KEPT).isoformat())}"
    _call(warehouse, f"ducklake_delete_orphaned_files('warehouse', older_than => {moment})")


def _call(warehouse: Warehouse, function: str) -> None:
    try:
        with warehouse.turn() as connection:
            connection.execute(f"CALL {function}").fetchall()
    except duckdb.Error as error:
        step = function.partition("(")[0]
        raise WarehouseError(
            f"{step} failed on {warehouse.location}: {without_passwords(first_line(error))}.",
            "All current rows are as they were. Run this again.",
        ) from None


def _data_bytes(warehouse: Warehouse) -> int:
    with warehouse.reading() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(file_size_bytes + delete_file_size_bytes), 0)::BIGINT"
            " FROM ducklake_table_info('warehouse')"
        ).fetchone()
    return int(row[0]) if row else 0


def _vacuum_catalog(warehouse: Warehouse) -> None:
    """Rewrite DuckLake's tables in PostgreSQL, whose pages still have deleted rows.

    PostgreSQL's own statistics have values, too: of these tables, and of tables that are dropped.

    Raises:
        WarehouseBusy: a transaction has been open since before the rows were deleted.
    """
    with warehouse.held() as connection:
        connection.execute("USE memory")
        _wait_for_older_readers(warehouse, connection)
        rows = connection.execute(
            f"FROM postgres_query('{CATALOG}', {literal(_CATALOG_TABLES)})"
        ).fetchall()
        for name in (*(name for (name,) in rows), "pg_catalog.pg_statistic"):
            statement = f"VACUUM (FULL, ANALYZE) {name}"
            connection.execute(
                f"CALL postgres_execute('{CATALOG}', {literal(statement)},"
                " use_transaction => false)"
            )


def _wait_for_older_readers(warehouse: Warehouse, connection: duckdb.DuckDBPyConnection) -> None:
    """Wait until no transaction sees the deleted rows: VACUUM would keep them for it.

    Such a transaction is a query of another host, or PostgreSQL's own autovacuum
    (https://www.postgresql.org/docs/15/monitoring-stats.html, ``backend_xmin``).
    """
    next_one = literal("SELECT pg_snapshot_xmax(pg_current_snapshot())::VARCHAR")
    ((now,),) = connection.execute(f"FROM postgres_query('{CATALOG}', {next_one})").fetchall()
    older = literal(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
        f" AND age(backend_xmin) > age('{now}'::xid8::xid)"
    )
    deadline = time.monotonic() + warehouse.wait_seconds
    while connection.execute(f"FROM postgres_query('{CATALOG}', {older})").fetchall() != [(0,)]:
        if time.monotonic() > deadline:
            raise WarehouseBusy(
                f"Another process has been reading {warehouse.location} since before the rows were "
                f"deleted; waited {warehouse.wait_seconds:.0f} s.",
                "The rows are deleted, but PostgreSQL's files still have their bytes. End that "
                "process, and run this again.",
            )
        time.sleep(_PAUSE_SECONDS)


def _write_catalog_anew(warehouse: Warehouse, file: Path) -> None:
    """Rewrite the catalog file, whose free pages still have deleted rows."""
    from cp_pipeline.warehouse.file_swap import write_anew  # noqa: PLC0415

    with Warehouse(str(file), warehouse.wait_seconds) as catalog:
        write_anew(catalog)
