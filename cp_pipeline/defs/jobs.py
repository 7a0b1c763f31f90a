"""The jobs that a person, a timer or a sensor starts for many partitions at once.

Belongs here: declarations, and their configuration. Does not belong: the work (``load_steps``).

These are op jobs, not asset jobs. An op job stores no *planned* event for each partition, and one
run can have any set of partitions (docs/design.md, "Facts").
"""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from cp_pipeline.defs.asset_tags import TAGS
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import failures_explained, load_requested
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.study_details import refresh_in_run
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import Request
from cp_pipeline.warehouse import OLDER_THAN


class SyncConfig(dg.Config):
    """What to load; by default everything that is new."""

    subject_ids: list[int] = Field(
        default_factory=list, description="Only these subjects (CentrePoint's numbers); [] is all."
    )
    dataset_names: list[str] = Field(
        default_factory=list, description="Only these data sets; [] is all."
    )
    refresh: bool = Field(
        default=False, description="Also download and load again the exports that are current."
    )
    only_due: bool = Field(
        default=False,
        description="Leave out partitions that failed and wait for their next attempt, or for a "
        "person. The sensor sets it to true.",
    )


class ChosenPartitions(dg.Config):
    """Which partitions to load."""

    partitions: dict[str, list[int]] = Field(
        description="Subjects by data set, for instance {ActivityDaily8: [10821, 10822]}."
    )
    refresh: bool = Field(
        default=True,
        description=(
            "Also download and load again the exports that are current. The sensor sets it to "
            "false."
        ),
    )


@dg.op(
    pool=POOL,
    description="List the exports, and load every partition whose program execution is new.",
)
def sync_exports(
    context: dg.OpExecutionContext, config: SyncConfig, source: dg.ResourceParam[PipelineResource]
) -> None:
    """Survey and load; see ``load_steps.load_requested``."""
    request = Request.of(
        config.subject_ids,
        config.dataset_names,
        refresh=config.refresh,
        only_due=config.only_due,
    )
    load_requested(context, source, request, before=refresh_in_run)


@dg.op(
    pool=POOL,
    description="List the exports of the chosen partitions, and load them.",
)
def load_chosen_partitions(
    context: dg.OpExecutionContext,
    config: ChosenPartitions,
    source: dg.ResourceParam[PipelineResource],
) -> None:
    """Survey and load; a partition without an export gets a note in its metadata."""
    requested = [
        Partition(subject, dataset)
        for dataset, subjects in config.partitions.items()
        for subject in subjects
    ]
    load_requested(context, source, Request.of_partitions(requested, refresh=config.refresh))


class CompactConfig(dg.Config):
    """Which loads to drop."""

    older_than_days: int = Field(
        default=OLDER_THAN.days,
        ge=0,
        description="Only loads that were superseded at least this many days ago.",
    )


@dg.op(pool=POOL, description="Drop old superseded loads.")
def compact_warehouse(
    context: dg.OpExecutionContext,
    config: CompactConfig,
    source: dg.ResourceParam[PipelineResource],
) -> None:
    """Drop old superseded loads, and rewrite the warehouse file without the space they used."""
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
        "Load everything that is new: one listing, one run, and a materialization of "
        "`dataset_exports` for each loaded partition. `cp-pipeline sync` runs this job."
    ),
)
def sync() -> None:
    """One op; see ``sync_exports``."""
    sync_exports()


@dg.job(
    name="load_partitions",
    tags=TAGS,
    description=(
        "Load chosen partitions in one run. If you start it by hand, it also loads partitions that "
        "are current (`refresh`). The sensor `new_program_executions` runs this job for new "
        "program executions."
    ),
)
def load_partitions_job() -> None:
    """One op; see ``load_chosen_partitions``."""
    load_chosen_partitions()


@dg.job(
    name="compact",
    tags=TAGS,
    description=(
        "Drop old superseded loads, and rewrite the warehouse file without the space they used. "
        "`lineage.compacted` keeps the facts about each dropped load. The landing keeps the files. "
        "`cp-pipeline compact` does the same, and asks first."
    ),
)
def compact() -> None:
    """One op; see ``compact_warehouse``."""
    compact_warehouse()
