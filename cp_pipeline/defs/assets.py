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
from cp_pipeline.defs.instance.orphaned_runs import LOAD_ASSETS
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import (
    failures_explained,
    load_requested,
    log_survey,
    survey,
)
from cp_pipeline.defs.missing_events import events_are_complete
from cp_pipeline.defs.partitions import partition_of, subject_by_dataset
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.study_details import STUDY_DETAILS, study_details
from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import Request

SKIPPED_TAG = "cp_pipeline/skipped"


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

    With several partitions it yields nothing, because Dagster would store the same result for each
    of them (dagster issue 18123). So Dagster skips what is downstream in the same run. With one
    partition, its result is yielded, and the run goes on.
    """
    requested = [
        partition_of(key) for key in context.partition_keys if isinstance(key, dg.MultiPartitionKey)
    ]
    request = Request.of_partitions(requested, refresh=config.refresh)
    if len(requested) > 1:
        _say_what_is_skipped(context, len(requested))
        load_requested(context, source, request)
        return
    held: dict[Partition, dg.AssetMaterialization] = {}
    load_requested(context, source, request, held=held)
    for event in held.values():
        yield dg.MaterializeResult(metadata=event.metadata, tags=event.tags)
    events_are_complete(context.instance, [context.run.run_id])


def _say_what_is_skipped(context: dg.AssetExecutionContext, partitions: int) -> None:
    """Name the selected assets that Dagster will skip, in the run's log and in a tag."""
    ours = {export_files.key, LISTED_EXECUTIONS, dataset_exports.key, STUDY_DETAILS}
    skipped = sorted(
        key.to_user_string() for key in (context.run.asset_selection or frozenset()) - ours
    )
    if not skipped:
        return
    context.instance.add_run_tags(context.run.run_id, {SKIPPED_TAG: ", ".join(skipped)})
    context.log.warning(
        f"This run has {count(partitions, 'partition')}, so it skips the other selected assets: "
        f"{', '.join(skipped)}. They are built by the job `publish`, which the sensor "
        "`publish_after_loads` starts when this run has ended."
    )


load_assets = dg.define_asset_job(
    LOAD_ASSETS,
    selection=dg.AssetSelection.assets(export_files, study_details, dataset_exports),
    tags=TAGS,
    description=(
        "The listing, the study's details, and the partitions that you choose. It joins these "
        "assets to the sensor `new_program_executions` on their pages. The sensor itself requests "
        "`sync` and `load_partitions`, which take any set of partitions in one run."
    ),
)
