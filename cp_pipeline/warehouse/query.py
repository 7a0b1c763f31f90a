"""Asking the warehouse a question, read-only.

Belongs here: SQL in, a Polars data frame out.
"""

from typing import TYPE_CHECKING

import duckdb

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import QueryRefused

if TYPE_CHECKING:
    import polars as pl


def query(warehouse: Warehouse, sql: str) -> "pl.DataFrame":
    """The rows of one SELECT, as a Polars data frame (through Arrow, without a copy in Python).

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        QueryRefused: DuckDB cannot answer it.
    """
    # Polars is only for those who ask, and takes as long to import as DuckDB.
    import polars as pl  # noqa: PLC0415

    with warehouse.reading() as connection:
        try:
            return pl.DataFrame(connection.sql(sql))
        except duckdb.Error as error:
            raise QueryRefused(f"DuckDB cannot answer that. {error}") from None
