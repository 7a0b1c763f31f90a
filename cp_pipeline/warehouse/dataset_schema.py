"""What a data set is like: its columns, and whether its times tell its rows apart.

Belongs here: asking the warehouse. Does not belong: what is made of the answer
(``model_scaffold``).
"""

from dataclasses import dataclass

from cp_pipeline.warehouse.column_types import Column
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import read_all_columns
from cp_pipeline.warehouse.profile import time_column


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """A data set that the warehouse has.

    ``columns``: its own, in the table's order. ``time_column``: one of them, or None.
    ``has_unique_times``: whether in each load no time comes twice. ``reserved_words``: what SQL
    does not take as a name without quotes.
    """

    name: str
    columns: tuple[Column, ...]
    time_column: Column | None
    has_unique_times: bool
    reserved_words: frozenset[str]


def dataset_names(warehouse: Warehouse) -> list[str]:
    """All data sets that have a table; none where there is no warehouse yet."""
    if not warehouse.exists():
        return []
    with warehouse.reading() as connection:
        return list(read_all_columns(connection))


def describe_dataset(warehouse: Warehouse, name: str) -> DatasetDescription | None:
    """A data set by its name, upper and lower case alike; None if there is none."""
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
