"""The time that a run spends on each activity.

Belongs here: adding up seconds by activity, from many threads.
Does not belong: showing them (``pipeline``, ``cli``).
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Activity(StrEnum):
    """The activities of a run.

    ``download`` and ``decode`` run on several threads, and their seconds are the sum over all
    threads. ``download`` includes the time to write the file to the landing.
    """

    LISTING = "listing"
    DOWNLOAD = "download"
    DECODE = "decode"
    LOAD = "load"
    RECORDS = "records"


class Timings:
    """The seconds by activity. Safe to use from many threads."""

    def __init__(self) -> None:
        self._seconds: dict[Activity, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def on(self, activity: Activity, sign: int = 1) -> Iterator[None]:
        """Count the seconds of the block, even if it raises an error.

        Args:
            activity: what the block does.
            sign: -1 to subtract the seconds, inside a block that counts them.
        """
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[activity] += sign * (time.perf_counter() - started)

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds that another process counted."""
        with self._lock:
            for activity in Activity:
                self._seconds[activity] += seconds[activity.value]

    def seconds(self) -> dict[str, float]:
        """Return all activities with their seconds so far."""
        with self._lock:
            return {activity.value: round(self._seconds[activity], 3) for activity in Activity}
