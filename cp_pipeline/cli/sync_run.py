"""The run of Dagster in which ``sync`` loads.

Belongs here: what needs Dagster, imported only where there is something to load. Does not belong:
what is to be loaded (``sync``), the job (``defs.jobs``).
"""

import gc
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from cp_pipeline.cli.screen import answers
from cp_pipeline.cli.sync_words import say_failures
from cp_pipeline.defs.instance.home_folder import home_folder, names_a_storage
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import (
    Account,
    Executor,
    PartitionFailed,
    PartitionLoaded,
    PartitionResult,
    Pipeline,
    Plan,
    Request,
)
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.settings import StorageSettings


class WatchedSource(PipelineResource):
    """The run's own pipeline is this process's; shows what is done."""

    # A failure is reported at once; the person who runs the command decides when to try again.
    retries = False

    def __init__(self, pipeline: Pipeline, partitions: int, progress: Progress) -> None:
        self.pipeline = pipeline
        self._progress = progress
        self._task: TaskID = progress.add_task("Loading", total=partitions, rate="")
        self._started = time.monotonic()
        self._plan: Plan | None = None
        self._account: Account | None = None
        self.loaded = self.rows = 0
        self.failures: list[PartitionFailed] = []

    def open(self) -> Pipeline:
        """Return the pipeline of this process."""
        return self.pipeline

    def storage(self) -> StorageSettings:
        """Return the settings of the pipeline."""
        return self.pipeline.storage

    def planned(self, plan: Plan) -> None:
        """Begin to count the plan's partitions, unless it is the one that is counted."""
        if plan is not self._plan:
            self.close_account()
            self._plan, self._account = plan, Account(plan)

    def close_account(self) -> None:
        """Check that each planned partition was loaded or failed."""
        if self._account is not None:
            self._account.close()

    def report(self, result: PartitionResult) -> None:
        """Count a partition, and show the progress."""
        if self._account is not None:
            self._account.saw(result)
        if isinstance(result, PartitionLoaded):
            self.loaded += 1
            self.rows += sum(load.row_count for load in result.loads)
        else:
            self.failures.append(result)
        seconds = max(time.monotonic() - self._started, 0.001)
        rate = f"{(self.loaded + len(self.failures)) / seconds:,.0f} partitions/s"
        self._progress.update(self._task, advance=1, rate=rate)


def run_in_dagster(
    source: WatchedSource, executor: Executor, run_id: str, request: Request
) -> None:
    """Run the job ``sync`` in this process, with all of Dagster's events."""
    # Imported here because Dagster takes a second to import, which `sync` with nothing new saves.
    # Its warnings about its own beta features do not belong in a nightly log.
    with _uncollected(), warnings.catch_warnings(action="ignore"):
        from cp_pipeline.defs.definitions import build_defs  # noqa: PLC0415
        from cp_pipeline.defs.instance.command_runs import command_run  # noqa: PLC0415
        from cp_pipeline.defs.load_outcome import (  # noqa: PLC0415
            only_partitions_failed,
            reason_of_run,
        )

        job = build_defs(source).resolve_job_def("sync")
        opened = command_run(source.storage(), run_id, captures_output=False)
    config = {
        "subject_ids": sorted(request.subject_ids or ()),
        "dataset_names": sorted(request.dataset_names or ()),
        "refresh": request.refresh,
    }
    with opened as run:
        executor.begin()
        result = run.execute(job, {"sync_exports": {"config": config}})
        if not result.success and not only_partitions_failed(result.all_events):
            say_failures(source.failures, source.pipeline.names())
            raise PipelineError(reason_of_run(result.all_events))
    # Whatever Dagster made of it.
    source.close_account()


def recover_orphaned_runs(pipeline: Pipeline) -> None:
    """Where there is nothing to load: end orphaned runs, and store the events that are missing.

    Raises:
        StorageUnwritable: Dagster's home cannot be used.
        WarehouseError: the warehouse cannot be read.
    """
    locks = RunLocks(pipeline.storage.data_dir)
    if not locks.released() and not names_a_storage(home_folder(pipeline.storage)):
        # The usual case, without Dagster, which takes a second to import.
        return
    from cp_pipeline.defs import missing_events  # noqa: PLC0415
    from cp_pipeline.defs.instance.dagster_home import open_instance  # noqa: PLC0415
    from cp_pipeline.defs.instance.storage_errors import storage_errors_explained  # noqa: PLC0415

    with storage_errors_explained(), open_instance(pipeline.storage) as instance:
        newest = missing_events.newest_event(instance)
        missing = missing_events.recover_orphaned_runs(pipeline, instance, locks, newest)
    if missing:
        answers.print(
            f"{count(missing, 'partition')} loaded by a run that ended badly had no event in "
            "Dagster; stored now."
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile. Of Dagster's start it takes a fifth, and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        # Otherwise the first search after this one would visit all that Dagster's start has left.
        gc.freeze()
        gc.enable()
