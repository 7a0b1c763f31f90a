"""When CentrePoint was asked, what for, and what it answered: ``lineage.listings``.

Belongs here: noting it beside the warehouse, moving the notes into the table, and reading both.
Does not belong: asking (``ingest``), when a study was listed whole (``recorded_listing``).

A look every five minutes must not open the warehouse for writing, because that waits for readers,
and nobody may be told less because the warehouse is held. So a note is a line in a file. The next
process that writes anyway moves the notes into the table. A note names no subject.
"""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import duckdb

from cp_pipeline.locks.file_locks import file_locked
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table, insert_rows

ANSWERED = "answered"
# Below the data folder.
_NOTES, _MOVING = Path("asked", "notes.jsonl"), Path("asked", "moving.jsonl")
_NOTES_LOCK, _MOVING_LOCK = Path("asked", ".notes.lock"), Path("asked", ".moving.lock")


class Purpose(StrEnum):
    """What CentrePoint was asked for; kept in ``lineage.listings``."""

    WHOLE = "whole listing"
    SOME = "listing of some"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Note:
    """One question to CentrePoint about one study. Times are UTC.

    ``outcome``: ``answered``, or why there was no answer.
    """

    study_id: int
    asked_for: str
    started_at: datetime
    ended_at: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class LastAsked:
    """What is known of a study: when it was last asked for, and when CentrePoint last answered.

    ``troubles``: how many questions in a row had no answer, the newest ones. ``outcome``: of the
    newest question.
    """

    study_id: int
    asked_at: datetime
    answered_at: datetime | None
    troubles: int
    outcome: str


def note(
    data_dir: Path,
    study_ids: Collection[int],
    purpose: Purpose,
    started_at: datetime,
    outcome: str = ANSWERED,
) -> None:
    """Note that CentrePoint was asked for some studies, with one outcome.

    A folder that cannot be written stops no question: the question itself says so.
    """
    now = datetime.now(UTC)
    notes = [Note(study_id, purpose.value, started_at, now, outcome) for study_id in study_ids]
    lines = "".join(f"{json.dumps(asdict(each), default=datetime.isoformat)}\n" for each in notes)
    with suppress(OSError):
        (data_dir / _NOTES).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_locked(data_dir / _NOTES_LOCK), (data_dir / _NOTES).open("a") as file:
            file.write(lines)


def move_notes(data_dir: Path, warehouse: Warehouse) -> None:
    """Move the notes into ``lineage.listings``.

    Raises:
        WarehouseError: the warehouse cannot be written; the notes stay.
    """
    notes, moving = data_dir / _NOTES, data_dir / _MOVING
    if not warehouse.exists() or not (notes.exists() or moving.exists()):
        return
    with file_locked(data_dir / _MOVING_LOCK):
        # Not while the warehouse is waited for: that would stop the next note.
        with file_locked(data_dir / _NOTES_LOCK):
            if notes.exists() and not moving.exists():
                notes.rename(moving)
        with warehouse.transaction() as connection:
            found = _read(moving)
            since = min((each.started_at for each in found), default=datetime.now(UTC))
            known = [each for each in _in_table(connection) if each.started_at >= since]
            rows = [_row(each) for each in found if not _is_known(each, known)]
            insert_rows(connection, "listings", rows)
        moving.unlink(missing_ok=True)


def _is_known(note: Note, known: Collection[Note]) -> bool:
    """Whether a note is in the table, after a killed process or as a recorded whole listing."""
    return any(
        note.study_id == each.study_id
        and note.asked_for == each.asked_for
        and note.outcome == each.outcome
        and note.started_at <= each.started_at <= note.ended_at
        for each in known
    )


def _row(note: Note) -> dict[str, object]:
    return asdict(note) | {
        "started_at": note.started_at.replace(tzinfo=None),
        "ended_at": note.ended_at.replace(tzinfo=None),
    }


def last_asked(
    data_dir: Path, warehouse: Warehouse, study_ids: Collection[int] | None = None
) -> list[LastAsked]:
    """Return what is known of each study that was ever asked for, by its number.

    Args:
        data_dir: has the notes.
        warehouse: has the notes that were moved.
        study_ids: only these studies; None for all.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    notes = [*_read(data_dir / _MOVING), *_read(data_dir / _NOTES)]
    if warehouse.exists():
        with warehouse.reading() as connection:
            notes += _in_table(connection)
    by_study: dict[int, list[Note]] = {}
    for each in sorted(set(notes), key=lambda each: (each.study_id, each.ended_at)):
        if study_ids is None or each.study_id in study_ids:
            by_study.setdefault(each.study_id, []).append(each)
    return [_last(notes) for notes in by_study.values()]


def _last(notes: list[Note]) -> LastAsked:
    """Sum up the notes of one study, which are in the order of time."""
    troubles = 0
    answered_at = None
    for each in reversed(notes):
        if each.outcome == ANSWERED:
            answered_at = each.ended_at
            break
        troubles += 1
    newest = notes[-1]
    return LastAsked(newest.study_id, newest.ended_at, answered_at, troubles, newest.outcome)


def _in_table(connection: duckdb.DuckDBPyConnection) -> list[Note]:
    """Return the notes in the table; none if the warehouse is of an earlier version."""
    if not has_table(connection, "lineage.listings", "asked_for"):
        return []
    # A row of an earlier version is a whole listing that was completed.
    rows = connection.execute(
        "SELECT study_id, coalesce(asked_for, ?), started_at, ended_at, coalesce(outcome, ?)"
        " FROM lineage.listings",
        [Purpose.WHOLE.value, ANSWERED],
    ).fetchall()
    return [
        Note(row[0], row[1], row[2].replace(tzinfo=UTC), row[3].replace(tzinfo=UTC), row[4])
        for row in rows
    ]


def _read(path: Path) -> list[Note]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    notes = []
    for line in lines:
        # The last line of a process that was killed while it wrote may be half.
        with suppress(ValueError, TypeError, KeyError):
            said = json.loads(line)
            times = {
                name: datetime.fromisoformat(said[name]) for name in ("started_at", "ended_at")
            }
            notes.append(Note(**(said | times)))
    return notes
