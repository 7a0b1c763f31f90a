"""What ``sync --json`` says (docs/machines.md, "sync").

Belongs here: the fields of the document. Does not belong: printing it (``machine_output``), the
messages for people (``sync_words``).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from cp_pipeline.cli.machine_output import Said
from cp_pipeline.cli.sync_run import WatchedSource
from cp_pipeline.ingest import PartitionFailed, Survey, pending_remarks


def nothing_said(*, dry_run: bool) -> Said:
    """Return the document of a sync that has not begun."""
    return {
        "dry_run": dry_run,
        "listed": {"exports": 0, "partitions": 0},
        "to_load": {"exports": 0, "partitions": 0},
        "planned": [],
        "pending_exports": 0,
        "loaded": {"partitions": 0, "rows": 0},
        "failed": [],
        "invalid_items": [],
        "remarks": [],
        "run_id": None,
        "seconds": 0.0,
    }


def say_plan(said: Said, found: Survey) -> None:
    """Say what is listed, and what is to be loaded and why."""
    numbers = found.numbers
    said["listed"] = {"exports": numbers.exports, "partitions": numbers.partitions}
    said["to_load"] = {
        "exports": numbers.exports_to_load,
        "partitions": numbers.partitions_to_load,
    }
    said["planned"] = [
        {
            "study_id": each.export_file.study_id,
            "subject_id": partition.subject_id,
            "dataset_name": partition.dataset_name,
            "study_program_id": each.export_file.study_program_id,
            "program_execution": each.export_file.execution.verbatim,
            "reason": each.reason.value,
        }
        for partition, exports in found.plan.to_load.items()
        for each in exports
    ]
    said["pending_exports"] = numbers.pending
    said["invalid_items"] = [asdict(item) for item in found.invalid]
    said["remarks"] = [*found.remarks(), *pending_remarks(numbers.pending)]


@contextmanager
def saying_results(said: Said, source: WatchedSource) -> Iterator[None]:
    """Say what is loaded and what failed, also of a sync that could not go on."""
    started = time.monotonic()
    try:
        yield
    finally:
        said["loaded"] = {"partitions": source.loaded, "rows": source.rows}
        said["failed"] = failed(source.failures)
        said["seconds"] = round(time.monotonic() - started, 1)


def failed(failures: Sequence[PartitionFailed]) -> list[Said]:
    """Return the partitions that failed, each with its file, its stage and the reason."""
    return [
        {
            "study_id": each.export_file.study_id,
            "subject_id": each.partition.subject_id,
            "dataset_name": each.partition.dataset_name,
            "study_program_id": each.export_file.study_program_id,
            "program_execution": each.export_file.execution.verbatim,
            "file_name": each.export_file.file_name,
            "stage": each.stage,
            "reason": each.error,
        }
        for each in failures
    ]
