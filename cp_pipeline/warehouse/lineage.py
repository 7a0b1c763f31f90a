"""The loads and failures of exports in the warehouse, erased subjects, and what people did.

Belongs here: reading ``lineage.loads``, writing ``lineage.failures`` and ``lineage.actions``, and
``lineage.erasures``. Does not belong: what was listed (``listings``), deciding what to load
(``ingest``), erasing rows (``row_erasure``), asking for a reason (``cli.reasons``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

import duckdb

from cp_pipeline.domain.exports import ExportFile, ExportKey, InvalidItem, Version
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.schema import has_table, insert_rows


class LoadedExecution(NamedTuple):
    """The current load of one export. ``file_bytes`` is the size of the compressed file.

    ``versions``: the loaded versions of the newest execution; several if CentrePoint wrote the file
    again.
    """

    load_id: int
    program_execution: str
    file_name: str
    file_sha256: str
    file_bytes: int
    row_count: int
    column_count: int
    versions: tuple[Version, ...]
    study_program_id: str

    @property
    def program_executed_ns(self) -> int:
        """The program execution, in nanoseconds since 1970 (UTC)."""
        return self.versions[0].executed

    def covers(self, listed: Version) -> bool:
        """Whether the listed version, or a newer one, is already loaded."""
        return any(version.covers(listed) for version in self.versions)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a listing covers; None means all subjects, data sets or programs of the studies."""

    study_ids: tuple[int, ...]
    subject_ids: frozenset[int] | None = None
    dataset_names: frozenset[str] | None = None
    study_program_id: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it covers everything of the studies."""
        return self.subject_ids is None and self.dataset_names is None and not self._program

    @property
    def _program(self) -> str:
        return self.study_program_id or ""

    def covers(self, key: ExportKey) -> bool:
        """Whether an export would be in a listing of this scope."""
        return (
            key.study_id in self.study_ids
            and (self.subject_ids is None or key.subject_id in self.subject_ids)
            and (self.dataset_names is None or key.dataset_name in self.dataset_names)
            and self._program in ("", key.study_program_id)
        )

    def may_cover(self, item: InvalidItem) -> bool:
        """Whether an invalid item may be in such a listing; a missing field matches anything."""
        return (
            item.study_id in self.study_ids
            and (self.subject_ids is None or item.subject_id in {*self.subject_ids, None})
            and (self.dataset_names is None or item.dataset_name in {*self.dataset_names, None})
            and (not self._program or item.study_program_id in {self._program, None})
        )


class FailedExport(NamedTuple):
    """One failed attempt, for ``lineage.failures``."""

    export_file: ExportFile
    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One data set in ``cp-pipeline status``: the number of partitions in each state."""

    dataset_name: str
    exported: int
    loaded: int
    stale: int
    missing: int
    failed: int
    pending: int
    withdrawn: int
    row_count: int
    last_execution: str | None


# A condition with the parameters of `of_subjects`. By the range, DuckDB skips the rows of others:
# those of a subject are mostly together.
OF_SUBJECTS = "subject_id BETWEEN ? AND ? AND list_contains(?::BIGINT[], subject_id)"


def of_subjects(subject_ids: Collection[int]) -> list[object]:
    """Return the parameters of ``OF_SUBJECTS``."""
    return [min(subject_ids, default=0), max(subject_ids, default=0), sorted(subject_ids)]


def loaded_executions(
    warehouse: Warehouse, subject_ids: Collection[int] | None = None
) -> dict[ExportKey, LoadedExecution]:
    """Return the current load of each export; empty if the warehouse does not exist yet.

    Args:
        warehouse: has the loads.
        subject_ids: only of these subjects; None for all.
    """
    if not warehouse.exists():
        return {}
    some = "" if subject_ids is None else f" WHERE {OF_SUBJECTS}"
    parameters = None if subject_ids is None else of_subjects(subject_ids)
    with warehouse.reading() as connection:
        rows = connection.execute(
            "SELECT study_id, subject_id, study_program_id, dataset_name,"
            " load_id, program_execution, file_name, file_sha256, file_bytes, row_count,"
            " column_count, epoch_ns(program_executed_at), epoch_ns(modified_at)"
            f" FROM lineage.current_loads{some}",
            parameters,
        ).fetchall()
        # Only for exports whose file was written again, which is rare.
        others = connection.execute(
            "SELECT current.load_id, epoch_ns(current.program_executed_at),"
            " epoch_ns(loads.modified_at), loads.file_name"
            " FROM lineage.current_loads AS current INNER JOIN lineage.loads AS loads"
            " USING (study_id, subject_id, study_program_id, dataset_name, program_executed_at)"
            f" WHERE loads.load_id <> current.load_id{some.replace('WHERE', 'AND')}",
            parameters,
        ).fetchall()
    versions: dict[int, list[Version]] = {}
    for load_id, executed, modified, file_name in others:
        versions.setdefault(load_id, []).append(Version(executed, modified, file_name))
    return {
        ExportKey(*row[:4]): LoadedExecution._make(
            [*row[4:11], (Version(row[11], row[12], row[6]), *versions.get(row[4], ())), row[2]]
        )
        for row in rows
    }


def count_loaded_by(warehouse: Warehouse, run_id: str) -> int:
    """Count the partitions that a Dagster run loaded, including loads superseded since."""
    rows = warehouse.rows(
        "SELECT count(DISTINCT (subject_id, dataset_name)) FROM lineage.loads"
        " WHERE dagster_run_id = ?",
        [run_id],
    )
    return rows[0][0] if rows else 0


def record_failures(warehouse: Warehouse, failures: Iterable[FailedExport], run_id: str) -> None:
    """Append to ``lineage.failures``."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {
            **identity(failure.export_file),
            "stage": failure.stage,
            "error": failure.error,
            "failed_at": now,
            "dagster_run_id": run_id,
        }
        for failure in failures
    ]
    if rows:
        with warehouse.transaction() as connection:
            erased = read_erased(connection)
            insert_rows(
                connection, "failures", [row for row in rows if row["subject_id"] not in erased]
            )


def erased_subjects(warehouse: Warehouse) -> frozenset[int]:
    """Return the erased subjects; empty if the warehouse does not exist yet."""
    if not warehouse.exists():
        return frozenset()
    with warehouse.reading() as connection:
        # The table is missing if no one wrote to the warehouse since an earlier version made it.
        return read_erased(connection) if has_table(connection, "lineage.erasures") else frozenset()


def read_erased(connection: duckdb.DuckDBPyConnection) -> frozenset[int]:
    """Return the subjects that were erased from the default database."""
    rows = connection.execute("SELECT subject_id FROM lineage.erasures").fetchall()
    return frozenset(subject_id for (subject_id,) in rows)


def record_erasures(warehouse: Warehouse, erased: Mapping[int, datetime]) -> None:
    """Record subjects and when each was erased, as another store remembers it."""
    rows = [
        {"subject_id": subject_id, "erased_at": at.astimezone(UTC).replace(tzinfo=None)}
        for subject_id, at in erased.items()
    ]
    with warehouse.transaction() as connection:
        insert_rows(connection, "erasures", rows)


def record_action(warehouse: Warehouse, actor: str, command: str, reason: str | None) -> None:
    """Record that somebody had a command done; nothing without a warehouse.

    Args:
        warehouse: the warehouse.
        actor: who: ``CP_ACTOR``, or the user of the operating system.
        command: the command, with what it was for.
        reason: why; None if nobody said so.

    Raises:
        WarehouseBusy, WarehouseUnreadable: the warehouse cannot be opened for writing.
    """
    if not warehouse.exists():
        return
    row = {
        "acted_at": datetime.now(UTC).replace(tzinfo=None),
        "actor": actor,
        "command": command,
        "reason": reason or None,
        "software_version": version("cp-pipeline"),
    }
    with warehouse.transaction() as connection:
        insert_rows(connection, "actions", [row])


def dataset_statuses(warehouse: Warehouse) -> list[DatasetStatus]:
    """Return one row per data set, by name; empty if the warehouse does not exist yet."""
    rows = warehouse.rows(
        "SELECT dataset_name, count(*) FILTER (exported_files > 0),"
        " count(*) FILTER (loaded_files > 0), count(*) FILTER (state = 'stale'),"
        " count(*) FILTER (state = 'missing'), count(*) FILTER (state = 'failed'),"
        " count(*) FILTER (state = 'pending'), count(*) FILTER (state = 'withdrawn'),"
        " sum(row_count)::BIGINT, arg_max(loaded_execution, loaded_execution_at)"
        " FROM lineage.partition_status GROUP BY dataset_name ORDER BY dataset_name"
    )
    return [DatasetStatus(*row) for row in rows]


def identity(item: ExportFile) -> dict[str, object]:
    """Return an export file's key and version, by the column names of the lineage tables."""
    return {
        "study_id": item.study_id,
        "subject_id": item.subject_id,
        "dataset_name": item.dataset_name,
        "study_program_id": item.study_program_id,
        "program_execution": item.execution.verbatim,
        "program_executed_at": item.version.executed,
        "modified_at": item.version.modified,
        "file_name": item.file_name,
    }
