"""Loading many partitions in one transaction.

Belongs here: staging a batch before the transaction, and doing it again when that was overtaken
by a wider column or by another process.
Does not belong: what to load (``ingest``), what the transaction does (``load_transaction``).

A partition is loaded whole or not at all; a batch of partitions is one transaction.
"""

import itertools
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
from cp_pipeline.warehouse.load_transaction import Commit
from cp_pipeline.warehouse.profile import Profile, profiles
from cp_pipeline.warehouse.row_erasure import read_erased
from cp_pipeline.warehouse.staging import Staged
from cp_pipeline.warehouse.widening import (
    HistoricLoad,
    LandedFileGone,
    Rebuild,
    must_widen,
    read_loads,
    rebuild,
)


class _StagedOnOldColumns(Exception):
    """Another process changed columns or erased a subject; staging must be done again."""


class Loader:
    """Loads batches into one warehouse.

    Args:
        warehouse: where staging is done, and the warehouse attached.
        landing: for widening a column, which reads old loads again.
        scratch: a folder of ``Landing.scratch_folder``.
        run_id: the Dagster run, for lineage; empty outside Dagster.
        restore: asked to bring files back that are gone from the landing, as far as it can.
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
        # Columns that old loads turned out to need wider than the new files do.
        self._at_least: dict[str, dict[str, Column]] = {}
        if warehouse.exists():
            with warehouse.reading() as connection:
                self._columns = read_all_columns(connection)

    def load(
        self, batch: Batch, ready: Callable[[], None] = lambda: None, *, again: bool = False
    ) -> BatchResult:
        """Load a batch; afterwards each partition is in it whole, or refused whole.

        Args:
            batch: the exports of each partition.
            ready: called when all is read, typed and looked at, before the warehouse is touched.
            again: load executions again that are loaded already (``sync --refresh``).

        Raises:
            WarehouseBusy, WarehouseUnreadable: the warehouse itself cannot be used.
            Exception: something of the batch cannot be loaded. Nothing of it is.
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
                    # A file of a refused partition is staged; its values must not widen a column.
                    continue
                with self._warehouse.in_use:
                    looks = self._profiles(staged)
                ready()
                with self._warehouse.in_use:
                    self._commit(exports, staged, numbers, looks, result, again)
            except _StagedOnOldColumns:
                continue
            except (duckdb.OutOfMemoryException, MemoryError) as error:
                raise NotEnoughMemory(first_line(error)) from None
            finally:
                with self._warehouse.in_use:
                    self._staging.drop()
            return result

    def can_be_read(self, export: ExportToLoad) -> bool:
        """Whether one export can be read, typed and profiled by itself."""
        partition = Partition(export.landed.subject_id, export.landed.dataset_name)
        try:
            with self._warehouse.in_use:
                staged = self._staging.stage({0: (partition, export)}, self._known(), BatchResult())
                self._profiles(staged)
        except Exception:  # noqa: BLE001  (whatever it is that nobody foresaw)
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
                    commit = Commit(
                        connection,
                        exports,
                        result,
                        self._run_id,
                        is_file=self._warehouse.is_file,
                    )
                    commit.execute(staged, numbers, rebuilt, looks, again)
                    for dataset_name in staged:
                        self._columns[dataset_name] = read_columns(connection, dataset_name)
                    return
            for dataset_name, (wanted, loads) in to_rebuild.items():
                made = self._rebuild(dataset_name, wanted, loads, f"rebuilt_{len(rebuilt)}")
                rebuilt[dataset_name] = made
                columns = {column.name.lower(): column for column in made.columns}
                if columns != wanted:
                    # The new files were typed too narrowly, and have lost their original text.
                    self._at_least[dataset_name] = columns
                    raise _StagedOnOldColumns

    def _rebuild(
        self, dataset_name: str, wanted: dict[str, Column], loads: list[HistoricLoad], table: str
    ) -> Rebuild:
        """A data set's history under wider kinds; landed files that are gone are asked for once.

        Raises:
            LoadRefused: a file is gone for good.
        """
        gone = [load for load in loads if not (self._landing.root / load.landing_path).exists()]
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
        """Data sets that must widen first: their columns, and all their loads.

        Raises:
            _StagedOnOldColumns: the columns are no longer those that the staging assumed.
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
        f"A column of data set {dataset_name} must widen, for which its earlier files are read "
        f"again, but the landed file of load {load.load_id} (subject {load.key.subject_id}, "
        f"landing/{load.landing_path}) is gone or damaged, and CentrePoint no longer has it: "
        f"{error}.",
        "Put that file back from a backup. If the load is superseded, "
        "`cp-pipeline compact --older-than 0` drops it, and then it is not needed.",
    )


def _refuse_erased(
    connection: duckdb.DuckDBPyConnection, exports: NumberedExports, result: BatchResult
) -> None:
    """The last look: subjects that were erased after the exports were listed.

    Raises:
        _StagedOnOldColumns: there are some, and their rows are among what is staged.
    """
    erased = read_erased(connection)
    for partition, export in exports.values():
        if partition.subject_id in erased:
            refusal = SubjectErased(f"Subject {partition.subject_id} was erased meanwhile.")
            result.refused[partition] = (export.landed, refusal)
    if any(partition.subject_id in erased for partition, _ in exports.values()):
        raise _StagedOnOldColumns
