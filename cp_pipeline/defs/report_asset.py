"""The asset ``study_report``: one HTML file about the published file.

Belongs here: the asset, and its preview in Dagster. Does not belong: the page (``report``).
"""

from collections.abc import Iterator

import dagster as dg

from cp_pipeline.charts import in_markdown, share_bar
from cp_pipeline.defs.asset_tags import OWNERS, PUBLISHING, TAGS
from cp_pipeline.defs.load_steps import failures_explained
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.report import Report
from cp_pipeline.warehouse.report_numbers import ModelsMissing

STUDY_REPORT = dg.AssetKey("study_report")


def study_report_asset(published: dg.AssetKey) -> dg.AssetsDefinition:
    """Return the asset of the study report, which is made of the published file."""

    @dg.asset(
        key=STUDY_REPORT,
        deps=[published],
        group_name=PUBLISHING,
        kinds={"html"},
        owners=OWNERS,
        tags=TAGS,
        output_required=False,
        metadata={"file": "CP_REPORT, by default data/study-report.html"},
        description=(
            "One HTML file for people who look at the study: coverage, wear and validity by site "
            "and visit, who waits, what changed since the last execution. It needs no network. "
            "`cp-pipeline report` makes it, too."
        ),
    )
    def study_report(
        context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
    ) -> Iterator[dg.MaterializeResult[None]]:
        with failures_explained(source, context):
            try:
                report = source.write_report()
            except ModelsMissing as error:
                # A project of one's own need not have these models.
                context.log.warning(f"The study report is not made: {error}")
                return
        yield dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(report.path)),
                "bytes": report.byte_count,
                "preview": dg.MetadataValue.md(preview(report)),
            }
        )

    return study_report


def preview(report: Report) -> str:
    """Return the numbers of the report's first screen as Markdown, without any subject."""
    states = {name: number for name, number in report.states.items() if number}
    words = ", ".join(f"{name} {number:,}" for name, number in states.items())
    picture = in_markdown(share_bar(states), f"Coverage: {words or 'nothing is listed'}")
    rows = "\n".join(f"| {each.name} | **{each.value}** {each.of} |" for each in report.figures)
    return f"{picture}\n\n| | |\n|---|---|\n{rows}"
