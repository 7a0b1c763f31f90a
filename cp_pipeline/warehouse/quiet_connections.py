"""Opening DuckDB without its progress bar.

DuckDB draws a progress bar for each query that takes longer than two seconds. It draws it on
standard output, also into a pipe: in the middle of a JSON document or of a CSV
(https://duckdb.org/docs/stable/configuration/overview, ``enable_progress_bar_print``). The setting
belongs to a connection, and cannot be given when DuckDB is opened.
"""

from pathlib import Path

import duckdb

Config = dict[str, str | bool | int | float | list[str]]


def connect(
    path: Path | str = ":memory:", *, read_only: bool = False, config: Config | None = None
) -> duckdb.DuckDBPyConnection:
    """Open DuckDB; its cursors never draw one.

    Raises:
        duckdb.Error: the file cannot be opened.
    """
    connection = duckdb.connect(str(path), read_only=read_only, config=config or {})
    connection.execute("SET enable_progress_bar_print = false")
    return connection
