"""The state of each partition, for charts, checks and the sensor.

Belongs here: reading ``lineage.partition_status`` and ``lineage.failures``.
Does not belong: the definition of a state (``views``), the reaction to it (``ingest``).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import duckdb

from cp_pipeline.domain.exports import ExportKey, Partition, Version
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.views import covers

_PARTITIONS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One row of ``lineage.partition_status``, with the newest executions, unchanged text."""

    partition: Partition
    state: str
    exported_execution: str | None
    loaded_execution: str | None
    exported_at: datetime | None
    exported_files: int


class FailedAttempts(NamedTuple):
    """The failures of one version of an export: the number, the last time (UTC), the last error.

    ``run_id``: the Dagster run of the last one; empty if there was none.
    """

    number: int
    last: datetime
    error: str
    run_id: str = ""


class LoadedVersions(NamedTuple):
    """The executions (unchanged text) of a partition's current loads, and those still listed."""

    loaded: frozenset[str]
    still_listed: frozenset[str]


# Of files that are listed and not loaded.
_LASTING_FAILURES = (
    "FROM lineage.failures AS failures INNER JOIN lineage.export_files AS listed"
    " USING (study_id, subject_id, study_program_id, dataset_name)"
    " WHERE failures.program_executed_at = listed.program_executed_at"
    " AND failures.modified_at IS NOT DISTINCT FROM listed.modified_at"
    " AND failures.file_name = listed.file_name"
    " AND NOT EXISTS (SELECT 1 FROM lineage.loads AS loads"
    " WHERE loads.study_id = failures.study_id AND loads.subject_id = failures.subject_id"
    " AND loads.study_program_id = failures.study_program_id"
    " AND loads.dataset_name = failures.dataset_name"
    f" AND {covers('loads', 'failures')})"
)


def partition_states(warehouse: Warehouse) -> Iterator[PartitionState]:
    """Yield the state of each listed or loaded partition, by data set and subject.

    Nothing without a warehouse. It stays open until the last one is taken.
    """
    if not warehouse.exists():
        return
    with warehouse.reading() as connection:
        for dataset in listed_datasets(connection):
            found = connection.execute(
                "SELECT subject_id, state, exported_execution, loaded_execution,"
                " exported_execution_at::TIMESTAMP, exported_files"
                " FROM lineage.partition_status WHERE dataset_name = ? ORDER BY subject_id",
                [dataset],
            )
            while rows := found.fetchmany(_PARTITIONS_AT_ONCE):
                for row in rows:
                    yield PartitionState(Partition(row[0], dataset), *row[1:])


def loaded_versions(warehouse: Warehouse) -> Iterator[dict[Partition, LoadedVersions]]:
    """Yield the program executions of each partition's current rows, some partitions at a time.

    Nothing without a warehouse. It stays open until the last ones are taken.
    """
    if not warehouse.exists():
        return
    with warehouse.reading() as connection:
        for dataset in listed_datasets(connection):
            found = connection.execute(
                "SELECT subject_id, list(current_loads.program_execution),"
                " list(current_loads.program_execution) FILTER (listed.file_name IS NOT NULL)"
                " FROM lineage.current_loads LEFT JOIN lineage.export_files AS listed"
                " USING (study_id, subject_id, dataset_name, study_program_id)"
                " WHERE current_loads.dataset_name = ? GROUP BY ALL ORDER BY subject_id",
                [dataset],
            )
            while rows := found.fetchmany(_PARTITIONS_AT_ONCE):
                yield {
                    Partition(subject, dataset): LoadedVersions(
                        frozenset(loaded), frozenset(listed or ())
                    )
                    for subject, loaded, listed in rows
                }


def listed_datasets(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of all data sets that are listed or loaded.

    They are read one after another: a query over 200,000 partitions takes 200 MB.
    """
    rows = connection.execute(
        "SELECT dataset_name FROM lineage.export_files"
        " UNION SELECT dataset_name FROM lineage.current_loads ORDER BY ALL"
    ).fetchall()
    return [name for (name,) in rows]


def partitions_loaded_by(warehouse: Warehouse, run_ids: Collection[str]) -> set[Partition]:
    """Return the partitions with a current load of one of these Dagster runs."""
    if not run_ids:
        return set()
    rows = warehouse.rows(
        "SELECT DISTINCT subject_id, dataset_name FROM lineage.current_loads"
        " WHERE list_contains(?::VARCHAR[], dagster_run_id)",
        [sorted(run_ids)],
    )
    return {Partition(*row) for row in rows}


def count_partitions(warehouse: Warehouse) -> int:
    """Return the number of listed or loaded partitions."""
    rows = warehouse.rows(
        "SELECT count(*) FROM (SELECT subject_id, dataset_name FROM lineage.export_files"
        " UNION SELECT subject_id, dataset_name FROM lineage.current_loads)"
    )
    return rows[0][0] if rows else 0


def failed_attempts(warehouse: Warehouse) -> dict[tuple[ExportKey, Version], FailedAttempts]:
    """Return the failures of files that are listed and not loaded, by export and version.

    Ignore failures of versions that were loaded since or are no longer listed.
    """
    rows = warehouse.rows(
        "SELECT study_id, subject_id, study_program_id, dataset_name,"
        " epoch_ns(failures.program_executed_at), epoch_ns(failures.modified_at),"
        " failures.file_name, count(*), max(failed_at), max_by(error, failed_at),"
        f" coalesce(max_by(dagster_run_id, failed_at), '') {_LASTING_FAILURES} GROUP BY ALL"
    )
    return {
        (ExportKey(*row[:4]), Version(*row[4:7])): FailedAttempts(
            row[7], row[8].replace(tzinfo=UTC), *row[9:]
        )
        for row in rows
    }
