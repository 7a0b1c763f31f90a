"""Trouble on demand, and the journal of what was asked: what tests and demos steer and read.

Belongs here: which of the next requests go wrong, and the records of all. Does not: any rule of
the real service.
"""

import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Literal

from cp_pipeline.sandbox.answers import Answer, Trickle

RequestKind = Literal["token", "listing", "file", "control", "unknown"]
FaultKind = Literal["token", "listing", "file"]

_KINDS = ("token", "listing", "file")
_MOST_RECORDS = 1_000_000


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that reached the sandbox.

    Attributes:
        kind: which service was asked.
        method, path: as sent; the path without its query.
        status: the HTTP status of the answer; 0 where the connection was cut without one.
        at: seconds since 1970.
    """

    kind: RequestKind
    method: str
    path: str
    status: int
    at: float


class Journal:
    """The last million requests, oldest first. Thread-safe."""

    def __init__(self) -> None:
        """Starts empty."""
        self._records: deque[RequestRecord] = deque(maxlen=_MOST_RECORDS)
        self._lock = threading.Lock()

    def add(self, record: RequestRecord) -> None:
        """Writes one request down."""
        with self._lock:
            self._records.append(record)

    def snapshot(self) -> list[RequestRecord]:
        """What was written down so far."""
        with self._lock:
            return list(self._records)

    def forget(self) -> None:
        """Empties the journal."""
        with self._lock:
            self._records.clear()


class Faults:
    """The faults that wait for their request, first asked for first had. Thread-safe."""

    def __init__(self) -> None:
        """Starts without any."""
        self._answers: dict[str, deque[Answer]] = defaultdict(deque)
        self._cuts = 0
        self._corruptions = 0
        self._chunked = 0
        self._trickles: dict[str, deque[Trickle]] = defaultdict(deque)
        self._lock = threading.Lock()

    def add(self, kind: FaultKind, answer: Answer, times: int) -> None:
        """The next `times` requests of the kind get this answer, whatever they ask.

        Raises:
            ValueError: no such kind.
        """
        _check(kind)
        with self._lock:
            self._answers[kind].extend([answer] * times)

    def add_trickles(self, kind: FaultKind, trickle: Trickle, times: int) -> None:
        """The next `times` requests of the kind are answered as slowly as that.

        Raises:
            ValueError: no such kind.
        """
        _check(kind)
        with self._lock:
            self._trickles[kind].extend([trickle] * times)

    def add_cuts(self, times: int) -> None:
        """The next `times` good answers of the blob storage stop half way."""
        with self._lock:
            self._cuts += times

    def add_corruptions(self, times: int) -> None:
        """The next `times` good answers of the blob storage have one byte changed."""
        with self._lock:
            self._corruptions += times

    def add_chunked(self, times: int) -> None:
        """The next `times` good answers of the blob storage come in chunks."""
        with self._lock:
            self._chunked += times

    def take(self, kind: RequestKind) -> Answer | None:
        """The fault for a request of the kind, which uses it up; None if there is none."""
        with self._lock:
            waiting = self._answers.get(kind)
            return waiting.popleft() if waiting else None

    def take_cut(self) -> bool:
        """Whether this good answer is to stop half way, which uses that up."""
        with self._lock:
            due = self._cuts > 0
            self._cuts -= due
            return due

    def take_corruption(self) -> bool:
        """Whether this good answer is to have a byte changed, which uses that up."""
        with self._lock:
            due = self._corruptions > 0
            self._corruptions -= due
            return due

    def take_chunked(self) -> bool:
        """Whether this good answer is to come in chunks, which uses that up."""
        with self._lock:
            due = self._chunked > 0
            self._chunked -= due
            return due

    def take_trickle(self, kind: RequestKind) -> Trickle | None:
        """How slowly to answer a request of the kind, which uses that up; None for at once."""
        with self._lock:
            waiting = self._trickles.get(kind)
            return waiting.popleft() if waiting else None


def _check(kind: FaultKind) -> None:
    if kind not in _KINDS:
        raise ValueError(f"kind is one of {', '.join(_KINDS)}, not {kind!r}.")
