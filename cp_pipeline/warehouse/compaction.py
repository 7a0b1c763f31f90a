"""Drop superseded loads that are old enough, and free their space.

Loads that a cut needs are kept (``cuts``).

Belongs here: choosing the loads, deleting their rows from ``history``, and moving their lineage
from ``lineage.loads`` to ``lineage.compacted``. Does not belong: replacing a file
(``file_swap``).

One transaction deletes the rows, and then the file is rewritten. If the process is killed between
the two steps, the warehouse is correct but larger than necessary. The next ``compact`` shrinks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.cuts import is_kept
from cp_pipeline.warehouse.dataset_tables import table_name
from cp_pipeline.warehouse.file_swap import write_anew
from cp_pipeline.warehouse.lake_maintenance import tidy_lake
from cp_pipeline.warehouse.schema import columns_of

# Long enough to repeat an analysis with the same data.
OLDER_THAN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Compactable:
    """What ``compact`` would do: the loads and rows to drop, and roughly the bytes to free.

    ``bytes_free`` includes pages that are already free. It is 0 for a DuckLake.
    """

    loads: int
    rows: int
    bytes_free: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """What ``compact`` did. The bytes are the size of the file, or of a DuckLake's data files."""

    loads: int
    rows: int
    bytes_before: int
    bytes_after: int


def compactable(warehouse: Warehouse, older_than: timedelta = OLDER_THAN) -> Compactable:
    """Return what ``compact`` would drop; nothing if the warehouse does not exist yet.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        return Compactable(0, 0, 0)
    with warehouse.reading() as connection:
        row = connection.execute(
            "SELECT count(dropped), coalesce(sum(row_count) FILTER (dropped), 0)::BIGINT,"
            " coalesce(sum(csv_bytes) FILTER (dropped) / sum(csv_bytes), 0)"
            " FROM (SELECT *, CASE WHEN superseded_at < ?"
            f" AND NOT {is_kept(connection)} THEN true END AS dropped"
            " FROM lineage.loads LEFT JOIN lineage.superseded USING (load_id))",
            [datetime.now(UTC).replace(tzinfo=None) - older_than],
        ).fetchone()
        loads, rows, share = row or (0, 0, 0.0)
        pages = connection.execute(
            "SELECT block_size * free_blocks, block_size * used_blocks"
            " FROM pragma_database_size() WHERE database_name = 'warehouse'"
        ).fetchone()
    free, used = pages if pages and warehouse.is_file else (0, 0)
    return Compactable(loads, rows, int(free + used * share))


def compact(warehouse: Warehouse, older_than: timedelta = OLDER_THAN) -> Compacted:
    """Drop the rows of loads superseded for at least ``older_than``, and rewrite the file.

    The lineage of a load (program execution, file, checksum, row count, the load that replaced it)
    stays in ``lineage.compacted``. Of a DuckLake, small files are merged, and snapshots older than
    a day are given up (``lake_maintenance``).

    Raises:
        WarehouseBusy: another process holds the file, or is replacing it.
        WarehouseUnreadable: the warehouse cannot be opened.
        WarehouseError: the disk has no space for the copy. Rows already dropped stay dropped.
    """
    if not warehouse.exists():
        return Compacted(0, 0, 0, 0)
    with warehouse.transaction() as connection:
        chosen = connection.execute(
            "SELECT dataset_name, list(load_id ORDER BY load_id)"
            " FROM lineage.loads INNER JOIN lineage.superseded USING (load_id)"
            f" WHERE superseded_at < ? AND NOT {is_kept(connection)}"
            " GROUP BY dataset_name ORDER BY dataset_name",
            [datetime.now(UTC).replace(tzinfo=None) - older_than],
        ).fetchall()
        rows, load_ids = 0, []
        for dataset, of_dataset in chosen:
            ((dropped,),) = connection.execute(
                f"DELETE FROM {table_name(dataset)} WHERE _load_id IN (SELECT unnest(?::BIGINT[]))",
                [of_dataset],
            ).fetchall()
            rows += dropped
            load_ids += of_dataset
        _move_lineage(connection, load_ids)
    before, after = write_anew(warehouse) if warehouse.is_file else tidy_lake(warehouse)
    return Compacted(len(load_ids), rows, before, after)


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
