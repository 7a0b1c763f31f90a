"""Opening DuckDB without its progress bar, and attaching files to it.

DuckDB draws a progress bar for each query that takes longer than two seconds. It draws it on
standard output, also into a pipe: in the middle of a JSON document or of a CSV
(https://duckdb.org/docs/stable/configuration/overview, ``enable_progress_bar_print``). The setting
belongs to a connection, and cannot be given when DuckDB is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import literal

# How ATTACH makes a file that DuckDB 1.5 can open too. An existing file keeps its own version.
NEW_FILE = "STORAGE_VERSION 'v1.5.0'"
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


@contextmanager
def attached(
    connection: duckdb.DuckDBPyConnection, file: Path | str, name: str, options: str = ""
) -> Iterator[None]:
    """Attach a DuckDB file in the block."""
    connection.execute(f"ATTACH {literal(file)} AS {name}{f' ({options})' if options else ''}")
    try:
        yield
    finally:
        connection.execute(f"DETACH {name}")
