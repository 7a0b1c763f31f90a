"""How things stand, partition by partition, for pictures, checks and the sensor.

Belongs here: reading ``lineage.partition_status`` and ``lineage.failures``.
Does not belong: what a state is (``tables``), what is done about it (``ingest``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from cp_pipeline.exports import ExportKey, Partition
from cp_pipeline.warehouse.opening import Workbench


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One row of ``lineage.partition_status``; executions to the letter, the newest of each."""

    partition: Partition
    state: str
    exported_execution: str | None
    loaded_execution: str | None
    exported_at: datetime | None
    exported_files: int


class FailedAttempts(NamedTuple):
    """How often one program execution of an export failed, when last (UTC), and why then."""

    number: int
    last: datetime
    error: str


class LoadedVersions(NamedTuple):
    """The executions, to the letter, of a partition's current loads, and of those still listed."""

    loaded: frozenset[str]
    still_listed: frozenset[str]


def partition_states(workbench: Workbench) -> list[PartitionState]:
    """Every subject and data set that is listed or loaded; empty without a warehouse."""
    if not workbench.exists():
        return []
    with workbench.reading() as connection:
        rows = connection.execute(
            "SELECT subject_id, dataset_name, state, exported_execution, loaded_execution,"
            " exported_execution_at::TIMESTAMP, exported_files"
            " FROM lineage.partition_status ORDER BY dataset_name, subject_id"
        ).fetchall()
    return [PartitionState(Partition(row[0], row[1]), *row[2:]) for row in rows]


def loaded_versions(workbench: Workbench) -> dict[Partition, LoadedVersions]:
    """The program executions that each partition's current rows come from."""
    if not workbench.exists():
        return {}
    with workbench.reading() as connection:
        rows = connection.execute(
            "SELECT subject_id, dataset_name, list(current_loads.program_execution),"
            " list(current_loads.program_execution) FILTER (listed.file_name IS NOT NULL)"
            " FROM lineage.current_loads LEFT JOIN lineage.export_files AS listed"
            " USING (study_id, subject_id, dataset_name, study_program_id) GROUP BY ALL"
        ).fetchall()
    return {
        Partition(subject, dataset): LoadedVersions(frozenset(loaded), frozenset(listed or ()))
        for subject, dataset, loaded, listed in rows
    }


def failed_attempts(workbench: Workbench) -> dict[tuple[ExportKey, int], FailedAttempts]:
    """Failures of executions that are listed and not loaded, by export and execution.

    The execution is in nanoseconds since 1970. What has been loaded since, or is listed no more,
    is of the past.
    """
    if not workbench.exists():
        return {}
    with workbench.reading() as connection:
        rows = connection.execute(
            "SELECT study_id, subject_id, study_program_id, dataset_name,"
            " epoch_ns(program_executed_at), count(*), max(failed_at), max_by(error, failed_at)"
            " FROM lineage.failures SEMI JOIN lineage.export_files"
            " USING (study_id, subject_id, study_program_id, dataset_name, program_executed_at)"
            " ANTI JOIN lineage.current_loads"
            " USING (study_id, subject_id, study_program_id, dataset_name, program_executed_at)"
            " GROUP BY ALL"
        ).fetchall()
    return {
        (ExportKey(*row[:4]), row[4]): FailedAttempts(row[5], row[6].replace(tzinfo=UTC), row[7])
        for row in rows
    }
