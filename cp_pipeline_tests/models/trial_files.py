"""Export files with known contents, and what CentrePoint says of a study, for tests of the models.

Belongs here: writing CSV text, and filling the schema ``study``. Does not belong: what the models
make of them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.warehouses import changing

DAILY, EPOCHS = "ActivityDaily8", "ActivityEpochs10"
_NOW = "TIMESTAMP '2024-01-01', NULL::TIMESTAMP"


def utc(local: str, zone: str = "UTC") -> datetime:
    """The instant of a local time, as a datetime in UTC without a zone."""
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)


def epochs(start: datetime, seconds: int, rows: Iterable[str]) -> str:
    """Lines of an epoch file: a time every ``seconds`` from ``start``, then the given values."""
    return "".join(
        f"{start + timedelta(seconds=number * seconds)},{row}\n" for number, row in enumerate(rows)
    )


def subject(
    storage: StorageSettings,
    subject_id: int,
    zone: str | None,
    identifier: str = "",
    site: str | None = "S01",
) -> None:
    """Add a subject to ``study.subjects``."""
    _insert(
        storage,
        "INSERT INTO study.subjects_history BY NAME SELECT ? AS id, 4711 AS study_id,"
        " ? AS site_identifier, ? AS subject_identifier, ? AS timezone, 'wrist' AS"
        f" wear_position, valid_from, valid_to FROM (SELECT {_NOW}) AS held(valid_from, valid_to)",
        [subject_id, site, identifier or f"P{subject_id}", zone],
    )


def zone_from(storage: StorageSettings, subject_id: int, zone: str, since: str) -> None:
    """Add a row to ``study.timezones``."""
    _insert(
        storage,
        "INSERT INTO study.timezones_history BY NAME SELECT 4711 AS study_id, ? AS subject_id,"
        " ? AS timezone, ?::TIMESTAMP AS effective_date_utc, valid_from, valid_to"
        f" FROM (SELECT {_NOW}) AS held(valid_from, valid_to)",
        [subject_id, zone, since],
    )


def visit(storage: StorageSettings, subject_id: int, name: str, start: str, end: str) -> None:
    """Add a planned visit of 7 days with at least 4, and a subject's visit with a wear period."""
    _insert(
        storage,
        "INSERT INTO study.planned_visits_history BY NAME SELECT len(?) % 1000 AS"
        " study_planned_visit_id, 4711 AS study_id, ? AS visit_name, 7 AS"
        " planned_wear_period_duration, 4 AS minimum_visit_wear_period_compliance, valid_from,"
        f" valid_to FROM (SELECT {_NOW}) AS held(valid_from, valid_to) WHERE NOT EXISTS"
        " (FROM study.planned_visits WHERE visit_name = ?)",
        [name, name, name],
    )
    _insert(
        storage,
        "INSERT INTO study.visits_history BY NAME SELECT len(?) + ? * 1000 AS actual_visit_id, 4711"
        " AS study_id, ? AS subject_id, len(?) % 1000 AS visit_id, ? AS visit_name, ?::TIMESTAMP"
        " AS visit_date, ?::TIMESTAMP AS wear_period_start_date, ?::TIMESTAMP AS"
        " wear_period_end_date, valid_from, valid_to"
        f" FROM (SELECT {_NOW}) AS held(valid_from, valid_to)",
        [name, subject_id, subject_id, name, name, start, start, end],
    )


def program(storage: StorageSettings, study_program_id: str, name: str) -> None:
    """Give a study program its name."""
    _insert(
        storage,
        "INSERT INTO study.programs BY NAME SELECT 4711 AS study_id, ? AS study_program_id,"
        " ? AS study_program_name",
        [study_program_id, name],
    )


def _insert(storage: StorageSettings, sql: str, values: list[object]) -> None:
    with changing(storage) as connection:
        connection.execute(sql, values)
