"""A batch of loads, and its result.

Belongs here: the values that ``loader`` takes and returns.
Does not belong: loading them (``loader``).
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
    """One landed export and its validated text.

    ``load_id``: the load id that it keeps in a rebuild. ``reason``: why it is loaded, as text for
    people.
    """

    landed: LandedFile
    text: CsvText
    load_id: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """The values of one row of ``lineage.loads`` that events and commands show.

    ``columns``: the columns of the file, in file order. ``preview``: its first records, as written
    in the file. ``look``: the profile; None if the data set has no time column or the file has no
    records.
    """

    load_id: int
    landed: LandedFile
    row_count: int
    columns: tuple[Column, ...]
    preview: tuple[tuple[str, ...], ...] = ()
    look: Profile | None = None
    changes: tuple[ColumnChange, ...] = ()

    @property
    def column_count(self) -> int:
        """The number of columns in the file."""
        return len(self.columns)


@dataclass(slots=True)
class BatchResult:
    """The result of each partition: its loads, or the refused file and the error."""

    loads: dict[Partition, list[Load]] = field(default_factory=dict)
    refused: dict[Partition, tuple[LandedFile, Exception]] = field(default_factory=dict)


Batch = Mapping[Partition, Sequence[ExportToLoad]]
# The exports of a batch by their number in the batch. Staged rows carry this number.
NumberedExports = Mapping[int, tuple[Partition, ExportToLoad]]
