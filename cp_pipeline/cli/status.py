"""``cp-pipeline status``: what is loaded, for each data set, and when CentrePoint last answered.

Belongs here: the tables on the screen, the document, and what ``--check`` calls a problem. Does not
belong: what a state means (``warehouse.views``), who waits for what (``waiting``).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table

from cp_pipeline.cli.machine_output import Said, as_json, leave
from cp_pipeline.cli.screen import answers, errors
from cp_pipeline.cli.study_words import say_invalid, subject_words
from cp_pipeline.cli.subject_options import subject_identifier_option, subjects_named
from cp_pipeline.cli.waiting import say_waiting
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings, configured_studies
from cp_pipeline.warehouse import (
    DatasetStatus,
    LastAsked,
    ProgramOfDataset,
    Warehouse,
    dataset_statuses,
    invalid_items,
    last_asked,
    partition_states,
    programs_of_datasets,
    study_names,
)

EXIT_NOT_CURRENT = 1
# A sync a night, with two hours to spare.
_HOURS = 26.0
_COUNTED = ("exported", "loaded", "stale", "missing", "failed", "pending", "withdrawn")
_NOT_CURRENT = ("stale", "missing", "failed")


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 if something is not current.")
@click.option(
    "--older-than",
    "hours",
    type=click.FloatRange(min=0, min_open=True),
    default=_HOURS,
    show_default=True,
    metavar="HOURS",
    help="With --check: how long ago CentrePoint may have answered.",
)
@click.option("--subject", "subject_ids", type=int, multiple=True, help="Only this subject.")
@subject_identifier_option(multiple=True)
@click.option("--waiting", is_flag=True, help="Who waits for what, and a request to the vendor.")
@as_json
def status(
    check: bool,
    hours: float,
    subject_ids: tuple[int, ...],
    identifiers: tuple[str, ...],
    waiting: bool,
    as_json: bool,
) -> None:
    """Show for each data set what is exported, loaded, stale, failed, pending and withdrawn.

    Counts are partitions (subjects), as of the latest listing; `sync --dry-run` lists again. With
    --check, the exit code is 1 if anything is stale, missing or failed, if nothing was ever listed,
    or if CentrePoint last answered longer ago than --older-than. With --subject or
    --subject-identifier (repeatable), show the data sets of these subjects. --waiting shows who
    waits for an upload, for processing or for a file, as of the last publish.
    """
    if as_json and (subject_ids or identifiers):
        raise click.UsageError("--json is for the whole status, or for --waiting; not a subject.")

    def work(said: Said) -> int:
        storage = StorageSettings.from_environment()
        if waiting:
            said |= say_waiting(storage)
            return 0
        if subjects := {*subject_ids, *subjects_named(Warehouse.of(storage), identifiers)}:
            _say_subjects(Warehouse.of(storage), subjects)
            return 0
        return _show(said, check=check, longest=timedelta(hours=hours))

    empty: Said = {"processing": [], "request": None}
    if not waiting:
        empty = {
            "warehouse": None,
            "published": None,
            "datasets": [],
            "asked": [],
            "invalid_items": [],
            "problems": [],
        }
    leave("status", work, empty, as_json=as_json)


def _show(said: Said, *, check: bool, longest: timedelta) -> int:
    storage = StorageSettings.from_environment()
    warehouse = Warehouse.of(storage)
    statuses = dataset_statuses(warehouse)
    asked = last_asked(storage.data_dir, warehouse, configured_studies())
    invalid = invalid_items(warehouse)
    problems = [*_not_current(statuses), *_not_answered(asked, longest)]
    said["warehouse"], said["published"] = storage.warehouse, str(storage.published)
    said["datasets"] = [asdict(each) for each in statuses]
    said["asked"] = [
        asdict(each)
        | {
            "asked_at": each.asked_at.isoformat(),
            "answered_at": each.answered_at and each.answered_at.isoformat(),
        }
        for each in asked
    ]
    said["invalid_items"] = [asdict(item) for item in invalid]
    said["problems"] = problems
    if statuses:
        answers.print(_table(statuses))
        _say_programs(programs_of_datasets(warehouse))
        say_invalid(answers, invalid, study_names(warehouse))
    else:
        answers.print(f"Nothing is listed or loaded yet in {storage.warehouse}.")
        answers.print("Run cp-pipeline sync.")
    for each in asked:
        answers.print(_last_answer(each))
    answers.print(f"Warehouse: {storage.warehouse}")
    if not check:
        return 0
    for problem in problems:
        errors.print(problem)
    return EXIT_NOT_CURRENT if problems else 0


def _table(statuses: Sequence[DatasetStatus]) -> Table:
    table = Table("data set", box=None)
    for heading in (*_COUNTED, "rows"):
        table.add_column(heading, justify="right")
    table.add_column("last program execution")
    for each in statuses:
        numbers = [getattr(each, name) for name in _COUNTED]
        table.add_row(
            each.dataset_name,
            *(f"{number:,}" for number in (*numbers, each.row_count)),
            each.last_execution or "",
        )
    return table


def _say_programs(programs: Sequence[ProgramOfDataset]) -> None:
    """Print the study programs with the data sets that come from each, and what is ambiguous."""
    if not programs:
        return
    table = Table("study program", "id", "data sets", box=None)
    by_program: dict[tuple[str, str], list[str]] = {}
    for each in programs:
        named = (each.program_name or "(no name)", each.study_program_id)
        by_program.setdefault(named, []).append(each.dataset_name)
    for (name, program), datasets in sorted(by_program.items()):
        table.add_row(name, program, ", ".join(sorted(datasets)))
    answers.print(table)
    shared = sorted({each.dataset_name for each in programs if each.is_shared})
    if shared:
        answers.print(
            f"From several study programs, for the same subject: {', '.join(shared)}. Rows of "
            "each are in the data set: tell them apart by _study_program_id."
        )


def _say_subjects(warehouse: Warehouse, subject_ids: Collection[int]) -> None:
    """Print the state of each data set of the subjects, as of the latest listing."""
    names = study_names(warehouse)
    table = Table("subject", "site", "data set", "state", "listed", "loaded", box=None)
    seen = set()
    for each in sorted(partition_states(warehouse), key=lambda state: state.partition):
        subject_id = each.partition.subject_id
        if subject_id not in subject_ids:
            continue
        seen.add(subject_id)
        named = names.subjects.get(subject_id)
        table.add_row(
            subject_words(names, subject_id),
            named.site if named else "",
            each.partition.dataset_name,
            each.state,
            each.exported_execution or "",
            each.loaded_execution or "",
        )
    if seen:
        answers.print(table)
    for subject_id in sorted(set(subject_ids) - seen):
        answers.print(f"Nothing is listed or loaded of subject {subject_words(names, subject_id)}.")


def _not_current(statuses: Iterable[DatasetStatus]) -> list[str]:
    """Say which data sets have partitions that should be loaded and are not."""
    problems = []
    for each in statuses:
        numbers = {state: int(getattr(each, state)) for state in _NOT_CURRENT}
        words = ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number)
        if words:
            problems.append(f"Data set {each.dataset_name}: {words}.")
    return problems


def _not_answered(asked: Sequence[LastAsked], longest: timedelta) -> list[str]:
    if not asked:
        return ["CentrePoint was never asked. Run cp-pipeline sync."]
    now = datetime.now(UTC)
    return [
        _last_answer(each)
        for each in asked
        if each.answered_at is None or now - each.answered_at > longest
    ]


def _last_answer(each: LastAsked) -> str:
    answered = f"{each.answered_at:%F %R} UTC" if each.answered_at else "never"
    words = f"CentrePoint last answered for study {each.study_id}: {answered}."
    if not each.troubles:
        return words
    return (
        f"{words} Since then it was asked {count(each.troubles, 'time')} without an answer, last "
        f"at {each.asked_at:%F %R} UTC: {each.outcome}"
    )
