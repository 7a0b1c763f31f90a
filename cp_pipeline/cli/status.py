"""``cp-pipeline status``: what is loaded, for each data set.

Belongs here: the table on the screen. Does not belong: what a state means (``warehouse.schema``).
"""

import click
from rich.table import Table

from cp_pipeline.cli.listing_remarks import say_invalid
from cp_pipeline.cli.screen import answers
from cp_pipeline.cli.study_words import say_programs
from cp_pipeline.cli.subject_options import subject_identifier_option, subjects_named
from cp_pipeline.cli.subject_status import say_subjects
from cp_pipeline.cli.waiting import say_waiting
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    Warehouse,
    dataset_statuses,
    invalid_items,
    programs_of_datasets,
    study_names,
)


@click.command()
@click.option("--subject", "subject_ids", type=int, multiple=True, help="Only this subject.")
@subject_identifier_option(multiple=True)
@click.option("--waiting", is_flag=True, help="Who waits for what, and a request to the vendor.")
def status(subject_ids: tuple[int, ...], identifiers: tuple[str, ...], waiting: bool) -> None:
    """Show for each data set what is exported, loaded, stale, failed, pending and withdrawn.

    Counts are partitions (subjects), as of the latest listing; `sync --dry-run` lists again. With
    --subject or --subject-identifier (repeatable), show the data sets of these subjects.
    --waiting shows who waits for an upload, for processing or for a file, as of the last publish.
    """
    storage = StorageSettings.from_environment()
    warehouse = Warehouse.of(storage)
    if waiting:
        say_waiting(answers, storage)
        return
    if subjects := {*subject_ids, *subjects_named(storage, identifiers)}:
        say_subjects(answers, warehouse, subjects)
        return
    statuses = dataset_statuses(warehouse)
    if not statuses:
        answers.print(f"Nothing is listed or loaded yet in {storage.warehouse}.")
        answers.print("Run cp-pipeline sync.")
        return
    table = Table(box=None)
    table.add_column("data set")
    numbers = ("exported", "loaded", "stale", "missing", "failed", "pending", "withdrawn", "rows")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("last program execution")
    for each in statuses:
        table.add_row(
            each.dataset_name,
            f"{each.exported:,}",
            f"{each.loaded:,}",
            f"{each.stale:,}",
            f"{each.missing:,}",
            f"{each.failed:,}",
            f"{each.pending:,}",
            f"{each.withdrawn:,}",
            f"{each.row_count:,}",
            each.last_execution or "",
        )
    answers.print(table)
    say_programs(answers, programs_of_datasets(warehouse))
    say_invalid(answers, invalid_items(warehouse), study_names(warehouse))
    answers.print(f"Warehouse: {storage.warehouse}")
