"""The jobs: what a person or a timer starts for many partitions at once.

Belongs here: declarations. Does not belong: the work (``loading``).

An op job, not an asset job, because it logs no *planned* event for each partition beforehand and
may carry any set of partitions in one run (DESIGN.md, Dagster facts).
"""

import dagster as dg
from pydantic import Field

from cp_pipeline.defs.assets import POOL
from cp_pipeline.defs.loading import in_words, load_partitions, record_listing, seconds_spent
from cp_pipeline.defs.partitions import register
from cp_pipeline.defs.source import ExportsSource


class SyncConfig(dg.Config):
    """What to bring in; empty lists mean everything."""

    subject_ids: list[int] = Field(default_factory=list)
    """Only these subjects (CentrePoint's numbers)."""
    dataset_names: list[str] = Field(default_factory=list)
    """Only these data sets."""
    refresh: bool = False
    """Fetch and load again what is loaded already."""


@dg.op(
    pool=POOL,
    description="List the exports, and load every partition whose program execution is new.",
)
def sync_exports(
    context: dg.OpExecutionContext,
    config: SyncConfig,
    source: dg.ResourceParam[ExportsSource],
) -> None:
    """List, register, plan and load."""
    with in_words():
        exports = source.open()
        listed = source.list_exports(exports, config.subject_ids, config.dataset_names)
        plan = source.plan(exports, listed, refresh=config.refresh)
        register(context.instance, listed.partitions)
        record_listing(context, listed, plan)
        load_partitions(context, source, exports, plan, refresh=config.refresh)
        context.add_output_metadata(seconds_spent(exports))


@dg.job(
    name="sync",
    description=(
        "Bring everything up to date: one listing, one run, and a materialization of "
        "`dataset_exports` for each partition that had something new. `cp-pipeline sync` runs it."
    ),
)
def sync() -> None:
    """One op; see ``sync_exports``."""
    sync_exports()
