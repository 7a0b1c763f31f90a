"""Missing events: loaded partitions without a materialization of that version in Dagster.

Belongs here: comparing Dagster's events with the warehouse, and storing those that are missing.
Does not belong: what an event says (``events``), the check's messages (``checks``).

A load is committed before Dagster stores its event. A run may be killed in between, or find no disk
space in Dagster's home. Its partitions are then current, so no run loads them again, but Dagster
has no event of them. A run for the whole study compares at its end. All other runs, the sensor, and
a sync with nothing to load, compare if a run has ended badly and its lock file still exists.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS, VERSION_TAG, materialization
from cp_pipeline.defs.instance.event_batches import EventBatches
from cp_pipeline.defs.instance.orphaned_runs import end_orphaned_runs, remove_locks_of_ended_runs
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionLoaded, Pipeline
from cp_pipeline.locks.run_locks import RunLocks

# States in which CentrePoint lists no newer version than the loaded one.
_UP_TO_DATE = frozenset({"current", "withdrawn"})


@dataclass(frozen=True, slots=True)
class EventComparison:
    """The result of a comparison of Dagster's events with the warehouse.

    ``examined``: how many partitions are loaded. ``differing``: the partitions whose event names
    other executions than the warehouse. Each has the executions of the event (none if there is no
    event) and the executions in the warehouse.
    """

    examined: int
    differing: Mapping[Partition, tuple[frozenset[str], frozenset[str]]]


def newest_event(instance: dg.DagsterInstance) -> int:
    """Return the storage id of Dagster's newest event; see ``events.provenance``."""
    return instance.event_log_storage.get_maximum_record_id() or 1


def compare_events(
    pipeline: Pipeline, instance: dg.DagsterInstance, held: Collection[Partition] = ()
) -> EventComparison:
    """Compare Dagster's data version of each partition with the executions in the warehouse.

    Args:
        pipeline: has the warehouse.
        instance: has the events.
        held: partitions whose event Dagster stores a moment later.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    storage = instance.event_log_storage
    differing = {}
    examined = 0
    for versions in pipeline.versions():
        examined += len(versions)
        stored = storage.get_latest_tags_by_partition(
            DATASET_EXPORTS,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            [VERSION_TAG],
            asset_partitions=[key_of(partition) for partition in versions],
        )
        for partition, version in versions.items():
            tag = stored.get(key_of(partition), {}).get(VERSION_TAG, "")
            known = frozenset(tag.split(",")) if tag else frozenset[str]()
            if partition in held:
                continue
            if not known or not version.still_listed <= known <= version.loaded:
                differing[partition] = (known, version.loaded)
    return EventComparison(examined, differing)


def store_missing_events(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    events: EventBatches,
    listed_after: int,
    at_most: int | None = None,
    held: Collection[Partition] = (),
) -> EventComparison:
    """Store the missing events; nothing is downloaded or loaded.

    Args:
        pipeline: has the warehouse.
        instance: has the events.
        events: stores the events.
        listed_after: a storage id from before the newest listing; see ``events.provenance``.
        at_most: the maximum number of events to store now; None is no limit.
        held: see ``compare_events``.

    Returns:
        The comparison from before the events were stored.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    events.flush()
    compared = compare_events(pipeline, instance, held)
    if not compared.differing:
        return compared
    partitions = list(compared.differing)[:at_most]
    register(instance, partitions)
    states = {status.partition: status.state for status in pipeline.states()}
    names = pipeline.names()
    for partition, kept in pipeline.loaded(partitions).items():
        # 1 is older than every observation: a partition that is not up to date must be stale, even
        # if its new execution was observed long ago.
        after = listed_after if states.get(partition) in _UP_TO_DATE else 1
        events.log(materialization(PartitionLoaded(partition, (), kept), after, None, names))
    events.flush()
    return compared


def has_run_ended_badly(instance: dg.DagsterInstance, locks: RunLocks) -> bool:
    """Whether a run with a lock file has ended without success, so that events may be missing."""
    ended = [instance.get_run_by_id(run_id) for run_id in locks.released()]
    # If Dagster does not know a run, it was killed before Dagster stored it. It may have loaded.
    return any(run is None or not run.is_success for run in ended)


def recover_orphaned_runs(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    locks: RunLocks,
    listed_after: int,
    at_most: int | None = None,
) -> int:
    """End orphaned runs, and store the missing events of runs that did not succeed.

    Does nothing if the process of every run with a lock file lives.

    Args:
        pipeline: has the warehouse.
        instance: has the runs and events.
        locks: of the runs.
        listed_after: a storage id from before the newest listing; see ``events.provenance``.
        at_most: the maximum number of events to store now; None is no limit. The next call stores
            more.

    Returns:
        The number of partitions whose event was missing.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    if not locks.released():
        return 0
    end_orphaned_runs(instance, locks)
    missing = 0
    if has_run_ended_badly(instance, locks):
        with EventBatches(instance) as events:
            compared = store_missing_events(pipeline, instance, events, listed_after, at_most)
        missing = len(compared.differing)
    if at_most is None or missing <= at_most:
        remove_locks_of_ended_runs(instance, locks)
    return missing
