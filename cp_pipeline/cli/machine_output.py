"""``--json``: what a command did, as one JSON document on stdout (docs/machines.md).

Belongs here: the parts that all documents have, and printing them. Does not belong: what one
command has to say (its own file).
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from cp_pipeline.cli.screen import answers
from cp_pipeline.domain.errors import PipelineError

EXIT_AT_FAULT = 2
Said = dict[str, Any]

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document; see docs/machines.md."
)


def leave(command: str, work: Callable[[Said], int], empty: Said, *, as_json: bool) -> None:
    """Do a command's work, print its document if that is asked for, and exit with its code.

    Args:
        command: the command's name.
        work: fills the document, and returns the exit code.
        empty: the document before the work, with a value for each of its fields.
        as_json: whether a program is asking. The messages for people are then left out of stdout.

    Raises:
        PipelineError: the configuration or the service is at fault; the document says it, too.
    """
    said: Said = {"command": command, "exit_code": EXIT_AT_FAULT, "error": None, **empty}
    answers.quiet = answers.quiet or as_json
    try:
        said["exit_code"] = work(said)
    except Exception as error:
        said["error"] = _error(error)
        raise
    finally:
        if as_json:
            _print(said)
    if said["exit_code"]:
        sys.exit(said["exit_code"])


def say_early_error(error: PipelineError) -> None:
    """Print a document for an error before the command began, if its arguments ask for one."""
    arguments = sys.argv[1:]
    if "--json" in arguments and not _printed:
        command = next((each for each in arguments if not each.startswith("-")), "")
        _print({"command": command, "exit_code": EXIT_AT_FAULT, "error": _error(error)})


def _error(error: Exception) -> Said:
    if isinstance(error, PipelineError):
        return {"what": error.what, "remedy": error.remedy or None}
    return {"what": "An unexpected error; stderr has its message.", "remedy": None}


def _print(said: Said) -> None:
    _printed.append(said)
    with suppress(BrokenPipeError):
        print(json.dumps(said, ensure_ascii=False), flush=True)  # noqa: T201


_printed: list[Said] = []
