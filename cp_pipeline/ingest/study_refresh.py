"""Refresh what is known of the study around the exports.

Belongs here: the order of the questions, and how many are asked. Does not belong: requests
(``centrepoint``), the tables (``warehouse``), when to refresh (``cli.sync``, ``defs``).

Nothing here stops a sync: what cannot be read is said, and the exports are loaded all the same.
"""

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime

from cp_pipeline.centrepoint import (
    ResourceMissing,
    ScopeRefused,
    ServiceError,
    StudyDetails,
)
from cp_pipeline.domain.executions import ProgramDataset
from cp_pipeline.domain.study_details import DetailTable
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.deadline import Deadline
from cp_pipeline.ingest.look import LookPosition, take_look
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import (
    record_details,
    record_programs,
    record_timezones_asked,
    subjects_to_ask,
)

# A look at 5,000 subjects takes 50 requests; a service that hangs must not hold a sync for long.
LOOK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RefreshedDetails:
    """What a refresh of the details did.

    ``rows``: by table, how many rows CentrePoint has. ``versions``: how many of them were new or
    different. ``requests``: how many subjects' time zones were asked for. ``remarks``: sentences
    for people about what could not be read. ``failure``: why nothing could be read, if so.
    """

    rows: dict[str, int] = field(default_factory=dict)
    versions: int = 0
    requests: int = 0
    remarks: tuple[str, ...] = ()
    failure: ServiceError | None = None


def refresh_looks(rooms: Rooms, now: datetime) -> str:
    """Record the executions of all subjects, the study programs, and what each program yields.

    It takes a request for 100 subjects, one for each study, and one for each of its programs.

    Returns:
        A sentence for people about what could not be read; empty if all was.

    Raises:
        WarehouseError: the warehouse cannot be read or written.
    """
    centrepoint, erased = rooms.centrepoint, rooms.erased()
    try:
        with closing(Deadline(LOOK_SECONDS)) as deadline:
            take_look(rooms, LookPosition(), deadline, erased=erased, uploads=True, now=now)
        for study_id in centrepoint.settings.study_ids:
            programs = centrepoint.programs(study_id)
            datasets: list[ProgramDataset] = []
            for program in programs:
                datasets += centrepoint.program_datasets(study_id, program.study_program_id)
            record_programs(rooms.warehouse, study_id, programs, datasets, now)
    except ResourceMissing:
        # Not every service has these lists.
        return ""
    except ServiceError as error:
        return f"The subjects and programs of the study could not be read: {error.what}"
    return ""


def refresh_details(rooms: Rooms, now: datetime) -> RefreshedDetails | None:
    """Record sites, subjects, time zones and visits; None unless the settings want them.

    The history of a subject's time zones takes a request of its own. It is asked for if the subject
    is new, or has moved; at most for as many subjects as a minute has requests. The next refresh
    goes on with the others.

    Raises:
        WarehouseError: the warehouse cannot be read or written.
    """
    centrepoint, warehouse = rooms.centrepoint, rooms.warehouse
    details = centrepoint.details
    if details is None:
        return None
    erased = rooms.erased()
    rows: dict[str, int] = {}
    remarks: list[str] = []
    versions = asked = 0
    fields = centrepoint.settings.details.subject_fields if centrepoint.settings.details else ()
    left = centrepoint.settings.requests_per_minute
    try:
        for study_id in centrepoint.settings.study_ids:
            tables = [_without(table, erased) for table in details.tables(study_id)]
            for table in tables:
                rows[table.name] = rows.get(table.name, 0) + len(table.rows)
            remarks += _unreadable(tables)
            versions += record_details(warehouse, tables, now, fields)
            subjects = next(each for each in tables if each.name == "subjects")
            some, gone = subjects_to_ask(warehouse, subjects)
            zones = _timezones(details, subjects, some[:left], gone)
            versions += record_details(warehouse, [zones], now, fields)
            record_timezones_asked(warehouse, subjects, some[:left], now)
            asked += len(some[:left])
            if later := some[left:]:
                remarks.append(
                    f"The time zones of {count(len(later), 'subject')} are read by the next syncs: "
                    "each takes a request."
                )
            left -= len(some[:left])
    except ScopeRefused as error:
        remark = f"The study's sites, subjects and visits are not read. {error}"
        return RefreshedDetails(rows, versions, asked, (*remarks, remark), error)
    except ServiceError as error:
        remark = f"The study's sites, subjects and visits could not be read: {error.what}"
        return RefreshedDetails(rows, versions, asked, (*remarks, remark), error)
    return RefreshedDetails(rows, versions, asked, tuple(remarks))


def _timezones(
    details: StudyDetails, subjects: DetailTable, some: Collection[int], gone: frozenset[int]
) -> DetailTable:
    """Ask for the time zones of some subjects, and combine the answers into one table."""
    found = [details.timezones(subjects.study_id, each) for each in some]
    return DetailTable(
        "timezones",
        subjects.study_id,
        tuple(row for each in found for row in each.rows),
        all(each.is_complete for each in found),
        frozenset(some) | gone,
    )


def _without(table: DetailTable, erased: Collection[int]) -> DetailTable:
    """Return a table without erased subjects."""
    subject = {"subjects": "id", "visits": "subject_id"}.get(table.name)
    if subject is None or not erased:
        return table
    rows = tuple(row for row in table.rows if dict(row)[subject] not in erased)
    return replace(table, rows=rows)


def _unreadable(tables: Collection[DetailTable]) -> list[str]:
    names = [table.name.replace("_", " ") for table in tables if not table.is_complete]
    if not names:
        return []
    return [f"Some of the study's {', '.join(names)} cannot be read, and are left as they were."]
