"""The analysts' file: plain tables of the current rows, replaced atomically.

Belongs here: copying, comments, replacing the old file.
Does not belong: building the models that are copied (``dbt_style_sql``).

The file is written under another name and put in place by ``os.replace``. A reader that has the old
file open keeps it, the next reader opens the new file, and no reader sees a partial file
(docs/design.md, 9). The copy shows one state of the warehouse, because no process can
write to the warehouse while it is attached.
"""

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.landing import ObjectStore
from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline.locks.partial_files import remove_partial, replaced_at_once
from cp_pipeline.warehouse import descriptions
from cp_pipeline.warehouse.column_types import literal, quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.quiet_connections import NEW_FILE, attached, connect
from cp_pipeline.warehouse.study_tables import subject_macro

# `history` is not copied, because it has rows that are not current. Nor are dbt's and DuckDB's own
# schemas.
_COPIED = ("exports", "lineage", "study", "staging", "marts")
# Of a DuckLake only, and nothing for readers.
_TURN = ("lineage", "turn")
_FOR_READERS = 0o644
# The columns of a wider table get no comment each.
_COMMENTED = 200
# Use the sum, because the maximum does not change if the clock was set back.
_STATE = """
SELECT concat_ws('.',
    (SELECT coalesce(max(load_id), 0) || '-' || count(*) FROM lineage.loads),
    (SELECT count(*) FROM lineage.superseded),
    (SELECT count(*) || '-' || coalesce(sum(epoch_us(listed_at)), 0) FROM lineage.export_files),
    (SELECT count(*) FROM lineage.failures))
"""


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: the number of tables and rows, and the file size in bytes.

    ``uploaded``: the location of the object to which it was uploaded, and ``sha256`` its checksum;
    empty if it was not.
    """

    path: Path
    tables: int
    rows: int
    byte_count: int
    uploaded: str = ""
    sha256: str = ""


def state_of_warehouse(warehouse: Warehouse) -> str:
    """Return a text that changes with every new listing, load or failure; empty without these."""
    rows = warehouse.rows(_STATE)
    return rows[0][0] if rows else ""


def published_state(path: Path) -> str:
    """Return the ``state_of_warehouse`` of a published file; empty if the file has none."""
    if not path.exists():
        return ""
    try:
        with connect(path, read_only=True) as published:
            row = published.execute("SELECT state_of_warehouse FROM lineage.publication").fetchone()
    except duckdb.Error:
        return ""
    return str(row[0]) if row else ""


def publish_current(
    warehouse: Warehouse, path: Path, run_id: str = "", upload_to: str = ""
) -> Published:
    """Write a new analysts' file and put it in place.

    Args:
        warehouse: the warehouse.
        path: the path of the file (``CP_PUBLISHED``).
        run_id: the Dagster run, for lineage.
        upload_to: a location in an object store (``CP_PUBLISH_TO``), to which the file is uploaded
            before it replaces the old one; empty for none.

    Raises:
        PipelineError: the warehouse does not exist yet, or the file cannot be written or uploaded.
        WarehouseError: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        raise PipelineError("Nothing is loaded yet, so nothing can be published.", "Sync first.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One run publishes at a time (the pool `warehouse`), so no process that lives wrote these.
        remove_partial(path)
        # A new file is readable for everyone. An existing file keeps its permissions.
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else _FOR_READERS
        with replaced_at_once(path, mode) as partial:
            # Outside the reading, which is a transaction where the warehouse is a DuckLake.
            with warehouse.in_use, attached(warehouse.connection, partial, "published", NEW_FILE):
                with warehouse.reading() as connection:
                    tables = _copy(connection)
                    connection.execute(subject_macro("published."))
                    _note_publication(connection, run_id)
                rows = _count(warehouse.connection)
            # First, so that a file that could not be uploaded is published again.
            uploaded = _upload(partial, path.name, upload_to) if upload_to else ("", "")
    except (OSError, duckdb.IOException) as error:
        raise PipelineError(
            f"The published file {path} cannot be written: {error}.",
            "The old file is unchanged. Check the disk space and that the folder is writable.",
        ) from error
    return Published(path, tables, rows, path.stat().st_size, *uploaded)


def _upload(file: Path, name: str, location: str) -> tuple[str, str]:
    """Upload the file; return the object's location and its checksum."""
    checksum = ObjectStore.at(location, "the published file in").upload(name, file)
    return f"{location}/{name}", checksum


def _copy(connection: duckdb.DuckDBPyConnection) -> int:
    """Copy every table and view of the copied schemas as a plain table, with comments."""
    found = connection.execute(
        "SELECT schema_name, table_name, comment FROM duckdb_tables()"
        " WHERE database_name = 'warehouse' UNION ALL"
        " SELECT schema_name, view_name, comment FROM duckdb_views()"
        " WHERE database_name = 'warehouse' AND NOT internal ORDER BY ALL"
    ).fetchall()
    copied = [row for row in found if row[0] in _COPIED and row[:2] != _TURN]
    for schema in _COPIED:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS published.{schema}")
    for schema, name, comment in copied:
        target = f"published.{schema}.{quoted(name)}"
        connection.execute(f"CREATE TABLE {target} AS FROM warehouse.{schema}.{quoted(name)}")
        _comment(connection, schema, name, comment)
    return len(copied)


def _comment(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str, comment: str | None
) -> None:
    """Write comments: those in the warehouse (dbt writes the models' there), else ours."""
    target = f"published.{schema}.{quoted(name)}"
    columns = connection.execute(
        "SELECT column_name, comment FROM duckdb_columns() WHERE database_name = 'warehouse'"
        " AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [schema, name],
    ).fetchall()
    as_in_the_export, more = descriptions.EXPORT_COLUMN, ""
    if schema == "exports" and len(columns) > _COMMENTED:
        # Each comment is a statement, and each one makes DuckDB copy its metadata of the table.
        as_in_the_export, more = "", descriptions.WIDE_EXPORT
    own = {
        "lineage": descriptions.TABLES.get(name),
        "study": descriptions.TABLES.get(name),
        "exports": descriptions.EXPORT,
    }.get(schema)
    if words := comment or (own and own.format(name=name) + more):
        connection.execute(f"COMMENT ON TABLE {target} IS {literal(words)}")
    for column, said in columns:
        if schema == "exports" and column not in RESERVED_NAMES:
            words = said or as_in_the_export
        else:
            words = said or descriptions.of_column(column)
        if words:
            connection.execute(f"COMMENT ON COLUMN {target}.{quoted(column)} IS {literal(words)}")


def _note_publication(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    row = connection.execute(_STATE).fetchone()
    connection.execute(
        "CREATE TABLE published.lineage.publication AS SELECT ?::TIMESTAMP AS published_at,"
        " ?::VARCHAR AS state_of_warehouse, ?::VARCHAR AS dagster_run_id",
        [datetime.now(UTC).replace(tzinfo=None), row[0] if row else "", run_id],
    )
    target = "published.lineage.publication"
    words = descriptions.TABLES["publication"]
    connection.execute(f"COMMENT ON TABLE {target} IS {literal(words)}")
    for column in ("published_at", "state_of_warehouse", "dagster_run_id"):
        words = descriptions.of_column(column)
        connection.execute(f"COMMENT ON COLUMN {target}.{column} IS {literal(words)}")


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(estimated_size), 0)::BIGINT FROM duckdb_tables()"
        " WHERE database_name = 'published' AND schema_name = 'exports'"
    ).fetchone()
    return int(row[0]) if row else 0
