"""Calls that end in time, whatever the service does.

Belongs here: running calls on other threads, and leaving them when the time is over.
Does not belong: what is called.

A request may take minutes: it waits for its turn in the budget, obeys a Retry-After, and is tried
again. A sensor's tick has no minutes: Dagster ends it after 60 s, and its cursor is lost.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from cp_pipeline.centrepoint import REQUESTS_AT_ONCE

Place = TypeVar("Place")
Answer = TypeVar("Answer")


class OutOfTime(Exception):
    """The time was over before the call had ended. Its thread ends some time later."""


class Deadline:
    """Runs calls on daemon threads until the time is over.

    The interpreter does not wait for daemon threads at its end. The connections to the service
    belong to a thread, so calls one after another use the same thread.

    Args:
        seconds: how long all calls together may take.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._first = _Worker(self)
        self._others: list[_Worker] = []

    @property
    def remaining(self) -> float:
        """The seconds that are left; at least 0."""
        return max(self._end - time.monotonic(), 0.0)

    def call(self, function: Callable[[], Answer]) -> Answer:
        """Return the function's result; let its exceptions pass.

        Raises:
            OutOfTime: the time was over before.
        """
        return self._answer(self._first.start(function))

    def call_each(
        self, function: Callable[[Place], Answer], places: Iterable[Place]
    ) -> Generator[Answer, None, None]:
        """Yield the function's results in the order of the places; a few calls run at once.

        Raises:
            OutOfTime: the time was over before.
        """
        waiting = iter(places)
        if not self._others:
            self._others = [_Worker(self) for _ in range(REQUESTS_AT_ONCE - 1)]
        running: deque[tuple[_Worker, Future[Answer]]] = deque()
        for worker, place in zip((self._first, *self._others), waiting, strict=False):
            running.append((worker, worker.start(partial(function, place))))
        while running:
            worker, future = running.popleft()
            answer = self._answer(future)
            for place in islice(waiting, 1):
                running.append((worker, worker.start(partial(function, place))))
            yield answer

    def close(self) -> None:
        """Let each thread end after the call that it is in."""
        for worker in (self._first, *self._others):
            worker.end()

    def _answer(self, future: "Future[Answer]") -> Answer:
        try:
            return future.result(self.remaining)
        except TimeoutError:
            if future.done():
                # The call itself raised it.
                raise
            raise OutOfTime from None


class _Worker:
    """A daemon thread that runs calls one after another."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="deadline", daemon=True).start()

    def start(self, function: Callable[[], Answer]) -> "Future[Answer]":
        """Run the function after those that were started before."""
        future: Future[Answer] = Future()
        self._calls.put((future, function))
        return future

    def end(self) -> None:
        """End the thread after the call that it is in."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            # A call that was waiting when the time was over is not started any more.
            if not self._deadline.remaining:
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  (raised again, on the caller's thread)
                future.set_exception(error)
