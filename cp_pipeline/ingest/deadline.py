"""Calls that end in time, whatever the service does.

Belongs here: running calls on another thread, and leaving it when the time is over.
Does not belong: what is called.

A request may take minutes: it waits for its turn in the budget, obeys a Retry-After, and is tried
again. A sensor's tick has no minutes: Dagster ends it after 60 s, and its cursor is lost.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Answer = TypeVar("Answer")
_Job = Callable[[], None]


class OutOfTime(Exception):
    """The time was over before the call had ended. Its thread ends some time later."""


class Deadline:
    """Runs calls, one after another, on one daemon thread, until the time is over.

    One thread, because the connections to the service belong to a thread. The interpreter does not
    wait for it at its end.

    Args:
        seconds: how long all calls together may take.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=self._work, name="deadline", daemon=True).start()

    @property
    def remaining(self) -> float:
        """The seconds that are left; at least 0."""
        return max(self._end - time.monotonic(), 0.0)

    def call(self, function: Callable[[], Answer]) -> Answer:
        """Return the function's result; let its exceptions pass.

        Raises:
            OutOfTime: the time was over before.
        """
        answers: list[Answer] = []
        errors: list[BaseException] = []
        is_done = threading.Event()

        def job() -> None:
            try:
                answers.append(function())
            except BaseException as error:  # noqa: BLE001  (raised again, on the caller's thread)
                errors.append(error)
            is_done.set()

        self._jobs.put(job)
        if not is_done.wait(self.remaining):
            raise OutOfTime
        if errors:
            raise errors[0]
        return answers[0]

    def close(self) -> None:
        """Let the thread end after the call that it is in."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            # A call that was waiting when the time was over is not started any more.
            if self.remaining:
                job()
