"""``cp-pipeline status --waiting``: who waits for what, and the text of a request to the vendor.

Belongs here: the table and the text on the screen; nothing is sent. Does not belong: who waits
(``dbt_style_sql/models/marts/subject_processing.sql``).
"""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from cp_pipeline.cli.machine_output import Said
from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import SubjectProcessing, subjects_processing

ADDRESS = "CPDprocessing@theactigraph.com"
_FINISHED = "loaded"
# What only the vendor's processing can change.
_TO_REQUEST = frozenset({"uploaded_never_processed", "uploaded_since_processed"})
_SHOWN = 200


def say_waiting(storage: StorageSettings) -> Said:
    """Print each subject and study program that waits, and the text of a processing request.

    Returns:
        The same for a program, and the pairs that do not wait (docs/machines.md).
    """
    found = subjects_processing(storage)
    said: Said = {"processing": [each._asdict() for each in found], "request": None}
    if not found:
        answers.print("No look at CentrePoint is recorded yet. Run cp-pipeline sync, then publish.")
        return said
    waiting = [each for each in found if each.state != _FINISHED]
    counted = Counter(each.state for each in found)
    numbers = ", ".join(f"{state} {number:,}" for state, number in sorted(counted.items()))
    answers.print(f"{count(len(found), 'pair')} of subject and study program: {numbers}.")
    if waiting:
        _print_table(waiting)
    to_request = [each for each in waiting if each.state in _TO_REQUEST]
    if to_request:
        lines = request_text(to_request)
        said["request"] = {"address": ADDRESS, "text": "\n".join(lines)}
        answers.print(f"\nTo have them processed, send this to {ADDRESS} (nothing is sent):\n")
        for line in lines:
            answers.print(line, markup=False, highlight=False, soft_wrap=True)
    return said


def _print_table(waiting: Sequence[SubjectProcessing]) -> None:
    table = Table(
        "subject", "site", "study program", "state", "last upload", "last execution", "lacks",
        box=None,
    )  # fmt: skip
    for each in waiting[:_SHOWN]:
        subject = f"{each.subject_id} ({each.subject_identifier})"
        table.add_row(
            subject if each.subject_identifier else str(each.subject_id),
            each.site_identifier or "",
            each.study_program_name or each.study_program_id,
            each.state,
            each.last_raw_upload or "never",
            each.program_execution or "never",
            ", ".join(each.datasets_lacking),
        )
    answers.print(table)
    if len(waiting) > _SHOWN:
        answers.print(f"and {len(waiting) - _SHOWN:,} more (marts.subject_processing)")


def request_text(waiting: Sequence[SubjectProcessing]) -> list[str]:
    """Return the lines of an e-mail that asks for processing: study, programs, subjects.

    A subject is named by CentrePoint's number: an e-mail is no place for an identifier.
    """
    lines = []
    for study_id in sorted({each.study_id for each in waiting}):
        some = [each for each in waiting if each.study_id == study_id]
        lines += [f"Subject: Data processing request, study {study_id}", ""]
        lines += [f"Please process the raw data of study {study_id}.", ""]
        by_program: dict[tuple[str, str], set[int]] = {}
        for each in some:
            program = (each.study_program_name or "", each.study_program_id)
            by_program.setdefault(program, set()).add(each.subject_id)
        for (name, program_id), subjects in sorted(by_program.items()):
            named = f"{name} ({program_id})" if name else program_id
            lines.append(f"Study program {named}")
            lines.append(f"  Subjects: {', '.join(map(str, sorted(subjects)))}")
        lines += ["  Exclusions: none", ""]
    return lines
