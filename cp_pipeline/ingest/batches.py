"""Batches of fetched partitions, and loading a batch.

Belongs here: when a batch is full, and the result of each of its partitions.
Does not belong: threads (``executor``), the transaction (``warehouse``).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.fetching import Fetched, explain
from cp_pipeline.ingest.partition_results import PartitionFailed, PartitionLoaded, PartitionResult
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.survey import Survey
from cp_pipeline.landing import (
    ExportRefused,
    LandedFile,
    LandingUnusable,
    erase_files,
)
from cp_pipeline.warehouse import (
    BatchResult,
    ExportToLoad,
    FailedExport,
    FileRefused,
    Loader,
    SubjectErased,
    WarehouseBusy,
    WarehouseUnreadable,
    record_failures,
)

BATCH_EXPORTS = 512
BATCH_CSV_BYTES = 64 << 20
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """Fetched partitions that wait to be loaded, and partitions that could not be fetched."""

    exports: dict[Partition, list[ExportToLoad]] = field(default_factory=dict)
    failures: list[PartitionFailed] = field(default_factory=list)
    export_count: int = 0
    csv_bytes: int = 0

    def add(self, partition: Partition, fetched: Fetched) -> None:
        """Add exports of a partition, or that it failed."""
        if isinstance(fetched, PartitionFailed):
            self.failures.append(fetched)
            return
        self.exports.setdefault(partition, []).extend(fetched)
        self.export_count += len(fetched)
        self.csv_bytes += csv_bytes(fetched)

    @property
    def is_full(self) -> bool:
        """Whether the number of exports or their size is enough for a transaction."""
        return self.export_count >= BATCH_EXPORTS or self.csv_bytes >= BATCH_CSV_BYTES

    @property
    def is_empty(self) -> bool:
        """Whether it has no exports and no failures."""
        return not self.exports and not self.failures


@dataclass(frozen=True, slots=True)
class BatchLoader:
    """Load the batches of one plan, and record the failures.

    Args:
        rooms: the landing quarantines refused files; the warehouse has the failures.
        survey: its plan has the export of each refused file, and the kept loads of each partition.
        loader: loads into the warehouse.
        run_id: the Dagster run, for lineage.
    """

    rooms: Rooms
    survey: Survey
    loader: Loader
    run_id: str

    def load(self, batch: Batch, ready: Callable[[], None]) -> list[PartitionResult]:
        """Load a batch in one transaction.

        Args:
            batch: the partitions to load.
            ready: called before the commit; its exceptions are passed on.

        Raises:
            WarehouseError: the warehouse cannot be used; nothing of the batch is loaded.
        """
        again = self.survey.request.refresh
        try:
            outcome = load_in_halves(self.loader, batch.exports, ready, again=again)
        finally:
            for export in chain.from_iterable(batch.exports.values()):
                export.text.discard()
        failures = list(batch.failures)
        for partition, (landed, error) in outcome.refused.items():
            failures.append(self._refused(partition, landed, error))
        record_failures(
            self.rooms.warehouse,
            [FailedExport(each.export_file, each.stage, each.error) for each in failures],
            self.run_id,
        )
        plan = self.survey.plan
        loaded = [
            PartitionLoaded(partition, tuple(loads), plan.kept.get(partition, ()))
            for partition, loads in outcome.loads.items()
        ]
        return [*loaded, *failures]

    def _refused(
        self, partition: Partition, landed: LandedFile, error: Exception
    ) -> PartitionFailed:
        export_file = next(
            each.export_file
            for each in self.survey.plan.to_load[partition]
            if each.export_file.key == landed.key
        )
        if isinstance(error, SubjectErased):
            # Keep nothing of an erased subject, not even a file name.
            erase_files(self.rooms.landing, partition.subject_id)
            export_file = replace(export_file, file_name="(erased)")
        elif isinstance(error, ExportRefused | FileRefused):
            landing = self.rooms.landing
            with landing.scratch_folder() as scratch:
                landing.quarantine(landed, explain(error), scratch)
        return PartitionFailed(partition, export_file, "load", explain(error))


def load_in_halves(
    loader: Loader,
    exports: Mapping[Partition, Sequence[ExportToLoad]],
    ready: Callable[[], None] = lambda: None,
    *,
    again: bool,
    apart: bool = False,
) -> BatchResult:
    """Load partitions; if this fails with an unexpected error, load them in halves.

    So only the partition at fault is refused.

    Args:
        loader: loads into the warehouse.
        exports: the exports of each partition.
        ready: see ``Loader.load``.
        again: also load versions that are already loaded.
        apart: whether the exports of one partition may be loaded separately.

    Raises:
        WarehouseBusy, WarehouseUnreadable, LandingUnusable: warehouse or landing cannot be used.
    """
    try:
        return loader.load(exports, ready, again=again)
    except (WarehouseBusy, WarehouseUnreadable, LandingUnusable):
        raise
    except Exception as error:  # noqa: BLE001  (any error fails only its part)
        parts = _parts(exports, apart=apart)
        if len(parts) == 1:
            ((partition, some),) = exports.items()
            return BatchResult(refused={partition: (_at_fault(loader, some), error)})
        number = sum(map(len, exports.values()))
        _log.info("%s cannot be loaded: %s; trying parts", count(number, "export"), explain(error))
    outcome = BatchResult()
    for part in parts:
        done = load_in_halves(loader, part, ready, again=again, apart=apart)
        for partition, loads in done.loads.items():
            outcome.loads.setdefault(partition, []).extend(loads)
        outcome.refused |= done.refused
    return outcome


def _parts(
    exports: Mapping[Partition, Sequence[ExportToLoad]], *, apart: bool
) -> list[dict[Partition, Sequence[ExportToLoad]]]:
    """Split partitions into halves; split a single partition into its exports if ``apart``."""
    items = list(exports.items())
    if len(items) > 1:
        return [dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])]
    ((partition, some),) = items
    return [{partition: [export]} for export in some] if apart else [{partition: some}]


def _at_fault(loader: Loader, exports: Sequence[ExportToLoad]) -> LandedFile:
    """Return the export of a refused partition that cannot be read alone, or the first export."""
    if len(exports) > 1:
        for export in exports:
            if not loader.can_be_read(export):
                return export.landed
    return exports[0].landed


def csv_bytes(fetched: Fetched) -> int:
    """Return the bytes of CSV text that wait to be loaded."""
    if isinstance(fetched, PartitionFailed):
        return 0
    return sum(export.text.csv_bytes for export in fetched)
