"""``cp-pipeline query``: run one SQL query, and print the result as a table.

Belongs here: which file to query, and the layout of the result. Does not belong: running the query
(``warehouse``).
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cp_pipeline.cli.screen import answers, errors
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.settings import StorageSettings, is_lake
from cp_pipeline.warehouse import FORMATS, Warehouse, query, write_query

_ROWS = 200
_CHARACTERS = 60


@click.command(name="query")
@click.argument("sql")
@click.option("--warehouse", is_flag=True, help="Query the warehouse, which also has history.")
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=_ROWS,
    show_default=True,
    help="Row limit of a table; the other formats have all rows.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", *FORMATS]),
    default="table",
    show_default=True,
    help="csv, json and parquet are written to stdout, with nothing cut.",
)
def query_command(sql: str, warehouse: bool, rows: int, format_: str) -> None:
    """Print the result of an SQL query, such as "FROM marts.study_coverage".

    The query reads the published file, or the warehouse if nothing has been published yet.
    """
    storage = StorageSettings.from_environment()
    asked = storage.warehouse if warehouse else str(storage.published)
    if not warehouse and not storage.published.exists():
        asked = storage.warehouse
        errors.print(f"Nothing is published yet; querying {asked}.")
    if format_ == "table":
        print_answer(asked, sql, rows)
    else:
        _write_answer(asked, sql, format_)


def _write_answer(location: str, sql: str, format_: str) -> None:
    """Query a DuckDB file, and write all rows to stdout.

    Raises:
        PipelineError: the file does not exist, the query is wrong, or stdout is a screen.
    """
    if format_ == "parquet" and sys.stdout.isatty():
        raise PipelineError(
            "Parquet is no text for a screen.", "Redirect it to a file: … --format parquet > FILE"
        )
    warehouse = _existing(location)
    # Not straight to stdout: DuckDB needs a path, and would write half of a query that fails.
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer"
        write_query(warehouse, sql, answer, format_)
        with answer.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _existing(location: str) -> Warehouse:
    if is_lake(location):
        warehouse = Warehouse.of(StorageSettings.from_environment())
        there = warehouse.exists()
    else:
        warehouse, there = Warehouse(location), Path(location).exists()
    if not there:
        raise PipelineError(f"{location} does not exist yet.", "Run cp-pipeline sync.")
    return warehouse


def print_answer(location: str, sql: str, rows: int = _ROWS) -> None:
    """Query a DuckDB file, and print at most ``rows`` rows.

    Raises:
        PipelineError: the file does not exist, or the query is wrong.
    """
    warehouse = _existing(location)
    # A slow import that only this command needs.
    import polars as pl  # noqa: PLC0415

    answer = query(warehouse, sql)
    with pl.Config(
        tbl_rows=rows,
        tbl_cols=-1,
        tbl_width_chars=answers.width if answers.is_terminal else 200,
        tbl_hide_dataframe_shape=True,
        fmt_str_lengths=_CHARACTERS,
        tbl_hide_column_data_types=True,
        tbl_formatting="ASCII_MARKDOWN",
    ):
        # Also with --quiet: this is what was asked for.
        click.echo(str(answer.head(rows)))
    if answer.height > rows:
        errors.print(f"and {answer.height - rows:,} more rows (--rows)")
