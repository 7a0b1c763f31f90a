"""Executes a plan for many partitions at once, on threads of this process.

Belongs here: downloads on threads, loads in batches, a result for each partition as it is done.
Does not belong: one partition's files (``fetching``), a batch (``batches``), the load itself
(``warehouse``), another process (``subprocess_executor``).

Three things go on at the same time: threads download and decode, one thread loads, and whoever
takes the results (Dagster writing its records) works meanwhile. What waits between them is
bounded, in number and in bytes, so memory does not grow with the number of partitions.
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol, Self

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest.account import Account
from cp_pipeline.ingest.batches import BATCH_CSV_BYTES, Batch, BatchLoader, csv_bytes
from cp_pipeline.ingest.fetching import Fetched, Fetching
from cp_pipeline.ingest.missing_files import MissingFiles
from cp_pipeline.ingest.partition_results import PartitionResult
from cp_pipeline.ingest.plan import Plan, PlannedExport
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.survey import Survey
from cp_pipeline.ingest.timings import Activity, Timings
from cp_pipeline.warehouse import Loader

PARTITIONS_AHEAD = 1024
# A load is worth its transaction after so long, however little there is of it.
BATCH_SECONDS = 5.0
_BATCHES_AHEAD = 2
_CSV_BYTES_AHEAD = 2 * BATCH_CSV_BYTES


class Executor(Protocol):
    """Executes one plan: an iterator of what became of each partition, inside a ``with`` block.

    On entering the block, downloads begin. Nothing is committed before ``begin``, or before
    somebody iterates.
    """

    def begin(self) -> None:
        """Let loads be committed: somebody is ready for their results."""

    def __iter__(self) -> Iterator[PartitionResult]:
        """Load, and yield each partition as soon as it is done; once."""


class ThreadExecutor:
    """A plan on its way: a context manager, and an iterator of what became of each partition.

    On entering, downloads begin, and a first batch is read and typed. It is committed, and others
    follow, with ``begin`` or the first read of the results: so whoever keeps records of them has
    the time to get ready, and nothing is loaded without a record where that fails.

    Args:
        plan: what to load.
        fetching: brings one partition.
        loader: loads a batch of them.
        threads: how many download at once.
        timings: where the seconds are added up.
    """

    def __init__(
        self,
        plan: Plan,
        fetching: Fetching,
        loader: BatchLoader,
        *,
        threads: int,
        timings: Timings,
    ) -> None:
        self._plan = plan
        self._iterated = False
        self._waiting = iter(plan.to_load.items())
        self._fetching = fetching
        self._loader = loader
        self._time_spent = timings
        self._downloads = ThreadPoolExecutor(threads, "download")
        self._loads = ThreadPoolExecutor(1, "load")
        self._loading: Future[None] | None = None
        # Whether somebody is ready for the results; decided when that is so, or never will be.
        self._wanted = False
        self._decided = threading.Event()
        self._room = _Room(_CSV_BYTES_AHEAD)
        self._under_way = 0
        # None wakes the loading thread up to see that it should stop.
        self._arrived: queue.SimpleQueue[tuple[Partition, Future[Fetched]] | None]
        self._arrived = queue.SimpleQueue()
        # None says that no more will come, whatever the reason.
        self._done: queue.Queue[list[PartitionResult] | None] = queue.Queue(_BATCHES_AHEAD)
        self._stop = threading.Event()
        self._fault: ServiceError | None = None

    def __enter__(self) -> Self:
        """Begin to download, and to get a first batch ready."""
        self._loading = self._loads.submit(self._load_all)
        self._loading.add_done_callback(lambda _: self._hand_on(None))
        return self

    def __exit__(self, *_: object) -> None:
        """End all threads; what is being loaded is loaded to its end."""
        self._end()
        self._room.open_for_good()
        self._downloads.shutdown(wait=True, cancel_futures=True)
        self._loads.shutdown(wait=True)

    def _end(self) -> None:
        self._stop.set()
        self._decided.set()
        self._arrived.put(None)

    def begin(self) -> None:
        """Let loads be committed: somebody is ready for their results."""
        self._wanted = True
        self._decided.set()

    def stop(self) -> None:
        """Yield no more, on whatever thread that is; what is being loaded is loaded to its end."""
        self._end()
        # Where there is no room for it, the iterator has something to wake up by.
        with suppress(queue.Full):
            self._done.put_nowait(None)

    def __iter__(self) -> Iterator[PartitionResult]:
        """Load, and yield each partition as soon as it is done; once.

        Raises:
            ServiceError: CentrePoint failed as a whole; what had arrived is loaded and yielded.
            WarehouseError: the warehouse cannot be used; all that was downloaded is kept.
            Unaccounted: a planned partition was neither loaded nor failed.
            RuntimeError: outside the with block, or for a second time.
        """
        if self._loading is None:
            raise RuntimeError("results are to be had inside the with block")
        if self._iterated:
            raise RuntimeError("the results of a plan can be had once")
        self._iterated = True
        self.begin()
        account = Account(self._plan)
        try:
            while not self._stop.is_set() and (some := self._done.get()) is not None:
                for result in some:
                    account.saw(result)
                    yield result
            if not self._stop.is_set():
                self._loading.result()
                account.close()
        finally:
            self._end()

    def _load_all(self) -> None:
        """The loading thread: a batch of what has arrived, as long as anything comes."""
        self._ask_for_more()
        while self._under_way and not self._stop.is_set():
            batch = self._next_batch()
            if not batch.is_empty and not self._stop.is_set():
                with self._time_spent.on(Activity.LOAD):
                    results = self._loader.load(batch, self._until_wanted)
                self._room.leave(batch.csv_bytes)
                self._hand_on(results)
        if self._fault is not None:
            raise self._fault

    def _until_wanted(self) -> None:
        """Wait until somebody is ready for the results.

        Raises:
            _Unwanted: nobody will be.
        """
        if not self._wanted:
            with self._time_spent.not_on(Activity.LOAD):
                self._decided.wait()
        if not self._wanted:
            raise _Unwanted

    def _ask_for_more(self) -> None:
        while self._fault is None and self._under_way < PARTITIONS_AHEAD:
            following = next(self._waiting, None)
            if following is None:
                return
            partition, planned = following
            self._under_way += 1
            future = self._downloads.submit(self._fetch, partition, planned)
            future.add_done_callback(partial(self._has_arrived, partition))

    def _has_arrived(self, partition: Partition, future: "Future[Fetched]") -> None:
        self._arrived.put((partition, future))

    def _fetch(self, partition: Partition, planned: Sequence[PlannedExport]) -> Fetched:
        """On a download thread: one partition, once there is room for it."""
        self._room.wait()
        fetched = self._fetching.partition(partition, planned)
        self._room.enter(csv_bytes(fetched))
        return fetched

    def _next_batch(self) -> Batch:
        """Gather what arrives until it is enough, or has waited long enough."""
        batch = Batch()
        deadline: float | None = None
        while self._under_way and not batch.is_full:
            pause = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                arrival = self._arrived.get(timeout=pause)
            except queue.Empty:
                break
            if arrival is None:
                break
            self._under_way -= 1
            self._take(batch, *arrival)
            self._ask_for_more()
            if deadline is None and not batch.is_empty:
                deadline = time.monotonic() + BATCH_SECONDS
        return batch

    def _take(self, batch: Batch, partition: Partition, future: "Future[Fetched]") -> None:
        if future.cancelled():
            return
        try:
            batch.add(partition, future.result())
        except ServiceError as error:
            # No use in asking for more; what has arrived is loaded all the same.
            self._fault = error
            self._downloads.shutdown(wait=False, cancel_futures=True)

    def _hand_on(self, results: list[PartitionResult] | None) -> None:
        """Give results to the iterator; do not wait if it was closed."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._done.put(results, timeout=0.2)
                return


class _Unwanted(BaseException):
    """The iterator was closed before anything was to be committed.

    No ``Exception``: it is nothing that went wrong with what was to be loaded.
    """


class _Room:
    """Room for so many bytes of text that wait for their load; downloads wait while it is full."""

    def __init__(self, byte_count: int) -> None:
        self._free = byte_count
        self._changed = threading.Condition()
        self._open = False

    def wait(self) -> None:
        """Wait until there is room at all: how large a text is, is known afterwards."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0 or self._open)

    def enter(self, byte_count: int) -> None:
        """A text of so many bytes has come."""
        with self._changed:
            self._free -= byte_count

    def leave(self, byte_count: int) -> None:
        """So many bytes have been loaded."""
        with self._changed:
            self._free += byte_count
            self._changed.notify_all()

    def open_for_good(self) -> None:
        """Let everybody through, at the end."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


@contextmanager
def thread_executor(rooms: Rooms, survey: Survey, run_id: str) -> Iterator[ThreadExecutor]:
    """An executor of this process.

    Args:
        rooms: what it works with.
        survey: has the plan.
        run_id: the Dagster run, for lineage.
    """
    plan = survey.plan
    with rooms.landing.scratch_folder() as scratch:
        fetching = Fetching(
            rooms.centrepoint,
            rooms.landing,
            scratch,
            rooms.timings,
            rooms.storage.largest_csv_bytes,
        )
        restore = MissingFiles(rooms.centrepoint, rooms.landing, scratch).restore
        loader = BatchLoader(
            plan,
            rooms.landing,
            Loader(rooms.warehouse, rooms.landing, scratch, run_id, restore),
            rooms.warehouse,
            run_id,
            refresh=survey.request.refresh,
        )
        with ThreadExecutor(
            plan,
            fetching,
            loader,
            threads=rooms.centrepoint.settings.download_threads,
            timings=rooms.timings,
        ) as executor:
            yield executor
