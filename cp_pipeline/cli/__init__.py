"""The commands, ``cp-pipeline …``.

Belongs here: options, words on the screen, exit codes. Does not belong: any work.
"""

import logging
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

from cp_pipeline.cli.screen import errors
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.env_file import read_env_file
from cp_pipeline.settings import anchor_paths, for_the_owner_alone

EXIT_AT_FAULT = 2


# Each where it is; only the one that is asked for is imported.
_COMMANDS = {
    "demo": "demo:demo",
    "sandbox": "sandbox:sandbox",
    "sync": "sync:sync",
    "publish": "publish:publish",
    "status": "status:status",
    "query": "query:query_command",
    "doctor": "doctor:doctor",
    "models": "models:models",
    "compact": "compact:compact",
    "rebuild": "rebuild:rebuild",
    "erase": "erase:erase",
}


class _Commands(click.Group):
    """Finds commands by their names (click's documentation, "Lazily Loading Subcommands")."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cp-pipeline")
def commands() -> None:
    """Bring a CentrePoint study's data set exports into DuckDB, and keep them right."""
    read_env_file(Path.cwd())
    for_the_owner_alone()
    anchor_paths()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cp_pipeline").setLevel(logging.INFO)


def main() -> None:
    """Run a command; a known error, or the system's on a file, is said in words: exit code 2."""
    try:
        commands()
    except PipelineError as error:
        _say(error)
        _leave(EXIT_AT_FAULT)
    except OSError as error:
        _say(_about_a_file(error) if error.errno is not None else _not_foreseen(error))
        _leave(EXIT_AT_FAULT)
    except SystemExit as leaving:
        if isinstance(leaving.code, int):
            _leave(leaving.code)
        raise
    except Exception as error:  # noqa: BLE001  (exit code 1 means that some partitions failed)
        _say(_not_foreseen(error))
        _leave(EXIT_AT_FAULT)


def _say(error: PipelineError) -> None:
    errors.print(error.what, style="red")
    if error.remedy:
        errors.print(error.remedy)


def _about_a_file(error: OSError) -> PipelineError:
    named = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
    return PipelineError(
        f"{named or 'A file'} cannot be written or read: {error.strerror}.",
        "See whose it is, that there is room, and whether its disk is read-only; then run this "
        "again.",
    )


def _not_foreseen(error: Exception) -> PipelineError:
    """An error for which nobody wrote words; its traceback tells those who made cp-pipeline."""
    # Imported here, because most commands need none of it.
    from cp_pipeline.ingest import NOT_FORESEEN, explain, redact  # noqa: PLC0415

    words = explain(error)
    if not words.startswith(NOT_FORESEEN):
        return PipelineError(words)
    trace = redact("".join(traceback.format_exception(error)))
    errors.print(trace, highlight=False, markup=False)
    return PipelineError(words, "Report it, with what stands above.")


def _leave(exit_code: int) -> None:
    """End the process without taking the interpreter apart.

    With Dagster in it that takes half a second, to free what the system frees anyway; commands
    have closed all files and ended all threads of theirs when they return.
    """
    if "dbt" in sys.modules:
        # It holds semaphores, of which Python complains where it is not ended in the usual way.
        sys.exit(exit_code)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)
