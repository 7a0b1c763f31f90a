"""The minute's budget of requests, shared by all threads (API.md, "Limits").

Belongs here: counting and waiting. Does not belong: what a request is.
"""

import logging
import threading
import time
from collections import deque

WINDOW_SECONDS = 60.0
_log = logging.getLogger(__name__)


class RequestBudget:
    """At most ``per_minute`` requests in any 60 seconds; whoever comes too early waits.

    The service counts 500 for all processes of an address together; ours is lower by default, so
    that a second process has room, and a 429 is obeyed all the same.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._spent: deque[float] = deque()
        self._lock = threading.Lock()

    def spend(self) -> None:
        """Take one request from the budget, waiting until there is one."""
        while (pause := self._try_to_spend()) > 0:
            if pause > 1:
                _log.info("waiting %.0f s: %d requests a minute", pause, self._per_minute)
            time.sleep(pause)

    def _try_to_spend(self) -> float:
        with self._lock:
            now = time.monotonic()
            while self._spent and self._spent[0] <= now - WINDOW_SECONDS:
                self._spent.popleft()
            if len(self._spent) < self._per_minute:
                self._spent.append(now)
                return 0.0
            return self._spent[0] + WINDOW_SECONDS - now
