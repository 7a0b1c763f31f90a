"""Execute a plan for many partitions at once, on threads of this process.

Belongs here: downloading on threads, loading in batches, yielding the result of each partition as
soon as it is done. Does not belong: one partition's files (``fetching``), a batch (``batches``),
the load itself (``warehouse``), another process (``subprocess_executor``).

Three kinds of threads work at the same time: threads that download and decode, one that loads, and
the caller's, which takes the results and logs Dagster's events. The queues between them are bounded
in number and in bytes, so memory does not grow with the number of partitions.
"""

import math
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Self

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
from cp_pipeline.ingest.timings import Activity
from cp_pipeline.warehouse import Loader

PARTITIONS_AHEAD = 1024
# After this time, load a batch even if it is small.
BATCH_SECONDS = 5.0
_BATCHES_AHEAD = 2
_CSV_BYTES_AHEAD = 2 * BATCH_CSV_BYTES
# A server may be silent for a minute. A download that has not ended after this time is left alone.
_SECONDS_TO_END = 2.0


class ThreadExecutor:
    """An executor on threads: a context manager, and an iterator of the result of each partition.

    Entering it starts the downloads and stages a first batch. ``begin`` or the first iteration
    allows the commits. So a caller that logs events has time to get ready, and if that fails,
    nothing is loaded without an event.

    Args:
        rooms: has the settings of the service, and adds up the seconds.
        plan: the plan to execute.
        fetching: fetches one partition.
        loader: loads a batch of partitions.
    """

    def __init__(self, rooms: Rooms, plan: Plan, fetching: Fetching, loader: BatchLoader) -> None:
        self._plan = plan
        self._iterated = False
        self._waiting = iter(plan.to_load.items())
        self._fetching = fetching
        self._loader = loader
        self._time_spent = rooms.timings
        threads = rooms.centrepoint.settings.download_threads
        self._downloads = ThreadPoolExecutor(threads, "download")
        self._downloading: set[Future[Fetched]] = set()
        self._loads = ThreadPoolExecutor(1, "load")
        self._loading: Future[None] | None = None
        # Whether the caller is ready for the results. `_decided`: it is ready, or will never be.
        self._wanted = False
        self._decided = threading.Event()
        self._room = _Room(_CSV_BYTES_AHEAD)
        self._under_way = 0
        # None wakes the loading thread, so that it checks whether to stop.
        self._arrived: queue.SimpleQueue[tuple[Partition, Future[Fetched]] | None]
        self._arrived = queue.SimpleQueue()
        # None means that no more results will follow, for any reason.
        self._done: queue.Queue[list[PartitionResult] | None] = queue.Queue(_BATCHES_AHEAD)
        self._stop = threading.Event()
        self._fault: ServiceError | None = None

    def __enter__(self) -> Self:
        """Start the downloads, and prepare a first batch."""
        self._loading = self._loads.submit(self._load_all)
        self._loading.add_done_callback(lambda _: self._hand_on(None))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all threads; a batch that is being loaded is completed.

        A download that waits for a silent server ends by itself later. Its file is not kept,
        because its scratch folder is gone by then.
        """
        self._end()
        # So that all downloads can end.
        self._room.leave(math.inf)
        self._downloads.shutdown(wait=False, cancel_futures=True)
        self._loads.shutdown(wait=True)
        late = wait(self._downloading.copy(), _SECONDS_TO_END).not_done
        self._downloads.shutdown(wait=not late)

    def _end(self) -> None:
        self._stop.set()
        self._decided.set()
        self._arrived.put(None)

    def begin(self) -> None:
        """Allow commits: the caller is ready for the results."""
        self._wanted = True
        self._decided.set()

    def stop(self) -> None:
        """Stop yielding results, from any thread; a batch that is being loaded is completed."""
        self._end()
        # If the queue is full, the iterator wakes up without this.
        with suppress(queue.Full):
            self._done.put_nowait(None)

    def __iter__(self) -> Iterator[PartitionResult]:
        """Load, and yield each partition as soon as it is done. Only one iteration is possible.

        Raises:
            ServiceError: CentrePoint failed as a whole; partitions already fetched are loaded and
                yielded.
            WarehouseError: the warehouse cannot be used; all downloads are kept.
            Unaccounted: a planned partition was neither loaded nor failed.
            RuntimeError: called outside the with block, or a second time.
        """
        if self._loading is None:
            raise RuntimeError("iterate over the results inside the with block")
        if self._iterated:
            raise RuntimeError("iterate over the results of a plan only once")
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
        """Run the loading thread: load batches of what has arrived until nothing is left."""
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
        """Wait until the caller is ready for the results.

        Raises:
            _Unwanted: the caller has left the with block.
        """
        if not self._wanted:
            with self._time_spent.on(Activity.LOAD, sign=-1):
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
            self._downloading.add(future)
            future.add_done_callback(partial(self._has_arrived, partition))

    def _has_arrived(self, partition: Partition, future: "Future[Fetched]") -> None:
        self._downloading.discard(future)
        self._arrived.put((partition, future))

    def _fetch(self, partition: Partition, planned: Sequence[PlannedExport]) -> Fetched:
        """Fetch one partition on a download thread, as soon as memory is free for it."""
        self._room.wait()
        fetched = self._fetching.partition(partition, planned)
        self._room.enter(csv_bytes(fetched))
        return fetched

    def _next_batch(self) -> Batch:
        """Collect what arrives until the batch is full or has waited for ``BATCH_SECONDS``."""
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
            # Stop the downloads; load what has already arrived.
            self._fault = error
            self._downloads.shutdown(wait=False, cancel_futures=True)

    def _hand_on(self, results: list[PartitionResult] | None) -> None:
        """Pass results to the iterator; stop waiting when it has ended."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._done.put(results, timeout=0.2)
                return


class _Unwanted(BaseException):
    """The caller left the with block before it was ready for the results.

    Not an ``Exception``, because it is no error of the batch.
    """


class _Room:
    """A limit on the bytes of text that wait to be loaded; downloads wait while it is reached."""

    def __init__(self, byte_count: int) -> None:
        self._free: float = byte_count
        self._changed = threading.Condition()

    def wait(self) -> None:
        """Wait until the limit is not reached. The size of a text is known only afterwards."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0)

    def enter(self, byte_count: int) -> None:
        """Count the bytes of a text that has arrived."""
        with self._changed:
            self._free -= byte_count

    def leave(self, byte_count: float) -> None:
        """Subtract bytes that have been loaded; after infinitely many, no download waits."""
        with self._changed:
            self._free += byte_count
            self._changed.notify_all()


@contextmanager
def thread_executor(rooms: Rooms, survey: Survey, run_id: str) -> Iterator[ThreadExecutor]:
    """Open an executor in this process.

    Args:
        rooms: the service, the landing and the warehouse.
        survey: has the plan.
        run_id: the Dagster run, for lineage.
    """
    with rooms.landing.scratch_folder() as scratch:
        restore = MissingFiles(rooms, scratch).restore
        loader = Loader(rooms.warehouse, rooms.landing, scratch, run_id, restore)
        loads = BatchLoader(rooms, survey, loader, run_id)
        with ThreadExecutor(rooms, survey.plan, Fetching(rooms, scratch), loads) as executor:
            yield executor
