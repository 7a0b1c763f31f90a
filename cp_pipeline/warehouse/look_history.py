"""The history of what looks saw: ``study.executions_history`` and those of the programs.

Belongs here: adding a version where a look saw something different, so that what an earlier look
said is not lost; the tables of the programs themselves. Does not belong: the latest look itself
(``looks``), comparing versions (``versions``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

import duckdb

from cp_pipeline.domain.executions import ProgramDataset, StudyProgram
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import insert_rows
from cp_pipeline.warehouse.versions import Changes, compare, open_versions, write

KEY = "study_id, subject_id, study_program_id"
_SAID = f"{KEY}, program_execution, program_executed_at, last_raw_upload"
KEYS = "SELECT (unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[]))"
_OF_PROGRAM = {
    "programs": ("study_id", "study_program_id"),
    "program_datasets": ("study_id", "study_program_id", "dataset_name"),
}


def begin_history(connection: duckdb.DuckDBPyConnection) -> None:
    """Add what earlier versions of this project recorded of a look, without a history."""
    connection.execute(
        f"INSERT INTO study.executions_history BY NAME SELECT {_SAID}, seen_at AS valid_from"
        " FROM study.executions ANTI JOIN (FROM study.executions_history WHERE valid_to IS NULL)"
        f" USING ({KEY})"
    )
    for table, key in _OF_PROGRAM.items():
        name = ", study_program_name" if table == "programs" else ""
        connection.execute(
            f"INSERT INTO study.{table}_history BY NAME"
            f" SELECT {', '.join(key)}{name}, seen_at AS valid_from FROM study.{table}"
            f" ANTI JOIN (FROM study.{table}_history WHERE valid_to IS NULL)"
            f" USING ({', '.join(key)})"
        )


def add_executions(
    connection: duckdb.DuckDBPyConnection, keys: Sequence[Sequence[object]], moment: datetime
) -> None:
    """End the versions of these executions, and begin those that ``study.executions`` has now.

    Args:
        connection: has the open transaction that recorded the look.
        keys: the columns study, subject and program of the executions.
        moment: now, in UTC without an offset.
    """
    connection.execute(
        "UPDATE study.executions_history SET valid_to = ? WHERE valid_to IS NULL"
        f" AND ({KEY}) IN ({KEYS})",
        [moment, *keys],
    )
    connection.execute(
        f"INSERT INTO study.executions_history BY NAME SELECT {_SAID}, ?::TIMESTAMP AS valid_from"
        f" FROM study.executions WHERE ({KEY}) IN ({KEYS})",
        [moment, *keys],
    )


def add_names(
    connection: duckdb.DuckDBPyConnection, names: Mapping[tuple[int, str], str], moment: datetime
) -> None:
    """Record new names of programs (by study and program); see ``add_executions``."""
    named = [
        {"study_id": study_id, "study_program_id": program, "study_program_name": name}
        for (study_id, program), name in names.items()
    ]
    before = open_versions(connection, "programs")
    key = _OF_PROGRAM["programs"]
    changes = compare("programs", key, before, named, is_complete=False)
    _write_programs(connection, "programs", changes, moment)


def record_programs(
    warehouse: Warehouse,
    study_id: int,
    programs: Sequence[StudyProgram],
    datasets: Sequence[ProgramDataset],
    now: datetime,
) -> bool:
    """Record a study's programs and what each yields; return whether anything differs.

    If nothing differs, the file is not opened for writing. The tables keep programs that are no
    longer listed, because loads name them; only their history ends.

    Args:
        warehouse: may be missing; then it is created.
        study_id: the study.
        programs: all programs of the study.
        datasets: all data sets of these programs.
        now: the current time (UTC).
    """
    said = {
        "programs": [
            {
                "study_id": each.study_id,
                "study_program_id": each.study_program_id,
                "study_program_name": each.name,
            }
            for each in programs
        ],
        "program_datasets": [asdict(each) for each in datasets],
    }

    def differing(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, Changes]]:
        found = [
            (
                table,
                compare(
                    table,
                    _OF_PROGRAM[table],
                    open_versions(connection, table, f"study_id = {int(study_id)}"),
                    rows,
                    is_complete=True,
                ),
            )
            for table, rows in said.items()
        ]
        return [each for each in found if each[1]]

    if warehouse.exists():
        with warehouse.reading() as connection:
            if not differing(connection):
                return False
    elif not programs:
        return False
    moment = now.replace(tzinfo=None)
    with warehouse.transaction() as connection:
        begin_history(connection)
        for table, changes in differing(connection):
            _write_programs(connection, table, changes, moment)
    return True


def _write_programs(
    connection: duckdb.DuckDBPyConnection, table: str, changes: Changes, moment: datetime
) -> None:
    """Write changes to the history of a table, and what begins also to the table itself."""
    write(connection, changes, moment)
    condition = " AND ".join(f"{column} = ?" for column in changes.key)
    for row in changes.begun:
        connection.execute(
            f"DELETE FROM study.{table} WHERE {condition}", [row[each] for each in changes.key]
        )
    insert_rows(connection, table, [{**row, "seen_at": moment} for row in changes.begun])
