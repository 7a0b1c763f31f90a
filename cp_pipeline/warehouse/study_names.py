"""The names of study programs and subjects, for messages and pictures.

Belongs here: reading them, and which data set comes from which program.
Does not belong: recording them (``looks``, ``study_details``).
"""

from typing import NamedTuple

from cp_pipeline.domain.study_details import StudyNames, SubjectName
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table


class ProgramOfDataset(NamedTuple):
    """A study program that yields exports of a data set.

    ``is_shared``: whether a subject has exports of this data set from several programs.
    """

    dataset_name: str
    study_program_id: str
    program_name: str | None
    is_shared: bool


def programs_of_datasets(warehouse: Warehouse) -> list[ProgramOfDataset]:
    """Return which program yields which data set, by what is listed or loaded.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        return []
    names = study_names(warehouse).programs
    with warehouse.reading() as connection:
        rows = connection.execute(
            "WITH exports AS ("
            " SELECT study_id, subject_id, dataset_name, study_program_id FROM lineage.export_files"
            " UNION SELECT study_id, subject_id, dataset_name, study_program_id"
            " FROM lineage.current_loads"
            "), counted AS ("
            " SELECT *, count(*) OVER (PARTITION BY study_id, subject_id, dataset_name) AS number"
            " FROM exports"
            ") SELECT dataset_name, study_program_id, bool_or(number > 1) FROM counted"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return [ProgramOfDataset(row[0], row[1], names.get(row[1]), row[2]) for row in rows]


def study_names(warehouse: Warehouse) -> StudyNames:
    """Return the names that are known; empty without a warehouse, or one of an earlier version.

    Also of the published file, which has the same tables.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    # The published file has the tables, but is no warehouse.
    if not (warehouse.has_file() if warehouse.is_file else warehouse.exists()):
        return StudyNames()
    with warehouse.reading() as connection:
        needed = ("study.programs", "study.subjects_history", "study.sites_history")
        if not all(has_table(connection, table) for table in needed):
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
