"""Checks of the schema ``study``: each should find no rows.

Belongs here: the SQL of each check. Does not belong: the checks of loads (``check_queries``), words
for people (``defs.study_details``).
"""

from enum import StrEnum
from zoneinfo import available_timezones

from cp_pipeline.warehouse.check_queries import Finding, finding
from cp_pipeline.warehouse.connection import Warehouse


class StudyQuestion(StrEnum):
    """The checks of the study's details."""

    SUBJECTS_ARE_IN_THE_STUDY = "subjects_with_exports_are_in_the_study"
    IDENTIFIERS_ARE_UNIQUE = "subject_identifiers_are_unique"
    TIMEZONES_ARE_KNOWN = "timezones_are_iana_names"


# Without the details of a study, nothing is at fault in it.
_EXPORTED = """
SELECT DISTINCT study_id, subject_id FROM (
    SELECT study_id, subject_id FROM lineage.export_files
    UNION ALL SELECT study_id, subject_id FROM lineage.current_loads
) WHERE study_id IN (SELECT study_id FROM study.subjects)
"""
_ZONES = """
SELECT DISTINCT study_id, subject_id, timezone FROM (
    SELECT study_id, id AS subject_id, timezone FROM study.subjects
    UNION ALL SELECT study_id, subject_id, timezone FROM study.timezones
) WHERE timezone IS NOT NULL
"""
_QUESTIONS = {
    StudyQuestion.SUBJECTS_ARE_IN_THE_STUDY: (
        _EXPORTED,
        f"""
        SELECT exported.subject_id AS subject, exported.study_id AS study
        FROM ({_EXPORTED}) AS exported ANTI JOIN study.subjects AS subjects
            ON subjects.study_id = exported.study_id AND subjects.id = exported.subject_id
        """,
    ),
    StudyQuestion.IDENTIFIERS_ARE_UNIQUE: (
        "FROM study.subjects WHERE subject_identifier IS NOT NULL",
        """
        SELECT id AS subject, study_id AS study, site_identifier AS site,
            subject_identifier AS identifier
        FROM study.subjects WHERE subject_identifier IS NOT NULL
        QUALIFY count(*) OVER (PARTITION BY study_id, subject_identifier) > 1
        """,
    ),
    StudyQuestion.TIMEZONES_ARE_KNOWN: (
        _ZONES,
        f"""
        SELECT subject_id AS subject, study_id AS study, timezone FROM ({_ZONES})
        WHERE NOT list_contains($zones, timezone)
        """,
    ),
}


def ask_study(warehouse: Warehouse, question: StudyQuestion) -> Finding:
    """Run one check; it finds nothing if the warehouse does not exist yet."""
    if not warehouse.exists():
        return Finding(0, 0, (), ())
    examined, at_fault = _QUESTIONS[question]
    # A system without any time zones knows none.
    zones = sorted(available_timezones())
    if question is StudyQuestion.TIMEZONES_ARE_KNOWN and not zones:
        return Finding(0, 0, (), ())
    named = {"zones": zones} if "$zones" in at_fault else {}
    with warehouse.reading() as connection:
        counted = f"SELECT count(*) FROM ({examined})"
        return finding(connection, counted, at_fault, "subject", named)
