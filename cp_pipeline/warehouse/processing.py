"""Who waits for what: reading ``marts.subject_processing``.

Belongs here: reading the model where it is. Does not belong: its definition
(``dbt_style_sql/models/marts/subject_processing.sql``).
"""

from typing import NamedTuple

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table


class SubjectProcessing(NamedTuple):
    """A row of ``marts.subject_processing``."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site_identifier: str | None
    study_program_id: str
    study_program_name: str | None
    last_raw_upload: str | None
    program_execution: str | None
    state: str
    datasets_lacking: list[str]


def subjects_processing(storage: StorageSettings) -> list[SubjectProcessing]:
    """Return the rows of the model; empty if the models were not built yet.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    with Warehouse.of(storage) as warehouse:
        if not warehouse.exists():
            return []
        with warehouse.reading() as connection:
            if not has_table(connection, "marts.subject_processing"):
                return []
            rows = connection.execute(
                f"SELECT {', '.join(SubjectProcessing._fields)} FROM marts.subject_processing"
                " ORDER BY study_id, site_identifier, subject_identifier, subject_id,"
                " study_program_name, study_program_id"
            ).fetchall()
    return [SubjectProcessing(*row) for row in rows]
