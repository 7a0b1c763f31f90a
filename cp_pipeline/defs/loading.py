"""Carrying out a plan inside a Dagster run, with a record for each partition as it is done.

Belongs here: what the asset and the job have in common.
Does not belong: the words of a record (``records``), the loading itself (``ingest``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from cp_pipeline.defs.records import (
    EXPORT_FILES,
    listing_metadata,
    materialization,
    no_export,
)
from cp_pipeline.defs.source import ExportsSource
from cp_pipeline.errors import PipelineError
from cp_pipeline.ingest import (
    Activity,
    Listed,
    PartitionFailed,
    PartitionLoaded,
    Plan,
    StudyExports,
)

Context = dg.OpExecutionContext | dg.AssetExecutionContext
_NAMED = 20
TIME_SPENT_TAG = "cp_pipeline/time_spent"


@contextmanager
def in_words() -> Iterator[None]:
    """Let a run that fails for a known reason say the reason, without a traceback of ours."""
    reason = ""
    try:
        yield
    except PipelineError as error:
        reason = str(error)
    if reason:
        raise dg.Failure(description=reason, allow_retries=False)


def load_partitions(
    context: Context, source: ExportsSource, exports: StudyExports, plan: Plan, *, refresh: bool
) -> None:
    """Load what is planned; each partition gets its own materialization as soon as it is loaded.

    Where the time went is said in the run's log and on its tag ``cp_pipeline/time_spent``.

    Raises:
        dagster.Failure: at the end, naming the partitions that failed; all others are loaded.
    """
    failures: list[PartitionFailed] = []
    loaded = 0
    with source.carry_out(exports, plan, context.run.run_id, refresh=refresh) as results:
        for result in results:
            if isinstance(result, PartitionLoaded):
                with exports.time_spent.on(Activity.RECORDS):
                    context.log_event(materialization(result))
                loaded += 1
            else:
                failures.append(result)
            source.saw(result)
    context.log.info(f"{loaded} partitions loaded, {len(failures)} failed")
    if plan.to_load:
        time_spent = exports.where_the_time_went()
        context.log.info(f"Where the time went: {time_spent}")
        context.instance.add_run_tags(context.run.run_id, {TIME_SPENT_TAG: time_spent})
    if failures:
        raise _failure(failures, loaded, seconds_spent(exports))


def seconds_spent(exports: StudyExports) -> dict[str, float]:
    """Metadata: where the time went, in numbers."""
    seconds = {f"{name}_seconds": value for name, value in exports.time_spent.seconds().items()}
    return seconds | {"warehouse_held_seconds": round(exports.workbench.held_seconds, 2)}


def record_current(context: Context, plan: Plan) -> None:
    """Give partitions that need no loading their record, and say which have no export at all."""
    for partition in plan.current:
        context.log_event(materialization(PartitionLoaded(partition, (), plan.kept[partition])))
    if plan.current:
        context.log.info(f"{len(plan.current)} partitions were current; nothing was fetched")
    for partition in plan.without_export:
        context.log_event(no_export(partition))
    if plan.without_export:
        context.log.info(
            f"CentrePoint lists no export for {len(plan.without_export)} of the partitions asked "
            f"for ({_some(plan.without_export)}); nothing was written for them"
        )


def record_listing(context: Context, listed: Listed, plan: Plan) -> None:
    """Log ``export_files`` as materialized by a run that is not its own."""
    context.log_event(
        dg.AssetMaterialization(EXPORT_FILES, metadata=listing_metadata(listed, plan))
    )


def _failure(
    failures: Sequence[PartitionFailed], loaded: int, seconds: dict[str, float]
) -> dg.Failure:
    lines = [f"- {failure}" for failure in failures[:_NAMED]]
    if len(failures) > _NAMED:
        lines.append(f"- and {len(failures) - _NAMED} more (lineage.failures has them all)")
    return dg.Failure(
        description=f"{len(failures)} partitions failed, {loaded} were loaded:\n"
        + "\n".join(lines),
        metadata={"failed": len(failures), "loaded": loaded, **seconds},
        allow_retries=False,
    )


def _some(partitions: Sequence[object]) -> str:
    named = "; ".join(str(partition) for partition in partitions[:_NAMED])
    return named + ("; …" if len(partitions) > _NAMED else "")
