"""``cp-pipeline cut``: freeze what is current under a name.

Belongs here: the order (models first), and the result message. Does not belong: the work
(``warehouse.cuts``).
"""

import sys

import click

from cp_pipeline.cli.publish import run_publish
from cp_pipeline.cli.reasons import asked_reason, note_action, reason_option
from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.texts import count
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, check_cut_name, make_cut, state_of_warehouse


@click.command()
@click.argument("name")
@reason_option
def cut(name: str, reason: str | None) -> None:
    """Freeze what is current under NAME, so that an analysis can be repeated with it.

    Builds the models, publishes, and writes cuts/NAME in the data folder: a read-only DuckDB file,
    and manifest.json with each load, its program execution and checksum. compact keeps the loads of
    a cut. erase does not, and says so in the manifest. Exit code 1: a model or a test of it failed.
    """
    storage = StorageSettings.from_environment()
    check_cut_name(storage, name)
    why = asked_reason(reason)
    with Warehouse.of(storage) as warehouse:
        before = state_of_warehouse(warehouse)
    code = run_publish()
    if code:
        sys.exit(code)
    with Warehouse.of(storage) as warehouse:
        if state_of_warehouse(warehouse) != before:
            raise PipelineError(
                "Something was listed or loaded while the models were built, so they may be older "
                "than the rows.",
                "Run this again when no sync is running.",
            )
    done = make_cut(storage, name, why)
    note_action(storage, f"cut {name}", why)
    answers.print(
        f"Cut {name}: {count(done.loads, 'load')}, {count(done.rows, 'row')}, in {done.folder}."
    )
