"""What the warehouse knows about exports: listed, loaded, failed.

Belongs here: reading and writing ``lineage.*`` outside a load.
Does not belong: deciding what to load (``ingest``).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from cp_pipeline.exports import ExportFile, ExportKey, UnusableItem
from cp_pipeline.warehouse.erasing import read_erased
from cp_pipeline.warehouse.opening import Workbench
from cp_pipeline.warehouse.tables import insert_rows
from cp_pipeline.warehouse.unusable import replace_unusable, unusable_items


class LoadedExecution(NamedTuple):
    """The current load of one export; bytes are those of the packed file."""

    program_executed_ns: int
    load_id: int
    program_execution: str
    file_name: str
    file_sha256: str
    file_bytes: int
    row_count: int
    column_count: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What a listing covers; None means everything of the studies."""

    study_ids: tuple[int, ...]
    subject_ids: frozenset[int] | None = None
    dataset_names: frozenset[str] | None = None

    def covers(self, key: ExportKey) -> bool:
        """Whether an export would be in a listing of this scope."""
        return (
            key.study_id in self.study_ids
            and (self.subject_ids is None or key.subject_id in self.subject_ids)
            and (self.dataset_names is None or key.dataset_name in self.dataset_names)
        )

    def may_cover(self, item: UnusableItem) -> bool:
        """Whether an unusable item would be in such a listing; what it lacks may be anything."""
        return (
            item.study_id in self.study_ids
            and (self.subject_ids is None or item.subject_id in {*self.subject_ids, None})
            and (self.dataset_names is None or item.dataset_name in {*self.dataset_names, None})
        )


class FailedExport(NamedTuple):
    """One failed attempt, for ``lineage.failures``."""

    export_file: ExportFile
    stage: str
    error: str


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One data set in ``cp-pipeline status``: how many partitions are in which state."""

    dataset_name: str
    exported: int
    loaded: int
    stale: int
    missing: int
    failed: int
    withdrawn: int
    row_count: int
    last_execution: str | None


def loaded_executions(workbench: Workbench) -> dict[ExportKey, LoadedExecution]:
    """The current load of each export; empty where there is no warehouse yet."""
    if not workbench.exists():
        return {}
    with workbench.reading() as connection:
        rows = connection.execute(
            "SELECT study_id, subject_id, study_program_id, dataset_name,"
            " epoch_ns(program_executed_at), load_id, program_execution, file_name, file_sha256,"
            " file_bytes, row_count, column_count FROM lineage.current_loads"
        ).fetchall()
    return {ExportKey(*row[:4]): LoadedExecution(*row[4:]) for row in rows}


def count_loaded_by(workbench: Workbench, run_id: str) -> int:
    """How many partitions a Dagster run has loaded, whatever became of them since."""
    if not workbench.exists():
        return 0
    with workbench.reading() as connection:
        row = connection.execute(
            "SELECT count(DISTINCT (subject_id, dataset_name)) FROM lineage.loads"
            " WHERE dagster_run_id = ?",
            [run_id],
        ).fetchone()
    return int(row[0]) if row else 0


def record_listing(
    workbench: Workbench,
    listed: Sequence[ExportFile],
    scope: Scope,
    unusable: Collection[UnusableItem] = (),
) -> bool:
    """Make ``lineage.export_files`` say what was listed, within the scope; True if it changed.

    An export whose item cannot be used now stays as it was listed before. When nothing changed, the
    file is not opened for writing.
    """
    unread = {item.key for item in unusable}
    unusable_before = [item for item in unusable_items(workbench) if scope.may_cover(item)]
    wanted = {(*item.key, item.execution.verbatim, item.file_name) for item in listed}
    before = _recorded(workbench)
    keys = {row: ExportKey(*row[:4]) for row in before}
    within = {row for row, key in keys.items() if scope.covers(key) and key not in unread}
    same = within == wanted and set(unusable_before) == set(unusable)
    if same and (wanted or workbench.exists()):
        return False
    now = datetime.now(UTC).replace(tzinfo=None)
    gone = sorted({ExportKey(*row[:4]) for row in within - wanted})
    fresh = [
        item
        for item in listed
        if (*item.key, item.execution.verbatim, item.file_name) not in within
    ]
    with workbench.transaction() as connection:
        erased = read_erased(connection)
        connection.execute(
            "DELETE FROM lineage.export_files WHERE"
            " (study_id, subject_id, study_program_id, dataset_name) IN (SELECT"
            " (unnest(?::BIGINT[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[]),"
            " unnest(?::VARCHAR[])))",
            [[key[place] for key in gone] for place in range(4)],
        )
        insert_rows(
            connection,
            "export_files",
            [_listed_row(item, now) for item in fresh if item.subject_id not in erased],
        )
        still = [item for item in unusable if item.subject_id not in erased]
        replace_unusable(connection, unusable_before, still, now)
    return True


def record_failures(workbench: Workbench, failures: Iterable[FailedExport], run_id: str) -> None:
    """Append to ``lineage.failures``."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {
            **_identity(failure.export_file),
            "stage": failure.stage,
            "error": failure.error,
            "failed_at": now,
            "dagster_run_id": run_id,
        }
        for failure in failures
    ]
    if rows:
        with workbench.transaction() as connection:
            erased = read_erased(connection)
            insert_rows(
                connection, "failures", [row for row in rows if row["subject_id"] not in erased]
            )


def dataset_statuses(workbench: Workbench) -> list[DatasetStatus]:
    """One row a data set, by name; empty where there is no warehouse yet."""
    if not workbench.exists():
        return []
    with workbench.reading() as connection:
        rows = connection.execute(
            "SELECT dataset_name, count(*) FILTER (exported_files > 0),"
            " count(*) FILTER (loaded_files > 0), count(*) FILTER (state = 'stale'),"
            " count(*) FILTER (state = 'missing'), count(*) FILTER (state = 'failed'),"
            " count(*) FILTER (state = 'withdrawn'), sum(row_count)::BIGINT,"
            " arg_max(loaded_execution, loaded_execution_at)"
            " FROM lineage.partition_status GROUP BY dataset_name ORDER BY dataset_name"
        ).fetchall()
    return [DatasetStatus(*row) for row in rows]


def _recorded(workbench: Workbench) -> set[tuple[int, int, str, str, str, str]]:
    if not workbench.exists():
        return set()
    with workbench.reading() as connection:
        return {
            (row[0], row[1], row[2], row[3], row[4], row[5])
            for row in connection.execute(
                "SELECT study_id, subject_id, study_program_id, dataset_name,"
                " program_execution, file_name FROM lineage.export_files"
            ).fetchall()
        }


def _identity(item: ExportFile) -> dict[str, object]:
    return {
        "study_id": item.study_id,
        "subject_id": item.subject_id,
        "dataset_name": item.dataset_name,
        "study_program_id": item.study_program_id,
        "program_execution": item.execution.verbatim,
        "program_executed_at": item.execution.nanoseconds,
        "file_name": item.file_name,
    }


def _listed_row(item: ExportFile, now: datetime) -> dict[str, object]:
    return {
        **_identity(item),
        "modified_at": item.modified.nanoseconds,
        "file_format": item.file_format,
        "listed_at": now,
    }
