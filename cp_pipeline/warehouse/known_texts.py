"""What the warehouse stores about a subject, so that other stores can be searched for it.

Belongs here: the texts that name a subject. Does not belong: deleting rows (``row_erasure``),
searching the landing and Dagster's events (``ingest.subject_erasure``).
"""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from cp_pipeline.domain.study_details import SubjectName
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table

_NAMING = {
    "loads": ("file_name", "file_sha256", "program_execution", "landing_path"),
    "compacted": ("file_name", "file_sha256", "program_execution", "landing_path"),
    "export_files": ("file_name", "program_execution"),
    "unusable_items": ("file_name", "program_execution", "reason"),
    "failures": ("file_name", "program_execution", "error"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the warehouse stores about a subject.

    ``texts``: names, checksums, executions and errors that belong to this subject only. Other
    stores, such as Dagster's events, may contain them. ``labels``: how people call or called the
    subject; they may be short, and mean something else elsewhere. ``erased_at``: when the subject
    was erased before (UTC), or None.
    """

    loads: int
    rows: int
    texts: frozenset[str]
    erased_at: datetime | None
    labels: frozenset[str] = frozenset()


def known_of(warehouse: Warehouse, subject_id: int) -> Known:
    """Return what the warehouse stores about a subject.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened.
    """
    if not warehouse.exists():
        return Known(0, 0, frozenset(), None)
    with warehouse.reading() as connection:
        counted = connection.execute(
            "SELECT count(*), coalesce(sum(row_count), 0)::BIGINT FROM lineage.loads"
            " WHERE subject_id = ?",
            [subject_id],
        ).fetchone()
        texts = frozenset(
            text
            for table, columns in _NAMING.items()
            if has_table(connection, f"lineage.{table}")
            for column in columns
            for text in _own_texts(connection, table, column, subject_id)
        )
        erased = None
        if has_table(connection, "lineage.erasures"):
            erased = connection.execute(
                "SELECT max(erased_at) FROM lineage.erasures WHERE subject_id = ?", [subject_id]
            ).fetchone()
        labels = frozenset[str]()
        if has_table(connection, "study.subjects_history"):
            labels = _labels(connection, subject_id)
    loads, rows = counted or (0, 0)
    return Known(loads, rows, texts, erased[0] if erased else None, labels)


def _labels(connection: duckdb.DuckDBPyConnection, subject_id: int) -> frozenset[str]:
    """Return all identifiers that the subject ever had, with and without those of its sites."""
    rows = connection.execute(
        "SELECT DISTINCT subjects.study_id, subjects.subject_identifier,"
        " unnest([NULL, subjects.site_identifier, sites.site_identifier])"
        " FROM study.subjects_history AS subjects LEFT JOIN study.sites_history AS sites"
        " ON sites.study_id = subjects.study_id AND sites.id = subjects.site_id"
        " WHERE subjects.id = ?",
        [subject_id],
    ).fetchall()
    return frozenset(
        spelling
        for study_id, identifier, site in rows
        for spelling in SubjectName(study_id, subject_id, identifier, site).spellings
    )


def _own_texts(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, subject_id: int
) -> list[str]:
    """Return a column's values for a subject, without those that another subject has too."""
    rows = connection.execute(
        f"SELECT DISTINCT {column} FROM lineage.{table}"
        f" WHERE subject_id = ? AND {column} IS NOT NULL"
        f" EXCEPT SELECT {column} FROM lineage.{table} WHERE subject_id <> ?",
        [subject_id, subject_id],
    ).fetchall()
    return [text for (text,) in rows]
