"""How much a command says: ``--quiet``, ``--verbose``, and which log lines it shows.

Belongs here: the two options, and the levels of the loggers. Does not belong: the messages.
"""

import logging
import sys

import click

from cp_pipeline.cli.screen import answers

_OURS = "cp_pipeline"


def show_log_lines() -> None:
    """Show our own log lines, and errors of libraries.

    Of a retry, urllib3 would say as much as we do, once more and in its own words.
    """
    answers.quiet = False
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger(_OURS).setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # After Ctrl-C, it logs a traceback of each connection that it could not close.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def add_loudness(command: click.Command) -> None:
    """Give a command, or each command of a group, the options ``--quiet`` and ``--verbose``."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            add_loudness(each)
        return
    if any(each.name == "quiet" for each in command.params):
        return
    command.params += [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_be_quiet,
            help="Say only what went wrong.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_be_verbose,
            help="Also say each request and each step.",
        ),
    ]


def _be_quiet(_: click.Context, __: click.Parameter, quiet: bool) -> None:
    if quiet:
        logging.getLogger(_OURS).setLevel(logging.ERROR)
        answers.quiet = True


def _be_verbose(_: click.Context, __: click.Parameter, verbose: bool) -> None:
    if verbose:
        logging.getLogger(_OURS).setLevel(logging.DEBUG)
