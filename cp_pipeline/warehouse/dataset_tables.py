"""The table and view of a data set, how columns are added to both, and its schema.

Belongs here: ``history."…"``, ``exports."…"``, and the kind of each column in
``lineage.column_types``. Does not belong: finding a kind (``column_kinds``), the rows of a load
(``loader``), writing a model from a schema (``model_scaffold``).

The order of a table's columns never changes: new columns follow the old ones, and ``_load_id`` is
the last column of the view. A column's kind only widens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from cp_pipeline.warehouse.column_types import Column, Kind, quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.profile import time_column
from cp_pipeline.warehouse.schema import insert_rows


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column that was added (``previous`` is None) or widened."""

    name: str
    previous: Kind | None
    kind: Kind

    def __str__(self) -> str:
        if self.previous is None:
            return f"{self.name}: new, {self.kind.sql_type}"
        return f"{self.name}: {self.previous.sql_type} to {self.kind.sql_type}"


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """The schema of a data set in the warehouse.

    ``columns``: its own columns, in table order. ``time_column``: one of them, or None.
    ``has_unique_times``: whether no load has the same time twice. ``reserved_words``: the words
    that SQL accepts as names only in quotes.
    """

    name: str
    columns: tuple[Column, ...]
    time_column: Column | None
    has_unique_times: bool
    reserved_words: frozenset[str]


def read_all_columns(
    connection: duckdb.DuckDBPyConnection, dataset_name: str | None = None
) -> dict[str, dict[str, Column]]:
    """Return the columns of each data set by lower-case name, in table order."""
    rows = connection.execute(
        "SELECT dataset_name, column_name, kind FROM lineage.column_types"
        " WHERE ? IS NULL OR dataset_name = ? QUALIFY row_number() OVER"
        " (PARTITION BY dataset_name, column_name ORDER BY revision DESC) = 1"
        " ORDER BY dataset_name, position",
        [dataset_name, dataset_name],
    ).fetchall()
    columns: dict[str, dict[str, Column]] = {}
    for dataset, name, kind in rows:
        columns.setdefault(dataset, {})[name.lower()] = Column(name, Kind(kind))
    return columns


def read_columns(connection: duckdb.DuckDBPyConnection, dataset_name: str) -> dict[str, Column]:
    """Return the columns of one data set by lower-case name; empty if the data set is new."""
    return read_all_columns(connection, dataset_name).get(dataset_name, {})


def table_name(dataset_name: str) -> str:
    """Return the quoted name of the data set's history table."""
    return f"history.{quoted(dataset_name)}"


def grow(
    connection: duckdb.DuckDBPyConnection,
    dataset_name: str,
    columns: Sequence[Column],
    load_id: int,
) -> list[ColumnChange]:
    """Create the table in a load's open transaction, or add columns; old ones keep their kinds."""
    present = read_columns(connection, dataset_name)
    added = [column for column in columns if column.name.lower() not in present]
    if not present:
        definition = ", ".join(f"{quoted(c.name)} {c.kind.sql_type}" for c in columns)
        connection.execute(
            f"CREATE TABLE {table_name(dataset_name)} ({definition}, _load_id BIGINT)"
        )
    else:
        for column in added:
            connection.execute(
                f"ALTER TABLE {table_name(dataset_name)}"
                f" ADD COLUMN {quoted(column.name)} {column.kind.sql_type}"
            )
    changes = [ColumnChange(column.name, None, column.kind) for column in added]
    record_changes(connection, dataset_name, changes, load_id)
    return changes


def record_changes(
    connection: duckdb.DuckDBPyConnection,
    dataset_name: str,
    changes: Sequence[ColumnChange],
    load_id: int,
) -> None:
    """Record the added and widened columns, and create the view again."""
    if not changes:
        return
    rows = connection.execute(
        "SELECT column_name, position, max(revision) FROM lineage.column_types"
        " WHERE dataset_name = ? GROUP BY ALL",
        [dataset_name],
    ).fetchall()
    places = {name: (position, revision) for name, position, revision in rows}
    next_place = max((position for position, _ in places.values()), default=0) + 1
    now = datetime.now(UTC).replace(tzinfo=None)
    records = []
    for change in changes:
        position, revision = places.get(change.name, (next_place, 0))
        next_place += change.previous is None
        records.append(
            {
                "dataset_name": dataset_name,
                "column_name": change.name,
                "position": position,
                "revision": revision + 1,
                "kind": change.kind.value,
                "previous_kind": change.previous.value if change.previous else None,
                "caused_by_load_id": load_id,
                "changed_at": now,
            }
        )
    insert_rows(connection, "column_types", records)
    create_view(connection, dataset_name)


def create_view(connection: duckdb.DuckDBPyConnection, dataset_name: str) -> None:
    """Create ``exports."…"``: the rows of current loads, with the lineage of each.

    The view has one join, and the load ids on its small side are close together. So the sum of one
    column takes less than twice as long as without the join (benchmarks/README.md).
    """
    names = [quoted(column.name) for column in read_columns(connection, dataset_name).values()]
    own = ", ".join(f"rows.{name} AS {name}" for name in names)
    connection.execute(
        f"CREATE OR REPLACE VIEW exports.{quoted(dataset_name)} AS SELECT {own},"
        " loads.study_id AS _study_id, loads.subject_id AS _subject_id,"
        " loads.study_program_id AS _study_program_id,"
        " loads.program_execution AS _program_execution,"
        " loads.program_executed_at AS _program_executed_at, rows._load_id AS _load_id"
        f" FROM {table_name(dataset_name)} AS rows"
        " INNER JOIN lineage.current_loads AS loads ON loads.load_id = rows._load_id"
    )


def dataset_names(warehouse: Warehouse) -> list[str]:
    """Return all data sets that have a table; empty if the warehouse does not exist yet."""
    if not warehouse.exists():
        return []
    with warehouse.reading() as connection:
        return list(read_all_columns(connection))


def describe_dataset(warehouse: Warehouse, name: str) -> DatasetDescription | None:
    """Return the schema of the data set with this name, ignoring case, or None."""
    found = next((each for each in dataset_names(warehouse) if each.lower() == name.lower()), None)
    if found is None:
        return None
    with warehouse.reading() as connection:
        columns = tuple(read_columns(connection, found).values())
        duplicates = connection.execute(
            "SELECT coalesce(sum(duplicate_timestamps), 0) FROM lineage.loads"
            " WHERE dataset_name = ?",
            [found],
        ).fetchone()
        reserved = connection.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
        ).fetchall()
    return DatasetDescription(
        name=found,
        columns=columns,
        time_column=time_column(columns),
        has_unique_times=bool(duplicates and duplicates[0] == 0),
        reserved_words=frozenset(word for (word,) in reserved),
    )
