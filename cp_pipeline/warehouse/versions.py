"""Rows with a history: a new version only where something differs.

Belongs here: comparing what is said now with the open versions of ``study.<name>_history``, and
writing what differs. Does not belong: what the rows mean (``study_details``, ``looks``).

A version holds from ``valid_from`` until ``valid_to``, which is NULL for the open one (UTC).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from cp_pipeline.warehouse.schema import columns_of, insert_rows, type_of

_VALIDITY = ("valid_from", "valid_to")
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Changes:
    """What must be written to one table: keys of versions that end, and versions that begin."""

    table: str
    key: tuple[str, ...]
    ended: tuple[tuple[object, ...], ...]
    begun: tuple[Row, ...]

    def __bool__(self) -> bool:
        return bool(self.ended or self.begun)


def open_versions(
    connection: duckdb.DuckDBPyConnection, name: str, condition: str = "true"
) -> list[dict[str, object]]:
    """Return the open versions of ``study.<name>_history``, without their validity."""
    columns = [each for each in columns_of(f"{name}_history") if each not in _VALIDITY]
    found = connection.execute(
        f"SELECT {', '.join(columns)} FROM study.{name}_history"
        f" WHERE valid_to IS NULL AND ({condition})"
    ).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in found]


def compare(
    name: str,
    key: Sequence[str],
    before: Collection[Row],
    now: Collection[Row],
    *,
    is_complete: bool,
) -> Changes:
    """Compare the open versions with what is said now.

    Args:
        name: the table, without ``_history``.
        key: the columns that identify a row.
        before: the open versions that ``now`` speaks of.
        now: the rows; a column that they lack is NULL.
        is_complete: whether a row that ``now`` lacks does not exist any more.
    """
    table = f"{name}_history"
    columns = [each for each in columns_of(table) if each not in _VALIDITY]
    known = {_key(row, key): row for row in before}
    said = {_key(row, key): {each: _stored(row.get(each)) for each in columns} for row in now}
    begun = {each: row for each, row in said.items() if known.get(each) != row}
    ended = [each for each in known if each in begun or (is_complete and each not in said)]
    return Changes(table, tuple(key), tuple(ended), tuple(begun.values()))


def write(connection: duckdb.DuckDBPyConnection, changes: Changes, moment: datetime) -> None:
    """Write changes, in the caller's transaction. ``moment``: now, in UTC without an offset."""
    if changes.ended:
        keys = ", ".join(
            f"unnest(?::{type_of(changes.table, column)}[]) AS {column}" for column in changes.key
        )
        # NULL equals NULL here: a part of the key may be missing.
        matched = " AND ".join(
            f"{changes.table}.{column} IS NOT DISTINCT FROM ended.{column}"
            for column in changes.key
        )
        connection.execute(
            f"UPDATE study.{changes.table} SET valid_to = ? FROM (SELECT {keys}) AS ended"
            f" WHERE {changes.table}.valid_to IS NULL AND {matched}",
            [moment, *map(list, zip(*changes.ended, strict=True))],
        )
    validity = {"valid_from": moment, "valid_to": None}
    insert_rows(connection, changes.table, [{**row, **validity} for row in changes.begun])


def _stored(value: object) -> object:
    """Return a value as DuckDB gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _key(row: Row, key: Sequence[str]) -> tuple[object, ...]:
    return tuple(row.get(column) for column in key)
