"""The asset check ``centrepoint_answers`` of ``export_files``.

Belongs here: when it is red, and its words. Does not belong: noting questions (``ingest.asking``).
"""

from datetime import UTC, datetime

import dagster as dg

from cp_pipeline.defs.check_results import result_of
from cp_pipeline.defs.events import EXPORT_FILES
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.settings.notifications import NotifySettings
from cp_pipeline.warehouse import LastAsked, last_asked

CENTREPOINT_ANSWERS = "centrepoint_answers"
TROUBLES = 3
_DESCRIPTION = (
    f"CentrePoint answered one of the last {TROUBLES} questions about each study, and not longer "
    "ago than CP_ANSWER_HOURS. A service that is down, or a secret that was revoked, makes it red."
)


@dg.asset_check(asset=EXPORT_FILES, name=CENTREPOINT_ANSWERS, description=_DESCRIPTION)
def centrepoint_answers(source: dg.ResourceParam[PipelineResource]) -> dg.AssetCheckResult:
    """Read when CentrePoint was asked; asks nothing."""
    return result_of(evaluate_answers(source, NotifySettings.from_environment()))


def evaluate_answers(
    source: PipelineResource, settings: NotifySettings, now: datetime | None = None
) -> dg.AssetCheckEvaluation:
    """Return the check's result; ``now`` is in UTC."""
    moment = now or datetime.now(UTC)
    try:
        pipeline = source.open()
        study_ids = pipeline.centrepoint.settings.study_ids
        asked = last_asked(pipeline.storage.data_dir, pipeline.warehouse, study_ids)
    except PipelineError as error:
        return _evaluation(str(error), {})
    found = {each.study_id: each for each in asked}
    reasons = [
        reason
        for study_id in study_ids
        if (reason := _reason(study_id, found.get(study_id), settings, moment))
    ]
    metadata: dict[str, dg.MetadataValue] = {}
    for each in asked:
        name = f"study_{each.study_id}"
        if each.answered_at:
            metadata[f"{name}_answered"] = dg.MetadataValue.timestamp(each.answered_at)
        metadata[f"{name}_troubles"] = dg.MetadataValue.int(each.troubles)
    return _evaluation(" ".join(reasons), metadata)


def _evaluation(reasons: str, metadata: dict[str, dg.MetadataValue]) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=EXPORT_FILES,
        check_name=CENTREPOINT_ANSWERS,
        passed=not reasons,
        severity=dg.AssetCheckSeverity.ERROR,
        description=reasons or "CentrePoint answers.",
        metadata=metadata,
    )


def _reason(
    study_id: int, asked: LastAsked | None, settings: NotifySettings, now: datetime
) -> str | None:
    """Say why the check is red for a study; None if it is not."""
    if asked is None:
        return None
    last = f"{asked.answered_at:%F %R} UTC" if asked.answered_at else "never"
    if asked.troubles >= TROUBLES:
        return (
            f"Study {study_id}: {count(asked.troubles, 'question')} in a row without an answer; it "
            f"last answered: {last}. {asked.outcome}"
        )
    since = asked.answered_at or asked.asked_at
    # Also a time in the future: the clock was set back.
    if abs(now - since) > settings.longest_silence:
        return f"Study {study_id}: CentrePoint last answered: {last}."
    return None
