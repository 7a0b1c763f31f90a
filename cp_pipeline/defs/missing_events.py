"""Missing events: loaded partitions without a materialization of that version in Dagster.

Belongs here: comparing Dagster's events with the warehouse, and storing those that are missing.
Does not belong: what an event says (``events``), the check's messages (``checks``).

A load is committed before Dagster stores its event. A run may be killed in between, or find no disk
space in Dagster's home. Its partitions are then current, so no run loads them again, but Dagster
has no event of them. A run for the whole study compares at its end. All other runs, the sensor, and
a sync with nothing to load, compare if a run has ended badly: its lock file still exists, or, in a
storage that hosts share, its tag says that its events are incomplete. Partitions that an unfinished
run has loaded are left out: it stores their events itself.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS, VERSION_TAG, materialization
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.instance.orphaned_runs import (
    UNFINISHED,
    end_orphaned_runs,
    is_of_a_server,
    remove_locks_of_ended_runs,
)
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionLoaded, Pipeline
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.warehouse import (
    LoadedExecution,
    LoadedVersions,
    loaded_executions,
    loaded_versions,
    partitions_loaded_by,
)

# States in which CentrePoint lists no newer version than the loaded one.
_UP_TO_DATE = frozenset({"current", "withdrawn"})
# A tag of runs that load, in a storage that hosts share: whether all events of the run are stored.
_EVENTS_TAG = "cp_pipeline/events"
_INCOMPLETE, _COMPLETE = {_EVENTS_TAG: "incomplete"}, {_EVENTS_TAG: "complete"}
_ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_Known = frozenset[str]


@dataclass(frozen=True, slots=True)
class EventComparison:
    """The result of a comparison of Dagster's events with the warehouse.

    ``examined``: how many partitions are loaded. ``differing``: the partitions whose event names
    other executions than the warehouse. Each has the executions of the event (none if there is no
    event) and the executions in the warehouse.
    """

    examined: int
    differing: Mapping[Partition, tuple[_Known, _Known]]


def newest_event(instance: dg.DagsterInstance) -> int:
    """Return the storage id of Dagster's newest event; see ``events.provenance``."""
    return instance.event_log_storage.get_maximum_record_id() or 1


def compare_events(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    held: Collection[Partition] = (),
    own_run: str = "",
) -> EventComparison:
    """Compare Dagster's data version of each partition with the executions in the warehouse.

    Leave out partitions that another run has loaded which is not finished: it stores their events.
    ``own_run`` is the run that compares; empty outside a run. Dagster stores the events of ``held``
    a moment later.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    differing: dict[Partition, tuple[_Known, LoadedVersions]] = {}
    examined = 0
    for versions in loaded_versions(pipeline.questions):
        examined += len(versions)
        differing.update(_differing(instance, versions, held))
    if differing:
        unfinished = set(instance.get_run_ids(dg.RunsFilter(statuses=UNFINISHED))) - {own_run}
        left_out = {*held, *partitions_loaded_by(pipeline.questions, unfinished)}
        # Once more: a run may have stored its events, and have ended, since they were read.
        versions = {partition: version for partition, (_, version) in differing.items()}
        differing = dict(_differing(instance, versions, left_out))
    return EventComparison(
        examined, {each: (known, version.loaded) for each, (known, version) in differing.items()}
    )


def _differing(
    instance: dg.DagsterInstance,
    versions: Mapping[Partition, LoadedVersions],
    left_out: Collection[Partition],
) -> Iterator[tuple[Partition, tuple[_Known, LoadedVersions]]]:
    """Yield the partitions whose event names other executions, and what it names."""
    stored = instance.event_log_storage.get_latest_tags_by_partition(
        DATASET_EXPORTS,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        [VERSION_TAG],
        asset_partitions=[key_of(partition) for partition in versions],
    )
    for partition, version in versions.items():
        tag = stored.get(key_of(partition), {}).get(VERSION_TAG, "")
        known = frozenset(tag.split(",")) if tag else _Known()
        if partition in left_out:
            continue
        if not known or not version.still_listed <= known <= version.loaded:
            yield partition, (known, version)


def store_missing_events(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    events: EventBatches,
    listed_after: int,
    at_most: int | None = None,
    held: Collection[Partition] = (),
    own_run: str = "",
) -> EventComparison:
    """Store the missing events, and return the comparison from before that.

    Nothing is downloaded or loaded. ``listed_after`` is a storage id from before the newest listing
    (see ``events.provenance``), ``at_most`` the number of events to store now; None is no limit.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    events.flush()
    compared = compare_events(pipeline, instance, held, own_run)
    if not compared.differing:
        return compared
    partitions = list(compared.differing)[:at_most]
    register(instance, partitions)
    states = {status.partition: status.state for status in pipeline.states()}
    names = pipeline.names()
    for partition, kept in _current_loads(pipeline, partitions).items():
        # 1 is older than every observation: a partition that is not up to date must be stale, even
        # if its new execution was observed long ago.
        after = listed_after if states.get(partition) in _UP_TO_DATE else 1
        events.log(materialization(PartitionLoaded(partition, (), tuple(kept)), after, None, names))
    events.flush()
    return compared


def _current_loads(
    pipeline: Pipeline, partitions: Collection[Partition]
) -> Mapping[Partition, Sequence[LoadedExecution]]:
    """Return the current loads of these partitions, without partitions that have none."""
    found: dict[Partition, list[LoadedExecution]] = {}
    wanted = frozenset(partitions)
    for key, load in loaded_executions(pipeline.questions).items():
        partition = Partition(key.subject_id, key.dataset_name)
        if partition in wanted:
            found.setdefault(partition, []).append(load)
    return dict(sorted(found.items()))


def events_may_be_missing(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that a run begins to load: until it says otherwise, its events may be incomplete."""
    if is_of_a_server(instance):
        instance.add_run_tags(run_id, _INCOMPLETE)


def events_are_complete(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Say that no event of these runs is missing, so that no host compares because of them."""
    for run_id in run_ids:
        if is_of_a_server(instance) and instance.has_run(run_id):
            instance.add_run_tags(run_id, _COMPLETE)


def runs_ended_badly(instance: dg.DagsterInstance, locks: RunLocks) -> set[str]:
    """Return the runs that have ended without success, so that events may be missing.

    Orphaned runs of this host are ended first. Runs of other hosts are among them as soon as
    Dagster has ended them, for instance by its run monitoring.
    """
    found = set()
    if released := locks.released():
        end_orphaned_runs(instance, locks)
    for run_id in released:
        run = instance.get_run_by_id(run_id)
        # A run that Dagster does not know was killed before it was stored. It may have loaded.
        if run is None or (run.is_finished and not run.is_success):
            found.add(run_id)
    if is_of_a_server(instance):
        tagged = dg.RunsFilter(statuses=_ENDED_BADLY, tags=_INCOMPLETE)
        found.update(instance.get_run_ids(tagged))
    return found


def recover_orphaned_runs(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    locks: RunLocks,
    listed_after: int,
    at_most: int | None = None,
) -> int:
    """End orphaned runs, and store the missing events of runs that did not succeed.

    Does nothing if no run has ended badly, on this host or in a storage that hosts share. Stores
    ``at_most`` events (see ``store_missing_events``, also for ``listed_after``); the next call
    stores more.

    Returns:
        The number of partitions whose event was missing.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    ended = runs_ended_badly(instance, locks)
    missing = 0
    if ended:
        with EventBatches(instance) as events:
            compared = store_missing_events(pipeline, instance, events, listed_after, at_most)
        missing = len(compared.differing)
    if at_most is None or missing <= at_most:
        events_are_complete(instance, ended)
        remove_locks_of_ended_runs(instance, locks)
    return missing
