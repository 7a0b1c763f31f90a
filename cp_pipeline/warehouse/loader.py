"""Load many partitions in one transaction.

Belongs here: staging a batch before the transaction, and staging it again if a column widened or
another process changed the warehouse.
Does not belong: what to load (``ingest``), the statements of the transaction
(``load_transaction``).

A partition is loaded completely or not at all. A batch of partitions is one transaction.
"""

import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb

from cp_pipeline.domain.exports import Partition
from cp_pipeline.landing import Landing
from cp_pipeline.warehouse.batch import Batch, BatchResult, ExportToLoad, NumberedExports
from cp_pipeline.warehouse.batch_staging import BatchStaging, first_line
from cp_pipeline.warehouse.column_types import Column
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import read_all_columns, read_columns
from cp_pipeline.warehouse.errors import FileRefused, LoadRefused, NotEnoughMemory, SubjectErased
from cp_pipeline.warehouse.lake import TurnLost
from cp_pipeline.warehouse.lineage import read_erased
from cp_pipeline.warehouse.load_transaction import Commit
from cp_pipeline.warehouse.profile import Profile, profiles
from cp_pipeline.warehouse.staging import Staged
from cp_pipeline.warehouse.widening import (
    HistoricLoad,
    LandedFileGone,
    Rebuild,
    must_widen,
    read_loads,
    rebuild,
)

# Only where writers of a DuckLake do not wait for each other (``lake``).
_MOST_TURNS_LOST = 1000


class _StagedOnOldColumns(Exception):
    """Another process changed columns or erased a subject, so the batch must be staged again."""


class Loader:
    """Load batches into one warehouse.

    Args:
        warehouse: the warehouse; its in-memory connection stages the batches.
        landing: the landed files, which are read again to widen a column.
        scratch: a scratch folder.
        run_id: the Dagster run, for lineage; empty outside Dagster.
        restore: called to restore files that are missing from the landing, if possible.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        landing: Landing,
        scratch: Path,
        run_id: str = "",
        restore: Callable[[Sequence[HistoricLoad]], None] = lambda _: None,
    ) -> None:
        self._warehouse = warehouse
        self._landing = landing
        self._scratch = scratch
        self._run_id = run_id
        self._restore = restore
        warehouse.spill_to(scratch / "spilled")
        self._staging = BatchStaging(warehouse.connection, landing, scratch)
        self._columns: dict[str, dict[str, Column]] = {}
        self._turns_lost = 0
        # The kinds that old loads need, where these are wider than the kinds of the new files.
        self._at_least: dict[str, dict[str, Column]] = {}
        if warehouse.exists():
            with warehouse.reading() as connection:
                self._columns = read_all_columns(connection)

    def load(
        self, batch: Batch, ready: Callable[[], None] = lambda: None, *, again: bool = False
    ) -> BatchResult:
        """Load a batch; each partition is then loaded completely or refused completely.

        Args:
            batch: the exports of each partition.
            ready: called when the batch is read, typed and profiled, before the commit begins.
            again: also load executions that are already loaded (``sync --refresh``).

        Raises:
            WarehouseBusy, WarehouseUnreadable: the warehouse itself cannot be used.
            Exception: an export of the batch cannot be loaded. Nothing of the batch is loaded.
        """
        result = BatchResult()
        self._refuse_other_spellings(batch, result)
        while True:
            places = itertools.count()
            exports = {
                next(places) if export.load_id is None else export.load_id: (partition, export)
                for partition, exports in batch.items()
                if partition not in result.refused
                for export in exports
            }
            try:
                with self._warehouse.in_use:
                    staged = self._staging.stage(exports, self._known(), result)
                numbers = {n for n, (p, _) in exports.items() if p not in result.refused}
                if any(not numbers.issuperset(p.numbers) for ps in staged.values() for p in ps):
                    # A staged file is of a refused partition. Its values must not widen a column.
                    continue
                with self._warehouse.in_use:
                    looks = self._profiles(staged)
                ready()
                with self._warehouse.in_use:
                    self._commit(exports, staged, numbers, looks, result, again)
            except _StagedOnOldColumns:
                continue
            except TurnLost:
                # Look again whether its executions are loaded, and what columns there are.
                result.loads.clear()
                self._turns_lost += 1
                if self._turns_lost > _MOST_TURNS_LOST:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311  (no secret)
                continue
            except (duckdb.OutOfMemoryException, MemoryError) as error:
                raise NotEnoughMemory(first_line(error)) from None
            finally:
                with self._warehouse.in_use:
                    self._staging.drop()
            return result

    def can_be_read(self, export: ExportToLoad) -> bool:
        """Whether one export, alone, can be read, typed and profiled."""
        partition = Partition(export.landed.subject_id, export.landed.dataset_name)
        try:
            with self._warehouse.in_use:
                staged = self._staging.stage({0: (partition, export)}, self._known(), BatchResult())
                self._profiles(staged)
        except Exception:  # noqa: BLE001  (any unexpected error)
            return False
        finally:
            with self._warehouse.in_use:
                self._staging.drop()
        return True

    def _known(self) -> dict[str, dict[str, Column]]:
        return {
            name: columns | self._at_least.get(name, {}) for name, columns in self._columns.items()
        }

    def _refuse_other_spellings(self, batch: Batch, result: BatchResult) -> None:
        in_use = {name.lower(): name for name in self._columns}
        for partition, exports in batch.items():
            other = in_use.setdefault(partition.dataset_name.lower(), partition.dataset_name)
            if other != partition.dataset_name:
                refusal = FileRefused(
                    f"The data sets {other} and {partition.dataset_name} differ by case only, "
                    "and DuckDB cannot tell their tables apart.",
                    "Ask ActiGraph to rename one of them.",
                )
                result.refused[partition] = (exports[0].landed, refusal)

    def _profiles(self, staged: Mapping[str, list[Staged]]) -> dict[int, Profile]:
        looks: dict[int, Profile] = {}
        for parts in staged.values():
            for part in parts:
                looks |= profiles(self._warehouse.connection, part.table, part.columns)
        return looks

    def _commit(
        self,
        exports: NumberedExports,
        staged: Mapping[str, list[Staged]],
        numbers: set[int],
        looks: Mapping[int, Profile],
        result: BatchResult,
        again: bool,
    ) -> None:
        if not numbers:
            return
        rebuilt: dict[str, Rebuild] = {}
        while True:
            with self._warehouse.transaction() as connection:
                _refuse_erased(connection, exports, result)
                to_rebuild = self._needed_rebuilds(connection, staged, rebuilt)
                if not to_rebuild:
                    commit = Commit(connection, exports, result, self._run_id)
                    commit.execute(staged, numbers, rebuilt, looks, again)
                    for dataset_name in staged:
                        self._columns[dataset_name] = read_columns(connection, dataset_name)
                    return
            for dataset_name, (wanted, loads) in to_rebuild.items():
                made = self._rebuild(dataset_name, wanted, loads, f"rebuilt_{len(rebuilt)}")
                rebuilt[dataset_name] = made
                columns = {column.name.lower(): column for column in made.columns}
                if columns != wanted:
                    # The new files were staged with too narrow types, which lose the original text.
                    self._at_least[dataset_name] = columns
                    raise _StagedOnOldColumns

    def _rebuild(
        self, dataset_name: str, wanted: dict[str, Column], loads: list[HistoricLoad], table: str
    ) -> Rebuild:
        """Rebuild a data set's history with wider kinds; try once to restore missing landed files.

        Raises:
            LoadRefused: a file is missing and cannot be restored.
        """
        missing = self._landing.missing([load.landing_path for load in loads])
        gone = [load for load in loads if load.landing_path in missing]
        asked: set[int] = set()
        while True:
            if gone:
                self._restore(gone)
                asked |= {load.load_id for load in gone}
            try:
                return rebuild(
                    self._warehouse.connection,
                    dataset_name,
                    wanted,
                    loads,
                    self._landing,
                    self._scratch,
                    table,
                )
            except LandedFileGone as error:
                if error.load.load_id in asked:
                    raise _cannot_widen(dataset_name, error) from error
                gone = [error.load]

    def _needed_rebuilds(
        self,
        connection: duckdb.DuckDBPyConnection,
        staged: Mapping[str, list[Staged]],
        rebuilt: Mapping[str, Rebuild],
    ) -> dict[str, tuple[dict[str, Column], list[HistoricLoad]]]:
        """Return the data sets that must widen first: their columns, and all their loads.

        Raises:
            _StagedOnOldColumns: the columns changed since the batch was staged.
        """
        needed = {}
        for dataset_name, parts in staged.items():
            present = read_columns(connection, dataset_name)
            if present != self._columns.get(dataset_name, {}):
                self._columns[dataset_name] = present
                raise _StagedOnOldColumns
            after = {c.name.lower(): c.kind for part in parts for c in part.columns}
            wider = must_widen(present, after)
            if not wider:
                continue
            loads = read_loads(connection, dataset_name)
            made = rebuilt.get(dataset_name)
            if made is None or made.load_ids != frozenset(load.load_id for load in loads):
                needed[dataset_name] = (wider, loads)
        return needed


def _cannot_widen(dataset_name: str, error: LandedFileGone) -> LoadRefused:
    load = error.load
    return LoadRefused(
        f"A column of data set {dataset_name} must widen. This reads the earlier files again, "
        f"but the landed file of load {load.load_id} (subject {load.key.subject_id}, "
        f"landing/{load.landing_path}) is missing or damaged, and CentrePoint no longer has it: "
        f"{error}.",
        "Restore that file from a backup. If the load is superseded, "
        "`cp-pipeline compact --older-than 0` drops it, and the file is no longer needed.",
    )


def _refuse_erased(
    connection: duckdb.DuckDBPyConnection, exports: NumberedExports, result: BatchResult
) -> None:
    """Refuse the exports of subjects that were erased since the listing.

    Raises:
        _StagedOnOldColumns: an erased subject's rows are staged, so the batch is staged again.
    """
    erased = read_erased(connection)
    for partition, export in exports.values():
        if partition.subject_id in erased:
            refusal = SubjectErased(f"Subject {partition.subject_id} was erased during this load.")
            result.refused[partition] = (export.landed, refusal)
    if any(partition.subject_id in erased for partition, _ in exports.values()):
        raise _StagedOnOldColumns
