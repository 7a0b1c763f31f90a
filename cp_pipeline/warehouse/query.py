"""Query the warehouse, read-only.

Belongs here: taking SQL, returning a Polars data frame. Does not belong: our own queries
(``check_queries``, ``partition_states``, ``lineage``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from cp_pipeline.warehouse.column_types import literal, quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import QueryRefused

if TYPE_CHECKING:
    import polars as pl


# How DuckDB's COPY writes each format.
_OPTIONS = {
    "csv": "FORMAT csv, HEADER",
    "json": "FORMAT json, ARRAY true",
    "parquet": "FORMAT parquet",
}
FORMATS = tuple(_OPTIONS)


def query(
    warehouse: Warehouse, sql: str, parameters: Mapping[str, object] | None = None
) -> "pl.DataFrame":
    """Return the rows of one SELECT, as a Polars data frame (through Arrow, without a Python copy).

    Args:
        warehouse: what to query.
        sql: the SELECT.
        parameters: the values of ``$name`` in it.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        QueryRefused: DuckDB cannot execute it.
    """
    # Import Polars only here: few commands need it, and the import takes as long as DuckDB's.
    import polars as pl  # noqa: PLC0415

    with warehouse.reading() as connection:
        try:
            return pl.DataFrame(
                connection.sql(sql, params=dict(parameters) if parameters else None)
            )
        except duckdb.Error as error:
            raise QueryRefused(f"DuckDB cannot execute this query. {error}") from None


def write_query(
    warehouse: Warehouse,
    sql: str,
    path: Path,
    format_: str,
    parameters: Mapping[str, object] | None = None,
) -> None:
    """Write all rows of one SELECT to a new file, as DuckDB writes them.

    Args:
        warehouse: what to query.
        sql: the SELECT.
        path: the file.
        format_: one of ``FORMATS``.
        parameters: the values of ``$name`` in the SELECT.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        QueryRefused: DuckDB cannot execute it.
    """
    with warehouse.reading() as connection:
        try:
            # DuckDB finds it by the name of the variable.
            answer = connection.sql(sql, params=dict(parameters) if parameters else None)
            connection.execute(f"COPY (FROM answer) TO {literal(path)} ({_OPTIONS[format_]})")
            del answer
        except duckdb.Error as error:
            raise QueryRefused(f"DuckDB cannot execute this query. {error}") from None


def failing_rows(
    warehouse: Warehouse, test: str, columns: Sequence[str]
) -> list[dict[str, object]]:
    """Return what a test of the models found: the different values of some columns, and how often.

    At most 20, the most frequent first.

    Args:
        warehouse: where the test ran.
        test: its SQL, as dbt compiled it, where the database is named after the warehouse's file
            (``warehouse`` for a DuckLake).
        columns: the columns to return.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        QueryRefused: DuckDB cannot execute it.
    """
    selected = ", ".join(map(quoted, columns))
    database = Path(warehouse.location).stem if warehouse.is_file else "warehouse"
    own = test.replace(f"{quoted(database)}.", "")
    answer = query(
        warehouse,
        f"SELECT {selected}, count(*) AS rows FROM ({own}) AS found GROUP BY ALL"
        f" ORDER BY rows DESC, {selected} LIMIT 20",
    )
    return answer.to_dicts()


def columns_of_tables(warehouse: Warehouse) -> dict[str, dict[str, dict[str, str]]]:
    """Return the columns of all tables and views with their types, by schema and table.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    with warehouse.reading() as connection:
        rows = connection.execute(
            "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE database_name = current_database()"
        ).fetchall()
    for schema, table, column, type_ in rows:
        found.setdefault(schema, {}).setdefault(table, {})[column] = type_
    return found
