"""Ctrl-C: it always ends the command within seconds, and the exit code says so.

Belongs here: not to lose it, not to wait for long, and the words for it. Does not belong: what a
run cleans up (its own ``finally`` blocks).
"""

import _thread
import os
import signal
import sys
import threading
import time

import click

from cp_pipeline.cli.screen import errors

EXIT_DECLINED, EXIT_INTERRUPTED = 1, 130
_SECONDS = 0.1
# To complete a batch, to record the end of the run, and to remove scratch folders.
SECONDS_TO_CLEAN_UP = 5.0
_SAID = "Interrupted. Nothing is half loaded."


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


def leave_soon_after_ctrl_c() -> None:
    """End this process ``SECONDS_TO_CLEAN_UP`` after Ctrl-C, if it has not ended by then.

    A thread may wait for a silent server, or for a warehouse that another process holds, much
    longer than a person does. A process may be killed at any time (docs/reliability.md), so this is
    safe: the next command goes on, and ends the run for Dagster.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    # Not a signal handler: Dagster replaces those while a run lasts.
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_leave_soon, args=(heard,), name="interruption", daemon=True).start()


def _leave_soon(heard: int) -> None:
    while signal.SIGINT not in os.read(heard, 1):
        pass
    time.sleep(SECONDS_TO_CLEAN_UP)
    errors.print(_SAID)
    # Its threads do not end, so it cannot end in the usual way.
    os._exit(EXIT_INTERRUPTED)


def aborted(error: BaseException) -> int:
    """Say why a command ends early, and return its exit code.

    Args:
        error: Ctrl-C, or click's ``Abort``: Ctrl-C too, or a question that was answered with no.
    """
    interrupted = not isinstance(error, click.Abort) or isinstance(
        error.__cause__, KeyboardInterrupt
    )
    errors.print(_SAID if interrupted else "Aborted!")
    return EXIT_INTERRUPTED if interrupted else EXIT_DECLINED
