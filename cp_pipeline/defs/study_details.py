"""The asset ``study_details``: sites, subjects, time zones and visits, with its checks.

Belongs here: the declaration, its events, and the texts of the checks. Does not belong: the
questions to CentrePoint (``ingest.study_refresh``), the queries (``warehouse.study_checks``).

A run that loads the whole study refreshes the details first, so that its events can name subjects.
No event has a subject's identifier, except in the table of a check and in the metadata of the
subject's own partitions: ``erase`` knows both.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from cp_pipeline.defs.asset_tags import CENTREPOINT, OWNERS, TAGS, VENDOR_PAGE
from cp_pipeline.defs.check_results import evaluation, result_of
from cp_pipeline.defs.load_steps import failures_explained
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.ingest import Pipeline, RefreshedDetails
from cp_pipeline.warehouse import StudyQuestion, ask_study

STUDY_DETAILS = dg.AssetKey("study_details")
OFF = (
    "CP_STUDY_DETAILS is off, so CentrePoint was not asked. Set it to 1 to bring in sites, "
    "subjects, time zones and visits."
)
CHECKS = {
    StudyQuestion.SUBJECTS_ARE_IN_THE_STUDY: (
        "Every subject with exports is one that the study lists.",
        "subjects with exports that the study does not list",
    ),
    StudyQuestion.IDENTIFIERS_ARE_UNIQUE: (
        "No two subjects of a study have the same identifier.",
        "subjects that share their identifier with another",
    ),
    StudyQuestion.TIMEZONES_ARE_KNOWN: (
        "Each time zone of a subject is an IANA name, such as `Europe/Vienna`.",
        "time zones of subjects that are no IANA name",
    ),
}


@dg.asset(
    key=STUDY_DETAILS,
    group_name=CENTREPOINT,
    kinds={"python", "duckdb"},
    owners=OWNERS,
    tags=TAGS,
    metadata=VENDOR_PAGE,
    check_specs=[
        dg.AssetCheckSpec(question.value, asset=STUDY_DETAILS, description=words)
        for question, (words, _) in CHECKS.items()
    ],
    description=(
        "One row per study, site, subject, time zone, planned visit and visit, in the schema "
        "`study`, each with its history.\n\nOnly with `CP_STUDY_DETAILS=1`: it needs the scope "
        "CentrePoint. The daily listing of the whole study and `cp-pipeline sync` refresh it."
    ),
)
def study_details(
    context: dg.AssetExecutionContext, source: dg.ResourceParam[PipelineResource]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Read the details, and check them."""
    with failures_explained(source, context):
        pipeline = source.open()
        found = pipeline.refresh_details(datetime.now(UTC))
        for remark in found.remarks if found else (OFF,):
            context.log.warning(remark)
        results = [_evaluate(pipeline, question) for question in CHECKS]
    yield dg.MaterializeResult(metadata=_metadata(found))
    yield from map(result_of, results)


def refresh_in_run(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, pipeline: Pipeline
) -> None:
    """Refresh the details in a run that loads the whole study. Nothing that fails stops the run."""
    if pipeline.centrepoint.details is None:
        return
    try:
        found = pipeline.refresh_details(datetime.now(UTC))
    except PipelineError as error:
        context.log.warning(f"The study's details are not refreshed. {error}")
        return
    if found is None:
        return
    for remark in found.remarks:
        context.log.warning(remark)
    if found.failure is not None:
        return
    context.log_event(dg.AssetMaterialization(STUDY_DETAILS, metadata=_metadata(found)))
    for question in CHECKS:
        # Dagster stores it, although the annotation of `log_event` does not name it.
        context.log_event(_evaluate(pipeline, question))  # type: ignore[arg-type]


def _metadata(found: RefreshedDetails | None) -> dict[str, dg.MetadataValue]:
    if found is None:
        return {"note": dg.MetadataValue.text(OFF)}
    metadata: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(number) for name, number in found.rows.items()
    }
    metadata["new_versions"] = dg.MetadataValue.int(found.versions)
    metadata["time_zones_asked"] = dg.MetadataValue.int(found.requests)
    if found.remarks:
        metadata["note"] = dg.MetadataValue.text(" ".join(found.remarks))
    return metadata


def _evaluate(pipeline: Pipeline, question: StudyQuestion) -> dg.AssetCheckEvaluation:
    finding = ask_study(pipeline.questions, question)
    words = CHECKS[question][1]
    key = dg.AssetCheckKey(STUDY_DETAILS, question.value)
    return evaluation(key, dg.AssetCheckSeverity.WARN, words, finding, pipeline)
