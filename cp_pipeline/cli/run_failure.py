"""Why a Dagster run failed, in the words that its step said.

Belongs here: finding them among the run's events.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterEvent


def reason(events: Sequence["DagsterEvent"]) -> str:
    """The words of the first step that failed."""
    for event in events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            return str(failure.error.message if failure.error else "the run failed").strip()
    return "The Dagster run failed before it began; see its log in the Dagster UI."


def only_partitions_failed(events: Sequence["DagsterEvent"]) -> bool:
    """Whether the run came to its end, and all that failed are partitions, each with its reason."""
    # Imported here because Dagster, which has run by now, takes a second to import.
    from cp_pipeline.defs.load_steps import FAILED_PARTITIONS  # noqa: PLC0415

    failures = [
        event.step_failure_data.user_failure_data for event in events if event.is_step_failure
    ]
    return bool(failures) and all(each and FAILED_PARTITIONS in each.metadata for each in failures)
