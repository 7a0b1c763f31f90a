"""From loads to the analysts' file: the models are built, then the file is replaced, by itself.

Belongs here: the asset ``published``, the job ``publish``, and the sensor that starts it.
Does not belong: writing the file (``warehouse.published_file``), the models (``dbt_project``).

Once for however many partitions were loaded: the sensor compares the state of the warehouse with
the one that was published, whoever loaded, and waits until no run is loading.
"""

from collections.abc import Iterable

import dagster as dg

from cp_pipeline.defs.active_runs import active_runs
from cp_pipeline.defs.asset_tags import OWNERS, PUBLISHING, TAGS
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import RETRIES, failures_explained
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError

PUBLISHED = dg.AssetKey("published")
_WAREHOUSE_SECONDS = 10.0


def _published_asset(upstream: Iterable[dg.AssetKey]) -> dg.AssetsDefinition:
    """The analysts' file, made of ``upstream``."""

    @dg.asset(
        key=PUBLISHED,
        deps=list(upstream),
        group_name=PUBLISHING,
        kinds={"duckdb"},
        owners=OWNERS,
        tags=TAGS,
        pool=POOL,
        retry_policy=RETRIES,
        metadata={"file": "CP_PUBLISHED, by default data/centrepoint.duckdb"},
        description=(
            "One file for analysts, a DuckDB database: plain tables of the current rows "
            "(`exports`), their `lineage`, and the models (`staging`, `marts`), each with comments."
            "\n\nIt is replaced as a whole: a reader never blocks a load, and never sees half of "
            "one."
        ),
    )
    def published(
        context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.MaterializeResult[None]:
        with failures_explained(source, context):
            made = source.publish(context.run.run_id)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(made.path)),
                "tables": made.tables,
                "rows": made.rows,
                "bytes": made.byte_count,
                "dagster/row_count": made.rows,
            }
        )

    return published


def publishing_definitions(
    models: Iterable[dg.AssetKey], upstream: Iterable[dg.AssetKey], seconds: int
) -> dg.Definitions:
    """The asset, the job that builds the models and publishes, and the sensor that starts it.

    Args:
        models: the SQL models.
        upstream: what else the published file has.
        seconds: between the sensor's ticks.
    """
    keys = list(models)
    publish = dg.define_asset_job(
        "publish",
        selection=dg.AssetSelection.assets(*keys, PUBLISHED),
        tags=TAGS,
        description=(
            "Build the SQL models and their tests, then replace the analysts' file. The sensor "
            "`publish_after_loads` runs it; `cp-pipeline publish` does, too."
        ),
    )
    return dg.Definitions(
        assets=dg.with_source_code_references([_published_asset([*upstream, *keys])]),
        jobs=[publish],
        sensors=[_publish_after_loads(seconds)],
    )


def _publish_after_loads(seconds: int) -> dg.SensorDefinition:
    """The sensor, looking every so many seconds."""

    @dg.sensor(
        name="publish_after_loads",
        job_name="publish",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags=TAGS,
        description=(
            "Builds the models and publishes, once, when loads have come to an end and anything "
            "in the warehouse is newer than the published file."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.RunRequest | dg.SkipReason:
        active = active_runs(context.instance, source.run_locks())
        if active:
            return dg.SkipReason(f"loading is going on (run {', '.join(active)})")
        try:
            warehouse, published = source.states_to_publish(_WAREHOUSE_SECONDS)
        except PipelineError as error:
            return dg.SkipReason(str(error))
        if not warehouse:
            return dg.SkipReason("nothing is loaded yet")
        if warehouse == published:
            return dg.SkipReason("the published file is of the warehouse's present state")
        # The key keeps one state from being published twice while its run is going, or has failed.
        return dg.RunRequest(run_key=warehouse)

    return sensor
