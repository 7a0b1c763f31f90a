"""The latest listing of CentrePoint: ``lineage.export_files`` and ``lineage.unusable_items``.

Belongs here: recording a listing with its invalid items, what is pending and since when, what is no
longer listed. Does not belong: requesting a listing (``centrepoint``), what makes an item invalid
(``centrepoint.items``), what is loaded (``lineage``).

An export is withdrawn when two whole listings lacked it, because a listing can be wrong while
CentrePoint executes programs. The first listing that lacks it sets ``unlisted_since``, and the
second removes the row.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime

import duckdb

from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem, StudyListing, Version
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.lineage import OF_SUBJECTS, Scope, identity, of_subjects, read_erased
from cp_pipeline.warehouse.schema import has_table, insert_rows

_KEY = "study_id, subject_id, study_program_id, dataset_name"
_ITEM = ", ".join(field.name for field in fields(InvalidItem))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of ``lineage.export_files``, without its key and other timestamps."""

    execution: str
    version: Version
    pending_since: datetime | None
    unlisted_since: datetime | None
    study_version: int | None

    def says(self, item: ExportFile) -> bool:
        """Whether the row equals a listed item."""
        return (
            (self.execution, self.version) == (item.execution.verbatim, item.version)
            # The older dialect does not have it: that changes nothing.
            and item.study_version in (None, self.study_version)
            and self.unlisted_since is None
            and (self.pending_since is not None) == item.is_pending
        )


def record_listing(warehouse: Warehouse, listing: StudyListing, scope: Scope) -> bool:
    """Record a listing in ``lineage.export_files``, within the scope; return whether it changed.

    An export whose item cannot be loaded now (invalid, in another format, or of a program that
    never ran) keeps its earlier row. If nothing changed, the file is not opened for writing.
    """
    invalid_before = [item for item in invalid_items(warehouse) if scope.may_cover(item)]
    before = _recorded(warehouse, scope)
    fresh, gone, unlisted = _compare(before, listing, scope)
    differs = fresh or gone or unlisted or set(invalid_before) != set(listing.invalid)
    if not differs and warehouse.exists():
        return False
    now = datetime.now(UTC).replace(tzinfo=None)
    with warehouse.transaction() as connection:
        erased = read_erased(connection)
        _write(connection, fresh, before, erased, now)
        mark_unlisted(connection, unlisted, gone, now)
        still = [item for item in listing.invalid if item.subject_id not in erased]
        replace_invalid(connection, invalid_before, still, now)
    return True


def record_rows(
    connection: duckdb.DuckDBPyConnection, listing: StudyListing, now: datetime
) -> bool:
    """Record a part of a listing in an open transaction; return whether a row changed.

    What it lacks may be in another part. ``now`` is in UTC.
    """
    keys = _columns(item.key for item in listing.items)
    before = _read(connection, f"({_KEY}) IN ({_KEYS})", keys)
    fresh = _fresh(before, listing.items)
    erased = read_erased(connection)
    _write(connection, fresh, before, erased, now)
    known = {*read_invalid(connection)}
    invalid = [item for item in listing.invalid if item not in known]
    replace_invalid(
        connection, [], [item for item in invalid if item.subject_id not in erased], now
    )
    return bool(fresh or invalid)


def mark_unlisted(
    connection: duckdb.DuckDBPyConnection,
    unlisted: Iterable[ExportKey],
    gone: Iterable[ExportKey],
    now: datetime,
) -> None:
    """Mark exports that a whole listing lacked, and remove those that two in a row lacked."""
    _remove(connection, gone)
    connection.execute(
        f"UPDATE lineage.export_files SET unlisted_since = ? WHERE ({_KEY}) IN ({_KEYS})",
        [now, *_columns(unlisted)],
    )


def _write(
    connection: duckdb.DuckDBPyConnection,
    fresh: Collection[ExportFile],
    before: "Mapping[ExportKey, _Row]",
    erased: Collection[int],
    now: datetime,
) -> None:
    _remove(connection, [item.key for item in fresh])
    rows = [
        _listed_row(item, before.get(item.key), now)
        for item in fresh
        if item.subject_id not in erased
    ]
    insert_rows(connection, "export_files", rows)


def pending_since(warehouse: Warehouse) -> dict[ExportKey, datetime]:
    """Return, for each pending export, since when (UTC) its file is of an earlier execution."""
    rows = warehouse.rows(
        f"SELECT {_KEY}, pending_since FROM lineage.export_files WHERE pending_since IS NOT NULL"
    )
    return {ExportKey(*row[:4]): row[4].replace(tzinfo=UTC) for row in rows}


def _compare(
    before: Mapping[ExportKey, _Row], listing: StudyListing, scope: Scope
) -> tuple[list[ExportFile], list[ExportKey], list[ExportKey]]:
    """Return the rows to write, to remove, and to mark as no longer listed."""
    unread = {item.key for item in listing.invalid}
    unread |= {key for key, _ in listing.other_formats} | {*listing.never_executed}
    listed = {item.key: item for item in listing.items}
    fresh = _fresh(before, listed.values())
    lacking: Collection[ExportKey] = ()
    if scope.is_whole and not listing.missing:
        lacking = sorted(key for key in before.keys() - listed.keys() - unread if scope.covers(key))
    gone = [key for key in lacking if before[key].unlisted_since is not None]
    return fresh, gone, [key for key in lacking if before[key].unlisted_since is None]


def _fresh(before: Mapping[ExportKey, _Row], items: Iterable[ExportFile]) -> list[ExportFile]:
    """Return the items that differ from what is recorded."""
    return [item for item in items if item.key not in before or not before[item.key].says(item)]


def _recorded(warehouse: Warehouse, scope: Scope) -> dict[ExportKey, _Row]:
    """Return what is recorded of the subjects of a scope; all rows would be many."""
    if not warehouse.exists():
        return {}
    subjects = scope.subject_ids
    with warehouse.reading() as connection:
        if subjects is None:
            return _read(connection)
        return _read(connection, OF_SUBJECTS, of_subjects(subjects))


def _read(
    connection: duckdb.DuckDBPyConnection,
    condition: str = "true",
    parameters: Sequence[object] = (),
) -> dict[ExportKey, _Row]:
    rows = connection.execute(
        f"SELECT {_KEY}, program_execution, epoch_ns(program_executed_at),"
        " epoch_ns(modified_at), file_name, pending_since, unlisted_since,"
        f" study_version FROM lineage.export_files WHERE {condition}",
        list(parameters),
    ).fetchall()
    return {
        ExportKey(*row[:4]): _Row(row[4], Version(row[5], row[6], row[7]), *row[8:11])
        for row in rows
    }


_KEYS = (
    "SELECT (unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))"
)


def _columns(keys: Iterable[ExportKey]) -> list[list[object]]:
    found = list(keys)
    return [[key[place] for key in found] for place in range(4)]


def _remove(connection: duckdb.DuckDBPyConnection, keys: Iterable[ExportKey]) -> None:
    connection.execute(
        f"DELETE FROM lineage.export_files WHERE ({_KEY}) IN ({_KEYS})", _columns(keys)
    )


def _listed_row(item: ExportFile, before: _Row | None, now: datetime) -> dict[str, object]:
    return {
        **identity(item),
        "file_format": item.file_format,
        "listed_at": now,
        "pending_since": _since(item, before, now) if item.is_pending else None,
        "unlisted_since": None,
        "study_version": item.study_version,
    }


def _since(item: ExportFile, before: _Row | None, now: datetime) -> datetime:
    """Return since when the file of this execution is pending."""
    if before is None or before.pending_since is None:
        return now
    # Not later than now: the clock may have been set back.
    same = before.version.executed == item.version.executed
    return min(before.pending_since, now) if same else now


def invalid_items(warehouse: Warehouse) -> list[InvalidItem]:
    """Return the invalid items of the latest listing, by their text; empty without a warehouse."""
    if not warehouse.exists():
        return []
    with warehouse.reading() as connection:
        return read_invalid(connection)


def read_invalid(connection: duckdb.DuckDBPyConnection) -> list[InvalidItem]:
    """Return the invalid items; empty if an earlier version made the warehouse (no table)."""
    if not has_table(connection, "lineage.unusable_items"):
        return []
    rows = connection.execute(f"SELECT {_ITEM} FROM lineage.unusable_items").fetchall()
    return sorted((InvalidItem(*row) for row in rows), key=str)


def replace_invalid(
    connection: duckdb.DuckDBPyConnection,
    before: Iterable[InvalidItem],
    after: Sequence[InvalidItem],
    now: datetime,
) -> None:
    """Replace ``before`` with ``after``; record each new item as a failure of stage ``listing``.

    Args:
        connection: a connection with the open transaction that records the listing.
        before: items read from the table; the table's other items stay.
        after: the invalid items of the new listing.
        now: the current time, in UTC.
    """
    gone = set(before) - set(after)
    for item in gone:
        connection.execute(
            f"DELETE FROM lineage.unusable_items WHERE ({_ITEM}) IS NOT DISTINCT FROM"
            " (?::BIGINT, ?::BIGINT, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR, ?::VARCHAR)",
            list(astuple(item)),
        )
    fresh = [asdict(item) for item in after if item not in set(before)]
    insert_rows(connection, "unusable_items", [row | {"listed_at": now} for row in fresh])
    failed = {"stage": "listing", "failed_at": now, "dagster_run_id": ""}
    failures = [{"error": row.pop("reason"), **row, **failed} for row in fresh]
    insert_rows(connection, "failures", failures)
