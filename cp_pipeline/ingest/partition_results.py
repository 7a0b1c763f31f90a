"""The result of each partition.

Belongs here: the values that an executor yields, for Dagster and the command line.
Does not belong: executing a plan (``executor``).
"""

from dataclasses import dataclass

from cp_pipeline.domain.exports import ExportFile, Partition
from cp_pipeline.warehouse import Load, LoadedExecution


@dataclass(frozen=True, slots=True)
class PartitionLoaded:
    """A partition whose listed exports are now all in the warehouse.

    ``loads``: the new loads. ``kept``: the earlier loads that stay current.
    """

    partition: Partition
    loads: tuple[Load, ...]
    kept: tuple[LoadedExecution, ...]

    @property
    def row_count(self) -> int:
        """The number of rows of the partition in ``exports``."""
        return sum(load.row_count for load in self.loads) + sum(
            each.row_count for each in self.kept
        )

    @property
    def file_bytes(self) -> int:
        """The size of the partition's files as downloaded, in bytes."""
        return sum(load.landed.byte_count for load in self.loads) + sum(
            each.file_bytes for each in self.kept
        )

    @property
    def executions(self) -> tuple[str, ...]:
        """The program executions of the partition's rows, as unchanged text."""
        return tuple(
            sorted(
                [load.landed.execution for load in self.loads]
                + [each.program_execution for each in self.kept]
            )
        )

    @property
    def study_programs(self) -> tuple[str, ...]:
        """The ids of the study programs of the partition's rows."""
        return tuple(
            sorted(
                {load.landed.study_program_id for load in self.loads}
                | {each.study_program_id for each in self.kept}
            )
        )


@dataclass(frozen=True, slots=True)
class PartitionFailed:
    """A partition that was not loaded; its earlier rows in the warehouse are unchanged.

    ``stage``: ``download``, ``decode`` or ``load``.
    """

    partition: Partition
    export_file: ExportFile
    stage: str
    error: str

    def __str__(self) -> str:
        item = self.export_file
        return (
            f"Study {item.study_id}, subject {item.subject_id}, data set {item.dataset_name}, "
            f"file {item.file_name}: {self.error}"
        )


PartitionResult = PartitionLoaded | PartitionFailed
