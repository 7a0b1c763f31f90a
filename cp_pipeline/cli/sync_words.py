"""What ``sync`` says on the screen.

Belongs here: what is listed, what is to be loaded and why, what failed. Does not belong: the
document for programs (``sync_document``), words that ``status`` says too (``study_words``).
"""

from collections.abc import Sequence

from rich.table import Table

from cp_pipeline.cli.screen import answers, errors
from cp_pipeline.cli.study_words import subject_words
from cp_pipeline.domain.study_details import StudyNames
from cp_pipeline.domain.texts import NO_EXPORTS, count
from cp_pipeline.ingest import PartitionFailed, Plan, Survey, pending_remarks

_SHOWN = 40


def say_survey(found: Survey) -> None:
    """Print how much is listed, how much of it is to be loaded, and remarks."""
    for remark in found.remarks():
        errors.print(remark)
    if found.erased:
        verb = "is" if found.erased == 1 else "are"
        exports = count(found.erased, "export")
        answers.print(f"{exports} of an erased subject {verb} left alone.")
    numbers = found.numbers
    if not numbers.exports:
        if found.is_empty:
            answers.print(f"{NO_EXPORTS} Nothing to do.")
        return
    answers.print(
        f"{count(numbers.exports, 'export')} in {count(numbers.partitions, 'partition')} "
        f"listed, {count(numbers.exports_to_load, 'export')} in "
        f"{count(numbers.partitions_to_load, 'partition')} to load."
    )
    for remark in pending_remarks(numbers.pending):
        answers.print(remark)


def print_plan(plan: Plan, names: StudyNames) -> None:
    """Print each export that is to be loaded, and why."""
    if not plan.to_load:
        return
    table = Table("subject", "data set", "study program", "program execution", "why", box=None)
    rows = [
        (
            subject_words(names, partition.subject_id),
            partition.dataset_name,
            _program_words(names, each.export_file.study_program_id),
            each.export_file.execution.verbatim,
            each.reason.value,
        )
        for partition, planned in plan.to_load.items()
        for each in planned
    ]
    for row in rows[:_SHOWN]:
        table.add_row(*row)
    answers.print(table)
    if len(rows) > _SHOWN:
        answers.print(f"and {len(rows) - _SHOWN:,} more")


def _program_words(names: StudyNames, study_program_id: str) -> str:
    """Return a study program's name with the beginning of its id; the id if it has no name."""
    name = names.programs.get(study_program_id)
    return f"{name} ({study_program_id[:8]}…)" if name else study_program_id


def say_failures(failures: Sequence[PartitionFailed], names: StudyNames) -> None:
    """Print the partitions that failed, each with its reason. Print nothing if there are none."""
    if not failures:
        return
    errors.print(f"{count(len(failures), 'partition')} failed:")
    for failure in failures:
        errors.print(f"  {names.in_message(str(failure))}")
    errors.print("Nothing of them was loaded; what was loaded before is untouched.")
