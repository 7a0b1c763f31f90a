"""The numbers of the study report, read from the published file.

Belongs here: the queries, and one type for the rows of each. Does not belong: the definitions of
the models (``dbt_style_sql``, docs/models.md), the page (``report``).

A number is None where it is not known; the page says why. Means of sites and visits are medians of
the subjects' own means, because a subject with many days must not count more than another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.warehouse import report_queries as sql
from cp_pipeline.warehouse.connection import Warehouse

Row = TypeVar("Row", bound=NamedTuple)


class Publication(NamedTuple):
    """When the file was published (UTC), and the Dagster run that did it."""

    published_at: datetime
    dagster_run_id: str | None


class StudyState(NamedTuple):
    """A study, and when it was listed, last answered for, executed and loaded (UTC)."""

    study_id: int
    name: str | None
    listed_at: datetime | None
    answered_at: datetime | None
    executed_at: datetime | None
    loaded_at: datetime | None
    subjects: int
    subjects_with_exports: int
    invalid_items: int


class Coverage(NamedTuple):
    """How many subjects of a site have a data set in a state (``lineage.partition_status``)."""

    study_id: int
    site_id: int | None
    site: str | None
    dataset_name: str
    state: str
    partitions: int


class NotCurrent(NamedTuple):
    """A subject and data set that is not current; of a failed one, the last error."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site: str | None
    dataset_name: str
    state: str
    file_name: str | None
    error: str | None


class Spread(NamedTuple):
    """The median and the quartiles of the means of ``n`` subjects; None if there are none."""

    median: float | None
    lower: float | None
    upper: float | None
    n: int


class Wear(NamedTuple):
    """Days of a site's subjects, their validity, and what was measured on valid days.

    ``is_total``: whether the row is of the whole study.
    """

    study_id: int
    site_id: int | None
    site: str | None
    is_total: bool
    subjects: int
    days: int
    valid_days: int
    unknown_days: int
    enough: int
    not_enough: int
    enough_unknown: int
    wear_hours_median: float | None
    wear_hours_lower: float | None
    wear_hours_upper: float | None
    wear_hours_n: int
    steps_median: float | None
    steps_lower: float | None
    steps_upper: float | None
    steps_n: int

    @property
    def wear_hours(self) -> Spread:
        """Hours of wear on a valid day."""
        return Spread(
            self.wear_hours_median, self.wear_hours_lower, self.wear_hours_upper, self.wear_hours_n
        )

    @property
    def steps(self) -> Spread:
        """Steps on a valid day."""
        return Spread(self.steps_median, self.steps_lower, self.steps_upper, self.steps_n)


class Visit(NamedTuple):
    """A visit of a site's subjects: how many have a wear period, their days, and compliance."""

    study_id: int
    visit_name: str | None
    site_id: int | None
    site: str | None
    is_total: bool
    visits: int
    with_wear_period: int
    planned_days: int | None
    days: int
    valid_days: int
    unknown_days: int
    compliant: int
    not_compliant: int
    compliance_unknown: int
    wear_hours_median: float | None
    wear_hours_lower: float | None
    wear_hours_upper: float | None
    wear_hours_n: int
    steps_median: float | None
    steps_lower: float | None
    steps_upper: float | None
    steps_n: int

    @property
    def wear_hours(self) -> Spread:
        """Hours of wear on a valid day."""
        return Spread(
            self.wear_hours_median, self.wear_hours_lower, self.wear_hours_upper, self.wear_hours_n
        )

    @property
    def steps(self) -> Spread:
        """Steps on a valid day."""
        return Spread(self.steps_median, self.steps_lower, self.steps_upper, self.steps_n)


class UnknownDays(NamedTuple):
    """Days of unknown validity, and why it is unknown."""

    dataset_name: str
    measured_by: str
    reason: str
    days: int
    subjects: int


class ValidDays(NamedTuple):
    """How many subjects have this many valid days."""

    valid_days: int
    subjects: int


class Subject(NamedTuple):
    """A subject's days and means; None where there is nothing to count or to average."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site_id: int | None
    site: str | None
    partitions: int
    current: int
    first_date: date | None
    last_date: date | None
    days: int | None
    valid_days: int | None
    unknown_days: int | None
    has_enough_valid_days: bool | None
    wear_hours: float | None
    steps: float | None


class Waiting(NamedTuple):
    """How many subjects of a site wait, by the state in ``marts.subject_processing``.

    ``is_total``: whether the row is of all sites and studies.
    """

    study_id: int | None
    site_id: int | None
    site: str | None
    state: str
    is_total: bool
    subjects: int
    pairs: int


class WaitingCounts(NamedTuple):
    """The pairs of subject and study program that looks saw, and how many subjects wait.

    ``to_process``: how many of them wait for processing.
    """

    pairs: int
    subjects: int
    to_process: int


class WaitingSubject(NamedTuple):
    """A subject that waits for the same in some study programs."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site: str | None
    state: str
    programs: list[str]
    last_raw_upload: str | None
    program_execution: str | None
    datasets_lacking: list[str]


class Changes(NamedTuple):
    """What the newest executions of a data set changed against the executions before.

    ``rows_changed`` leaves out the ``without_times`` exports for which it is unknown.
    """

    study_id: int
    dataset_name: str
    exports: int
    executed_again: int
    changed: int
    rows_added: int | None
    rows_removed: int | None
    rows_changed: int | None
    without_times: int
    newest: datetime | None


class Change(NamedTuple):
    """What one execution changed."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site: str | None
    dataset_name: str
    study_program_name: str | None
    study_program_id: str
    program_execution: str
    previous_program_execution: str
    loaded_at: datetime
    rows_added: int
    rows_removed: int
    rows_changed: int | None
    columns_added: list[str]
    columns_removed: list[str]


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

    Args:
        published: the path of the published file (``CP_PUBLISHED``).

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
            raise PipelineError(
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
