"""The plan: what the API lists against what the warehouse has loaded, by program execution.

Belongs here: deciding, without doing anything.
Does not belong: carrying it out (``carrying_out``).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cp_pipeline.exports import ExportFile, ExportKey, Partition
from cp_pipeline.warehouse import LoadedExecution


class Reason(StrEnum):
    """Why an export is in the plan."""

    NEW = "never loaded"
    EXECUTED_AGAIN = "its program was executed again"
    REFRESH = "asked for again"


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """An export to load, and why."""

    export_file: ExportFile
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load, by partition, and what needs no loading.

    ``to_load``: partitions with the exports to load. ``kept``: in all asked-for partitions, the
    exports whose listed execution is loaded already. ``without_export``: asked-for partitions for
    which nothing is listed.
    """

    to_load: Mapping[Partition, tuple[PlannedExport, ...]]
    kept: Mapping[Partition, tuple[LoadedExecution, ...]]
    without_export: tuple[Partition, ...]

    @property
    def export_count(self) -> int:
        """How many files the plan loads."""
        return sum(len(exports) for exports in self.to_load.values())

    @property
    def executed_again(self) -> tuple[ExportFile, ...]:
        """Exports that are loaded, from an older execution than the listed one."""
        return tuple(
            each.export_file
            for exports in self.to_load.values()
            for each in exports
            if each.reason is Reason.EXECUTED_AGAIN
        )

    @property
    def current(self) -> tuple[Partition, ...]:
        """Asked-for partitions that have nothing to load."""
        return tuple(partition for partition in self.kept if partition not in self.to_load)


def make_plan(
    listed: Iterable[ExportFile],
    loaded: Mapping[ExportKey, LoadedExecution],
    partitions: Collection[Partition] | None = None,
    *,
    refresh: bool = False,
) -> Plan:
    """Compare what is listed with what is loaded.

    Args:
        listed: the items of the listing.
        loaded: the current load of each export.
        partitions: the ones asked for; None for all that are listed.
        refresh: load again what is loaded.

    The newest execution is current: an export listed with an older execution than the loaded one
    is not in the plan.
    """
    wanted = None if partitions is None else frozenset(partitions)
    to_load: dict[Partition, list[PlannedExport]] = defaultdict(list)
    kept: dict[Partition, list[LoadedExecution]] = defaultdict(list)
    seen: set[Partition] = set()
    for item in sorted(listed, key=lambda item: (item.dataset_name, item.key)):
        if wanted is not None and item.partition not in wanted:
            continue
        seen.add(item.partition)
        present = loaded.get(item.key)
        if present is None:
            to_load[item.partition].append(PlannedExport(item, Reason.NEW))
        elif refresh:
            to_load[item.partition].append(PlannedExport(item, Reason.REFRESH))
        elif present.program_executed_ns < item.execution.nanoseconds:
            to_load[item.partition].append(PlannedExport(item, Reason.EXECUTED_AGAIN))
        else:
            kept[item.partition].append(present)
    return Plan(
        {partition: tuple(exports) for partition, exports in to_load.items()},
        {partition: tuple(exports) for partition, exports in kept.items()},
        tuple(sorted(frozenset(wanted or ()) - seen)),
    )
