"""What the last look saw: the executions of all subjects and programs, in the schema ``study``.

Belongs here: recording a look and the listings of files that follow it, and what they tell.
Does not belong: requests (``centrepoint``), deciding what to list (``ingest.look``), the files
(``listings``).

A look is compared with the row of the last one: an execution is new if it is *different*. Clocks
are not compared, because CentrePoint's may be wrong.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from cp_pipeline.domain.executions import ProgramDataset, SubjectItem, SubjectProgram
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.lineage import OF_SUBJECTS, of_subjects, read_erased
from cp_pipeline.warehouse.look_history import (
    KEY,
    KEYS,
    add_executions,
    add_names,
    begin_history,
)
from cp_pipeline.warehouse.schema import insert_rows

FILES_LISTED, NO_FILES = "listed", "none"


@dataclass(frozen=True, slots=True)
class SeenExecution:
    """A row of ``study.executions``; times are UTC.

    ``executed``: nanoseconds since 1970; None if the program never ran. ``files_state``: None while
    the files of this execution are not written, or not listed.
    """

    execution: str | None
    executed: int | None
    last_upload: str | None
    seen_at: datetime
    files_listed_at: datetime | None
    files_state: str | None


def executions_to_list(
    warehouse: Warehouse, study_ids: Collection[int], subject_ids: Collection[int] | None = None
) -> dict[SubjectProgram, SeenExecution]:
    """Return the executions whose files must still be listed; empty without a warehouse.

    Args:
        warehouse: has what the last look saw.
        study_ids: only of these studies.
        subject_ids: only of these subjects; None for all.
    """
    condition = (
        "program_executed_at IS NOT NULL AND files_state IS NULL"
        " AND list_contains(?::BIGINT[], study_id)"
    )
    parameters: list[object] = [list(study_ids)]
    if subject_ids is not None:
        condition += f" AND {OF_SUBJECTS}"
        parameters += of_subjects(subject_ids)
    return _read(warehouse, condition, parameters)


def count_without_files(warehouse: Warehouse) -> int:
    """Count the executions that yielded no file for a day, so that none is expected any more."""
    rows = warehouse.rows("SELECT count(*) FROM study.executions WHERE files_state = ?", [NO_FILES])
    return rows[0][0] if rows else 0


def _read(
    warehouse: Warehouse, condition: str, parameters: Sequence[object]
) -> dict[SubjectProgram, SeenExecution]:
    rows = warehouse.rows(
        f"SELECT {KEY}, program_execution, epoch_ns(program_executed_at), last_raw_upload,"
        f" seen_at, files_listed_at, files_state FROM study.executions WHERE {condition}",
        parameters,
    )
    return {
        SubjectProgram(*row[:3]): SeenExecution(
            row[3], row[4], row[5], _utc(row[6]), row[7] and _utc(row[7]), row[8]
        )
        for row in rows
    }


def record_look(
    warehouse: Warehouse,
    subjects: Collection[SubjectItem],
    *,
    uploads: bool,
    now: datetime,
) -> int:
    """Record what differs from the last look; return the number of different executions.

    If nothing differs, the file is not opened for writing.

    Args:
        warehouse: has the tables.
        subjects: what the look saw of some subjects.
        uploads: also record where only the time of the last upload differs.
        now: the current time (UTC).
    """
    before = _read(warehouse, OF_SUBJECTS, of_subjects({each.subject_id for each in subjects}))
    moment = now.replace(tzinfo=None)
    rows: dict[SubjectProgram, dict[str, object]] = {}
    different = 0
    names: dict[tuple[int, str], str] = {}
    for subject in subjects:
        upload = subject.last_upload and subject.last_upload.verbatim
        for each in subject.executions:
            if each.program_name:
                names[each.study_id, each.study_program_id] = each.program_name
            known = before.get(each.key)
            executed = each.execution and each.execution.nanoseconds
            is_same = known is not None and known.executed == executed
            if is_same and not (uploads and known and known.last_upload != upload):
                continue
            different += not is_same
            kept = known if is_same else None
            rows[each.key] = {
                **each.key._asdict(),
                "program_execution": each.execution and each.execution.verbatim,
                "program_executed_at": executed,
                "last_raw_upload": upload,
                "seen_at": kept.seen_at.replace(tzinfo=None) if kept else moment,
                "files_listed_at": kept and _naive(kept.files_listed_at),
                "files_state": kept and kept.files_state,
            }
    new_names = _different_names(warehouse, names)
    if rows or new_names:
        with warehouse.transaction() as connection:
            begin_history(connection)
            erased = read_erased(connection)
            some = [row for key, row in rows.items() if key.subject_id not in erased]
            connection.execute(
                f"DELETE FROM study.executions WHERE ({KEY}) IN ({KEYS})", _columns(rows)
            )
            insert_rows(connection, "executions", some)
            add_executions(connection, _columns(rows), moment)
            add_names(connection, new_names, moment)
    return different


def record_files_listed(
    warehouse: Warehouse, states: Mapping[SubjectProgram, str | None], now: datetime
) -> None:
    """Record for which executions the files were listed, and with what result.

    Args:
        warehouse: has the tables.
        states: the new ``files_state``; None if the files are not written yet.
        now: the current time (UTC).
    """
    if not states:
        return
    with warehouse.transaction() as connection:
        for state in set(states.values()):
            keys = [key for key, each in states.items() if each == state]
            connection.execute(
                "UPDATE study.executions SET files_listed_at = ?, files_state = ?"
                f" WHERE ({KEY}) IN ({KEYS})",
                [now.replace(tzinfo=None), state, *_columns(keys)],
            )


def programs_without_datasets(warehouse: Warehouse) -> list[tuple[int, str]]:
    """Return the programs (study, program) whose data sets are not known yet."""
    rows = warehouse.rows(
        "SELECT study_id, study_program_id FROM study.programs"
        " ANTI JOIN study.program_datasets USING (study_id, study_program_id) ORDER BY ALL"
    )
    return [(study_id, program) for study_id, program in rows]


def record_program_datasets(
    warehouse: Warehouse, datasets: Iterable[ProgramDataset], now: datetime
) -> None:
    """Add data sets that programs yield."""
    moment = now.replace(tzinfo=None)
    rows = [asdict(each) | {"seen_at": moment} for each in datasets]
    if rows:
        with warehouse.transaction() as connection:
            begin_history(connection)
            insert_rows(connection, "program_datasets", rows)
            # Their history begins now.
            begin_history(connection)


def _different_names(
    warehouse: Warehouse, names: Mapping[tuple[int, str], str]
) -> dict[tuple[int, str], str]:
    if not names:
        return {}
    rows = warehouse.rows(
        "SELECT study_id, study_program_id, study_program_name FROM study.programs"
    )
    known = {(row[0], row[1]): row[2] for row in rows}
    return {key: name for key, name in names.items() if known.get(key) != name}


def _columns(keys: Iterable[SubjectProgram]) -> list[list[object]]:
    found = list(keys)
    return [[key[place] for key in found] for place in range(3)]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _naive(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=None)
