"""What a batch of loads is, and what becomes of it.

Belongs here: what ``loader`` takes and returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cp_pipeline.domain.exports import Partition
from cp_pipeline.landing import CsvText, LandedFile
from cp_pipeline.warehouse.column_types import Column
from cp_pipeline.warehouse.dataset_tables import ColumnChange
from cp_pipeline.warehouse.profile import Profile


@dataclass(frozen=True, slots=True)
class ExportToLoad:
    """One landed export and its checked text.

    ``load_id``: in a rebuild, the number that it keeps. ``reason``: why it is loaded, in words.
    """

    landed: LandedFile
    text: CsvText
    load_id: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """One row of ``lineage.loads``, as far as people ask for it.

    ``columns``: the file's, in its order. ``preview``: its first records, as they stand in the
    file. ``look``: None where the data set has no times, or the file no records. ``is_new`` is
    False when this very execution was loaded already, by another process.
    """

    load_id: int
    landed: LandedFile
    row_count: int
    csv_bytes: int
    columns: tuple[Column, ...]
    preview: tuple[tuple[str, ...], ...] = ()
    look: Profile | None = None
    changes: tuple[ColumnChange, ...] = ()
    is_new: bool = True

    @property
    def column_count(self) -> int:
        """How many columns the file has."""
        return len(self.columns)


@dataclass(slots=True)
class BatchResult:
    """What became of each partition: its loads, or why it was refused and by which file."""

    loads: dict[Partition, list[Load]] = field(default_factory=dict)
    refused: dict[Partition, tuple[LandedFile, Exception]] = field(default_factory=dict)


Batch = Mapping[Partition, Sequence[ExportToLoad]]
# The exports of a batch by their number in it, which staged rows carry.
NumberedExports = Mapping[int, tuple[Partition, ExportToLoad]]
