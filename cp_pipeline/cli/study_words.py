"""Words about the study around the exports, for ``sync`` and ``status``.

Belongs here: refreshing it before a sync, and what is said of programs and subjects on the screen.
Does not belong: the questions to CentrePoint (``ingest.study_refresh``).
"""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from cp_pipeline.domain.study_details import StudyNames
from cp_pipeline.ingest import Pipeline
from cp_pipeline.warehouse import ProgramOfDataset


def refresh_study(pipeline: Pipeline, screen: Console) -> None:
    """Record who and what is in the study; say what could not be read. It stops no sync."""
    now = datetime.now(UTC)
    remarks = [pipeline.refresh_study(now)]
    if (details := pipeline.refresh_details(now)) is not None:
        remarks += details.remarks
    for remark in filter(None, remarks):
        screen.print(remark)


def subject_words(names: StudyNames, subject_id: int) -> str:
    """Return a subject's number, with its identifier if that is known."""
    named = names.subjects.get(subject_id)
    label = named.label if named else str(subject_id)
    return label if label == str(subject_id) else f"{subject_id} ({label})"


def program_words(names: StudyNames, study_program_id: str) -> str:
    """Return a study program's name with the beginning of its id; the id if it has no name."""
    name = names.programs.get(study_program_id)
    return f"{name} ({study_program_id[:8]}…)" if name else study_program_id


def say_programs(screen: Console, programs: list[ProgramOfDataset]) -> None:
    """Print the study programs with the data sets that come from each, and what is ambiguous."""
    if not programs:
        return
    table = Table(box=None)
    for heading in ("study program", "id", "data sets"):
        table.add_column(heading)
    by_program: dict[tuple[str, str], list[str]] = {}
    for each in programs:
        named = (each.program_name or "(no name)", each.study_program_id)
        by_program.setdefault(named, []).append(each.dataset_name)
    for (name, program), datasets in sorted(by_program.items()):
        table.add_row(name, program, ", ".join(sorted(datasets)))
    screen.print(table)
    shared = sorted({each.dataset_name for each in programs if each.is_shared})
    if shared:
        screen.print(
            f"From several study programs, for the same subject: {', '.join(shared)}. Rows of "
            "each are in the data set: tell them apart by _study_program_id."
        )
