"""The names of study programs and subjects, for messages and pictures.

Belongs here: reading them. Does not belong: recording them (``looks``, ``study_details``).
"""

from cp_pipeline.domain.study_details import StudyNames, SubjectName
from cp_pipeline.warehouse.connection import Warehouse


def study_names(warehouse: Warehouse) -> StudyNames:
    """Return the names that are known; empty without a warehouse, or one of an earlier version.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        return StudyNames()
    with warehouse.reading() as connection:
        there = connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database()"
            " AND schema_name = 'study' AND table_name IN ('programs', 'subjects_history',"
            " 'sites_history')"
        ).fetchone()
        if not there or there[0] != 3:  # noqa: PLR2004  (these three)
            return StudyNames()
        programs = connection.execute(
            "SELECT study_program_id, study_program_name FROM study.programs"
            " WHERE study_program_name IS NOT NULL"
        ).fetchall()
        subjects = connection.execute(
            "SELECT subjects.study_id, subjects.id, subjects.subject_identifier,"
            " coalesce(subjects.site_identifier, sites.site_identifier), sites.site_name"
            " FROM study.subjects_history AS subjects LEFT JOIN study.sites_history AS sites"
            " ON sites.study_id = subjects.study_id AND sites.id = subjects.site_id"
            " AND sites.valid_to IS NULL WHERE subjects.valid_to IS NULL"
        ).fetchall()
    return StudyNames(dict(programs), {row[1]: SubjectName(*row) for row in subjects})
