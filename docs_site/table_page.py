"""The page ``tables.md``: every table, view, column and macro, from a study's own comments.

Belongs here: making a small study, reading DuckDB's comments, the page's Markdown. Does not belong:
the comments (``warehouse.descriptions``, ``dbt_style_sql/models``).
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

import duckdb
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cp_pipeline.ingest import PartitionLoaded, Pipeline, Request
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import DBT_PROJECT, CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse, publish_current
from cp_pipeline.warehouse.descriptions import MACROS

# A data folder with a published study, if there is one already.
STUDY = "DOCS_STUDY"
_SCHEMAS = {
    "marts": "What most people need: days, visits, subjects, coverage. Defined in"
    " [What the models compute](models.md).",
    "staging": "Each family of data sets, with typed columns that have units in their names.",
    "exports": "One table for each data set, with its own columns: CentrePoint defines them. These"
    " are the data sets of the sandbox. After the columns of the file come six columns that say"
    " where a row is from.",
    "lineage": "What was listed, loaded, replaced and refused.",
    "study": "What is around the exports. Sites, subjects, time zones and visits are empty without"
    " `CP_STUDY_DETAILS=1`.",
}
_INTRODUCTION = """\
# Tables and columns

Generated from the comments in the published file, `data/centrepoint.duckdb`. To read them there:

```sql
SELECT schema_name, table_name, comment FROM duckdb_tables();
SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'marts';
```

The warehouse, `data/warehouse.duckdb`, has the same tables (some are views there), and the
[history](#history-in-the-warehouse-only).
"""
_HISTORY = """\
## history (in the warehouse only)

`history."<data set>"` has the rows of every load: the columns of the file, and `_load_id`. These
functions return the rows of the loads that were current at an instant, with the columns of
`exports."<data set>"`:
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "tables.md", content=_content()))
    return files


# Once, because `mkdocs serve` builds the site again after each change of a document.
@cache
def _content() -> str:
    if study := os.environ.get(STUDY):
        return page(Path(study))
    with tempfile.TemporaryDirectory() as folder:
        _make_study(Path(folder))
        return page(Path(folder))


def _make_study(folder: Path) -> None:
    """Load a synthetic study of one subject, build its models, and publish it."""
    storage = StorageSettings.from_environment({"CP_DATA_DIR": str(folder)})
    with Sandbox(SandboxStudy.synthetic(subjects=1, days=1, epoch_rows=60)) as service:
        pipeline = Pipeline(CentrePointSettings.from_environment(service.environment), storage)
        survey = pipeline.survey(Request.of())
        with pipeline.execute(survey) as results:
            if failed := [each for each in results if not isinstance(each, PartitionLoaded)]:
                raise RuntimeError(f"The study for the page cannot be loaded: {failed}")
    target = folder / "dbt"
    target.mkdir()
    subprocess.run(  # noqa: S603  (our own commands)
        [Path(sys.executable).with_name("dbt"), "--quiet", "run", "--project-dir", DBT_PROJECT,
         "--profiles-dir", DBT_PROJECT, "--target-path", target, "--log-path", target],
        env={**os.environ, "CP_WAREHOUSE": storage.warehouse, "CP_VISITS": str(storage.visits),
             "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        cwd=target,
        check=True,
    )  # fmt: skip
    with Warehouse.of(storage) as warehouse:
        publish_current(warehouse, storage.published)


def page(study: Path) -> str:
    """Return the page's Markdown.

    Args:
        study: a data folder with a warehouse and its published file.
    """
    parts = [_INTRODUCTION]
    with duckdb.connect(str(study / "centrepoint.duckdb"), read_only=True) as published:
        for schema, words in _SCHEMAS.items():
            parts += [f"## {schema}", words, *_tables(published, schema)]
    with duckdb.connect(str(study / "warehouse.duckdb"), read_only=True) as warehouse:
        parts += [_HISTORY, _macros(warehouse)]
    return "\n\n".join(parts) + "\n"


def _tables(published: duckdb.DuckDBPyConnection, schema: str) -> Iterator[str]:
    found = published.execute(
        "SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = ? ORDER BY ALL",
        [schema],
    ).fetchall()
    for name, comment in found:
        columns = published.execute(
            "SELECT column_name, data_type, comment FROM duckdb_columns()"
            " WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
            [schema, name],
        ).fetchall()
        yield f"### {schema}.{_name(name)}"
        yield _plain(comment)
        rows = (f"| `{column}` | `{kind}` | {_plain(said)} |" for column, kind, said in columns)
        yield "\n".join(["| column | type | |", "|---|---|---|", *rows])


def _macros(warehouse: duckdb.DuckDBPyConnection) -> str:
    found = warehouse.execute(
        "SELECT function_name, array_to_string(parameters, ', ') FROM duckdb_functions()"
        " WHERE function_type = 'table_macro' AND NOT internal ORDER BY ALL"
    ).fetchall()
    rows = (f"| `{name}({given})` | {_plain(MACROS.get(name))} |" for name, given in found)
    return "\n".join(["| function | |", "|---|---|", *rows])


def _name(name: str) -> str:
    return name if name == name.lower() else f'"{name}"'


def _plain(comment: str | None) -> str:
    """Return a comment on one line, in which nothing but code between backticks is markup."""
    parts = " ".join((comment or "").split()).split("`")
    parts[::2] = (re.sub(r"([*_|])", r"\\\1", escape(part)) for part in parts[::2])
    return "`".join(parts)
