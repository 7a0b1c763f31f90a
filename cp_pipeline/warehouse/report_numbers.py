"""The numbers of the study report, read from the published file.

Belongs here: reading them from one state of the file. Does not belong: the queries
(``report_queries``), their rows (``report_rows``), the definitions of the models
(``dbt_style_sql``, docs/models.md), the page (``report``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.warehouse import report_queries as sql
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.report_rows import (
    Change,
    Changes,
    Coverage,
    NotCurrent,
    Publication,
    StudyState,
    Subject,
    UnknownDays,
    ValidDays,
    Visit,
    Waiting,
    WaitingCounts,
    WaitingSubject,
    Wear,
)

Row = TypeVar("Row", bound=NamedTuple)


class ModelsMissing(PipelineError):
    """The published file lacks models that the study report is made of."""


@dataclass(frozen=True, slots=True)
class ReportNumbers:
    """All that the report says, of one published file."""

    publication: Publication
    studies: Sequence[StudyState]
    coverage: Sequence[Coverage]
    states: Sequence[tuple[int, str, str]]
    not_current: Sequence[NotCurrent]
    wear: Sequence[Wear]
    visits: Sequence[Visit]
    unknown_days: Sequence[UnknownDays]
    valid_days: Sequence[ValidDays]
    subjects: Sequence[Subject]
    waiting: Sequence[Waiting]
    waiting_subjects: Sequence[WaitingSubject]
    waits: WaitingCounts
    changes: Sequence[Changes]
    newest_changes: Sequence[Change]
    erased_subjects: int


def read_report_numbers(published: Path) -> ReportNumbers:
    """Read the numbers of the study report, all from one state of the published file.

    Raises:
        PipelineError: nothing is published, or the file lacks a model.
        WarehouseError: the file cannot be opened.
    """
    if not published.exists():
        raise PipelineError(
            f"There is no published file {published}, so there is nothing to report.",
            "Run cp-pipeline publish.",
        )
    with Warehouse(str(published)) as opened, opened.reading() as connection:
        try:
            connection.execute(sql.PLACES)
            return _read(connection)
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise ModelsMissing(
                f"{published} lacks what the study report is made of: "
                f"{str(error).splitlines()[0]}.",
                "Run cp-pipeline publish, which builds all models.",
            ) from None


def _read(connection: duckdb.DuckDBPyConnection) -> ReportNumbers:
    def rows(row: type[Row], query: str) -> list[Row]:
        names = ", ".join(row._fields)
        found = connection.execute(f"SELECT {names} FROM ({query}) AS found").fetchall()
        return [row(*values) for values in found]

    return ReportNumbers(
        publication=rows(Publication, sql.PUBLICATION)[0],
        studies=rows(StudyState, sql.STUDIES),
        coverage=rows(Coverage, sql.COVERAGE),
        states=connection.execute(sql.STATES).fetchall(),
        not_current=rows(NotCurrent, sql.NOT_CURRENT),
        wear=rows(Wear, sql.WEAR),
        visits=rows(Visit, sql.VISITS),
        unknown_days=rows(UnknownDays, sql.UNKNOWN_DAYS),
        valid_days=rows(ValidDays, sql.VALID_DAYS),
        subjects=rows(Subject, sql.SUBJECTS),
        waiting=rows(Waiting, sql.WAITING),
        waiting_subjects=rows(WaitingSubject, sql.WAITING_SUBJECTS),
        waits=rows(WaitingCounts, sql.WAITING_COUNTS)[0],
        changes=rows(Changes, sql.CHANGES),
        newest_changes=rows(Change, sql.NEWEST_CHANGES),
        erased_subjects=connection.execute(sql.ERASED).fetchall()[0][0],
    )
