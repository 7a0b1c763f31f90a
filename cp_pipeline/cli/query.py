"""``cp-pipeline query``: one question in SQL, the answer as a table.

Belongs here: which file is asked, and how the answer looks.
"""

from pathlib import Path

import click

from cp_pipeline.cli.screen import answers, errors
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, query

_ROWS = 200
_CHARACTERS = 60


@click.command(name="query")
@click.argument("sql")
@click.option("--warehouse", is_flag=True, help="Ask the warehouse, which also has history.")
@click.option("--rows", type=click.IntRange(1), default=_ROWS, show_default=True, help="At most.")
def query_command(sql: str, warehouse: bool, rows: int) -> None:
    """Print the answer to a question in SQL, such as "FROM marts.study_coverage".

    It is asked of the published file, or of the warehouse where nothing has been published yet.
    """
    storage = StorageSettings.from_environment()
    asked = storage.warehouse if warehouse else str(storage.published)
    if not warehouse and not storage.published.exists():
        asked = storage.warehouse
        errors.print(f"Nothing is published yet; asking {asked}.")
    print_answer(asked, sql, rows)


def print_answer(location: str, sql: str, rows: int = _ROWS) -> None:
    """Ask a DuckDB file, and print at most so many rows.

    Raises:
        PipelineError: there is no such file, or the question is wrong.
    """
    warehouse = Warehouse(location)
    if warehouse.is_file and not Path(location).exists():
        raise PipelineError(f"There is nothing in {location} yet.", "Run cp-pipeline sync.")
    # A slow import, for this command alone.
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
        answers.print(str(answer.head(rows)))
    if answer.height > rows:
        errors.print(f"and {answer.height - rows:,} rows more (--rows)")
