"""Where the time of a run went.

Belongs here: adding up seconds by activity, from many threads.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Activity(StrEnum):
    """What a run spends its time on.

    ``download`` and ``decode`` go on in several threads, and their seconds are those of all of
    them together; ``download`` holds what landing a file takes.
    """

    LISTING = "listing"
    DOWNLOAD = "download"
    DECODE = "decode"
    LOAD = "load"
    RECORDS = "records"


class Timings:
    """Seconds by activity. Used from many threads."""

    def __init__(self) -> None:
        self._seconds: dict[Activity, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def on(self, activity: Activity) -> Iterator[None]:
        """Count the seconds of the block, also if it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[activity] += time.perf_counter() - started

    @contextmanager
    def not_on(self, activity: Activity) -> Iterator[None]:
        """Leave out the seconds of the block, which is inside one that counts them."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[activity] -= time.perf_counter() - started

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count seconds by activity that another process has counted."""
        with self._lock:
            for activity in Activity:
                self._seconds[activity] += seconds[activity.value]

    def seconds(self) -> dict[str, float]:
        """All activities with their seconds so far."""
        with self._lock:
            return {activity.value: round(self._seconds[activity], 3) for activity in Activity}
