"""The schema of a data set: its columns, and whether its times identify its rows.

Belongs here: reading it from the warehouse. Does not belong: writing a model from it
(``model_scaffold``).
"""

from dataclasses import dataclass

from cp_pipeline.warehouse.column_types import Column
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import read_all_columns
from cp_pipeline.warehouse.profile import time_column


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
        columns = tuple(read_all_columns(connection, found)[found].values())
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
