"""The assets: the listing, and the exports that are loaded.

Belongs here: declarations, and reading which partitions a run is for.
Does not belong: the work (``load_steps``, ``ingest``).
"""

from collections.abc import Iterator

import dagster as dg

from cp_pipeline.defs.asset_tags import CENTREPOINT, FRESH, OWNERS, TAGS, VENDOR_PAGE
from cp_pipeline.defs.events import (
    CODE_VERSION,
    LISTED_EXECUTIONS,
    listing_metadata,
    observations,
)
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import (
    failures_explained,
    load_requested,
    log_survey,
    survey,
)
from cp_pipeline.defs.partitions import partition_of, subject_by_dataset
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.texts import NO_EXPORTS
from cp_pipeline.ingest import Request


class LoadingConfig(dg.Config):
    """How to load the chosen partitions."""

    refresh: bool = False
    """Also download and load again the exports that are current."""


@dg.asset(
    group_name=CENTREPOINT,
    kinds={"python", "duckdb"},
    owners=OWNERS,
    tags=TAGS,
    metadata=VENDOR_PAGE,
    freshness_policy=FRESH,
    description=(
        "One row per export file that CentrePoint lists for the configured studies, in "
        "`lineage.export_files`.\n\nMaterialize it to request the listing. New subjects and data "
        "sets then appear as partitions of `dataset_exports`. The metadata has the coverage map: "
        "the state of each subject and data set."
    ),
)
def export_files(
    context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
) -> dg.MaterializeResult[None]:
    """List all exports, record the listing, and register the partitions."""
    with failures_explained(source, context):
        pipeline = source.open()
        new_survey, _ = survey(context, pipeline)
        with EventBatches(context.instance, context) as events:
            for observation in observations(new_survey.plan.replaced):
                events.log(observation)
        context.log.info(
            f"CentrePoint lists {new_survey.numbers.exports} exports in "
            f"{new_survey.numbers.partitions} partitions"
        )
        log_survey(context, new_survey, pipeline.names())
        if new_survey.is_empty:
            context.log.warning(NO_EXPORTS)
        return dg.MaterializeResult(metadata=listing_metadata(pipeline.states(), pipeline.names()))


listed_executions = dg.AssetSpec(
    LISTED_EXECUTIONS,
    deps=[export_files],
    group_name=CENTREPOINT,
    kinds={"api"},
    owners=OWNERS,
    tags=TAGS,
    metadata=VENDOR_PAGE,
    partitions_def=subject_by_dataset,
    description=(
        "One partition per subject and data set: the program execution that CentrePoint lists for "
        "it.\n\nAn observation tells Dagster that CentrePoint lists a newer execution than the "
        "loaded one. The partition of `dataset_exports` is then stale. Only executions that are "
        "not loaded yet are observed."
    ),
)


@dg.asset(
    group_name=CENTREPOINT,
    kinds={"python", "duckdb"},
    owners=OWNERS,
    tags=TAGS,
    metadata=VENDOR_PAGE,
    partitions_def=subject_by_dataset,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POOL,
    code_version=CODE_VERSION,
    deps=[listed_executions],
    output_required=False,
    description=(
        "One partition per subject and data set: all exports that CentrePoint lists for the pair "
        "(one for each study program that yields the data set).\n\nThe rows are in "
        '`exports."<data set>"` of the warehouse; `lineage.loads` says which program execution '
        "each row came from. A current partition is not downloaded again, unless `refresh` is set."
    ),
)
def dataset_exports(
    context: dg.AssetExecutionContext,
    config: LoadingConfig,
    source: dg.ResourceParam[PipelineResource],
) -> Iterator[dg.MaterializeResult[None]]:
    """Load the partitions that the run is for; each gets its own materialization.

    Yields nothing, because Dagster would store the same result for every partition of the run
    (dagster issue 18123). Without a yield, it would materialize partitions that have no export.
    """
    requested = [
        partition_of(key) for key in context.partition_keys if isinstance(key, dg.MultiPartitionKey)
    ]
    load_requested(context, source, Request.of_partitions(requested, refresh=config.refresh))
    yield from ()
