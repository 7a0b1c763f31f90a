"""The jobs: what a person or a timer starts for many partitions at once.

Belongs here: declarations, and their configuration. Does not belong: the work (``load_steps``).

Op jobs, not asset jobs, because those log no *planned* event for each partition beforehand and
may carry any set of partitions in one run (docs/design.md, "Facts").
"""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import RETRIES, failures_explained, load_asked
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import Request
from cp_pipeline.warehouse import OLDER_THAN


class SyncConfig(dg.Config):
    """What to bring in; as it stands, everything that is new."""

    subject_ids: list[int] = Field(
        default_factory=list, description="Only these subjects (CentrePoint's numbers); [] is all."
    )
    dataset_names: list[str] = Field(
        default_factory=list, description="Only these data sets; [] is all."
    )
    refresh: bool = Field(default=False, description="Fetch and load again what is loaded already.")


class ChosenPartitions(dg.Config):
    """Which partitions to load."""

    partitions: dict[str, list[int]] = Field(
        description="Subjects by data set, for instance {ActivityDaily8: [10821, 10822]}."
    )
    refresh: bool = Field(
        default=True,
        description="Fetch and load again also what is current. The sensor sets it to false.",
    )


@dg.op(
    pool=POOL,
    retry_policy=RETRIES,
    description="List the exports, and load every partition whose program execution is new.",
)
def sync_exports(
    context: dg.OpExecutionContext, config: SyncConfig, source: dg.ResourceParam[PipelineResource]
) -> None:
    """Survey and load; see ``load_steps.load_asked``."""
    request = Request.of(config.subject_ids, config.dataset_names, refresh=config.refresh)
    load_asked(context, source, request)


@dg.op(
    pool=POOL,
    retry_policy=RETRIES,
    description="List the exports of the chosen partitions, and load them.",
)
def load_chosen_partitions(
    context: dg.OpExecutionContext,
    config: ChosenPartitions,
    source: dg.ResourceParam[PipelineResource],
) -> None:
    """Survey and load; a partition without an export says so."""
    wanted = [
        Partition(subject, dataset)
        for dataset, subjects in config.partitions.items()
        for subject in subjects
    ]
    load_asked(context, source, Request.of_partitions(wanted, refresh=config.refresh))


class Compacting(dg.Config):
    """What to drop."""

    older_than_days: int = Field(
        default=OLDER_THAN.days,
        ge=0,
        description="Only loads that were superseded so many days ago or more.",
    )


@dg.op(pool=POOL, retry_policy=RETRIES, description="Drop old superseded loads.")
def compact_warehouse(
    context: dg.OpExecutionContext, config: Compacting, source: dg.ResourceParam[PipelineResource]
) -> None:
    """Drop them, and write the file anew without the room that they took."""
    with failures_explained(source, context):
        done = source.compact(timedelta(days=config.older_than_days))
    context.log.info(f"{done.loads} loads dropped, {done.rows} rows")
    context.add_output_metadata(
        {
            "loads": done.loads,
            "rows": done.rows,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
        }
    )


@dg.job(
    name="sync",
    tags=TAGS,
    description=(
        "Bring everything up to date: one listing, one run, and a materialization of "
        "`dataset_exports` for each partition that had something new. `cp-pipeline sync` runs it."
    ),
)
def sync() -> None:
    """One op; see ``sync_exports``."""
    sync_exports()


@dg.job(
    name="load_partitions",
    tags=TAGS,
    description=(
        "Load chosen partitions, any set of them, in one run; by hand also those that are current. "
        "The sensor `new_program_executions` runs it for what is new."
    ),
)
def load_partitions_job() -> None:
    """One op; see ``load_chosen_partitions``."""
    load_chosen_partitions()


@dg.job(
    name="compact",
    tags=TAGS,
    description=(
        "Drop loads that were superseded long ago and write the warehouse's file anew, smaller. "
        "What each of them was stays in `lineage.compacted`; the landing keeps the files. "
        "`cp-pipeline compact` does the same, and asks first."
    ),
)
def compact() -> None:
    """One op; see ``compact_warehouse``."""
    compact_warehouse()
