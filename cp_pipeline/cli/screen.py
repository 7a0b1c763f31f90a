"""The screen: one console for results, one for errors.

Belongs here: the layout. Does not belong: the content of messages.
"""

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Markup is off, because names from CentrePoint may look like markup. A log file has no width, so it
# gets a fixed one.
_LOG_WIDTH = 200
answers = Console(
    highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else _LOG_WIDTH
)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A progress bar with rate and time left, on stderr; disabled if stderr is not a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        disable=answers.quiet or not errors.is_terminal,
    )
