"""The plan: compare what the API lists with what the warehouse has loaded, by version.

Belongs here: deciding what to load, without side effects.
Does not belong: executing the plan (``executor``).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from cp_pipeline.domain.exports import ExportFile, ExportKey, Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.warehouse import LoadedExecution

# A program writes its files minutes after it was executed (docs/api.md, "Which version of an export
# an item is"). After a day we stop waiting.
PENDING_AT_MOST = timedelta(days=1)


class Reason(StrEnum):
    """Why an export is in the plan; kept in ``lineage.loads``."""

    NEW = "never loaded"
    EXECUTED_AGAIN = "its program was executed again"
    WRITTEN_AGAIN = "its file was written again after the same program execution"
    OVERDUE = "its file was not written for a day after the program execution"
    REFRESH = "asked for again"


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """An export to load, and why."""

    export_file: ExportFile
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load, by partition, and what needs no loading.

    ``to_load``: partitions with the exports to load. ``kept``: in all requested partitions, the
    loads that stay current. ``pending``: in all requested partitions, the exports whose file is
    still that of an earlier execution. ``without_export``: requested partitions without a listed
    export.
    """

    to_load: Mapping[Partition, tuple[PlannedExport, ...]]
    kept: Mapping[Partition, tuple[LoadedExecution, ...]]
    pending: Mapping[Partition, tuple[ExportFile, ...]]
    without_export: tuple[Partition, ...]

    @property
    def export_count(self) -> int:
        """The number of files that the plan loads."""
        return sum(len(exports) for exports in self.to_load.values())

    @property
    def pending_count(self) -> int:
        """The number of files that CentrePoint has not written yet."""
        return sum(len(exports) for exports in self.pending.values())

    @property
    def replaced(self) -> tuple[ExportFile, ...]:
        """Listed exports of which another version is loaded."""
        return tuple(
            each.export_file
            for exports in self.to_load.values()
            for each in exports
            if each.reason in {Reason.EXECUTED_AGAIN, Reason.WRITTEN_AGAIN}
        )

    @property
    def current(self) -> tuple[Partition, ...]:
        """Requested partitions without anything to load."""
        return tuple(partition for partition in self.kept if partition not in self.to_load)


def pending_remarks(number: int) -> list[str]:
    """Sentences for people about so many pending exports."""
    if not number:
        return []
    words = (
        f"{count(number, 'export')} pending: the program was executed, and its new file is not "
        "written yet. Nothing is loaded from the old file; a later sync loads the new one."
    )
    return [words]


def make_plan(
    listed: Iterable[ExportFile],
    loaded: Mapping[ExportKey, LoadedExecution],
    partitions: Collection[Partition] | None = None,
    *,
    refresh: bool = False,
    pending_since: Mapping[ExportKey, datetime] = MappingProxyType({}),
    now: datetime | None = None,
) -> Plan:
    """Compare what is listed with what is loaded.

    Args:
        listed: the items of the listing.
        loaded: the current load of each export.
        partitions: the requested partitions; None for all listed ones.
        refresh: also load what is already loaded.
        pending_since: since when (UTC) an export has been pending.
        now: the current time, in UTC.

    The newest version is current, so the plan ignores an export if a newer version than the listed
    one is loaded. A pending export is not loaded for a day: its rows belong to an earlier execution
    than the listed one.
    """
    moment = now or datetime.now(UTC)
    wanted = None if partitions is None else frozenset(partitions)
    to_load: dict[Partition, list[PlannedExport]] = defaultdict(list)
    kept: dict[Partition, list[LoadedExecution]] = defaultdict(list)
    pending: dict[Partition, list[ExportFile]] = defaultdict(list)
    seen: set[Partition] = set()
    for item in sorted(listed, key=lambda item: (item.dataset_name, item.key)):
        if wanted is not None and item.partition not in wanted:
            continue
        seen.add(item.partition)
        present = loaded.get(item.key)
        if present is not None and present.covers(item.version):
            if refresh:
                to_load[item.partition].append(PlannedExport(item, Reason.REFRESH))
            else:
                kept[item.partition].append(present)
            continue
        waited = moment - pending_since.get(item.key, moment)
        if item.is_pending and waited < PENDING_AT_MOST:
            pending[item.partition].append(item)
            if present is not None:
                kept[item.partition].append(present)
            continue
        to_load[item.partition].append(PlannedExport(item, _reason(item, present)))
    return Plan(
        {partition: tuple(exports) for partition, exports in to_load.items()},
        {partition: tuple(exports) for partition, exports in kept.items()},
        {partition: tuple(exports) for partition, exports in pending.items()},
        tuple(sorted(frozenset(wanted or ()) - seen)),
    )


def _reason(item: ExportFile, present: LoadedExecution | None) -> Reason:
    if item.is_pending:
        return Reason.OVERDUE
    if present is None:
        return Reason.NEW
    if present.program_executed_ns < item.version.executed:
        return Reason.EXECUTED_AGAIN
    return Reason.WRITTEN_AGAIN
