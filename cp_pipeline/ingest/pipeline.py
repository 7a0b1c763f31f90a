"""The pipeline of one configuration: the service, the landing and the warehouse together.

Belongs here: surveying, executing and querying, as Dagster and the command line need it.
Does not belong: the steps themselves (``survey``, ``plan``, ``executor``).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from cp_pipeline.centrepoint import Progress, no_progress
from cp_pipeline.domain.study_details import StudyNames
from cp_pipeline.ingest.asking import noted, outcome_of
from cp_pipeline.ingest.deadline import Deadline
from cp_pipeline.ingest.executor import ThreadExecutor, thread_executor
from cp_pipeline.ingest.look import LookPosition
from cp_pipeline.ingest.look_survey import LookSurvey, survey_by_look
from cp_pipeline.ingest.plan import Plan
from cp_pipeline.ingest.retry_schedule import RetrySchedule, retry_schedule
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.study_refresh import RefreshedDetails, refresh_details, refresh_looks
from cp_pipeline.ingest.subprocess_executor import SubprocessExecutor, Task
from cp_pipeline.ingest.survey import Request, Survey, take_survey
from cp_pipeline.ingest.timings import Activity
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import (
    PartitionState,
    Purpose,
    Warehouse,
    failed_attempts,
    move_notes,
    partition_states,
    study_names,
)

EVERYTHING = Request()
# Executes one plan: an iterator of the result of each partition, inside a `with` block.
Executor = ThreadExecutor | SubprocessExecutor


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A survey, and the executor that has started its plan."""

    survey: Survey
    executor: Executor


class Pipeline:
    """The exports of the configured studies, from the API to the warehouse.

    Args:
        access: the settings of the service.
        storage: the settings of landing and warehouse.
    """

    # For fewer exports a subprocess is not worth its start, which takes 0.2 s.
    subprocess_from = 64

    def __init__(self, access: CentrePointSettings, storage: StorageSettings) -> None:
        self.rooms = Rooms(access, storage)
        self.storage = storage
        self.centrepoint, self.landing = self.rooms.centrepoint, self.rooms.landing
        self.warehouse, self.timings = self.rooms.warehouse, self.rooms.timings
        # Answers questions on a connection of its own: one thread at a time may use a connection,
        # and another thread loads.
        self.questions = Warehouse.of(storage)
        self.questions.spares_memory = True
        self._prepared: _Prepared | None = None
        self._details: RefreshedDetails | None = None

    def wait_at_most(self, seconds: float) -> None:
        """Set how long to wait for another process that holds the warehouse."""
        self.warehouse.wait_seconds = self.questions.wait_seconds = seconds

    def survey(
        self,
        request: Request = EVERYTHING,
        *,
        write: bool = True,
        progress: Progress = no_progress,
    ) -> Survey:
        """List, record the listing, and plan; see ``survey.take_survey``.

        Return the survey of ``prepared`` instead if its request is the same.

        Raises:
            ServiceError: CentrePoint gives no listing, or none of its items is valid.
            WarehouseError: the warehouse cannot be read or written.
        """
        if self._prepared is not None and self._prepared.survey.request == request:
            return self._prepared.survey
        purpose = Purpose.WHOLE if request.is_whole else Purpose.SOME
        asking = noted(self.rooms, purpose) if write else nullcontext()
        with self.timings.on(Activity.LISTING), asking:
            found = take_survey(self.rooms, request, progress, write=write)
        if found.changed:
            # The survey has opened the warehouse for writing anyway.
            move_notes(self.storage.data_dir, self.warehouse)
        if found.is_large:
            # What it needed of DuckDB's memory, the load that follows does not.
            self.warehouse.close()
        return found

    def parts(self, request: Request) -> Sequence[Request]:
        """Return the requests to survey and execute one after another; see ``Request.parts``."""
        if self._prepared is not None and self._prepared.survey.request == request:
            return (request,)
        return request.parts()

    def look(
        self, start: LookPosition, seconds: float, *, uploads: bool, now: datetime
    ) -> LookSurvey:
        """Find out in a few seconds what is new; see ``look_survey.survey_by_look``.

        Args:
            start: where the last look stopped.
            seconds: how long it may take; what is left goes on with the next call.
            uploads: also record where only the time of the last upload of raw data differs.
            now: the current time (UTC).

        Raises:
            ServiceError: CentrePoint gives no list of subjects.
            WarehouseError: the warehouse cannot be read or written.
        """
        with closing(Deadline(seconds)) as deadline, noted(self.rooms, Purpose.LOOK) as asked:
            found = survey_by_look(self.rooms, start, deadline, uploads=uploads, now=now)
            asked.outcome = outcome_of(found, seconds)
        return found

    def refresh_study(self, now: datetime) -> str:
        """Record executions and programs; see ``study_refresh.refresh_looks``."""
        return refresh_looks(self.rooms, now)

    def refresh_details(self, now: datetime) -> RefreshedDetails | None:
        """Record the study's details, once for this object; see ``study_refresh``.

        Raises:
            WarehouseError: the warehouse cannot be read or written.
        """
        if self._details is None:
            self._details = refresh_details(self.rooms, now)
        return self._details

    def names(self) -> StudyNames:
        """Return how people call study programs and subjects."""
        return study_names(self.questions)

    def where_the_time_went(self) -> str:
        """Return one line for people: the seconds by activity, to show what to tune."""
        spent = self.timings.seconds()
        threads = self.centrepoint.settings.download_threads
        return (
            f"listing {spent['listing']:.1f} s; download {spent['download']:.1f} s and decode "
            f"{spent['decode']:.1f} s, on {threads} threads together; load {spent['load']:.1f} s "
            f"(warehouse held {self.warehouse.held_seconds:.1f} s, at most "
            f"{self.warehouse.longest_hold_seconds:.1f} s at once); Dagster's events "
            f"{spent['records']:.1f} s"
        )

    def seconds_spent(self) -> dict[str, float]:
        """Return the seconds by activity so far, and how long the warehouse was held read-write."""
        held = round(self.warehouse.held_seconds, 3)
        return self.timings.seconds() | {"warehouse_held": held}

    def tidy(self) -> None:
        """Remove what a killed process left; every load does so too."""
        self.landing.tidy()
        self.warehouse.checkpoint_leftover_log()

    def retry_schedule(self, plan: Plan, now: datetime | None = None) -> RetrySchedule:
        """Return which partitions of a plan may be loaded now (UTC), by the retry schedule."""
        return retry_schedule(plan, failed_attempts(self.questions), now)

    def states(self) -> Iterator[PartitionState]:
        """Yield the state of each partition, by data set and subject."""
        return partition_states(self.questions)

    @contextmanager
    def prepared(self, survey: Survey, run_id: str) -> Iterator[Executor]:
        """Start to download and stage a survey's plan; nothing is loaded before ``begin``.

        In the block, ``survey`` and ``execute`` use this survey and executor, once. So the
        downloads overlap with the start of a run.
        """
        with self._executor(survey, run_id) as executor:
            self._prepared = _Prepared(survey, executor)
            try:
                yield executor
            finally:
                self._prepared = None

    @contextmanager
    def execute(self, survey: Survey, run_id: str = "") -> Iterator[Executor]:
        """Execute a survey's plan; entering the block starts the downloads.

        Args:
            survey: has the plan.
            run_id: the Dagster run, for lineage.
        """
        if self._prepared is not None and self._prepared.survey is survey:
            prepared, self._prepared = self._prepared, None
            yield prepared.executor
            return
        with self._executor(survey, run_id) as executor:
            yield executor

    def _executor(self, survey: Survey, run_id: str) -> AbstractContextManager[Executor]:
        """Choose whether this process or a subprocess executes a plan; only this method does."""
        if survey.plan.export_count < self.subprocess_from:
            return thread_executor(self.rooms, survey, run_id)
        task = Task(
            self.centrepoint.settings_found,
            self.storage,
            survey,
            run_id,
            self.warehouse.wait_seconds,
            logging.getLogger().level,
            logging.getLogger("cp_pipeline").getEffectiveLevel(),
        )
        return SubprocessExecutor(task, self.rooms.also_spent)
