"""Dropping superseded loads that are old enough, and giving their space back.

Belongs here: which loads, their way from ``history`` and ``lineage.loads`` to
``lineage.compacted``. Does not belong: how a file is replaced (``file_swap``).

One transaction takes the rows; then the file is written anew. A process killed between the two
leaves a right warehouse that is larger than need be, and the next ``compact`` makes it small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import table_name
from cp_pipeline.warehouse.file_swap import write_anew
from cp_pipeline.warehouse.schema import columns_of

# Long enough for an analysis to be repeated as it was.
OLDER_THAN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Compactable:
    """What ``compact`` would do: loads and rows it drops, and about how many bytes come free.

    ``bytes_free`` also counts pages that are free already; it is 0 for a DuckLake.
    """

    loads: int
    rows: int
    bytes_free: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """What ``compact`` did; the bytes are those of the file, and 0 for a DuckLake."""

    loads: int
    rows: int
    bytes_before: int
    bytes_after: int


def compactable(
    warehouse: Warehouse, older_than: timedelta = OLDER_THAN, now: datetime | None = None
) -> Compactable:
    """What ``compact`` would drop; nothing where there is no warehouse yet.

    Args:
        warehouse: of the warehouse.
        older_than: how long ago a load must have been superseded.
        now: the moment, in UTC.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        return Compactable(0, 0, 0)
    with warehouse.reading() as connection:
        row = connection.execute(
            "SELECT count(dropped), coalesce(sum(row_count) FILTER (dropped), 0)::BIGINT,"
            " coalesce(sum(csv_bytes) FILTER (dropped) / sum(csv_bytes), 0)"
            " FROM (SELECT *, CASE WHEN superseded_at < ? THEN true END AS dropped"
            " FROM lineage.loads LEFT JOIN lineage.superseded USING (load_id))",
            [_before(older_than, now)],
        ).fetchone()
        loads, rows, share = row or (0, 0, 0.0)
        pages = connection.execute(
            "SELECT block_size * free_blocks, block_size * used_blocks"
            " FROM pragma_database_size() WHERE database_name = 'warehouse'"
        ).fetchone()
    free, used = pages if pages and warehouse.is_file else (0, 0)
    return Compactable(loads, rows, int(free + used * share))


def compact(
    warehouse: Warehouse, older_than: timedelta = OLDER_THAN, now: datetime | None = None
) -> Compacted:
    """Drop the rows of loads that were superseded long enough ago, and write the file anew.

    What a load was (program execution, file, checksum, rows, what replaced it) stays in
    ``lineage.compacted``. Of a DuckLake only the rows are dropped.

    Args:
        warehouse: of the warehouse.
        older_than: how long ago a load must have been superseded.
        now: the moment, in UTC.

    Raises:
        WarehouseBusy: another process holds the file, or is replacing it.
        WarehouseUnreadable: the warehouse cannot be opened.
        WarehouseError: there is no room for the copy. What is dropped by then is dropped.
    """
    if not warehouse.exists():
        return Compacted(0, 0, 0, 0)
    with warehouse.transaction() as connection:
        chosen = connection.execute(
            "SELECT dataset_name, list(load_id ORDER BY load_id)"
            " FROM lineage.loads INNER JOIN lineage.superseded USING (load_id)"
            " WHERE superseded_at < ? GROUP BY dataset_name ORDER BY dataset_name",
            [_before(older_than, now)],
        ).fetchall()
        rows = sum(drop_rows(connection, dataset, load_ids) for dataset, load_ids in chosen)
        load_ids = [load_id for _, of_dataset in chosen for load_id in of_dataset]
        _move_lineage(connection, load_ids)
    before, after = write_anew(warehouse) if warehouse.is_file else (0, 0)
    return Compacted(len(load_ids), rows, before, after)


def drop_rows(
    connection: duckdb.DuckDBPyConnection, dataset_name: str, load_ids: Sequence[int]
) -> int:
    """Delete loads from a data set's history, in a transaction; how many rows they had."""
    deleted = connection.execute(
        f"DELETE FROM {table_name(dataset_name)} WHERE _load_id IN (SELECT unnest(?::BIGINT[]))",
        [load_ids],
    ).fetchone()
    return int(deleted[0]) if deleted else 0


def _move_lineage(connection: duckdb.DuckDBPyConnection, load_ids: Sequence[int]) -> None:
    columns = ", ".join(f"loads.{name}" for name in columns_of("loads"))
    connection.execute(
        f"INSERT INTO lineage.compacted BY NAME SELECT {columns}, superseded.superseded_by,"
        " superseded.superseded_at, ?::TIMESTAMP AS compacted_at"
        " FROM lineage.loads INNER JOIN lineage.superseded USING (load_id)"
        " WHERE load_id IN (SELECT unnest(?::BIGINT[]))",
        [datetime.now(UTC).replace(tzinfo=None), load_ids],
    )
    for table in ("superseded", "loads"):
        connection.execute(
            f"DELETE FROM lineage.{table} WHERE load_id IN (SELECT unnest(?::BIGINT[]))",
            [load_ids],
        )


def _before(older_than: timedelta, now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(tzinfo=None) - older_than
