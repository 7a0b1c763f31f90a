"""Syncs that were cut off: known by a mark that they left, and made good by the next one.

Belongs here: the marks, and what is done about a run whose process is gone.
Does not belong: finding such runs (``defs.processes``) and records (``defs.missing_events``).

A mark is a file by the run's id, locked as long as its process lives. So a sync that has nothing to
load need not start Dagster, which takes a second, to see that all is well.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import Pipeline
from cp_pipeline.settings import StorageSettings

if TYPE_CHECKING:
    from dagster import DagsterInstance


@contextmanager
def marked_as_going(storage: StorageSettings, run_id: str) -> Iterator[Path]:
    """Leave a mark, locked while the process lives; a run that ends well removes it."""
    folder = _marks(storage)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = folder / run_id
    with mark.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield mark


def remove_marks(storage: StorageSettings, instance: "DagsterInstance") -> None:
    """Of runs that are going no more, once what they left is made good."""
    for mark in _marks(storage).glob("*"):
        try:
            with mark.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                run = instance.get_run_by_id(mark.name)
                if run is None or run.is_finished:
                    mark.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            # Its process lives, or has just ended well.
            continue


def look_after_orphaned_runs(pipeline: Pipeline) -> None:
    """Where there is nothing to load: end runs that were cut off, and give the missing records.

    Raises:
        RecordsUnwritable: Dagster's home cannot be used.
        WarehouseError: the warehouse cannot be read.
    """
    if not any(_marks(pipeline.storage).glob("*")):
        return
    from cp_pipeline.cli.dagster_home import open_instance  # noqa: PLC0415  (slow imports)
    from cp_pipeline.defs.load_steps import newest_event  # noqa: PLC0415
    from cp_pipeline.defs.missing_events import give_missing_records  # noqa: PLC0415
    from cp_pipeline.defs.processes import end_orphaned_runs  # noqa: PLC0415
    from cp_pipeline.defs.record_store import records_in_words  # noqa: PLC0415

    with records_in_words(), open_instance(pipeline.storage) as instance:
        end_orphaned_runs(instance)
        log = instance.report_runless_asset_event
        given = give_missing_records(pipeline, instance, log, newest_event(instance)).differing
        remove_marks(pipeline.storage, instance)
    if given:
        answers.print(
            f"{count(len(given), 'partition')} loaded before by a sync that was cut off had no "
            "record in Dagster: recorded now."
        )


def _marks(storage: StorageSettings) -> Path:
    return storage.landing / ".going"
