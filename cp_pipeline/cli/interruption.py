"""Ctrl-C: it always ends the command, and the exit code says so.

Belongs here: not to lose it, and the words for it. Does not belong: what a run cleans up (its own
``finally`` blocks).
"""

import _thread
import sys
import threading

import click

from cp_pipeline.cli.screen import errors

EXIT_DECLINED, EXIT_INTERRUPTED = 1, 130
_SECONDS = 0.1


def never_lose_ctrl_c() -> None:
    """Interrupt again where Python has ignored Ctrl-C.

    Python prints and ignores every exception in a callback of its garbage collector, and importing
    Dagster runs many of those.
    """
    ignored_as_before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            ignored_as_before(unraisable)
            return
        # Later, because now it would be ignored again.
        again = threading.Timer(_SECONDS, _thread.interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = hook


def aborted(error: BaseException) -> int:
    """Say why a command ends early, and return its exit code.

    Args:
        error: Ctrl-C, or click's ``Abort``: Ctrl-C too, or a question that was answered with no.
    """
    interrupted = not isinstance(error, click.Abort) or isinstance(
        error.__cause__, KeyboardInterrupt
    )
    errors.print("Interrupted. Nothing is half loaded." if interrupted else "Aborted!")
    return EXIT_INTERRUPTED if interrupted else EXIT_DECLINED
