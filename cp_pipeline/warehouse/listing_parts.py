"""A whole listing that is recorded a part at a time, and can be taken up again: its position.

Belongs here: ``lineage.listing_parts``, and what a complete listing of many parts lacked.
Does not belong: the rows of the exports (``listings``), requesting a listing (``centrepoint``).

A part and its row are recorded in one transaction. So after a kill the next listing goes on where
the last recorded part ended, and nothing of an earlier part is missing.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import duckdb

from cp_pipeline.domain.exports import ExportKey, StudyListing
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.listings import (
    mark_unlisted,
    read_invalid,
    record_rows,
    replace_invalid,
)
from cp_pipeline.warehouse.schema import insert_rows

# What was read longer ago is read again.
TAKEN_UP_WITHIN = timedelta(hours=1)
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class RecordedPosition:
    """How far a whole listing is recorded; the fields are those of ``centrepoint.Reading``.

    ``started_at``: when the listing began (UTC).
    """

    started_at: datetime
    offset: int
    by_items: bool
    totals: frozenset[int]
    came: int


class Digests(NamedTuple):
    """Digests of what was listed; the fields are those of ``centrepoint.Reading``.

    ``seen``: the content of each item. ``unread``: the keys of items that cannot be loaded.
    """

    seen: Mapping[int, int]
    unread: Set[int]


def recorded_position(
    warehouse: Warehouse, study_id: int, now: datetime
) -> tuple[RecordedPosition, Digests] | None:
    """Return how far the whole listing of a study is recorded, and what was listed by then.

    None if a new one must begin.
    """
    rows = warehouse.rows(
        "SELECT started_at, recorded_at, next_offset, by_items, totals, came, seen, contents,"
        " unread FROM lineage.listing_parts WHERE study_id = ? ORDER BY next_offset",
        [study_id],
    )
    if not rows or abs(now - rows[-1][1].replace(tzinfo=UTC)) > TAKEN_UP_WITHIN:
        return None
    last = rows[-1]
    seen: dict[int, int] = {}
    unread: set[int] = set()
    for row in rows:
        seen.update(zip(row[6], row[7], strict=True))
        unread.update(row[8])
    started_at = last[0].replace(tzinfo=UTC)
    position = RecordedPosition(started_at, last[2], last[3], frozenset(last[4]), last[5])
    return position, Digests(seen, unread)


def record_part(
    warehouse: Warehouse,
    study_id: int,
    listing: StudyListing,
    position: RecordedPosition,
    new: Digests,
    *,
    is_first: bool,
) -> bool:
    """Record a part of a whole listing and how far it is read; return whether a row changed.

    Args:
        warehouse: has the tables.
        study_id: the study.
        listing: the part, without erased subjects.
        position: the position after it.
        new: what this part lists.
        is_first: whether this is the first part of a reading.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    row = {
        "study_id": study_id,
        "started_at": position.started_at.replace(tzinfo=None),
        "recorded_at": now,
        "by_items": position.by_items,
        "next_offset": position.offset,
        "totals": sorted(position.totals),
        "came": position.came,
        "seen": list(new.seen),
        "contents": list(new.seen.values()),
        "unread": sorted(new.unread),
    }
    with warehouse.transaction() as connection:
        changed = record_rows(connection, listing, now)
        if is_first:
            _forget_parts(connection, study_id)
        insert_rows(connection, "listing_parts", [row])
    return changed


def record_end(warehouse: Warehouse, study_id: int, listed: Digests, *, missing: int) -> bool:
    """Record that a listing of many parts is complete; return whether a row changed.

    What it lacks is marked, or removed if the listing before lacked it too (see ``listings``).

    Args:
        warehouse: has the tables.
        study_id: the study.
        listed: what all parts list.
        missing: how many items the service counts and did not list; if any, nothing is marked.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    unlisted: list[ExportKey] = []
    gone: list[ExportKey] = []
    with warehouse.transaction() as connection:
        if not missing:
            recorded = connection.execute(
                "SELECT study_id, subject_id, study_program_id, dataset_name, unlisted_since"
                " FROM lineage.export_files WHERE study_id = ?",
                [study_id],
            )
            while rows := recorded.fetchmany(_ROWS_AT_ONCE):
                for row in rows:
                    key = ExportKey(*row[:4])
                    if key.digest not in listed.seen and key.digest not in listed.unread:
                        (unlisted if row[4] is None else gone).append(key)
        mark_unlisted(connection, unlisted, gone, now)
        mended = [
            item
            for item in read_invalid(connection)
            if item.study_id == study_id and item.digest not in listed.seen
        ]
        replace_invalid(connection, mended, [], now)
        _forget_parts(connection, study_id)
    return bool(unlisted or gone or mended)


def _forget_parts(connection: duckdb.DuckDBPyConnection, study_id: int) -> None:
    connection.execute("DELETE FROM lineage.listing_parts WHERE study_id = ?", [study_id])
