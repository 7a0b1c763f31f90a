"""What became of each partition.

Belongs here: the values that ``execute`` yields, for Dagster and the command line to show.
"""

from dataclasses import dataclass

from cp_pipeline.domain.exports import ExportFile, Partition
from cp_pipeline.warehouse import Load, LoadedExecution


@dataclass(frozen=True, slots=True)
class PartitionLoaded:
    """A partition of which all listed exports are in the warehouse now.

    ``loads``: what was loaded just now. ``kept``: exports of the partition that needed no loading.
    """

    partition: Partition
    loads: tuple[Load, ...]
    kept: tuple[LoadedExecution, ...]

    @property
    def row_count(self) -> int:
        """Rows of the partition in the schema ``exports``."""
        return sum(load.row_count for load in self.loads) + sum(
            each.row_count for each in self.kept
        )

    @property
    def file_bytes(self) -> int:
        """Bytes of the partition's files, as they came."""
        return sum(load.landed.byte_count for load in self.loads) + sum(
            each.file_bytes for each in self.kept
        )

    @property
    def executions(self) -> tuple[str, ...]:
        """The program executions that the partition's rows come from, to the letter."""
        return tuple(
            sorted(
                [load.landed.execution for load in self.loads]
                + [each.program_execution for each in self.kept]
            )
        )


@dataclass(frozen=True, slots=True)
class PartitionFailed:
    """A partition that was not loaded; what the warehouse had of it is untouched.

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
