"""List a study whole: a short listing in memory, a long one recorded a part at a time.

Belongs here: choosing between the two, and going on where an interrupted listing ended.
Does not belong: pages (``centrepoint``), rows (``warehouse``), what to load (``survey``).

A study of 200,000 exports takes 2,000 requests, at least four minutes, and would fill memory. So
its listing is recorded after every 10,000 items, and only digests of them are remembered.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cp_pipeline.centrepoint import (
    CentrePoint,
    ListingPosition,
    Progress,
    Reading,
)
from cp_pipeline.domain.exports import InvalidItem, StudyListing
from cp_pipeline.ingest.listing_scope import check_some_are_valid, within
from cp_pipeline.ingest.look import recorded_states
from cp_pipeline.ingest.plan import PENDING_AT_MOST
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


@dataclass(slots=True)
class _Recorded:
    missing: int
    changed: bool


class WholeListings:
    """Lists studies whole, one after another.

    Args:
        centrepoint: the service.
        warehouse: records long listings.
        erased: subjects of whom nothing is recorded.
        now: the current time (UTC).
    """

    def __init__(
        self,
        centrepoint: CentrePoint,
        warehouse: Warehouse,
        erased: Collection[int],
        now: datetime,
    ) -> None:
        self._centrepoint, self._warehouse = centrepoint, warehouse
        self._erased, self._now = erased, now
        self._long: dict[int, _Recorded] = {}

    def short(self, study_id: int, progress: Progress) -> StudyListing | None:
        """Return the listing of a study; None if it was long, and is recorded.

        Raises:
            ServiceError: CentrePoint gives no listing, or none of its items is valid.
            WarehouseError: the warehouse cannot be read or written.
        """
        resumed = recorded_position(self._warehouse, study_id, self._now)
        started_at = resumed[0].started_at if resumed else self._now
        place = None if resumed is None else _listing_position(*resumed)
        parts = self._centrepoint.list_in_parts(
            study_id, progress=progress, part_items=PART_ITEMS, resumed=place
        )
        scope, changed = Scope((study_id,)), False
        reading = place and place.reading
        for part in parts:
            # The first part, or the listing changed and is read again from its beginning.
            is_first = part.position.reading is not reading
            reading = part.position.reading
            started_at = self._now if is_first else started_at
            if part.is_end and is_first:
                return part.listing
            check_some_are_valid(part.listing)
            changed |= record_part(
                self._warehouse,
                study_id,
                within(part.listing, scope, self._erased),
                _recorded_position(part.position, started_at),
                Digests(reading.new_seen, reading.new_unread),
                is_first=is_first,
            )
            if part.is_end:
                missing, listed = part.listing.missing, Digests(reading.seen, reading.unread)
                changed |= record_end(self._warehouse, study_id, listed, missing=missing)
                self._record_what_it_tells(study_id, started_at, len(listed.seen), missing)
                self._long[study_id] = _Recorded(missing, changed)
        return None

    def long(self, *, refresh: bool) -> LongListing | None:
        """Return what is recorded of the studies that were long; None if none was.

        Args:
            refresh: also load what is already loaded.
        """
        if not self._long:
            return None
        studies = tuple(self._long)
        since = self._now - PENDING_AT_MOST
        return LongListing(
            studies,
            recorded_numbers(self._warehouse, studies, pending_after=since),
            subjects_to_load(self._warehouse, studies, pending_after=since, refresh=refresh),
            tuple(item for item in invalid_items(self._warehouse) if item.study_id in studies),
            sum(each.missing for each in self._long.values()),
            any(each.changed for each in self._long.values()),
        )

    def _record_what_it_tells(
        self, study_id: int, started_at: datetime, items: int, missing: int
    ) -> None:
        to_list = executions_to_list(self._warehouse, [study_id])
        recorded = listed_pairs(self._warehouse) if to_list else {}
        states = recorded_states(to_list, recorded, self._now)
        record_files_listed(self._warehouse, states, self._now)
        if not missing:
            record_whole_listing(self._warehouse, [study_id], started_at, items=items)


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
