"""Stage a batch: typed tables for each data set, and the file at fault if one cannot be read.

Belongs here: which files are read together, one kind for a column across all files, refusing one
partition without affecting the others.
Does not belong: how a value is typed (``staging``), the transaction (``loader``).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import duckdb

from cp_pipeline.landing import CsvRefused, CsvText, Landing, read_csv_text
from cp_pipeline.warehouse.batch import BatchResult, ExportToLoad, NumberedExports
from cp_pipeline.warehouse.column_types import Column
from cp_pipeline.warehouse.errors import FileRefused, WarehouseError
from cp_pipeline.warehouse.staging import Staged, stage


class BatchStaging:
    """The typed tables of one batch, in DuckDB's memory.

    Args:
        connection: the in-memory DuckDB connection.
        landing: where a refused file is read a second time to find the error.
        scratch: a scratch folder.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, landing: Landing, scratch: Path
    ) -> None:
        self._connection = connection
        self._landing = landing
        self._scratch = scratch

    def stage(
        self,
        exports: NumberedExports,
        known: Mapping[str, Mapping[str, Column]],
        result: BatchResult,
    ) -> dict[str, list[Staged]]:
        """Return the typed tables of each data set; refuse the partition of an unreadable file.

        Args:
            exports: the batch.
            known: the existing columns of each data set, by lower-case name.
            result: receives the refused partitions.
        """
        groups: dict[str, dict[tuple[str, ...], dict[int, CsvText]]] = defaultdict(dict)
        for number, (_, export) in exports.items():
            headers = groups[export.landed.dataset_name]
            headers.setdefault(export.text.header, {})[number] = export.text
        return {
            dataset_name: self._stage_dataset(
                place, headers, known.get(dataset_name, {}), exports, result
            )
            for place, (dataset_name, headers) in enumerate(groups.items())
        }

    def _stage_dataset(
        self,
        place: int,
        headers: Mapping[tuple[str, ...], dict[int, CsvText]],
        columns: Mapping[str, Column],
        exports: NumberedExports,
        result: BatchResult,
    ) -> list[Staged]:
        """Stage the files of one data set, with one kind for each column across all files."""
        known = dict(columns)
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
        exports: NumberedExports,
        result: BatchResult,
    ) -> Staged | None:
        while texts:
            try:
                staged = stage(self._connection, table, texts, known, self._scratch)
            except duckdb.InvalidInputException as error:
                alone = len(texts) == 1
                wrong = {n: self._why_refused(exports[n][1], error, alone=alone) for n in texts}
                if not any(wrong.values()):
                    raise WarehouseError(
                        f"DuckDB cannot read the files together: {first_line(error)}."
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

    def drop(self) -> None:
        """Free the memory of the batch."""
        tables = self._connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory'"
        ).fetchall()
        for (table,) in tables:
            self._connection.execute(f"DROP TABLE memory.{table}")

    def _why_refused(
        self, export: ExportToLoad, error: duckdb.Error, *, alone: bool
    ) -> Exception | None:
        """Find the file at fault in a group: check it record by record, then read it alone."""
        try:
            with self._landing.files.local(export.landed.path, self._scratch) as path:
                read_csv_text(path, self._scratch, thorough=True).discard()
            if not alone:
                stage(self._connection, "alone", {0: export.text}, {}, self._scratch)
        except CsvRefused as refusal:
            return refusal
        except duckdb.InvalidInputException as reason:
            return FileRefused(f"DuckDB cannot read the CSV: {first_line(reason)}.")
        return FileRefused(f"DuckDB cannot read the CSV: {first_line(error)}.") if alone else None


def _apart_if_large(texts: dict[int, CsvText]) -> list[dict[int, CsvText]]:
    """Group all small texts together, and put each large text in its own group."""
    small = {number: text for number, text in texts.items() if text.path is None}
    large = [{number: text} for number, text in texts.items() if text.path is not None]
    return ([small] if small else []) + large


def _miscounted(text: CsvText, row_count: int) -> FileRefused | None:
    if row_count == text.record_count:
        return None
    return FileRefused(
        f"The file has {text.record_count} records, but DuckDB reads {row_count} rows."
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error message, because DuckDB's messages can be pages long."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
