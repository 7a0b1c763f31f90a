"""The survey of a sensor's tick: a look, the files of what changed, and the plan.

Belongs here: these steps, within a deadline. Does not belong: the steps themselves (``look``,
``plan``), the whole listing (``survey``), asking for a run (``defs.sensors``).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cp_pipeline.centrepoint import Filters, ResourceMissing, ServiceError
from cp_pipeline.domain.executions import SubjectProgram
from cp_pipeline.domain.exports import InvalidItem, StudyListing
from cp_pipeline.ingest.deadline import Deadline, OutOfTime
from cp_pipeline.ingest.listing_scope import together, within
from cp_pipeline.ingest.look import (
    Look,
    LookPosition,
    cheapest_filters,
    due_executions,
    files_states,
    take_look,
)
from cp_pipeline.ingest.plan import Plan, make_plan
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import (
    FILES_LISTED,
    ListedPair,
    Scope,
    SeenExecution,
    Warehouse,
    count_without_files,
    executions_to_list,
    invalid_items,
    listed_pairs,
    listing_sizes,
    loaded_executions,
    pending_since,
    programs_without_datasets,
    record_files_listed,
    record_listing,
    record_program_datasets,
    record_whole_listing,
    unloaded_exports,
)

# For more requests, a run lists the files.
REQUESTS_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class LookSurvey:
    """What a tick found out.

    ``to_list``: the subjects whose files a run must list, because it takes too many requests for a
    tick. ``plan``: what is recorded and not loaded. ``changed``: whether a listing was different
    from what was recorded. ``recorded``: the number of exports that are listed so far.
    ``requests``: about how many requests it took. ``failure``: why the files of some executions
    could not be listed.
    """

    look: Look
    to_list: frozenset[int]
    plan: Plan
    invalid: tuple[InvalidItem, ...]
    without_files: int
    recorded: int
    requests: int
    changed: bool
    failure: ServiceError | None


def survey_by_look(
    rooms: Rooms, start: LookPosition, deadline: Deadline, *, uploads: bool, now: datetime
) -> LookSurvey:
    """Look, list the files of what changed, record both, and plan.

    Raises:
        ServiceError: CentrePoint gives no list of subjects.
        WarehouseError: the warehouse cannot be read or written.
    """
    centrepoint, warehouse = rooms.centrepoint, rooms.warehouse
    warehouse.bring_up_to_date()
    study_ids, erased = centrepoint.settings.study_ids, rooms.erased()
    look = take_look(rooms, start, deadline, erased=erased, uploads=uploads, now=now)
    due = {
        key: each
        for key, each in due_executions(executions_to_list(warehouse, study_ids), now).items()
        if key.subject_id not in erased
    }
    listed = _listed_before(warehouse, due)
    due = {key: each for key, each in due.items() if key not in listed}
    changed, failure, sent = False, None, look.pages
    try:
        if look.different:
            _name_datasets(rooms, deadline, now)
        filters, requests = _filters(rooms, due, deadline)
        if requests <= REQUESTS_AT_MOST:
            for study_id, each in filters:
                sent += 1
                listing = deadline.call(partial(centrepoint.list_export_files, study_id, each))
                some = {key: value for key, value in due.items() if _covers(each, study_id, key)}
                changed |= _record(warehouse, listing, study_id, each, erased, now)
                listed |= files_states(some, listing, now)
    except OutOfTime:
        pass
    except ServiceError as error:
        # What was listed is recorded; the rest is due again.
        failure = error
    record_files_listed(warehouse, listed, now)
    unloaded = unloaded_exports(warehouse, study_ids)
    return LookSurvey(
        look,
        frozenset(key.subject_id for key in due.keys() - listed.keys()),
        make_plan(
            unloaded,
            # A large study has many: not to be read for nothing.
            loaded_executions(warehouse) if unloaded else {},
            pending_since=pending_since(warehouse),
            now=now,
        ),
        tuple(invalid_items(warehouse)),
        count_without_files(warehouse),
        sum(listing_sizes(warehouse).of_study.get(each, 0) for each in study_ids),
        sent,
        changed,
        failure,
    )


def _listed_before(
    warehouse: Warehouse, due: Mapping[SubjectProgram, SeenExecution]
) -> dict[SubjectProgram, str | None]:
    """Find the executions whose files another listing has recorded, such as that of ``sync``."""
    if not due:
        return {}
    recorded = listed_pairs(warehouse)
    return {
        key: FILES_LISTED
        for key, each in due.items()
        if recorded.get(key) == ListedPair(each.executed or 0, has_pending=False)
    }


def _filters(
    rooms: Rooms, due: Mapping[SubjectProgram, SeenExecution], deadline: Deadline
) -> tuple[list[tuple[int, Filters]], int]:
    """Choose the filters; count a study's exports first, if that can save requests."""
    sizes = listing_sizes(rooms.warehouse)
    filters, requests = cheapest_filters(due, sizes, {})
    if requests <= 2:  # noqa: PLR2004  (counting takes a request, too)
        return filters, requests
    study_ids = sorted({key.study_id for key in due})
    counted = {
        study_id: deadline.call(partial(rooms.centrepoint.count_export_files, study_id))
        for study_id in study_ids
    }
    return cheapest_filters(due, sizes, counted)


def _covers(filters: Filters, study_id: int, key: SubjectProgram) -> bool:
    return (
        key.study_id == study_id
        and filters.subject_id in (None, key.subject_id)
        and filters.study_program_id in (None, key.study_program_id)
    )


def _record(
    warehouse: Warehouse,
    listing: StudyListing,
    study_id: int,
    filters: Filters,
    erased: frozenset[int],
    now: datetime,
) -> bool:
    """Record a listing. One of some files does not say that anything else is withdrawn."""
    if filters == Filters():
        scope = Scope((study_id,))
        changed = record_listing(warehouse, within(together([listing]), scope, erased), scope)
        if not listing.missing:
            items = len(listing.items)
            record_whole_listing(warehouse, [study_id], now, items=items)
        return changed
    subjects = {item.subject_id for item in listing.items}
    if filters.subject_id is not None:
        subjects.add(filters.subject_id)
    scope = Scope((study_id,), frozenset(subjects), None, filters.study_program_id)
    return record_listing(warehouse, within(together([listing]), scope, erased), scope)


def _name_datasets(rooms: Rooms, deadline: Deadline, now: datetime) -> None:
    """Ask which data sets the new study programs yield; a service may not tell."""
    with suppress(ResourceMissing):
        for study_id, program in programs_without_datasets(rooms.warehouse)[:REQUESTS_AT_MOST]:
            datasets = deadline.call(partial(rooms.centrepoint.program_datasets, study_id, program))
            record_program_datasets(rooms.warehouse, datasets, now)
