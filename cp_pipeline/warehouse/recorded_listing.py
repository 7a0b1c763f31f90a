"""What earlier listings recorded, and what of it is not loaded.

Belongs here: reading ``lineage.export_files`` without asking CentrePoint, and when a study was last
listed whole. Does not belong: recording a listing (``listings``), what is loaded (``lineage``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cp_pipeline.domain.executions import SubjectProgram
from cp_pipeline.domain.exports import ExportFile, Instant
from cp_pipeline.warehouse.asked import ANSWERED, Purpose
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import insert_rows
from cp_pipeline.warehouse.views import covers


@dataclass(frozen=True, slots=True)
class ListingSizes:
    """How many exports are recorded: of each study, study and subject, study and program."""

    of_study: Mapping[int, int]
    of_subject: Mapping[tuple[int, int], int]
    of_program: Mapping[tuple[int, str], int]


class RecordedNumbers(NamedTuple):
    """How many exports and partitions are listed, and are to load; and how many are pending."""

    exports: int = 0
    partitions: int = 0
    exports_to_load: int = 0
    partitions_to_load: int = 0
    pending: int = 0

    def __add__(self, other: tuple[Any, ...]) -> "RecordedNumbers":
        """Add the numbers of other studies."""
        return RecordedNumbers(*map(sum, zip(self, other, strict=True)))


class ListedPair(NamedTuple):
    """What is listed of a subject and study program.

    ``executed``: nanoseconds. ``has_pending``: whether a file is still of an earlier execution.
    """

    executed: int
    has_pending: bool


_RECORDED_AGAIN_AFTER = timedelta(hours=1)
# These need one parameter, the study ids.
_LISTED = (
    " FROM lineage.export_files AS listed"
    " WHERE listed.unlisted_since IS NULL AND list_contains(?::BIGINT[], listed.study_id)"
)
_UNLOADED = (
    f"{_LISTED} AND NOT EXISTS (SELECT 1 FROM lineage.loads AS loads"
    " WHERE loads.study_id = listed.study_id AND loads.subject_id = listed.subject_id"
    " AND loads.study_program_id = listed.study_program_id"
    " AND loads.dataset_name = listed.dataset_name"
    f" AND {covers('loads', 'listed')})"
)


def unloaded_exports(warehouse: Warehouse, study_ids: Collection[int]) -> list[ExportFile]:
    """Return the exports whose recorded version is not loaded; without links.

    Exports that the last whole listing lacked are left out.
    """
    rows = warehouse.rows(
        "SELECT listed.study_id, listed.subject_id, listed.study_program_id,"
        " listed.dataset_name, listed.file_name, listed.file_format,"
        f" epoch_ns(listed.modified_at), listed.program_execution{_UNLOADED}",
        [list(study_ids)],
    )
    return [
        ExportFile(
            study_id=row[0],
            subject_id=row[1],
            study_program_id=row[2],
            dataset_name=row[3],
            file_name=row[4],
            file_format=row[5],
            modified=None if row[6] is None else Instant("", row[6] // 100),
            execution=Instant.parse(row[7]),
            url="",
        )
        for row in rows
    ]


def recorded_numbers(
    warehouse: Warehouse, study_ids: Collection[int], *, pending_after: datetime
) -> RecordedNumbers:
    """Count what is recorded of some studies, and what of it is not loaded.

    Args:
        warehouse: has the tables.
        study_ids: the studies.
        pending_after: a file that is pending since then (UTC) is not loaded yet.
    """
    studies, since = list(study_ids), pending_after.replace(tzinfo=None)
    with warehouse.reading() as connection:
        listed = connection.execute(
            f"SELECT count(*), count(DISTINCT (subject_id, dataset_name)){_LISTED}",
            [studies],
        ).fetchone()
        unloaded = connection.execute(
            "SELECT count(*) FILTER (pending_since IS NULL OR pending_since <= $2),"
            " count(DISTINCT (subject_id, dataset_name))"
            " FILTER (pending_since IS NULL OR pending_since <= $2),"
            f" count(*) FILTER (pending_since > $2){_UNLOADED.replace('?', '$1')}",
            [studies, since],
        ).fetchone()
    return RecordedNumbers(*(listed or ()), *(unloaded or ()))


def subjects_to_load(
    warehouse: Warehouse, study_ids: Collection[int], *, pending_after: datetime, refresh: bool
) -> frozenset[int]:
    """Return the subjects of some studies with a recorded export that is not loaded.

    Args:
        warehouse: has the tables.
        study_ids: the studies.
        pending_after: a file that is pending since then (UTC) is not loaded yet.
        refresh: return all listed subjects.
    """
    with warehouse.reading() as connection:
        rows = connection.execute(
            f"SELECT DISTINCT listed.subject_id{_LISTED if refresh else _UNLOADED}"
            " AND (listed.pending_since IS NULL OR listed.pending_since <= ?)",
            [list(study_ids), pending_after.replace(tzinfo=None)],
        ).fetchall()
    return frozenset(subject_id for (subject_id,) in rows)


def listed_pairs(warehouse: Warehouse) -> dict[SubjectProgram, ListedPair]:
    """Return what is listed of each subject and study program."""
    rows = warehouse.rows(
        "SELECT study_id, subject_id, study_program_id, epoch_ns(max(program_executed_at)),"
        " bool_or(pending_since IS NOT NULL)"
        " FROM lineage.export_files WHERE unlisted_since IS NULL GROUP BY ALL"
    )
    return {SubjectProgram(*row[:3]): ListedPair(*row[3:]) for row in rows}


def listing_sizes(warehouse: Warehouse) -> ListingSizes:
    """Return how many exports are recorded, to choose the filter that takes fewest requests."""
    if not warehouse.exists():
        return ListingSizes({}, {}, {})
    counted = "SELECT {}, count(*) FROM lineage.export_files GROUP BY ALL"
    with warehouse.reading() as connection:
        studies, subjects, programs = (
            connection.execute(counted.format(columns)).fetchall()
            for columns in ("study_id", "study_id, subject_id", "study_id, study_program_id")
        )
    return ListingSizes(
        dict(studies),
        {(study_id, subject_id): number for study_id, subject_id, number in subjects},
        {(study_id, program): number for study_id, program, number in programs},
    )


def record_whole_listing(
    warehouse: Warehouse, study_ids: Collection[int], started_at: datetime, *, items: int
) -> None:
    """Record that studies were listed whole, with so many items together.

    Not more than once an hour: a sync with nothing new must not write.
    """
    last = last_whole_listing(warehouse, study_ids)
    if last is not None and abs(started_at - last) <= _RECORDED_AGAIN_AFTER:
        return
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {
            "study_id": study_id,
            "started_at": started_at.replace(tzinfo=None),
            "ended_at": now,
            "items": items,
            "missing": 0,
            "asked_for": Purpose.WHOLE.value,
            "outcome": ANSWERED,
        }
        for study_id in study_ids
    ]
    with warehouse.transaction() as connection:
        insert_rows(connection, "listings", rows)


def last_whole_listing(warehouse: Warehouse, study_ids: Collection[int]) -> datetime | None:
    """Return when (UTC) the last whole listing of each of these studies began, the oldest one."""
    rows = warehouse.rows(
        "SELECT study_id, max(started_at) FROM lineage.listings"
        " WHERE items IS NOT NULL GROUP BY study_id"
    )
    last = {study_id: moment.replace(tzinfo=UTC) for study_id, moment in rows}
    if any(study_id not in last for study_id in study_ids):
        return None
    return min((last[study_id] for study_id in study_ids), default=None)
