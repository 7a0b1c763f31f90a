"""The budget of requests per minute, shared by all threads and processes (docs/api.md, "Limits").

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
    """Allow at most ``per_minute`` requests in any 60 seconds; a request over the limit waits.

    The service allows 500 requests a minute for all processes of one IP address. Our default is
    lower, so that a process with another data folder can also send requests. A 429 still makes us
    wait. Hosts do not know of each other's requests: `CP_HOSTS` divides the number among them.

    Args:
        per_minute: the number of requests.
        ledger: a file by which the processes of this machine share the budget. It holds the time of
            each request of the last minute, in seconds since the machine started. It is created if
            its folder exists. If it cannot be used, this process counts only its own requests.
    """

    def __init__(self, per_minute: int, ledger: Path | None = None) -> None:
        self._per_minute = per_minute
        self._ledger = ledger
        self._own: list[float] = []
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Take one request from the budget; wait until one is free."""
        while (pause := self._try_to_spend()) > 0:
            if pause > 1:
                _log.info("waiting %.0f s: %d requests a minute", pause, self._per_minute)
            time.sleep(pause)

    def _try_to_spend(self) -> float:
        with self._lock, _opened(self._ledger) as ledger:
            now = time.monotonic()
            own = _within_the_minute(self._own, now)
            spent = own if ledger is None else _within_the_minute(ledger.moments, now)
            # Our own requests count even if the file was lost or damaged.
            spent = max(spent, own, key=len)
            if len(spent) >= self._per_minute:
                return spent[-self._per_minute] + WINDOW_SECONDS - now
            self._own = [*own, now]
            if ledger is not None:
                ledger.write([*spent, now])
            return 0.0


class _Ledger:
    """The ledger file, locked by this process: all requests of the last minute, oldest first."""

    def __init__(self, opened: int) -> None:
        fcntl.flock(opened, fcntl.LOCK_EX)
        self._opened = opened
        written = os.pread(opened, os.fstat(opened).st_size, 0)
        # A full disk can leave an incomplete number at the end.
        self.moments = array("d", written[: len(written) // 8 * 8])

    def write(self, moments: Sequence[float]) -> None:
        # If the disk is full, other processes miss this request but still see the earlier ones.
        with suppress(OSError):
            os.ftruncate(self._opened, os.pwrite(self._opened, array("d", moments).tobytes(), 0))


@contextmanager
def _opened(path: Path | None) -> Iterator[_Ledger | None]:
    """Open the ledger; None if there is no path or the file cannot be opened."""
    with ExitStack() as stack:
        ledger = None
        if path is not None:
            with suppress(OSError):
                opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, opened)
                ledger = _Ledger(opened)
        yield ledger


def _within_the_minute(spent: Sequence[float], now: float) -> list[float]:
    """Return the times of the last minute; drop future ones, written before a machine restart."""
    return [moment for moment in spent if now - WINDOW_SECONDS < moment <= now]
