"""Invalid items of the latest listing: ``lineage.unusable_items``.

Belongs here: recording them with a listing, and reading them.
Does not belong: what makes an item invalid (``centrepoint.items``).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import duckdb

from cp_pipeline.domain.exports import InvalidItem
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table, insert_rows

_COLUMNS = (
    "study_id, subject_id, study_program_id, dataset_name, file_name, program_execution, reason"
)


def invalid_items(warehouse: Warehouse) -> list[InvalidItem]:
    """Return the invalid items of the latest listing, by their text; empty without a warehouse."""
    if not warehouse.exists():
        return []
    with warehouse.reading() as connection:
        return read_invalid(connection)


def read_invalid(connection: duckdb.DuckDBPyConnection) -> list[InvalidItem]:
    """Return the invalid items; empty if an earlier version made the warehouse (no table)."""
    if not has_table(connection, "unusable_items"):
        return []
    rows = connection.execute(f"SELECT {_COLUMNS} FROM lineage.unusable_items").fetchall()
    return sorted((InvalidItem(*row) for row in rows), key=str)


def replace_invalid(
    connection: duckdb.DuckDBPyConnection,
    before: Iterable[InvalidItem],
    after: Sequence[InvalidItem],
    now: datetime,
) -> None:
    """Replace ``before`` with ``after``; record each new item as a failure of stage ``listing``.

    Args:
        connection: a connection with the open transaction that records the listing.
        before: items read from the table; the table's other items stay.
        after: the invalid items of the new listing.
        now: the current time, in UTC.
    """
    gone = set(before) - set(after)
    for item in gone:
        connection.execute(
            f"DELETE FROM lineage.unusable_items WHERE ({_COLUMNS}) IS NOT DISTINCT FROM"
            " (?::BIGINT, ?::BIGINT, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR)",
            _values(item),
        )
    fresh = [item for item in after if item not in set(before)]
    names = _COLUMNS.split(", ")
    rows = [dict(zip(names, _values(item), strict=True)) for item in fresh]
    insert_rows(connection, "unusable_items", [{**row, "listed_at": now} for row in rows])
    insert_rows(
        connection,
        "failures",
        [
            {name: row[name] for name in names[:-1]}
            | {"stage": "listing", "error": row["reason"], "failed_at": now, "dagster_run_id": ""}
            for row in rows
        ],
    )


def _values(item: InvalidItem) -> list[object]:
    return [getattr(item, name) for name in _COLUMNS.split(", ")]
