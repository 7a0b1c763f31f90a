"""The screen: one console for answers, one for what went wrong.

Belongs here: how things look. Does not belong: what they say.
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

# Nothing that CentrePoint names is markup, so none is read from it. A log has no width of its own.
_LOG_WIDTH = 200
answers = Console(
    highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else _LOG_WIDTH
)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A progress bar with rate and time left, on the error stream; silent where nobody looks."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
    )
