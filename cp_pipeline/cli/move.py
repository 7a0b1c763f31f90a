"""``cp-pipeline move``: from a DuckDB file into a DuckLake, or back.

Belongs here: the option, and the result message. Does not belong: the work
(``warehouse.moving``).
"""

import os

import click

from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, move as move_warehouse


@click.command()
@click.option(
    "--to",
    "location",
    required=True,
    metavar="WAREHOUSE",
    help="The new place, as CP_WAREHOUSE has it: a file, or ducklake:…",
)
@reason_option
def move(location: str, reason: str | None) -> None:
    """Move the warehouse to another place: from a DuckDB file into a DuckLake, or back.

    All loads keep their ids and lineage. The copy is compared with the original, by counts and
    hashes. The original stays, unchanged. End all runs first: what is loaded into the original
    afterwards is not in the copy. The landing stays where it is, and publish builds the models
    anew.
    """
    storage = StorageSettings.from_environment()
    target = StorageSettings.from_environment({**os.environ, "CP_WAREHOUSE": location})
    why = asked_reason(reason)
    with (
        answers.status("Moving …"),
        Warehouse.of(storage) as old,
        Warehouse.of(target) as new,
    ):
        done = move_warehouse(old, new)
    what = f"{count(done.loads, 'load')}, {count(done.rows, 'row')} in {done.tables} tables"
    if done.was_there:
        answers.print(f"An earlier move did all: {what} are in {target.warehouse}.")
    else:
        note_action(target, f"move from {storage.warehouse}", why)
        answers.print(f"{what} moved to {target.warehouse}; equal by counts and hashes.")
    answers.print(
        f"To use it, set CP_WAREHOUSE={location}. {storage.warehouse} is unchanged; delete it when "
        "you no longer need it."
    )
