"""The minute's budget of requests, shared by all threads and processes (docs/api.md, "Limits").

Belongs here: counting and waiting. Does not belong: what a request is.
"""

import fcntl
import logging
import os
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

WINDOW_SECONDS = 60.0
_log = logging.getLogger(__name__)


class RequestBudget:
    """At most ``per_minute`` requests in any 60 seconds; a request that comes too early waits.

    The service counts 500 for all processes of an address together; ours is lower by default, so
    that a process of another folder has room, and a 429 is obeyed all the same.

    Args:
        per_minute: how many.
        ledger: a file by which processes of this machine share the budget: when each request of
            the last minute was, by the clock that counts from the machine's start. It is made where
            its folder is there; where it cannot be used, this process counts alone.
    """

    def __init__(self, per_minute: int, ledger: Path | None = None) -> None:
        self._per_minute = per_minute
        self._ledger = ledger
        self._own: list[float] = []
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Take one request from the budget, waiting until there is one."""
        while (pause := self._try_to_spend()) > 0:
            if pause > 1:
                _log.info("waiting %.0f s: %d requests a minute", pause, self._per_minute)
            time.sleep(pause)

    def _try_to_spend(self) -> float:
        with self._lock, _opened(self._ledger) as ledger:
            now = time.monotonic()
            own = _within_the_minute(self._own, now)
            spent = own if ledger is None else _within_the_minute(ledger.moments, now)
            # One's own count whatever became of the file.
            spent = max(spent, own, key=len)
            if len(spent) >= self._per_minute:
                return spent[-self._per_minute] + WINDOW_SECONDS - now
            self._own = [*own, now]
            if ledger is not None:
                ledger.write([*spent, now])
            return 0.0


class _Ledger:
    """The file, held by this process alone: all requests of the last minute, oldest first."""

    def __init__(self, opened: int) -> None:
        fcntl.flock(opened, fcntl.LOCK_EX)
        self._opened = opened
        written = os.pread(opened, os.fstat(opened).st_size, 0)
        # Half a moment at the end is what a full disk leaves.
        self.moments = array("d", written[: len(written) // 8 * 8])

    def write(self, moments: Sequence[float]) -> None:
        # On a full disk the others do not hear of it; they do of what was written before.
        with suppress(OSError):
            os.ftruncate(self._opened, os.pwrite(self._opened, array("d", moments).tobytes(), 0))


@contextmanager
def _opened(path: Path | None) -> Iterator[_Ledger | None]:
    """The ledger, or None where there is none to be had."""
    with ExitStack() as stack:
        ledger = None
        if path is not None:
            with suppress(OSError):
                opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, opened)
                ledger = _Ledger(opened)
        yield ledger


def _within_the_minute(spent: Sequence[float], now: float) -> list[float]:
    """The moments of the last minute; one to come is from before the machine was started anew."""
    return [moment for moment in spent if now - WINDOW_SECONDS < moment <= now]
