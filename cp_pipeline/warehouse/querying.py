"""Asking the warehouse a question, read-only.

Belongs here: SQL in, a Polars data frame out.
"""

import polars as pl

from cp_pipeline.warehouse.opening import Workbench


def query(workbench: Workbench, sql: str) -> pl.DataFrame:
    """The rows of one SELECT, as a Polars data frame (through Arrow, without a copy in Python).

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
        duckdb.Error: the query is wrong.
    """
    with workbench.reading() as connection:
        return pl.DataFrame(connection.sql(sql))
