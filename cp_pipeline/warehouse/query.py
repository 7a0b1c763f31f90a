"""Query the warehouse, read-only.

Belongs here: taking SQL, returning a Polars data frame. Does not belong: our own queries
(``check_queries``, ``partition_states``, ``lineage``).
"""

from typing import TYPE_CHECKING

import duckdb

from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import QueryRefused

if TYPE_CHECKING:
    import polars as pl


def query(warehouse: Warehouse, sql: str) -> "pl.DataFrame":
    """Return the rows of one SELECT, as a Polars data frame (through Arrow, without a Python copy).

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        QueryRefused: DuckDB cannot execute it.
    """
    # Import Polars only here: few commands need it, and the import takes as long as DuckDB's.
    import polars as pl  # noqa: PLC0415

    with warehouse.reading() as connection:
        try:
            return pl.DataFrame(connection.sql(sql))
        except duckdb.Error as error:
            raise QueryRefused(f"DuckDB cannot execute this query. {error}") from None
