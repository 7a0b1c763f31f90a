"""The history of what looks saw: ``study.executions_history`` and those of the programs.

Belongs here: adding a version where a look saw something different, so that what an earlier look
said is not lost. Does not belong: the latest look itself (``looks``), comparing versions
(``versions``).
"""

from collections.abc import Sequence
from datetime import datetime

import duckdb

from cp_pipeline.domain.executions import ProgramDataset, StudyProgram
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import insert_rows
from cp_pipeline.warehouse.versions import Changes, Row, compare, open_versions, write

_KEY = "study_id, subject_id, study_program_id"
_SAID = f"{_KEY}, program_execution, program_executed_at, last_raw_upload"
_KEYS = "SELECT (unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[]))"
_OF_PROGRAM = {
    "programs": ("study_id", "study_program_id"),
    "program_datasets": ("study_id", "study_program_id", "dataset_name"),
}


def begin_history(connection: duckdb.DuckDBPyConnection) -> None:
    """Add what earlier versions of this project recorded of a look, without a history."""
    connection.execute(
        f"INSERT INTO study.executions_history BY NAME SELECT {_SAID}, seen_at AS valid_from"
        " FROM study.executions ANTI JOIN (FROM study.executions_history WHERE valid_to IS NULL)"
        f" USING ({_KEY})"
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
        f" AND ({_KEY}) IN ({_KEYS})",
        [moment, *keys],
    )
    connection.execute(
        f"INSERT INTO study.executions_history BY NAME SELECT {_SAID}, ?::TIMESTAMP AS valid_from"
        f" FROM study.executions WHERE ({_KEY}) IN ({_KEYS})",
        [moment, *keys],
    )


def add_names(
    connection: duckdb.DuckDBPyConnection, named: Sequence[Row], moment: datetime
) -> None:
    """Add the names of programs to their history; see ``add_executions``."""
    key = _OF_PROGRAM["programs"]
    before = open_versions(connection, "programs")
    write(connection, compare("programs", key, before, named, is_complete=False), moment)


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
        "program_datasets": [
            {
                "study_id": each.study_id,
                "study_program_id": each.study_program_id,
                "dataset_name": each.dataset_name,
            }
            for each in datasets
        ],
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
            write(connection, changes, moment)
            for row in changes.begun:
                condition = " AND ".join(f"{column} = ?" for column in changes.key)
                connection.execute(
                    f"DELETE FROM study.{table} WHERE {condition}",
                    [row[column] for column in changes.key],
                )
            insert_rows(connection, table, [{**row, "seen_at": moment} for row in changes.begun])
    return True
