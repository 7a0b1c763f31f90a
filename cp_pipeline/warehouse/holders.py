"""Waiting for another process that holds the warehouse, and saying which one it is.

Belongs here: DuckDB's message about a lock, and the pauses. Does not belong: attaching
(``connection``).
"""

import logging
import re
import time

from cp_pipeline.warehouse.errors import WarehouseBusy, WarehouseUnreadable

_LONGEST_PAUSE_SECONDS = 2.0
_HOLDER = re.compile(r"held in (?P<program>.*?)\s*\(PID (?P<process>\d+)\)")
# Match "lock" as a word, because DuckDB's message for a damaged file has the word "block".
_IS_LOCKED = re.compile(r"\block(ed)?\b", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Wait:
    """Pauses between attempts to open the warehouse, which get longer.

    Args:
        location: the warehouse, for messages.
        seconds: how long to wait in total, for messages.
        deadline: when to stop, as ``time.monotonic`` tells it.
    """

    def __init__(self, location: str, seconds: float, deadline: float) -> None:
        self._location = location
        self._seconds = seconds
        self._deadline = deadline
        self._pause = 0.05
        self._said = False

    def for_holder(self, message: str) -> None:
        """Sleep before the next attempt, if DuckDB's message says that another process holds it.

        Raises:
            WarehouseBusy: the time is over.
            WarehouseUnreadable: the message says something else.
        """
        if not _IS_LOCKED.search(message):
            raise WarehouseUnreadable(
                f"The warehouse {self._location} cannot be opened: {message.splitlines()[0]}.",
                "It is unchanged. Check CP_WAREHOUSE and the DuckDB version.",
            )
        if time.monotonic() > self._deadline:
            raise WarehouseBusy(
                f"The warehouse {self._location} is held by {holder(message)}; "
                f"waited {self._seconds:.0f} s.",
                "End that process, or run this again later. All downloads are kept.",
            )
        if not self._said:
            _log.warning(
                "waiting for the warehouse %s: held by %s", self._location, holder(message)
            )
            self._said = True
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_SECONDS)


def holder(message: str) -> str:
    """Return who holds a file, from DuckDB's message: ``process 4711 (/usr/bin/duckdb)``."""
    match = _HOLDER.search(message)
    if match is None:
        return "another process"
    return f"process {match['process']} ({match['program']})"
