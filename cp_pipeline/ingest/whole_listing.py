"""List a study whole: a short listing in memory, a long one recorded a part at a time.

Belongs here: choosing between the two, and going on where an interrupted listing ended.
Does not belong: pages (``centrepoint``), rows (``warehouse``), what to load (``survey``).

A study of 200,000 exports takes 2,000 requests, at least four minutes, and would fill memory. So
its listing is recorded after every 10,000 items, and only digests of them are remembered.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from cp_pipeline.centrepoint import ListingPosition, Progress, Reading
from cp_pipeline.domain.exports import InvalidItem, StudyListing
from cp_pipeline.ingest.listing_scope import check_some_are_valid, together, within
from cp_pipeline.ingest.look import recorded_states
from cp_pipeline.ingest.plan import PENDING_AT_MOST
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import (
    Digests,
    RecordedNumbers,
    RecordedPosition,
    Scope,
    Warehouse,
    executions_to_list,
    invalid_items,
    listed_pairs,
    record_end,
    record_files_listed,
    record_part,
    record_whole_listing,
    recorded_numbers,
    recorded_position,
    subjects_to_load,
)

PART_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class LongListing:
    """The listings of studies that are too long for memory, as they are recorded.

    ``subject_ids``: the subjects with something to load. ``missing``: see ``StudyListing``.
    """

    study_ids: tuple[int, ...]
    numbers: RecordedNumbers
    subject_ids: frozenset[int]
    invalid: tuple[InvalidItem, ...]
    missing: int
    changed: bool


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What is known of a long listing, besides its rows."""

    missing: int
    changed: bool


def list_whole(
    rooms: Rooms, erased: Collection[int], progress: Progress, now: datetime, *, refresh: bool
) -> tuple[StudyListing, LongListing | None]:
    """List all studies, one after another, and record the long listings.

    Args:
        rooms: the service, and the warehouse, which records long listings.
        erased: subjects of whom nothing is recorded.
        progress: called after each page.
        now: the current time (UTC).
        refresh: also load what is already loaded.

    Returns:
        The short listings together, and what is recorded of the long ones; None if none was long.

    Raises:
        ServiceError: CentrePoint gives no listing, or none of its items is valid.
        WarehouseError: the warehouse cannot be read or written.
    """
    short: list[StudyListing] = []
    long: dict[int, _Recorded] = {}
    for study_id in rooms.centrepoint.settings.study_ids:
        found = _list_study(rooms, study_id, erased, progress, now)
        if isinstance(found, _Recorded):
            long[study_id] = found
        else:
            short.append(found)
    if not long:
        return together(short), None
    return together(short), _read_back(rooms.warehouse, long, now - PENDING_AT_MOST, refresh)


def _list_study(
    rooms: Rooms, study_id: int, erased: Collection[int], progress: Progress, now: datetime
) -> StudyListing | _Recorded:
    """Return the listing of a study, or that it was long, and is recorded."""
    resumed = recorded_position(rooms.warehouse, study_id, now)
    started_at = resumed[0].started_at if resumed else now
    place = None if resumed is None else _listing_position(*resumed)
    parts = rooms.centrepoint.list_in_parts(
        study_id, progress=progress, part_items=PART_ITEMS, resumed=place
    )
    scope, changed = Scope((study_id,)), False
    reading = place and place.reading
    for part in parts:
        # The first part, or the listing changed and is read again from its beginning.
        is_first = part.position.reading is not reading
        reading = part.position.reading
        started_at = now if is_first else started_at
        if part.is_end and is_first:
            return part.listing
        check_some_are_valid(part.listing)
        changed |= record_part(
            rooms.warehouse,
            study_id,
            within(part.listing, scope, erased),
            _recorded_position(part.position, started_at),
            Digests(reading.new_seen, reading.new_unread),
            is_first=is_first,
        )
    # The last part is the end of a listing that was accepted.
    reading, missing = part.position.reading, part.listing.missing
    listed = Digests(reading.seen, reading.unread)
    changed |= record_end(rooms.warehouse, study_id, listed, missing=missing)
    _record_what_it_tells(rooms.warehouse, study_id, now)
    if not missing:
        items = len(listed.seen)
        record_whole_listing(rooms.warehouse, [study_id], started_at, items=items)
    return _Recorded(missing, changed)


def _read_back(
    warehouse: Warehouse, long: Mapping[int, _Recorded], since: datetime, refresh: bool
) -> LongListing:
    studies = tuple(long)
    return LongListing(
        studies,
        recorded_numbers(warehouse, studies, pending_after=since),
        subjects_to_load(warehouse, studies, pending_after=since, refresh=refresh),
        tuple(item for item in invalid_items(warehouse) if item.study_id in studies),
        sum(each.missing for each in long.values()),
        any(each.changed for each in long.values()),
    )


def _record_what_it_tells(warehouse: Warehouse, study_id: int, now: datetime) -> None:
    """Record the executions whose files are listed now."""
    to_list = executions_to_list(warehouse, [study_id])
    recorded = listed_pairs(warehouse) if to_list else {}
    record_files_listed(warehouse, recorded_states(to_list, recorded, now), now)


def _listing_position(resumed: RecordedPosition, listed: Digests) -> ListingPosition:
    reading = Reading(
        resumed.by_items,
        came=resumed.came,
        totals=set(resumed.totals),
        seen=dict(listed.seen),
        unread=set(listed.unread),
    )
    return ListingPosition(reading, resumed.offset)


def _recorded_position(position: ListingPosition, started_at: datetime) -> RecordedPosition:
    reading = position.reading
    return RecordedPosition(
        started_at,
        position.offset,
        reading.by_items,
        frozenset(reading.totals),
        reading.came,
    )
