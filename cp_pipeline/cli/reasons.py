"""Why a person does something that changes what is kept.

Belongs here: the option ``--reason``, and recording the action. Does not belong: the table
(``warehouse.lineage``).
"""

import sys

import click

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, record_action

reason_option = click.option(
    "--reason", metavar="TEXT", help="Why, for lineage.actions; do not name a person in it."
)


def asked_reason(reason: str | None, *, ask: bool = True) -> str | None:
    """Return the reason; ask for it if somebody types the command. An empty answer is none."""
    if reason is None and ask and sys.stdin.isatty():
        answer: str = click.prompt("Why? (for lineage.actions)", default="", show_default=False)
        return answer.strip() or None
    return reason


def note_action(storage: StorageSettings, command: str, reason: str | None) -> None:
    """Record that this command was done, by whom, and why."""
    with Warehouse.of(storage) as warehouse:
        record_action(warehouse, storage.actor, command, reason)
