"""``cp-pipeline compact``: drop superseded loads that are old enough.

Belongs here: the confirmation prompt and the result message. Does not belong: the work
(``warehouse.compaction``).
"""

from datetime import timedelta

import click
from rich.filesize import decimal

from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import OLDER_THAN, Warehouse, compact as compact_warehouse, compactable


@click.command()
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=0),
    default=OLDER_THAN.days,
    show_default=True,
    metavar="DAYS",
    help="Only loads that were superseded at least this many days ago.",
)
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def compact(days: int, reason: str | None, yes: bool) -> None:
    """Drop superseded loads, and rewrite the warehouse file without the space they used.

    Current loads stay. lineage.compacted keeps the facts about each dropped load: program
    execution, file, checksum, number of rows, and the load that replaced it. as_of refuses an
    instant whose rows were dropped. The landing keeps its files.
    """
    storage = StorageSettings.from_environment()
    older_than = timedelta(days=days)
    with Warehouse.of(storage) as warehouse:
        found = compactable(warehouse, older_than)
    answers.print(
        f"{count(found.loads, 'load')} superseded at least {count(days, 'day')} ago, "
        f"{count(found.rows, 'row')}; about {decimal(found.bytes_free)} would be freed."
    )
    if not yes:
        click.confirm("Drop them and rewrite the file?", abort=True)
    why = asked_reason(reason, ask=not yes)
    with answers.status("Compacting …"), Warehouse.of(storage) as warehouse:
        done = compact_warehouse(warehouse, older_than)
    note_action(storage, f"compact --older-than {days}", why)
    answers.print(f"{count(done.loads, 'load')} dropped, {count(done.rows, 'row')}.")
    if done.bytes_before:
        answers.print(
            f"{storage.warehouse}: {decimal(done.bytes_before)} before, "
            f"{decimal(done.bytes_after)} now."
        )
