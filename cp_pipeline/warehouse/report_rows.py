"""The rows of the study report: one type for each query.

Belongs here: types. Does not belong: queries (``report_queries``), reading (``report_numbers``).

A number is None where it is not known; the page says why. Means of sites and visits are medians of
the subjects' own means, because a subject with many days must not count more than another.
"""

from datetime import datetime
from typing import NamedTuple, TypedDict


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


class Spread(TypedDict):
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
    site: str | None
    is_total: bool
    subjects: int
    days: int
    valid_days: int
    unknown_days: int
    enough: int
    not_enough: int
    enough_unknown: int
    wear_hours: Spread
    steps: Spread


class Visit(NamedTuple):
    """A visit of a site's subjects: how many have a wear period, their days, and compliance.

    ``wear_hours``, ``steps``: on a valid day.
    """

    study_id: int
    visit_name: str | None
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
    wear_hours: Spread
    steps: Spread


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
    """A subject's days and means; None where there is nothing to count or to average.

    Dates are as DuckDB writes them: Python has none before the year 1.
    """

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site_id: int | None
    site: str | None
    partitions: int
    current: int
    first_date: str | None
    last_date: str | None
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
