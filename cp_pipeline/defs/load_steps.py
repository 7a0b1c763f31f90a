"""Execute a plan inside a Dagster run, with a record for each partition as it is done.

Belongs here: what the asset and the jobs have in common.
Does not belong: the words of a record (``events``), the loading itself (``ingest``).
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from cp_pipeline.defs.checks import log_checks
from cp_pipeline.defs.events import (
    DATASET_EXPORTS,
    EXPORT_FILES,
    NOT_LISTED,
    NOT_WRITTEN,
    listing_metadata,
    materialization,
    no_export,
    observations,
    time_spent_metadata,
)
from cp_pipeline.defs.instance.storage_errors import storage_errors_explained
from cp_pipeline.defs.missing_events import compare_events, give_missing_events, newest_event
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import (
    EVERYTHING,
    Activity,
    PartitionFailed,
    PartitionLoaded,
    Pipeline,
    Plan,
    Request,
    Survey,
    explain,
    redact,
)

Context = dg.OpExecutionContext | dg.AssetExecutionContext
# For what may be over by itself, such as a service that is restarted: 30 s, 1 and 2 minutes.
RETRIES = dg.RetryPolicy(
    max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
# Metadata of a failure that is of some partitions alone; what else failed has no such number.
FAILED_PARTITIONS = "failed_partitions"
TIME_SPENT_TAG = "cp_pipeline/time_spent"
STUDY_TAG = "cp_pipeline/study"
_NAMED = 20
_RECORDS_AT_ONCE = 500


def survey(
    instance: dg.DagsterInstance, pipeline: Pipeline, request: Request = EVERYTHING
) -> tuple[Survey, int]:
    """What is listed and planned, with its partitions registered.

    Returns:
        The survey, and a storage id of Dagster's event log from before it (see
        ``events.provenance``).
    """
    listed_after = newest_event(instance)
    found = pipeline.survey(request)
    register(instance, found.partitions)
    return found, listed_after


def log_survey(context: Context, found: Survey) -> None:
    """Say in the run's log what is wrong with a listing; a check names invalid items, too."""
    for item in found.invalid[:_NAMED]:
        context.log.error(f"A listed item cannot be used. {item}")
    for remark in (*found.remarks(), *found.plan.remarks()):
        context.log.warning(remark)


@contextmanager
def failures_explained(source: PipelineResource, context: Context) -> Iterator[None]:
    """Let a run that fails say the reason in words.

    Dagster tries again, by the policy ``RETRIES``, only what may be over by itself, and nothing
    where the source's results can be had once. A reason that nobody foresaw fails the run at once;
    the log has its traceback.
    """
    reason, again = "", False
    try:
        with storage_errors_explained():
            yield
    except dg.Failure:
        raise
    except PipelineError as error:
        reason, again = str(error), error.passing and source.retries
    except OSError as error:
        reason, again = f"A file cannot be read or written: {error}", source.retries
    except Exception as error:  # noqa: BLE001  (Dagster would try again whatever it does not know)
        reason = explain(error)
        trace = redact("".join(traceback.format_exception(error)))
        # Not `exception`, whose own traceback is not redacted.
        context.log.error(trace)  # noqa: TRY400
    if reason:
        raise dg.Failure(description=reason, allow_retries=again)


def load_asked(context: Context, source: PipelineResource, request: Request) -> None:
    """Load what is asked for; each partition gets its own materialization as soon as it is loaded.

    Partitions that are asked for by name and need no loading get theirs, too.

    Raises:
        dagster.Failure: naming the partitions that failed, all others are loaded; or why the run
            could not go on.
    """
    with failures_explained(source, context):
        pipeline = source.open()
        found, listed_after = survey(context.instance, pipeline, request)
        log_survey(context, found)
        if request.partitions is not None:
            store_current(context, found.plan, listed_after)
        _load(context, source, pipeline, found, listed_after)


def _load(
    context: Context,
    source: PipelineResource,
    pipeline: Pipeline,
    found: Survey,
    listed_after: int,
) -> None:
    """Load what is planned.

    At the end, whatever happened: how things stand, on ``export_files`` and in the checks, and
    where the time went, there, in the run's log and on its tag ``cp_pipeline/time_spent``.
    """
    failures: list[PartitionFailed] = []
    loaded = 0
    studies = ",".join(map(str, pipeline.centrepoint.settings.study_ids))
    context.instance.add_run_tags(context.run.run_id, {STUDY_TAG: studies})
    try:
        with pipeline.execute(found, context.run.run_id) as results:
            for result in results:
                if isinstance(result, PartitionLoaded):
                    with pipeline.timings.on(Activity.RECORDS):
                        context.log_event(materialization(result, listed_after))
                    loaded += 1
                else:
                    failures.append(result)
                source.saw(result)
    finally:
        _record_outcome(context, pipeline, found.plan, failures, listed_after)
    context.log.info(f"{count(loaded, 'partition')} loaded, {len(failures):,} failed")
    if failures:
        raise _failure(failures, loaded)


def store_current(context: Context, plan: Plan, listed_after: int) -> None:
    """Give partitions that need no loading their record, and say which have no export at all."""
    for partition, before in _with_events(context.instance, plan.current):
        current = PartitionLoaded(partition, (), plan.kept[partition])
        context.log_event(materialization(current, listed_after, before))
    if plan.current:
        context.log.info(f"current: {count(len(plan.current), 'partition')}; nothing was fetched")
    pending = sorted(plan.pending.keys() - plan.to_load.keys() - plan.kept.keys())
    for partition in pending:
        context.log_event(no_export(partition, listed_after, NOT_WRITTEN))
    for partition in plan.without_export:
        context.log_event(no_export(partition, listed_after, NOT_LISTED))
    if plan.without_export:
        context.log.info(
            f"CentrePoint lists no export for {len(plan.without_export)} of the partitions asked "
            f"for ({_some(plan.without_export)}); nothing was written for them"
        )


def _with_events(
    instance: dg.DagsterInstance, partitions: Sequence[Partition]
) -> Iterator[tuple[Partition, dg.AssetMaterialization | None]]:
    """Partitions with the newest record that Dagster has of each."""
    newest = (
        instance.event_log_storage.get_latest_storage_id_by_partition(
            DATASET_EXPORTS, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        if partitions
        else {}
    )
    for start in range(0, len(partitions), _RECORDS_AT_ONCE):
        some = partitions[start : start + _RECORDS_AT_ONCE]
        records: dict[str | None, dg.AssetMaterialization | None] = {}
        # Dagster takes an empty list for no filter at all.
        if ids := [newest[key] for each in some if (key := key_of(each)) in newest]:
            wanted = dg.AssetRecordsFilter(DATASET_EXPORTS, storage_ids=ids)
            found = instance.fetch_materializations(wanted, limit=_RECORDS_AT_ONCE).records
            records = {each.partition_key: each.asset_materialization for each in found}
        yield from ((each, records.get(key_of(each))) for each in some)


def _record_outcome(
    context: Context,
    pipeline: Pipeline,
    plan: Plan,
    failures: Sequence[PartitionFailed],
    listed_after: int,
) -> None:
    compared = give_missing_events(pipeline, context.instance, context.log_event, listed_after)
    if compared.differing:
        context.log.info(
            f"{count(len(compared.differing), 'partition')} loaded by an earlier run that was cut "
            "off had no record; given now, nothing was fetched for it"
        )
        compared = compare_events(pipeline, context.instance)
    # What failed stays as it was before the listing, and Dagster can tell only by an observation.
    for observation in observations(failure.export_file for failure in failures):
        context.log_event(observation)
    if plan.to_load:
        timings = pipeline.where_the_time_went()
        context.log.info(f"Where the time went: {timings}")
        context.instance.add_run_tags(context.run.run_id, {TIME_SPENT_TAG: timings})
    context.log_event(
        dg.AssetMaterialization(
            EXPORT_FILES,
            metadata=listing_metadata(pipeline.states())
            | time_spent_metadata(pipeline.seconds_spent()),
        )
    )
    log_checks(context, pipeline, compared)


def _failure(failures: Sequence[PartitionFailed], loaded: int) -> dg.Failure:
    lines = [f"- {failure}" for failure in failures[:_NAMED]]
    if len(failures) > _NAMED:
        lines.append(f"- and {len(failures) - _NAMED} more (lineage.failures has them all)")
    return dg.Failure(
        description=f"{count(len(failures), 'partition')} failed, {loaded:,} loaded:\n"
        + "\n".join(lines),
        metadata={FAILED_PARTITIONS: len(failures), "loaded": loaded},
        allow_retries=False,
    )


def _some(partitions: Sequence[object]) -> str:
    named = "; ".join(str(partition) for partition in partitions[:_NAMED])
    return named + ("; …" if len(partitions) > _NAMED else "")
