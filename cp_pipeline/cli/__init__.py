"""The commands, ``cp-pipeline …``.

Belongs here: options, messages on the screen, exit codes. Does not belong: the work itself, which
other packages do.
"""

import logging
import os
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

from cp_pipeline.cli.interruption import aborted, leave_soon_after_ctrl_c, never_lose_ctrl_c
from cp_pipeline.cli.log_lines import add_loudness, show_log_lines
from cp_pipeline.cli.machine_output import EXIT_AT_FAULT, say_early_error
from cp_pipeline.cli.screen import errors
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.env_file import read_env_file
from cp_pipeline.settings import anchor_paths, for_the_owner_alone

# They serve until Ctrl-C, and take their time to shut down what they started.
_SERVERS = {"sandbox", "ui"}
# Module and name of each command. Only the requested command is imported.
_COMMANDS = {
    "demo": "demo:demo",
    "sandbox": "sandbox:sandbox",
    "sync": "sync:sync",
    "publish": "publish:publish",
    "report": "report:report",
    "status": "status:status",
    "query": "query:query_command",
    "doctor": "doctor:doctor",
    "models": "models:models",
    "ui": "ui:ui",
    "init": "init:init",
    "compact": "compact:compact",
    "rebuild": "rebuild:rebuild",
    "move": "move:move",
    "cut": "cut:cut",
    "erase": "erase:erase",
}


class _Commands(click.Group):
    """Load commands by name, lazily (click's documentation, "Lazily Loading Subcommands")."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        add_loudness(command)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="cp-pipeline")
@click.pass_context
def commands(context: click.Context) -> None:
    """Load a CentrePoint study's data set exports into DuckDB, and keep them current."""
    if context.invoked_subcommand not in _SERVERS:
        leave_soon_after_ctrl_c()
    show_log_lines()
    read_env_file(Path.cwd())
    for_the_owner_alone()
    anchor_paths()


def main() -> None:
    """Run a command. Print an error as a message, without a traceback if it is a known kind.

    Exits with code 2 on an error, and with 130 after Ctrl-C.
    """
    never_lose_ctrl_c()
    try:
        code = commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        _leave(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        _leave(aborted(error))
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
    # click returns the exit code of --help and of shell completion, and else what a command does.
    _leave(code if isinstance(code, int) else 0)


def _say(error: PipelineError) -> None:
    say_early_error(error)
    errors.print(error.what, style="red")
    if error.remedy:
        errors.print(error.remedy)


def _about_a_file(error: OSError) -> PipelineError:
    named = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
    return PipelineError(
        f"{named or 'A file'} cannot be written or read: {error.strerror}.",
        "Check its owner, the free space, and whether its disk is read-only. Then run this "
        "command again.",
    )


def _not_foreseen(error: Exception) -> PipelineError:
    """Make a message of an unexpected error; print its traceback for the developers."""
    # Imported here, because most commands do not need these packages.
    from cp_pipeline.centrepoint import redact  # noqa: PLC0415
    from cp_pipeline.ingest import NOT_FORESEEN, explain  # noqa: PLC0415

    words = explain(error)
    if not words.startswith(NOT_FORESEEN):
        return PipelineError(words)
    trace = redact("".join(traceback.format_exception(error)))
    errors.print(trace, highlight=False, markup=False)
    return PipelineError(words, "Report it, together with the traceback above.")


def _leave(exit_code: int) -> None:
    """Exit without interpreter shutdown.

    With Dagster imported, shutdown takes half a second to free memory that the system frees anyway.
    Commands close their files and end their threads before they return.
    """
    if "dbt" in sys.modules:
        # dbt holds semaphores. Python warns about them if it does not shut down normally.
        sys.exit(exit_code)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)
