"""Runs in the process of a command: ``sync`` and ``publish``.

Belongs here: opening Dagster's storage for such a run, and executing its job. Does not belong: the
job (``jobs``, ``publish_job``), what is printed (``cli``).
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.instance.orphaned_runs import end_orphaned_runs, remove_locks_of_ended_runs
from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.settings import StorageSettings

# Without this tag, the UI does not list the run on the page of its job.
_LISTED_WITH_JOB = {".dagster/repository": "__repository__@cp_pipeline.definitions"}

_INTERRUPTED = {dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__}


@dataclass(frozen=True)
class CommandRun:
    """A run in this process; ``command_run`` creates it."""

    instance: dg.DagsterInstance
    locks: RunLocks
    run_id: str

    def execute(
        self, job: dg.JobDefinition, ops: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Execute a job; the result has its failures. ``ops``: the configuration of its ops.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it. Dagster stores the run as failed.
        """
        # The command prints every failure itself, once.
        quiet = {"console": {"config": {"log_level": "CRITICAL"}}}
        result = job.execute_in_process(
            instance=self.instance,
            run_id=self.run_id,
            run_config={"ops": dict(ops or {}), "loggers": quiet},
            raise_on_error=False,
            tags=_LISTED_WITH_JOB,
        )
        if _is_interrupted(result):
            raise KeyboardInterrupt
        if result.success:
            self.locks.remove(self.run_id)
            remove_locks_of_ended_runs(self.instance, self.locks)
        return result


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended the run: in a step, or between steps. Dagster calls both a failure."""
    errors = [
        event.step_failure_data.error if event.is_step_failure else event.job_failure_data.error
        for event in result.all_events
        if event.is_step_failure or event.is_job_failure
    ]
    return any(each and each.cls_name in _INTERRUPTED for each in errors)


@contextmanager
def command_run(
    storage: StorageSettings, run_id: str, *, captures_output: bool = True
) -> Iterator[CommandRun]:
    """Open Dagster's storage for a run; the run's lock is held until the end.

    Orphaned runs are ended first, because one may have the only slot. ``captures_output``: whether
    Dagster keeps the run's output for the UI.

    Raises:
        StorageUnwritable: Dagster's home cannot be read or written, now or during the run.
    """
    locks = RunLocks(storage.data_dir)
    with (
        _frozen(),
        storage_errors_explained(),
        open_instance(storage, captures_output=captures_output) as instance,
    ):
        locks.hold(run_id)
        try:
            end_orphaned_runs(instance, locks)
            yield CommandRun(instance, locks, run_id)
        finally:
            locks.release(run_id)


@contextmanager
def _frozen() -> Iterator[None]:
    """No search for garbage meanwhile among the half million objects that importing Dagster left.

    Opening its storage takes 0.5 s instead of 0.9.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
