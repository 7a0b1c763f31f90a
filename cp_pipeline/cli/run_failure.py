"""Why a Dagster run failed, as its step reported it.

Belongs here: finding the reason in the run's events. Does not belong: printing it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterEvent


def reason(events: Sequence["DagsterEvent"]) -> str:
    """The message of the first step that failed."""
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            return str(failure.error.message if failure.error else "the run failed").strip()
    return "The Dagster run failed before its first step; see its log in the Dagster UI."


def only_partitions_failed(events: Sequence["DagsterEvent"]) -> bool:
    """Whether the run finished, and only partitions failed, each with its reason."""
    # Imported here, because importing Dagster takes a second. After a run it is imported already.
    from cp_pipeline.defs.load_outcome import FAILED_PARTITIONS  # noqa: PLC0415

    failures = [
        event.step_failure_data.user_failure_data for event in events if event.is_step_failure
    ]
    return bool(failures) and all(each and FAILED_PARTITIONS in each.metadata for each in failures)
