"""The survey: list, record the listing, plan. The only way to find out what to load.

Belongs here: the request, and the three steps in this order. ``sync``, the sensor, the jobs and the
assets all use it.
Does not belong: pages and requests (``centrepoint``), deciding (``plan``), loading (``executor``).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from cp_pipeline.centrepoint import Progress
from cp_pipeline.domain.exports import ExportFile, InvalidItem, Partition, StudyListing
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.listing_scope import check_some_are_valid, list_scope, within
from cp_pipeline.ingest.look import files_states
from cp_pipeline.ingest.plan import Plan, make_plan
from cp_pipeline.ingest.retry_schedule import retry_schedule
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.whole_listing import LongListing, list_whole
from cp_pipeline.warehouse import (
    RecordedNumbers,
    Scope,
    Warehouse,
    executions_to_list,
    failed_attempts,
    loaded_executions,
    pending_since,
    record_files_listed,
    record_listing,
    record_whole_listing,
)

# Listing them takes less than a minute (450 requests), and loading them some minutes.
SUBJECTS_AT_ONCE = 200
# So many exports take tens of MB.
_LARGE = 1_000


@dataclass(frozen=True, slots=True)
class Request:
    """What to load; None means everything.

    ``partitions``: only these; the listing is narrowed to their subjects and data sets.
    ``refresh``: also load what is already loaded. ``only_due``: leave out partitions that failed
    and wait, by the retry schedule.
    """

    subject_ids: frozenset[int] | None = None
    dataset_names: frozenset[str] | None = None
    partitions: frozenset[Partition] | None = None
    refresh: bool = False
    only_due: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is for all exports of the studies."""
        return self.subject_ids is None and self.dataset_names is None and self.partitions is None

    @classmethod
    def of(
        cls,
        subject_ids: Collection[int] | None = None,
        dataset_names: Collection[str] | None = None,
        *,
        refresh: bool = False,
        only_due: bool = False,
    ) -> Self:
        """Request some subjects and data sets; empty means all."""
        return cls(
            frozenset(subject_ids or ()) or None,
            frozenset(dataset_names or ()) or None,
            refresh=refresh,
            only_due=only_due,
        )

    @classmethod
    def of_partitions(cls, partitions: Collection[Partition], *, refresh: bool = False) -> Self:
        """Request some partitions."""
        return cls(
            frozenset(each.subject_id for each in partitions),
            frozenset(each.dataset_name for each in partitions),
            frozenset(partitions),
            refresh,
        )

    def parts(self) -> Sequence[Self]:
        """Split a request for many subjects, so that loading begins soon and memory is bounded."""
        subjects = sorted(self.subject_ids or ())
        if self.partitions is not None or len(subjects) <= SUBJECTS_AT_ONCE:
            return (self,)
        return [
            replace(self, subject_ids=frozenset(subjects[start : start + SUBJECTS_AT_ONCE]))
            for start in range(0, len(subjects), SUBJECTS_AT_ONCE)
        ]


@dataclass(frozen=True, slots=True)
class Survey:
    """What CentrePoint lists for a request, and the plan.

    ``listing``: the items of all studies, without erased subjects. ``erased``: the number of items
    of erased subjects. ``changed``: whether the listing differs from the previous one. ``long``:
    studies that are too long for memory; they are not in ``listing`` and ``plan``.
    """

    request: Request
    listing: StudyListing
    scope: Scope
    erased: int
    plan: Plan
    changed: bool
    long: LongListing | None = None

    @property
    def further(self) -> Sequence[Request]:
        """The requests that load what ``long`` lists, one after another."""
        if self.long is None or not self.long.subject_ids:
            return ()
        return replace(self.request, subject_ids=self.long.subject_ids).parts()

    @property
    def has_something_to_load(self) -> bool:
        """Whether the plan, or a further request, loads anything."""
        return bool(self.plan.to_load or self.further)

    @property
    def numbers(self) -> RecordedNumbers:
        """How many exports and partitions are listed, to load and pending, in all studies."""
        short = RecordedNumbers(
            len(self.items),
            len(self.partitions),
            self.plan.export_count,
            len(self.plan.to_load),
            self.plan.pending_count,
        )
        return short if self.long is None else short + self.long.numbers

    @property
    def items(self) -> tuple[ExportFile, ...]:
        """The exports that can be loaded."""
        return self.listing.items

    @property
    def invalid(self) -> tuple[InvalidItem, ...]:
        """Invalid items, which cannot be loaded."""
        return self.listing.invalid + (self.long.invalid if self.long else ())

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the listing has exports for."""
        return tuple(sorted({item.partition for item in self.items}))

    @property
    def is_large(self) -> bool:
        """Whether it took much memory."""
        return self.long is not None or len(self.items) >= _LARGE

    @property
    def is_empty(self) -> bool:
        """Whether CentrePoint lists nothing at all."""
        return self.listing == StudyListing() and not self.erased and self.long is None

    def remarks(self) -> list[str]:
        """Sentences for people about the listing."""
        found = []
        if missing := self.listing.missing + (self.long.missing if self.long else 0):
            found.append(
                f"CentrePoint counts {count(missing, 'more export')} than it listed. They are "
                "loaded when they are listed. Until then no export is marked as withdrawn."
            )
        formats = Counter(name for _, name in self.listing.other_formats)
        found += [
            f"{count(number, 'listed item')} left out: the format is {name}, not csv."
            for name, number in sorted(formats.items())
        ]
        if never := len(self.listing.never_executed):
            found.append(
                f"{count(never, 'listed export')} of programs that never ran: no file to load yet."
            )
        return found


def take_survey(rooms: Rooms, request: Request, progress: Progress, *, write: bool) -> Survey:
    """List what is requested, record the listing, and plan.

    Args:
        rooms: the service lists the exports; the warehouse has the loads, and stores the listing.
        request: what to load.
        progress: called after each page of a listing.
        write: whether to record the listing; False for a dry run.

    Raises:
        ServiceError: CentrePoint gives no listing, or none of its items is valid.
        WarehouseError: the warehouse cannot be read or written.
    """
    started_at, warehouse = datetime.now(UTC), rooms.warehouse
    warehouse.bring_up_to_date()
    scope = Scope(rooms.centrepoint.settings.study_ids, request.subject_ids, request.dataset_names)
    erased = rooms.erased()
    long: LongListing | None = None
    if scope.is_whole and write:
        listing, long = list_whole(rooms, erased, progress, started_at, refresh=request.refresh)
        if long is not None:
            # What is long is recorded already.
            short = (each for each in scope.study_ids if each not in long.study_ids)
            scope = replace(scope, study_ids=tuple(short))
    else:
        listing = list_scope(rooms.centrepoint, scope, progress)
    if scope.is_whole:
        check_some_are_valid(listing)
    kept = within(listing, scope, erased)
    changed = record_listing(warehouse, kept, scope) if write and scope.study_ids else False
    if write:
        _record_what_it_tells(warehouse, kept, scope, started_at)
    plan = make_plan(
        kept.items,
        # Of a large study that is much, and a part needs little of it.
        loaded_executions(warehouse, scope.subject_ids) if kept.items else {},
        request.partitions,
        refresh=request.refresh,
        pending_since=pending_since(warehouse),
    )
    if request.only_due:
        plan = replace(plan, to_load=retry_schedule(plan, failed_attempts(warehouse)).due)
    covered = sum(scope.covers(item.key) for item in listing.items)
    changed |= long is not None and long.changed
    return Survey(request, kept, scope, covered - len(kept.items), plan, changed, long)


def _record_what_it_tells(
    warehouse: Warehouse, listing: StudyListing, scope: Scope, started_at: datetime
) -> None:
    """Record when the study was listed whole, and the executions whose files are listed now."""
    if scope.dataset_names is not None or not scope.study_ids or not warehouse.exists():
        return
    to_list = executions_to_list(warehouse, scope.study_ids, scope.subject_ids)
    record_files_listed(warehouse, files_states(to_list, listing, started_at), started_at)
    if scope.is_whole and not listing.missing:
        number = len(listing.items)
        record_whole_listing(warehouse, scope.study_ids, started_at, items=number)
