"""Execute a plan in a Dagster run, with an event for each partition as soon as it is loaded.

Belongs here: the steps that the asset and the jobs share.
Does not belong: the contents of an event (``events``), the loading itself (``ingest``).
"""

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from cp_pipeline.centrepoint import redact
from cp_pipeline.defs.events import (
    DATASET_EXPORTS,
    NOT_LISTED,
    NOT_WRITTEN,
    materialization,
    no_export,
)
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.defs.load_outcome import NAMED, Context, Outcome, failure_of, named, store_outcome
from cp_pipeline.defs.missing_events import (
    events_are_complete,
    events_may_be_missing,
    newest_event,
    runs_ended_badly,
)
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.study_details import NO_NAMES, StudyNames
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import (
    EVERYTHING,
    Activity,
    PartitionLoaded,
    Pipeline,
    Plan,
    Request,
    Survey,
    explain,
    pending_remarks,
)

# For failures that may pass, such as a restart of the service. Delays: 30 s, 1 and 2 minutes.
RETRIES = dg.RetryPolicy(
    max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
STUDY_TAG = "cp_pipeline/study"
_EVENTS_AT_ONCE = 500
_SECONDS_TO_LOG = 10.0


def survey(
    context: Context, pipeline: Pipeline, request: Request = EVERYTHING
) -> tuple[Survey, int]:
    """Take a survey, and register the partitions that it lists. The log shows its progress.

    Returns:
        The survey, and a storage id of Dagster's event log from before it (see
        ``events.provenance``).
    """
    listed_after = newest_event(context.instance)
    new_survey = pipeline.survey(request, progress=_logged(context))
    context.log.info(f"CentrePoint answered in the dialect {pipeline.centrepoint.dialect}")
    register(context.instance, new_survey.partitions)
    if new_survey.long is not None:
        register(context.instance, (each.partition for each in pipeline.states()))
    return new_survey, listed_after


def _logged(context: Context) -> Callable[[int, int], None]:
    """Log the progress of a long listing every few seconds."""
    logged_at = time.monotonic()

    def log(read: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _SECONDS_TO_LOG:
            logged_at = time.monotonic()
            context.log.info(f"{read:,} of {total:,} items are listed")

    return log


def log_survey(context: Context, new_survey: Survey, names: StudyNames = NO_NAMES) -> None:
    """Log invalid items and remarks about a listing; a check names the invalid items too."""
    for item in new_survey.invalid[:NAMED]:
        named = names.in_message(str(item))
        context.log.error(f"A listed item is invalid, so nothing is loaded from it. {named}")
    for remark in (*new_survey.remarks(), *pending_remarks(new_survey.plan.pending_count)):
        context.log.warning(remark)


@contextmanager
def failures_explained(source: PipelineResource, context: Context) -> Iterator[None]:
    """Turn errors into a failure of the run with a readable reason.

    Only errors that may pass are retried, by the policy ``RETRIES``, and none if the source does
    not allow it. An unexpected error fails the run at once, and the log has its traceback.

    The ops have no ``retry_policy`` of their own: with one, Dagster's in-process executor would
    also retry a step that a person terminates.

    Raises:
        dagster.Failure: with the reason.
        dagster.RetryRequested: the step runs again after a pause.
    """
    reason, retry = "", False
    try:
        with storage_errors_explained():
            yield
    except dg.Failure:
        raise
    except PipelineError as error:
        reason, retry = str(error), error.passing and source.retries
    except OSError as error:
        reason, retry = f"A file cannot be read or written: {error}", source.retries
    except Exception as error:  # noqa: BLE001  (Dagster would retry any other error)
        reason = explain(error)
        trace = redact("".join(traceback.format_exception(error)))
        # Not `log.exception`: its traceback is not redacted.
        context.log.error(trace)  # noqa: TRY400
    if not reason:
        return
    failure = dg.Failure(description=reason, allow_retries=False)
    retries = context.retry_number
    if not retry or retries >= RETRIES.max_retries:
        raise failure
    raise dg.RetryRequested(RETRIES.max_retries, RETRIES.calculate_delay(retries + 1)) from failure


def load_requested(
    context: Context,
    source: PipelineResource,
    request: Request,
    before: Callable[[Context, Pipeline], None] = lambda *_: None,
    held: dict[Partition, dg.AssetMaterialization] | None = None,
) -> None:
    """Load what is requested; each partition gets its materialization as soon as it is loaded.

    If the request names partitions, those that need no loading get a materialization too. If it is
    for the whole study, ``before`` is called first. With ``held``, the requested partitions'
    materializations are put there, and the caller yields them.

    Raises:
        dagster.Failure: partitions failed (it names them; all others are loaded), or the run could
            not continue.
    """
    with failures_explained(source, context):
        pipeline = source.open()
        studies = ",".join(map(str, pipeline.centrepoint.settings.study_ids))
        context.instance.add_run_tags(context.run.run_id, {STUDY_TAG: studies})
        events_may_be_missing(context.instance, context.run.run_id)
        if request.is_whole:
            before(context, pipeline)
        with EventBatches(context.instance, context) as events:
            outcome = Outcome(events, held)
            try:
                parts = deque(pipeline.parts(request))
                number = 0
                while parts:
                    part, number = parts.popleft(), number + 1
                    if number > 1 or parts:
                        of_all = f"Part {number} of {number + len(parts)}"
                        context.log.info(f"{of_all}: {_subjects(part)}")
                    parts.extend(_load_part(context, source, pipeline, part, outcome))
            finally:
                if outcome.listed_after is not None:
                    ended = runs_ended_badly(context.instance, source.run_locks())
                    # Of a large study, comparing all partitions takes longer than loading a few.
                    compares = request.is_whole or bool(ended)
                    store_outcome(
                        context, pipeline, outcome, outcome.listed_after, compares=compares
                    )
                    events_are_complete(context.instance, ended)
        if held is None:
            # Otherwise the caller says it, once it has yielded the events.
            events_are_complete(context.instance, [context.run.run_id])
        context.log.info(
            f"{count(outcome.loaded, 'partition')} loaded, {len(outcome.failures):,} failed"
        )
        if outcome.failures:
            raise failure_of(outcome, pipeline.names())


def _load_part(
    context: Context,
    source: PipelineResource,
    pipeline: Pipeline,
    request: Request,
    outcome: Outcome,
) -> Sequence[Request]:
    """Survey, and load what is planned; return what to load next."""
    new_survey, listed_after = survey(context, pipeline, request)
    outcome.listed_after = listed_after
    names = pipeline.names()
    log_survey(context, new_survey, names)
    if request.partitions is not None:
        _log_current(context, new_survey.plan, listed_after, names, outcome)
    outcome.has_plan |= bool(new_survey.plan.to_load)
    source.planned(new_survey.plan)
    with pipeline.execute(new_survey, context.run.run_id) as results:
        for result in results:
            if isinstance(result, PartitionLoaded):
                with pipeline.timings.on(Activity.RECORDS):
                    event = materialization(result, listed_after, None, names)
                    outcome.log(result.partition, event)
                outcome.loaded += 1
            else:
                outcome.failures.append(result)
            source.report(result)
    return new_survey.further


def _subjects(request: Request) -> str:
    subjects = sorted(request.subject_ids or ())
    if not subjects:
        return "the whole study"
    return f"{count(len(subjects), 'subject')}, {subjects[0]} to {subjects[-1]}"


def _log_current(
    context: Context, plan: Plan, listed_after: int, names: StudyNames, outcome: Outcome
) -> None:
    """Store an event for each partition that needs no loading or has no export."""
    for partition, before in _with_events(context.instance, plan.current):
        current = PartitionLoaded(partition, (), plan.kept[partition])
        outcome.log(partition, materialization(current, listed_after, before, names))
    if plan.current:
        context.log.info(
            f"{count(len(plan.current), 'partition')} already current; nothing was downloaded"
        )
    pending = sorted(plan.pending.keys() - plan.to_load.keys() - plan.kept.keys())
    for partition in pending:
        outcome.log(partition, no_export(partition, listed_after, NOT_WRITTEN))
    for partition in plan.without_export:
        outcome.log(partition, no_export(partition, listed_after, NOT_LISTED))
    if plan.without_export:
        context.log.info(
            f"CentrePoint lists no export for {len(plan.without_export)} of the requested "
            f"partitions ({named(plan.without_export)}). Nothing was loaded for them."
        )


def _with_events(
    instance: dg.DagsterInstance, partitions: Sequence[Partition]
) -> Iterator[tuple[Partition, dg.AssetMaterialization | None]]:
    """Yield each partition with its newest materialization in Dagster."""
    newest = (
        instance.event_log_storage.get_latest_storage_id_by_partition(
            DATASET_EXPORTS, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        if partitions
        else {}
    )
    for start in range(0, len(partitions), _EVENTS_AT_ONCE):
        chunk = partitions[start : start + _EVENTS_AT_ONCE]
        events: dict[str | None, dg.AssetMaterialization | None] = {}
        # Dagster reads an empty list as no filter.
        if ids := [newest[key] for partition in chunk if (key := key_of(partition)) in newest]:
            by_id = dg.AssetRecordsFilter(DATASET_EXPORTS, storage_ids=ids)
            fetched = instance.fetch_materializations(by_id, limit=_EVENTS_AT_ONCE).records
            events = {event.partition_key: event.asset_materialization for event in fetched}
        yield from ((partition, events.get(key_of(partition))) for partition in chunk)
