"""Widen a column: rebuild the data set's history from the landing, and swap the tables.

Belongs here: reading old loads again with wider kinds, so that every value has its original text
(``1.50``, which the DOUBLE 1.5 does not preserve).
Does not belong: finding that a column must widen (``staging``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb

from cp_pipeline.domain.exports import ExportKey, Version
from cp_pipeline.landing import ExportRefused, Landing, read_csv_text
from cp_pipeline.warehouse.column_types import Column, Kind, quoted
from cp_pipeline.warehouse.dataset_tables import (
    ColumnChange,
    read_columns,
    record_changes,
    table_name,
)
from cp_pipeline.warehouse.staging import stage


class HistoricLoad(NamedTuple):
    """A load whose file a widening reads again: ``landing_path``, checked by ``file_sha256``."""

    load_id: int
    key: ExportKey
    version: Version
    file_sha256: str
    landing_path: str


class LandedFileGone(Exception):
    """The landed file of a load is missing or has changed."""

    def __init__(self, load: HistoricLoad, reason: str) -> None:
        super().__init__(reason)
        self.load = load


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A data set's history with wider kinds, in the in-memory table ``memory.{table}``."""

    dataset_name: str
    table: str
    columns: tuple[Column, ...]
    load_ids: frozenset[int]


def rebuild(
    connection: duckdb.DuckDBPyConnection,
    dataset_name: str,
    wanted: Mapping[str, Column],
    loads: Sequence[HistoricLoad],
    landing: Landing,
    scratch: Path,
    table: str,
) -> Rebuild:
    """Read all loads of a data set again, with kinds at least as wide as ``wanted``.

    Args:
        connection: the in-memory connection; the warehouse need not be attached.
        dataset_name: the data set.
        wanted: its columns by lower-case name, in table order, with the new kinds.
        loads: all loads of the data set.
        landing: has the original files.
        scratch: a scratch folder for what does not fit in memory.
        table: the table to create; each data set of a batch needs another name.

    Raises:
        LandedFileGone: the landed file of a load is missing or damaged.
    """
    columns = dict(wanted)
    while True:
        wider = _read_all(connection, columns, loads, landing, scratch, table)
        if wider == columns:
            load_ids = frozenset(load.load_id for load in loads)
            return Rebuild(dataset_name, table, tuple(columns.values()), load_ids)
        columns = wider


def _read_all(
    connection: duckdb.DuckDBPyConnection,
    columns: Mapping[str, Column],
    loads: Sequence[HistoricLoad],
    landing: Landing,
    scratch: Path,
    table: str,
) -> dict[str, Column]:
    """Fill ``memory.{table}``; return its columns, with wider kinds if a value needs them."""
    definition = ", ".join(f"{quoted(c.name)} {c.kind.sql_type}" for c in columns.values())
    connection.execute(f"CREATE OR REPLACE TABLE memory.{table} ({definition}, _load_id BIGINT)")
    wider = dict(columns)
    for load in loads:
        try:
            with landing.files.local(load.landing_path, scratch) as path:
                text = read_csv_text(path, scratch)
        except (ExportRefused, OSError) as error:
            raise LandedFileGone(load, str(error)) from error
        try:
            staged = stage(connection, "again", {load.load_id: text}, wider, scratch)
        finally:
            text.discard()
        for column in staged.columns:
            wider[column.name.lower()] = column
        if wider == dict(columns):
            names = ", ".join(quoted(column.name) for column in staged.columns)
            connection.execute(
                f"INSERT INTO memory.{table} ({names}, _load_id)"
                f" SELECT {', '.join(staged.values)}, _load_id FROM memory.again"
            )
    connection.execute("DROP TABLE IF EXISTS memory.again")
    return wider


def swap_in(
    connection: duckdb.DuckDBPyConnection, made: Rebuild, load_id: int
) -> list[ColumnChange]:
    """Replace the history table with the rebuilt one, in the load's transaction."""
    before = read_columns(connection, made.dataset_name)
    changes = [
        ColumnChange(column.name, before[column.name.lower()].kind, column.kind)
        for column in made.columns
        if before[column.name.lower()].kind is not column.kind
    ]
    connection.execute(f"DROP TABLE {table_name(made.dataset_name)}")
    connection.execute(f"CREATE TABLE {table_name(made.dataset_name)} AS FROM memory.{made.table}")
    record_changes(connection, made.dataset_name, changes, load_id)
    return changes


def must_widen(before: Mapping[str, Column], after: Mapping[str, Kind]) -> dict[str, Column] | None:
    """Return the data set's columns with wider kinds, or None if no kind has to change."""
    wider = {
        name: Column(column.name, after.get(name, column.kind)) for name, column in before.items()
    }
    return None if wider == dict(before) else wider


def read_loads(connection: duckdb.DuckDBPyConnection, dataset_name: str) -> list[HistoricLoad]:
    """Return all loads of a data set, including superseded ones, by load id."""
    rows = connection.execute(
        "SELECT load_id, study_id, subject_id, study_program_id, dataset_name,"
        " epoch_ns(program_executed_at), epoch_ns(modified_at), file_name, file_sha256,"
        " landing_path FROM lineage.loads WHERE dataset_name = ? ORDER BY load_id",
        [dataset_name],
    ).fetchall()
    return [
        HistoricLoad(row[0], ExportKey(*row[1:5]), Version(*row[5:8]), *row[8:]) for row in rows
    ]
