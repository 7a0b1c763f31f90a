"""Carrying out a plan for many partitions at once.

Belongs here: downloads on threads, loads in batches, a result for each partition as it is done.
Does not belong: one partition's files (``fetching``), the load itself (``warehouse``).

Three things go on at the same time: threads download and decode, one thread loads, and whoever
takes the results (Dagster writing its records) works meanwhile. What waits between them is
bounded, so memory does not grow with the number of partitions.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from cp_pipeline.centrepoint import CentrePoint, ServiceError
from cp_pipeline.exports import Partition
from cp_pipeline.ingest.fetching import Fetching, explain
from cp_pipeline.ingest.plan import Plan
from cp_pipeline.ingest.results import PartitionFailed, PartitionLoaded, PartitionResult
from cp_pipeline.landing import Landing
from cp_pipeline.warehouse import ExportToLoad, FailedExport, Loader, Workbench, record_failures

BATCH_EXPORTS = 256
BATCH_CSV_BYTES = 64 << 20
PARTITIONS_AHEAD = 512

Fetched = list[ExportToLoad] | PartitionFailed


@dataclass(slots=True)
class _Batch:
    """Fetched partitions that wait for their load."""

    exports: dict[Partition, list[ExportToLoad]] = field(default_factory=dict)
    failures: list[PartitionFailed] = field(default_factory=list)
    export_count: int = 0
    csv_bytes: int = 0

    def add(self, partition: Partition, fetched: Fetched) -> None:
        if isinstance(fetched, PartitionFailed):
            self.failures.append(fetched)
            return
        self.exports[partition] = fetched
        self.export_count += len(fetched)
        self.csv_bytes += sum(export.text.csv_bytes for export in fetched)

    @property
    def is_full(self) -> bool:
        return self.export_count >= BATCH_EXPORTS or self.csv_bytes >= BATCH_CSV_BYTES

    @property
    def is_empty(self) -> bool:
        return not self.exports and not self.failures


def carry_out(
    plan: Plan,
    *,
    centrepoint: CentrePoint,
    landing: Landing,
    workbench: Workbench,
    run_id: str = "",
    refresh: bool = False,
) -> Iterator[PartitionResult]:
    """Download, check and load all partitions of a plan; yields each as soon as it is done.

    Raises:
        ServiceError: CentrePoint failed as a whole; what had arrived is loaded and yielded first.
        WarehouseError: the warehouse cannot be used; all that was downloaded is kept.
    """
    with landing.workspace() as aside:
        work = _Work(
            plan, landing, Loader(workbench, landing, aside, run_id), workbench, run_id, refresh
        )
        fetching = Fetching(centrepoint, landing, aside)
        threads = centrepoint.settings.download_threads
        with (
            ThreadPoolExecutor(threads, "download") as downloads,
            ThreadPoolExecutor(1, "load") as loads,
        ):
            try:
                yield from work.carry_out(fetching, downloads, loads)
            finally:
                downloads.shutdown(wait=True, cancel_futures=True)


class _Work:
    def __init__(
        self,
        plan: Plan,
        landing: Landing,
        loader: Loader,
        workbench: Workbench,
        run_id: str,
        refresh: bool,
    ) -> None:
        self._plan = plan
        self._landing = landing
        self._loader = loader
        self._workbench = workbench
        self._run_id = run_id
        self._refresh = refresh
        self._fault: ServiceError | None = None

    def carry_out(
        self, fetching: Fetching, downloads: ThreadPoolExecutor, loads: ThreadPoolExecutor
    ) -> Iterator[PartitionResult]:
        waiting = iter(self._plan.to_load.items())
        fetching_now: dict[Future[Fetched], Partition] = {}
        loading: Future[list[PartitionResult]] | None = None
        batch = _Batch()
        while True:
            while self._fault is None and len(fetching_now) < PARTITIONS_AHEAD:
                following = next(waiting, None)
                if following is None:
                    break
                fetching_now[downloads.submit(fetching.partition, *following)] = following[0]
            self._collect(fetching_now, batch)
            if loading is not None and loading.done():
                finished, loading = loading, None
                if not batch.is_empty:
                    # The next load starts before the results of the last are handed on.
                    loading, batch = loads.submit(self._load, batch), _Batch()
                yield from finished.result()
            elif loading is None and (batch.is_full or not fetching_now) and not batch.is_empty:
                loading, batch = loads.submit(self._load, batch), _Batch()
            elif loading is None and not fetching_now:
                break
            elif loading is None or not batch.is_full:
                pending: list[Future[Any]] = [*fetching_now, *([loading] if loading else [])]
                wait(pending, return_when=FIRST_COMPLETED)
            else:
                wait([loading])
        if self._fault is not None:
            raise self._fault

    def _collect(self, fetching_now: dict[Future[Fetched], Partition], batch: _Batch) -> None:
        """Move what has been fetched into the batch, until that is full."""
        for done in [future for future in fetching_now if future.done()]:
            if batch.is_full:
                return
            partition = fetching_now.pop(done)
            if done.cancelled():
                continue
            try:
                batch.add(partition, done.result())
            except ServiceError as error:
                self._fault = error
                for future in fetching_now:
                    future.cancel()

    def _load(self, batch: _Batch) -> list[PartitionResult]:
        """Load a batch and record its failures; runs on the one loading thread."""
        try:
            outcome = self._loader.load(batch.exports, again=self._refresh)
        finally:
            for exports in batch.exports.values():
                for export in exports:
                    export.text.discard()
        failures = list(batch.failures)
        for partition, (landed, error) in outcome.refused.items():
            export_file = next(
                each.export_file
                for each in self._plan.to_load[partition]
                if each.export_file.key == landed.key
            )
            self._landing.quarantine(landed, explain(error))
            failures.append(PartitionFailed(partition, export_file, "load", explain(error)))
        record_failures(
            self._workbench,
            [FailedExport(each.export_file, each.stage, each.error) for each in failures],
            self._run_id,
        )
        loaded = [
            PartitionLoaded(partition, tuple(loads), self._plan.kept.get(partition, ()))
            for partition, loads in outcome.loads.items()
        ]
        return [*loaded, *failures]
