"""Words about the study around the exports, for ``sync`` and ``status``.

Belongs here: refreshing it before a sync, and what is said of subjects and invalid items on the
screen. Does not belong: the questions to CentrePoint (``ingest.study_refresh``), what makes
an item invalid (``centrepoint.items``).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from cp_pipeline.cli.screen import errors
from cp_pipeline.domain.exports import InvalidItem
from cp_pipeline.domain.study_details import NO_NAMES, StudyNames
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest import Pipeline

_SHOWN = 40


def refresh_study(pipeline: Pipeline) -> None:
    """Record who and what is in the study; say what could not be read. It stops no sync."""
    now = datetime.now(UTC)
    remarks = [pipeline.refresh_study(now)]
    if (details := pipeline.refresh_details(now)) is not None:
        remarks += details.remarks
    for remark in filter(None, remarks):
        errors.print(remark)


def subject_words(names: StudyNames, subject_id: int) -> str:
    """Return a subject's number, with its identifier if that is known."""
    named = names.subjects.get(subject_id)
    label = named.label if named else str(subject_id)
    return label if label == str(subject_id) else f"{subject_id} ({label})"


def say_invalid(
    screen: Console, invalid: Sequence[InvalidItem], names: StudyNames = NO_NAMES
) -> None:
    """Print the invalid items, which lack what a load needs. Print nothing if all are valid."""
    if not invalid:
        return
    screen.print(f"{count(len(invalid), 'listed item')} cannot be used:")
    for item in invalid[:_SHOWN]:
        screen.print(f"  {names.in_message(str(item))}")
    if len(invalid) > _SHOWN:
        screen.print(f"  and {len(invalid) - _SHOWN:,} more (lineage.unusable_items)")
    screen.print("Report this to ActiGraph support; it does not stop other exports from loading.")
