"""Erase a subject who withdrew consent, and keep only the fact that it was done.

Belongs here: deleting the subject's rows from every table of a warehouse or of the published file.
Does not belong: which other texts name the subject (``known_texts``), files (``landing``),
Dagster's events (``defs.instance.event_erasure``), the order of the steps
(``ingest.subject_erasure``).

A deleted row stays readable in the free pages of its file, so the file is rewritten. A DuckLake
also has it in older snapshots, data files and statistics, so the tables are written anew, and all
older snapshots are given up (``lake_maintenance``).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from cp_pipeline.locks.partial_files import remove_partial
from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import WarehouseError
from cp_pipeline.warehouse.file_swap import log_of, put_in_place, replacing, write_anew
from cp_pipeline.warehouse.lake_maintenance import forget_snapshots, write_table_anew
from cp_pipeline.warehouse.lineage import read_erased
from cp_pipeline.warehouse.quiet_connections import NEW_FILE, attached
from cp_pipeline.warehouse.schema import insert_rows, tables_of

_SUBJECT_COLUMNS = frozenset({"subject_id", "_subject_id"})
_LOAD_COLUMNS = frozenset({"load_id", "_load_id"})
# The columns that we add to a file's own columns. A file's own SUBJECT_ID or LOAD_ID may mean
# something else.
_BESIDE_A_FILE = frozenset({"_subject_id", "_load_id"})
_OURS = frozenset({"exports", "history", "lineage", "study"})
# A model about data sets, not about subjects.
_OF_NO_SUBJECT = frozenset({("marts", "measure_columns")})
_ERASURES = ("lineage", "erasures")
# Where CentrePoint calls the number of a subject its id; in the published file, a table.
_SUBJECT_IS_ID = frozenset({("study", "subjects_history"), ("study", "subjects")})


def erase_from_warehouse(warehouse: Warehouse, subject_id: int, file_count: int) -> tuple[str, ...]:
    """Delete the subject's rows, record the erasure, and rewrite the file.

    Args:
        warehouse: the warehouse.
        subject_id: the subject.
        file_count: the number of landed files removed with it, to record.

    Returns:
        Tables that someone else made, whose columns do not identify the subject of a row.

    Raises:
        WarehouseBusy: another process holds the file, or is replacing it.
        WarehouseError: the disk has no space for the copy; run it again.
    """
    with warehouse.transaction() as connection:
        conditions = dict(_conditions(connection, subject_id))
        loads = _load_ids(connection, subject_id)
        highest = connection.execute(
            "SELECT max(id) FROM (SELECT max(load_id) AS id FROM lineage.loads"
            " UNION ALL SELECT max(load_id) FROM lineage.compacted)"
        ).fetchone()
        for (schema, table), condition in conditions.items():
            if not condition:
                continue
            name = f"{quoted(schema)}.{quoted(table)}"
            if warehouse.is_file:
                connection.execute(f"DELETE FROM {name} WHERE {condition}")
            else:
                write_table_anew(connection, name, condition)
        if subject_id not in read_erased(connection):
            record = {
                "subject_id": subject_id,
                "erased_at": datetime.now(UTC).replace(tzinfo=None),
                "loads": len(loads),
                "files": file_count,
                "highest_load_id": highest[0] if highest else None,
            }
            insert_rows(connection, "erasures", [record])
    if warehouse.is_file:
        write_anew(warehouse)
    else:
        forget_snapshots(warehouse)
    return _unclear(conditions)


def erase_from_published(published: Path, subject_id: int) -> bool:
    """Rewrite the published file without the subject; return False if it had to be removed.

    The file is removed if a table has no column that identifies the subject of a row. Readers that
    have the old file open keep it until they close it.

    Raises:
        WarehouseError: the file cannot be read or written.
    """
    if published.parent.exists():
        remove_partial(published)
    if not published.exists():
        return True
    warehouse = Warehouse(str(published))
    with replacing(published.resolve()) as scratch, warehouse.reading() as connection:
        conditions = dict(_conditions(connection, subject_id))
        if _unclear(conditions):
            published.unlink()
            return False
        _copy_the_others(connection, conditions, scratch)
        scratch.chmod(published.stat().st_mode)
        # The copy contains what the log holds, and no one writes to a file that is being read.
        log_of(published.resolve()).unlink(missing_ok=True)
        put_in_place(scratch, published.resolve())
    return True


def _copy_the_others(
    connection: duckdb.DuckDBPyConnection, conditions: Mapping[tuple[str, str], str], scratch: Path
) -> None:
    """Copy the default database without the rows that match the conditions."""
    try:
        with attached(connection, scratch, "fresh", NEW_FILE):
            connection.execute("COPY FROM DATABASE warehouse TO fresh (SCHEMA)")
            for (schema, table), condition in conditions.items():
                name = f"{quoted(schema)}.{quoted(table)}"
                kept = f" WHERE ({condition}) IS NOT TRUE" if condition else ""
                connection.execute(f"INSERT INTO fresh.{name} FROM warehouse.{name}{kept}")
    except duckdb.Error as error:
        raise WarehouseError(
            f"The published file cannot be rewritten: {str(error).splitlines()[0]}.",
            "Remove it, run this again, and publish.",
        ) from error


def _load_ids(connection: duckdb.DuckDBPyConnection, subject_id: int) -> list[int]:
    tables = tables_of(connection, "warehouse")
    found: list[int] = []
    for table in ("loads", "compacted"):
        if ("lineage", table) in tables:
            rows = connection.execute(
                f"SELECT load_id FROM lineage.{table} WHERE subject_id = ?", [subject_id]
            ).fetchall()
            found += [load_id for (load_id,) in rows]
    return found


def _conditions(
    connection: duckdb.DuckDBPyConnection, subject_id: int
) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield for each table the SQL condition of the subject's rows; empty if no column tells."""
    loads = _load_ids(connection, subject_id)
    for name, listed in tables_of(connection, "warehouse").items():
        columns = {column.lower(): column for column in listed}
        telling = set(columns)
        if name[0] in {"exports", "history"}:
            telling &= _BESIDE_A_FILE
        of_subject = [columns[each] for each in sorted(_SUBJECT_COLUMNS & telling)]
        of_load = [columns[each] for each in sorted(_LOAD_COLUMNS & telling)]
        if name == _ERASURES:
            yield name, ""
        elif name in _SUBJECT_IS_ID:
            yield name, f"id = {subject_id}"
        elif of_subject:
            yield (
                name,
                " OR ".join(f"TRY_CAST({quoted(c)} AS BIGINT) = {subject_id}" for c in of_subject),
            )
        elif of_load:
            yield name, f"{quoted(of_load[0])} IN (SELECT unnest({loads}::BIGINT[]))"
        else:
            yield name, ""


def _unclear(conditions: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    return tuple(
        f"{schema}.{table}"
        for (schema, table), condition in conditions.items()
        if not condition and schema not in _OURS and (schema, table) not in _OF_NO_SUBJECT
    )
