"""The details of studies in the schema ``study``, each with its history.

Belongs here: recording what CentrePoint says, and which subjects' time zones must be asked for.
Does not belong: requests (``centrepoint.study_details``), names for people (``study_names``).
"""

from collections.abc import Collection, Iterable
from datetime import datetime

import duckdb

from cp_pipeline.domain.study_details import DetailTable
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.lineage import read_erased
from cp_pipeline.warehouse.schema import insert_rows
from cp_pipeline.warehouse.versions import Changes, compare, open_versions, write

KEYS = {
    "studies": ("id",),
    "sites": ("study_id", "id"),
    "subjects": ("study_id", "id"),
    # A history has no ids: an entry that is corrected is another one.
    "timezones": ("study_id", "subject_id", "effective_date_utc", "timezone"),
    "planned_visits": ("study_id", "study_planned_visit_id"),
    "visits": ("study_id", "actual_visit_id"),
}
# The columns that are kept only if the settings name the field.
_ON_REQUEST = {
    "dob": ("dob",),
    "age_years": ("age_years",),
    "gender": ("gender",),
    "weight": ("weight", "weight_unit"),
    "height": ("height", "height_unit"),
}
_SUBJECT = {"subjects": "id", "timezones": "subject_id", "visits": "subject_id"}


def record_details(
    warehouse: Warehouse,
    tables: Iterable[DetailTable],
    now: datetime,
    subject_fields: Collection[str] = (),
) -> int:
    """Record what differs, and return the number of new versions.

    If nothing differs, the file is not opened for writing. A version ends where its row is no
    longer listed. Nothing is recorded of an erased subject.

    Args:
        warehouse: may be missing; then it is created.
        tables: what CentrePoint says now.
        now: the current time (UTC).
        subject_fields: what is kept of a subject; other fields are emptied, in the history too.
    """
    said = list(tables)
    moment = now.replace(tzinfo=None)
    unwanted = [
        column
        for field, columns in _ON_REQUEST.items()
        if field not in subject_fields
        for column in columns
    ]
    if warehouse.exists():
        with warehouse.reading() as connection:
            if not _compare(connection, said) and not _has_any(connection, unwanted):
                return 0
    with warehouse.transaction() as connection:
        if _has_any(connection, unwanted):
            emptied = ", ".join(f"{column} = NULL" for column in unwanted)
            connection.execute(f"UPDATE study.subjects_history SET {emptied}")
        differing = _compare(connection, said)
        for changes in differing:
            write(connection, changes, moment)
    return sum(len(changes.begun) for changes in differing)


def subjects_to_ask(
    warehouse: Warehouse, subjects: DetailTable
) -> tuple[list[int], frozenset[int]]:
    """Return the subjects whose time zones' history may have changed: new ones, and moved ones.

    The second value has those who are no longer listed: their time zones end.

    A subject has moved if its time zone differs from that of the last question, or from the one
    with which the recorded history ends.

    Args:
        warehouse: has what was recorded before.
        subjects: the study's subjects as CentrePoint lists them now.
    """
    now = {dict(row)["id"]: dict(row)["timezone"] for row in subjects.rows}
    asked: dict[int, str | None] = {}
    ends: dict[int, str | None] = {}
    if warehouse.exists():
        with warehouse.reading() as connection:
            asked = dict(
                connection.execute(
                    "SELECT subject_id, max_by(timezone, asked_at) FROM study.timezones_asked"
                    " WHERE study_id = ? GROUP BY subject_id",
                    [subjects.study_id],
                ).fetchall()
            )
            ends = dict(
                connection.execute(
                    "SELECT subject_id, max_by(timezone, effective_date_utc) FROM study.timezones"
                    " WHERE study_id = ? GROUP BY subject_id",
                    [subjects.study_id],
                ).fetchall()
            )
    to_ask = sorted(
        subject_id
        for subject_id, timezone in now.items()
        if isinstance(subject_id, int)
        and (
            subject_id not in asked
            or asked[subject_id] != timezone
            or (subject_id in ends and ends[subject_id] != timezone)
        )
    )
    return to_ask, frozenset(ends.keys() - now.keys()) if subjects.is_complete else frozenset()


def record_timezones_asked(
    warehouse: Warehouse, subjects: DetailTable, asked: Collection[int], now: datetime
) -> None:
    """Record for which subjects the history of time zones was asked for; ``now`` is in UTC."""
    known = {dict(row)["id"]: dict(row)["timezone"] for row in subjects.rows}
    if not asked:
        return
    with warehouse.transaction() as connection:
        erased = read_erased(connection)
        some = [each for each in asked if each not in erased]
        connection.execute(
            "DELETE FROM study.timezones_asked WHERE study_id = ?"
            " AND subject_id IN (SELECT unnest(?::BIGINT[]))",
            [subjects.study_id, some],
        )
        rows = [
            {
                "study_id": subjects.study_id,
                "subject_id": each,
                "timezone": known.get(each),
                "asked_at": now.replace(tzinfo=None),
            }
            for each in some
        ]
        insert_rows(connection, "timezones_asked", rows)


def _compare(connection: duckdb.DuckDBPyConnection, tables: Iterable[DetailTable]) -> list[Changes]:
    erased = read_erased(connection)
    found = []
    for table in tables:
        owner = "id" if table.name == "studies" else "study_id"
        condition = f"{owner} = {int(table.study_id)}"
        if table.subject_ids is not None:
            subjects = ", ".join(str(int(each)) for each in table.subject_ids) or "NULL"
            condition += f" AND subject_id IN ({subjects})"
        before = open_versions(connection, table.name, condition)
        subject = _SUBJECT.get(table.name)
        now = [row for each in table.rows if (row := dict(each)).get(subject or "") not in erased]
        found.append(
            compare(table.name, KEYS[table.name], before, now, is_complete=table.is_complete)
        )
    return [changes for changes in found if changes]


def _has_any(connection: duckdb.DuckDBPyConnection, columns: Collection[str]) -> bool:
    if not columns:
        return False
    some = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    row = connection.execute(f"SELECT count(*) FROM study.subjects_history WHERE {some}").fetchone()
    return bool(row and row[0])
