"""What a run that loads did so far, and storing it at the run's end.

Belongs here: the outcome of a run, its events and its failure. Does not belong: the steps that load
(``load_steps``), the contents of an event (``events``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from cp_pipeline.defs.checks import log_checks
from cp_pipeline.defs.events import (
    EXPORT_FILES,
    listing_metadata,
    observations,
    time_spent_metadata,
)
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.missing_events import compare_events, store_missing_events
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.study_details import StudyNames
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import PartitionFailed, Pipeline

Context = dg.OpExecutionContext | dg.AssetExecutionContext
# The metadata key of a run in which only partitions failed. Other failures do not have it.
FAILED_PARTITIONS = "failed_partitions"
TIME_SPENT_TAG = "cp_pipeline/time_spent"
NAMED = 20


@dataclass(slots=True)
class Outcome:
    """What a run did so far; ``listed_after``: see ``survey``, None before the first one."""

    events: EventBatches
    held: dict[Partition, dg.AssetMaterialization] | None
    listed_after: int | None = None
    loaded: int = 0
    has_plan: bool = False
    failures: list[PartitionFailed] = field(default_factory=list)

    def log(self, partition: Partition, event: dg.AssetMaterialization) -> None:
        """Store a partition's event, or hold it for the caller."""
        if self.held is not None:
            self.held[partition] = event
        else:
            self.events.log(event)


def store_outcome(
    context: Context, pipeline: Pipeline, outcome: Outcome, listed_after: int, *, compares: bool
) -> None:
    """Store the new state as an event of ``export_files``, and run the checks.

    The seconds by activity are stored in that event, in the run's log and in its tag
    ``cp_pipeline/time_spent``. If it ``compares``, missing events of all partitions are stored too.
    """
    held, compared = outcome.held or {}, None
    events = outcome.events
    if compares:
        compared = store_missing_events(
            pipeline, context.instance, events, listed_after, held=held, own_run=context.run.run_id
        )
    if compared and compared.differing:
        context.log.info(
            f"{count(len(compared.differing), 'partition')} loaded by an earlier run had no event "
            "in Dagster. The events are stored now; nothing was downloaded."
        )
        compared = compare_events(pipeline, context.instance, held, context.run.run_id)
    # A failed partition keeps its older version. Only an observation makes it stale in Dagster.
    for observation in observations(failure.export_file for failure in outcome.failures):
        outcome.events.log(observation)
    outcome.events.flush()
    if outcome.has_plan:
        timings = pipeline.where_the_time_went()
        context.log.info(f"Where the time went: {timings}")
        context.instance.add_run_tags(context.run.run_id, {TIME_SPENT_TAG: timings})
    context.log_event(
        dg.AssetMaterialization(
            EXPORT_FILES,
            metadata=listing_metadata(pipeline.states(), pipeline.names())
            | time_spent_metadata(pipeline.seconds_spent()),
        )
    )
    log_checks(context, pipeline, compared)


def failure_of(outcome: Outcome, names: StudyNames) -> dg.Failure:
    """Return the failure of a run in which partitions failed; it names the first of them."""
    failures, loaded = outcome.failures, outcome.loaded
    lines = [f"- {names.in_message(str(failure))}" for failure in failures[:NAMED]]
    if len(failures) > NAMED:
        lines.append(f"- and {len(failures) - NAMED} more (lineage.failures lists all)")
    return dg.Failure(
        description=f"{count(len(failures), 'partition')} failed, {loaded:,} loaded:\n"
        + "\n".join(lines),
        metadata={FAILED_PARTITIONS: len(failures), "loaded": loaded},
        allow_retries=False,
    )


def only_partitions_failed(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether the run finished, and only partitions failed, each with its reason."""
    failures = [
        event.step_failure_data.user_failure_data for event in events if event.is_step_failure
    ]
    return bool(failures) and all(each and FAILED_PARTITIONS in each.metadata for each in failures)


def reason_of_run(events: Sequence[dg.DagsterEvent]) -> str:
    """Return why a run failed, as the first step that failed reported it."""
    for event in events:
        if event.is_step_failure:
            return reason_of_step(event).strip() or "the run failed"
    return "The Dagster run failed before its first step; see its log in the Dagster UI."


def reason_of_step(event: dg.DagsterEvent) -> str:
    """Return why a step failed, as it reported it; empty if it reported nothing."""
    failure = event.step_failure_data
    words = failure.user_failure_data.description if failure.user_failure_data else None
    return words or (failure.error.message if failure.error else "")


def named(partitions: Sequence[object]) -> str:
    """Return the first of them, for a message."""
    names = "; ".join(str(partition) for partition in partitions[:NAMED])
    return names + ("; …" if len(partitions) > NAMED else "")
