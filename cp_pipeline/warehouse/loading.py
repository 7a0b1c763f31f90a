"""Loading many partitions in one transaction.

Belongs here: staging a batch, the transaction, superseding, and refusing one partition without
harm to the others.
Does not belong: what to load (``ingest``), how a value is typed (``staging``).

A partition is loaded whole or not at all; a batch of partitions is one transaction.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from cp_pipeline.exports import Instant, Partition
from cp_pipeline.landing import CsvRefused, CsvText, LandedFile, Landing, read_csv_text
from cp_pipeline.warehouse.column_types import Column, quoted
from cp_pipeline.warehouse.errors import LoadRefused, WarehouseError
from cp_pipeline.warehouse.history import (
    ColumnChange,
    grow,
    read_all_columns,
    read_columns,
    table_name,
)
from cp_pipeline.warehouse.opening import Workbench
from cp_pipeline.warehouse.staging import Staged, stage
from cp_pipeline.warehouse.tables import insert_rows
from cp_pipeline.warehouse.widening import Rebuild, must_widen, rebuild, swap_in


@dataclass(frozen=True, slots=True)
class ExportToLoad:
    """One landed export and its checked text."""

    landed: LandedFile
    text: CsvText


@dataclass(frozen=True, slots=True)
class Load:
    """One row of ``lineage.loads``, as far as people ask for it.

    ``is_new`` is False when this very execution was loaded already, by another process.
    """

    load_id: int
    landed: LandedFile
    row_count: int
    column_count: int
    csv_bytes: int
    changes: tuple[ColumnChange, ...] = ()
    is_new: bool = True


@dataclass(slots=True)
class BatchResult:
    """What became of each partition: its loads, or why it was refused and by which file."""

    loads: dict[Partition, list[Load]] = field(default_factory=dict)
    refused: dict[Partition, tuple[LandedFile, Exception]] = field(default_factory=dict)


Batch = Mapping[Partition, Sequence[ExportToLoad]]
_Numbered = Mapping[int, tuple[Partition, ExportToLoad]]


class _StagedOnOldColumns(Exception):
    """Another process changed a data set's columns meanwhile; staging must be done again."""


class Loader:
    """Loads batches into one warehouse.

    Args:
        workbench: where staging is done, and the warehouse attached.
        landing: for widening a column, which reads old loads again.
        aside: a folder of ``Landing.workspace``.
        run_id: the Dagster run, for lineage; empty outside Dagster.
    """

    def __init__(
        self, workbench: Workbench, landing: Landing, aside: Path, run_id: str = ""
    ) -> None:
        self._workbench = workbench
        self._landing = landing
        self._aside = aside
        self._run_id = run_id
        self._columns: dict[str, dict[str, Column]] = {}
        # Columns that old loads turned out to need wider than the new files do.
        self._at_least: dict[str, dict[str, Column]] = {}
        if workbench.exists():
            with workbench.reading() as connection:
                self._columns = read_all_columns(connection)

    def load(self, batch: Batch, *, again: bool = False) -> BatchResult:
        """Load a batch; afterwards each partition is in it whole, or refused whole.

        Args:
            batch: the exports of each partition.
            again: load executions again that are loaded already (``sync --refresh``).

        Raises:
            WarehouseError: the warehouse itself cannot be used; nothing of the batch is loaded.
        """
        result = BatchResult()
        self._refuse_other_spellings(batch, result)
        while True:
            numbered = enumerate(
                (partition, export)
                for partition, exports in batch.items()
                if partition not in result.refused
                for export in exports
            )
            exports = dict(numbered)
            try:
                staged = self._stage(exports, result)
                numbers = {n for n, (p, _) in exports.items() if p not in result.refused}
                if any(not numbers.issuperset(p.numbers) for ps in staged.values() for p in ps):
                    # A file of a refused partition is staged; its values must not widen a column.
                    continue
                self._commit(exports, staged, numbers, result, again)
            except _StagedOnOldColumns:
                continue
            finally:
                self._drop_staged()
            return result

    def _refuse_other_spellings(self, batch: Batch, result: BatchResult) -> None:
        in_use = {name.lower(): name for name in self._columns}
        for partition, exports in batch.items():
            other = in_use.setdefault(partition.dataset_name.lower(), partition.dataset_name)
            if other != partition.dataset_name:
                refusal = LoadRefused(
                    f"The data sets {other} and {partition.dataset_name} differ by case only, "
                    "and DuckDB cannot tell their tables apart.",
                    "Ask ActiGraph to rename one of them.",
                )
                result.refused[partition] = (exports[0].landed, refusal)

    def _stage(self, exports: _Numbered, result: BatchResult) -> dict[str, list[Staged]]:
        """Typed tables by data set; a file that cannot be staged refuses its partition."""
        groups: dict[str, dict[tuple[str, ...], dict[int, CsvText]]] = defaultdict(dict)
        for number, (_, export) in exports.items():
            headers = groups[export.landed.dataset_name]
            headers.setdefault(export.text.header, {})[number] = export.text
        return {
            dataset_name: self._stage_dataset(place, dataset_name, headers, exports, result)
            for place, (dataset_name, headers) in enumerate(groups.items())
        }

    def _stage_dataset(
        self,
        place: int,
        dataset_name: str,
        headers: Mapping[tuple[str, ...], dict[int, CsvText]],
        exports: _Numbered,
        result: BatchResult,
    ) -> list[Staged]:
        """Stage one data set's files, all with the same kinds for the same columns."""
        known = self._columns.get(dataset_name, {}) | self._at_least.get(dataset_name, {})
        groups = [group for texts in headers.values() for group in _apart_if_large(texts)]
        while True:
            parts = []
            for part, texts in enumerate(groups):
                table = f"staged_{place}_{part}"
                staged = self._stage_group(table, texts, known, exports, result)
                if staged is not None:
                    parts.append(staged)
                    known |= {column.name.lower(): column for column in staged.columns}
            if all(known[c.name.lower()] == c for staged in parts for c in staged.columns):
                return parts

    def _stage_group(
        self,
        table: str,
        texts: dict[int, CsvText],
        known: Mapping[str, Column],
        exports: _Numbered,
        result: BatchResult,
    ) -> Staged | None:
        connection = self._workbench.connection
        while texts:
            try:
                staged = stage(connection, table, texts, known, self._aside)
            except duckdb.InvalidInputException as error:
                alone = len(texts) == 1
                wrong = {n: self._why_refused(exports[n][1], error, alone=alone) for n in texts}
                if not any(wrong.values()):
                    raise WarehouseError(
                        f"DuckDB cannot read the files together: {_first_line(error)}."
                    ) from error
            else:
                wrong = {n: _miscounted(text, staged.row_counts[n]) for n, text in texts.items()}
                if not any(wrong.values()):
                    return staged
            for number, reason in wrong.items():
                if reason is not None:
                    partition, export = exports[number]
                    result.refused[partition] = (export.landed, reason)
                    texts.pop(number)
        return None

    def _drop_staged(self) -> None:
        connection = self._workbench.connection
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory'"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"DROP TABLE memory.{table}")

    def _why_refused(
        self, export: ExportToLoad, error: duckdb.Error, *, alone: bool
    ) -> Exception | None:
        """Find the file at fault in a group: each is checked record by record, then read alone."""
        try:
            read_csv_text(
                self._landing.path_of(export.landed), self._aside, thorough=True
            ).discard()
            if not alone:
                stage(self._workbench.connection, "alone", {0: export.text}, {}, self._aside)
        except CsvRefused as refusal:
            return refusal
        except duckdb.InvalidInputException as reason:
            return LoadRefused(f"DuckDB cannot read the CSV: {_first_line(reason)}.")
        return LoadRefused(f"DuckDB cannot read the CSV: {_first_line(error)}.") if alone else None

    def _commit(
        self,
        exports: _Numbered,
        staged: Mapping[str, list[Staged]],
        numbers: set[int],
        result: BatchResult,
        again: bool,
    ) -> None:
        if not numbers:
            return
        rebuilt: dict[str, Rebuild] = {}
        while True:
            with self._workbench.transaction() as connection:
                to_rebuild = self._needed_rebuilds(connection, staged, rebuilt)
                if not to_rebuild:
                    commit = _Commit(connection, exports, result, self._run_id)
                    commit.carry_out(staged, numbers, rebuilt, again)
                    for dataset_name in staged:
                        self._columns[dataset_name] = read_columns(connection, dataset_name)
                    return
            for dataset_name, (wanted, loads) in to_rebuild.items():
                rebuilt[dataset_name] = rebuild(
                    self._workbench.connection,
                    dataset_name,
                    wanted,
                    loads,
                    self._landing,
                    self._aside,
                    f"rebuilt_{len(rebuilt)}",
                )
                made = {column.name.lower(): column for column in rebuilt[dataset_name].columns}
                if made != wanted:
                    # The new files were typed too narrowly, and have lost their original text.
                    self._at_least[dataset_name] = made
                    raise _StagedOnOldColumns

    def _needed_rebuilds(
        self,
        connection: duckdb.DuckDBPyConnection,
        staged: Mapping[str, list[Staged]],
        rebuilt: Mapping[str, Rebuild],
    ) -> dict[str, tuple[dict[str, Column], dict[int, str]]]:
        """Data sets that must widen first: their columns, and the landing path of each load.

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
            loads = dict(
                connection.execute(
                    "SELECT load_id, landing_path FROM lineage.loads"
                    " WHERE dataset_name = ? ORDER BY load_id",
                    [dataset_name],
                ).fetchall()
            )
            made = rebuilt.get(dataset_name)
            if wider and (made is None or made.load_ids != frozenset(loads)):
                needed[dataset_name] = (wider, loads)
        return needed


def _apart_if_large(texts: dict[int, CsvText]) -> list[dict[int, CsvText]]:
    """Small texts together, each large one by itself."""
    small = {number: text for number, text in texts.items() if text.path is None}
    large = [{number: text} for number, text in texts.items() if text.path is not None]
    return ([small] if small else []) + large


def _miscounted(text: CsvText, row_count: int) -> LoadRefused | None:
    if row_count == text.record_count:
        return None
    return LoadRefused(
        f"The file has {text.record_count} records, but DuckDB reads {row_count} rows."
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


class _Commit:
    """What happens inside the transaction of one batch."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        exports: _Numbered,
        result: BatchResult,
        run_id: str,
    ) -> None:
        self._connection = connection
        self._exports = exports
        self._result = result
        self._run_id = run_id
        self._now = datetime.now(UTC).replace(tzinfo=None)

    def carry_out(
        self,
        staged: Mapping[str, list[Staged]],
        numbers: set[int],
        rebuilt: Mapping[str, Rebuild],
        again: bool,
    ) -> None:
        first_id = self._first_load_id()
        present = {} if again else self._already_loaded(numbers)
        new = sorted(numbers - present.keys())
        changes: dict[int, list[ColumnChange]] = defaultdict(list)
        for dataset_name, parts in staged.items():
            to_swap = rebuilt.get(dataset_name)
            for part in parts:
                mine = [number for number in part.numbers if number in numbers - present.keys()]
                if not mine:
                    continue
                if to_swap is not None:
                    changes[mine[0]] += swap_in(self._connection, to_swap, first_id + mine[0])
                    to_swap = None
                changes[mine[0]] += grow(
                    self._connection, dataset_name, part.columns, first_id + mine[0]
                )
                self._append(dataset_name, part, mine, first_id)
        insert_rows(self._connection, "loads", [self._row(n, first_id) for n in new])
        self._supersede(first_id)
        for number in sorted(numbers):
            partition, export = self._exports[number]
            self._result.loads.setdefault(partition, []).append(
                Load(
                    load_id=present.get(number, first_id + number),
                    landed=export.landed,
                    row_count=export.text.record_count,
                    column_count=len(export.text.header),
                    csv_bytes=export.text.csv_bytes,
                    changes=tuple(changes[number]),
                    is_new=number not in present,
                )
            )

    def _first_load_id(self) -> int:
        """Load ids count up with time, in microseconds since 1970.

        So they need no sequence, which a DuckLake hasn't, two writers hardly ever meet, and they
        stay below 2^53, which R and JavaScript hold exactly.
        """
        row = self._connection.execute("SELECT max(load_id) FROM lineage.loads").fetchone()
        return max(time.time_ns() // 1000, (row[0] if row and row[0] else 0) + 1)

    def _already_loaded(self, numbers: set[int]) -> dict[int, int]:
        """The last look: executions that another process has loaded meanwhile, by number."""
        wanted = sorted(numbers)
        landed = [self._exports[number][1].landed for number in wanted]
        rows = self._connection.execute(
            "SELECT wanted.number, max(loads.load_id) FROM (SELECT unnest(?::BIGINT[]) AS number,"
            " unnest(?::BIGINT[]) AS study_id, unnest(?::BIGINT[]) AS subject_id,"
            " unnest(?::VARCHAR[]) AS dataset_name, unnest(?::VARCHAR[]) AS study_program_id,"
            " make_timestamp_ns(unnest(?::BIGINT[])) AS program_executed_at) AS wanted"
            " INNER JOIN lineage.loads AS loads USING (study_id, subject_id, dataset_name,"
            " study_program_id, program_executed_at) GROUP BY wanted.number",
            [
                wanted,
                [each.study_id for each in landed],
                [each.subject_id for each in landed],
                [each.dataset_name for each in landed],
                [each.study_program_id for each in landed],
                [Instant.parse(each.execution).nanoseconds for each in landed],
            ],
        ).fetchall()
        return dict(rows)

    def _append(self, dataset_name: str, part: Staged, numbers: list[int], first_id: int) -> None:
        names = ", ".join(quoted(column.name) for column in part.columns)
        self._connection.execute(
            f"INSERT INTO {table_name(dataset_name)} ({names}, _load_id)"
            f" SELECT {names}, _load_id + {first_id} FROM memory.{part.table}"
            + (
                ""
                if len(numbers) == len(part.numbers)
                else f" WHERE _load_id IN ({', '.join(map(str, numbers))})"
            )
        )

    def _row(self, number: int, first_id: int) -> dict[str, object]:
        _, export = self._exports[number]
        landed, text = export.landed, export.text
        return {
            "load_id": first_id + number,
            "study_id": landed.study_id,
            "subject_id": landed.subject_id,
            "dataset_name": landed.dataset_name,
            "study_program_id": landed.study_program_id,
            "program_execution": landed.execution,
            "program_executed_at": Instant.parse(landed.execution).nanoseconds,
            "modified_at": Instant.parse(landed.modified).nanoseconds,
            "file_name": landed.file_name,
            "file_sha256": landed.sha256,
            "file_bytes": landed.byte_count,
            "csv_bytes": text.csv_bytes,
            "row_count": text.record_count,
            "column_count": len(text.header),
            "has_quotes": text.has_quotes,
            "loaded_at": self._now,
            "dagster_run_id": self._run_id,
            "landing_path": landed.path,
        }

    def _supersede(self, first_id: int) -> None:
        """The newest program execution is current, whichever of them is loaded first."""
        self._connection.execute(
            "INSERT INTO lineage.superseded BY NAME"
            " SELECT least_current.load_id, least_current.superseded_by, ? AS superseded_at FROM ("
            " SELECT load_id, max_by(load_id, (program_executed_at, load_id)) OVER export"
            " AS superseded_by FROM lineage.current_loads"
            " WHERE (study_id, subject_id, dataset_name, study_program_id) IN ("
            " SELECT (study_id, subject_id, dataset_name, study_program_id)"
            " FROM lineage.loads WHERE load_id >= ?)"
            " WINDOW export AS"
            " (PARTITION BY study_id, subject_id, dataset_name, study_program_id)"
            ") AS least_current WHERE load_id <> superseded_by",
            [self._now, first_id],
        )
