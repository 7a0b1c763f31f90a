"""The statements inside the transaction of one batch.

Belongs here: numbering loads, appending rows, lineage, superseding.
Does not belong: opening the transaction (``loader``), adding columns (``dataset_tables``).
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime

import duckdb

from cp_pipeline.warehouse.batch import BatchResult, Load, NumberedExports
from cp_pipeline.warehouse.column_types import Column, quoted
from cp_pipeline.warehouse.dataset_tables import ColumnChange, grow, table_name
from cp_pipeline.warehouse.profile import Profile
from cp_pipeline.warehouse.schema import insert_rows
from cp_pipeline.warehouse.staging import Staged
from cp_pipeline.warehouse.views import covers, supersede_older
from cp_pipeline.warehouse.widening import Rebuild, swap_in

_PREVIEW_RECORDS = 5


class Commit:
    """One batch in one open transaction; ``result`` receives the loads."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        exports: NumberedExports,
        result: BatchResult,
        run_id: str,
    ) -> None:
        self._connection = connection
        self._exports = exports
        self._result = result
        self._run_id = run_id
        self._now = datetime.now(UTC).replace(tzinfo=None)

    def execute(
        self,
        staged: Mapping[str, list[Staged]],
        numbers: set[int],
        rebuilt: Mapping[str, Rebuild],
        looks: Mapping[int, Profile],
        again: bool,
    ) -> None:
        """Append the staged rows and their lineage.

        Args:
            staged: the typed tables of each data set.
            numbers: the exports of the batch to load.
            rebuilt: the rebuilt tables of data sets whose columns had to widen.
            looks: the profile of each export that has rows with times.
            again: also load executions that are already loaded.
        """
        first_id = self._first_load_id()
        present = {} if again else self._already_loaded(numbers)
        new = sorted(numbers - present.keys())
        changes: dict[int, list[ColumnChange]] = defaultdict(list)
        columns: dict[int, tuple[Column, ...]] = {}
        for dataset_name, parts in staged.items():
            to_swap = rebuilt.get(dataset_name)
            for part in parts:
                columns |= dict.fromkeys(part.numbers, part.columns)
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
        insert_rows(self._connection, "loads", [self._row(n, first_id, looks.get(n)) for n in new])
        supersede_older(self._connection, first_id)
        for number in sorted(numbers):
            partition, export = self._exports[number]
            self._result.loads.setdefault(partition, []).append(
                Load(
                    load_id=present.get(number, first_id + number),
                    landed=export.landed,
                    row_count=export.text.record_count,
                    columns=columns[number],
                    preview=export.text.first_records(_PREVIEW_RECORDS),
                    look=looks.get(number),
                    changes=tuple(changes[number]),
                )
            )

    def _first_load_id(self) -> int:
        """Return the load id of export 0 of the batch.

        Load ids count up from 1, which lets DuckDB join them by position (``create_view``). No
        other process numbers loads at the same time: it cannot open the file, or has no turn
        (``lake``).

        In a rebuild, the number of an export is the id of its earlier load, which it keeps.
        """
        if any(export.load_id is not None for _, export in self._exports.values()):
            return 0
        row = self._connection.execute(
            "SELECT max(id) FROM (SELECT max(load_id) AS id FROM lineage.loads"
            " UNION ALL SELECT max(superseded_by) FROM lineage.superseded"
            " UNION ALL SELECT max(caused_by_load_id) FROM lineage.column_types"
            " UNION ALL SELECT max(greatest(load_id, superseded_by)) FROM lineage.compacted"
            " UNION ALL SELECT max(highest_load_id) FROM lineage.erasures)"
        ).fetchone()
        return (row[0] if row and row[0] else 0) + 1

    def _already_loaded(self, numbers: set[int]) -> dict[int, int]:
        """Return, by export number, the loads that another process made in the meantime.

        A newer version of the same execution counts too: older bytes must not become current.
        """
        wanted = sorted(numbers)
        landed = [self._exports[number][1].landed for number in wanted]
        rows = self._connection.execute(
            "SELECT wanted.number, max(loads.load_id) FROM (SELECT unnest(?::BIGINT[]) AS number,"
            " unnest(?::BIGINT[]) AS study_id, unnest(?::BIGINT[]) AS subject_id,"
            " unnest(?::VARCHAR[]) AS dataset_name, unnest(?::VARCHAR[]) AS study_program_id,"
            " make_timestamp_ns(unnest(?::BIGINT[])) AS program_executed_at,"
            " make_timestamp_ns(unnest(?::BIGINT[])) AS modified_at,"
            " unnest(?::VARCHAR[]) AS file_name) AS wanted"
            " INNER JOIN lineage.loads AS loads"
            " USING (study_id, subject_id, dataset_name, study_program_id, program_executed_at)"
            f" WHERE {covers('loads', 'wanted')} GROUP BY wanted.number",
            [
                wanted,
                [each.study_id for each in landed],
                [each.subject_id for each in landed],
                [each.dataset_name for each in landed],
                [each.study_program_id for each in landed],
                [each.version.executed for each in landed],
                [each.version.modified for each in landed],
                [each.file_name for each in landed],
            ],
        ).fetchall()
        return dict(rows)

    def _append(self, dataset_name: str, part: Staged, numbers: list[int], first_id: int) -> None:
        names = ", ".join(quoted(column.name) for column in part.columns)
        self._connection.execute(
            f"INSERT INTO {table_name(dataset_name)} ({names}, _load_id)"
            f" SELECT {', '.join(part.values)}, _load_id + {first_id} FROM memory.{part.table}"
            + (
                ""
                if len(numbers) == len(part.numbers)
                else f" WHERE _load_id IN ({', '.join(map(str, numbers))})"
            )
        )

    def _row(self, number: int, first_id: int, look: Profile | None) -> dict[str, object]:
        _, export = self._exports[number]
        landed, text = export.landed, export.text
        return {
            "load_id": first_id + number,
            "study_id": landed.study_id,
            "subject_id": landed.subject_id,
            "dataset_name": landed.dataset_name,
            "study_program_id": landed.study_program_id,
            "program_execution": landed.execution,
            "program_executed_at": landed.version.executed,
            "modified_at": landed.version.modified,
            "file_name": landed.file_name,
            "file_sha256": landed.sha256,
            "file_bytes": landed.byte_count,
            "csv_bytes": text.csv_bytes,
            "row_count": text.record_count,
            "column_count": len(text.header),
            "column_names": list(text.header),
            "has_quotes": text.has_quotes,
            "loaded_at": self._now,
            "dagster_run_id": self._run_id,
            "landing_path": landed.path,
            "time_column": look and look.time_column,
            "first_timestamp": look and look.first,
            "last_timestamp": look and look.last,
            "duplicate_timestamps": look and look.duplicate_count,
            "reason": export.reason,
            "study_version": landed.study_version,
        }
