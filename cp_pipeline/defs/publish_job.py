"""Publishing: build the models, replace the published file for analysts, and report.

Belongs here: the assets ``published`` and ``study_report``, the job ``publish``, and the sensor
that starts it. Does not belong: writing the files (``warehouse.published_file``, ``report``), the
models (``dbt_project``).

The sensor waits until no run is loading. Then it compares the state of the warehouse with the
published state. So it publishes once for many loads, no matter what started them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from cp_pipeline.charts import in_markdown, share_bar
from cp_pipeline.defs.active_runs import active_runs
from cp_pipeline.defs.asset_tags import FRESH, OWNERS, PUBLISHING, TAGS
from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.load_steps import failures_explained
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.report import Report, write_report
from cp_pipeline.warehouse.report_numbers import ModelsMissing

PUBLISHED = dg.AssetKey("published")
STUDY_REPORT = dg.AssetKey("study_report")
_WAREHOUSE_SECONDS = 10.0


def _published_asset(models: Iterable[dg.AssetKey]) -> dg.AssetsDefinition:
    """Return the asset of the published file, which has the exports and the ``models``."""

    @dg.asset(
        key=PUBLISHED,
        deps=[DATASET_EXPORTS, *models],
        group_name=PUBLISHING,
        kinds={"duckdb"},
        owners=OWNERS,
        tags=TAGS,
        pool=POOL,
        freshness_policy=FRESH,
        metadata={"file": "CP_PUBLISHED, by default data/centrepoint.duckdb"},
        description=(
            "One DuckDB file for analysts. It has tables of the current rows (`exports`), their "
            "`lineage`, and the models (`staging`, `marts`). Tables and columns have comments."
            "\n\nEach run replaces the whole file. So a reader never blocks a load, and never sees "
            "a part of one."
        ),
    )
    def published(
        context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.MaterializeResult[None]:
        with failures_explained(source, context):
            result = source.publish(context.run.run_id)
        uploaded = {"uploaded": result.uploaded, "sha256": result.sha256}
        return dg.MaterializeResult(
            metadata={
                **(uploaded if result.uploaded else {}),
                "path": dg.MetadataValue.path(str(result.path)),
                "tables": result.tables,
                "rows": result.rows,
                "bytes": result.byte_count,
                "dagster/row_count": result.rows,
            }
        )

    return published


@dg.asset(
    key=STUDY_REPORT,
    deps=[PUBLISHED],
    group_name=PUBLISHING,
    kinds={"html"},
    owners=OWNERS,
    tags=TAGS,
    output_required=False,
    metadata={"file": "CP_REPORT, by default data/study-report.html"},
    description=(
        "One HTML file for people who look at the study: coverage, wear and validity by site and "
        "visit, who waits, what changed since the last execution. It needs no network. "
        "`cp-pipeline report` makes it, too."
    ),
)
def study_report(
    context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
) -> Iterator[dg.MaterializeResult[None]]:
    """Write the report about the published file."""
    with failures_explained(source, context):
        try:
            report = write_report(source.storage())
        except ModelsMissing as error:
            # A project of one's own need not have these models.
            context.log.warning(f"The study report is not made: {error}")
            return
    yield dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(report.path)),
            "bytes": report.byte_count,
            "preview": dg.MetadataValue.md(_preview(report)),
        }
    )


def _preview(report: Report) -> str:
    """Return the numbers of the report's first screen as Markdown, without any subject."""
    states = {name: number for name, number in report.states.items() if number}
    words = ", ".join(f"{name} {number:,}" for name, number in states.items())
    picture = in_markdown(share_bar(states), f"Coverage: {words or 'nothing is listed'}")
    rows = "\n".join(f"| {each.name} | **{each.value}** {each.of} |" for each in report.figures)
    return f"{picture}\n\n| | |\n|---|---|\n{rows}"


def publishing_definitions(models: Iterable[dg.AssetKey], seconds: int) -> dg.Definitions:
    """Return the assets, the job that builds the models and publishes, and the job's sensor.

    The sensor ticks every ``seconds``.
    """
    keys = list(models)
    publish = dg.define_asset_job(
        "publish",
        selection=dg.AssetSelection.assets(*keys, PUBLISHED, STUDY_REPORT),
        tags=TAGS,
        description=(
            "Build and test the SQL models, then replace the published file and the study report. "
            "The sensor `publish_after_loads` and `cp-pipeline publish` run this job."
        ),
    )
    return dg.Definitions(
        assets=dg.with_source_code_references([_published_asset(keys), study_report]),
        jobs=[publish],
        sensors=[_publish_after_loads(seconds)],
    )


def _daily(source: PipelineResource) -> str | None:
    """Return a key if the file was published a day or more ago, else None."""
    written = datetime.fromtimestamp(source.storage().published.stat().st_mtime, UTC)
    now = datetime.now(UTC)
    return f"{now:%F}" if now - written >= timedelta(days=1) else None


def _publish_after_loads(seconds: int) -> dg.SensorDefinition:
    """Return the sensor, which ticks every ``seconds``."""

    @dg.sensor(
        name="publish_after_loads",
        job_name="publish",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags=TAGS,
        description=(
            "Starts the job `publish` when no run is loading and the warehouse has changed since "
            "the file was published, or it was published a day ago."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, source: dg.ResourceParam[PipelineResource]
    ) -> dg.RunRequest | dg.SkipReason:
        active = active_runs(context.instance, source.run_locks())
        if active:
            return dg.SkipReason(f"a run is loading (run {', '.join(active)})")
        try:
            warehouse, published = source.states_to_publish(_WAREHOUSE_SECONDS)
        except PipelineError as error:
            return dg.SkipReason(str(error))
        if not warehouse:
            return dg.SkipReason("nothing is loaded yet")
        if warehouse == published and (due := _daily(source)):
            # It also says when CentrePoint was last asked.
            return dg.RunRequest(run_key=f"{warehouse} {due}")
        if warehouse == published:
            return dg.SkipReason("the published file has the current state of the warehouse")
        # Dagster starts one run per key. So a state is not published again while its run is active,
        # or after it failed.
        return dg.RunRequest(run_key=warehouse)

    return sensor
