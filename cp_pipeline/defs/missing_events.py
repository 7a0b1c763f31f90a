"""Missing events: partitions that are loaded, and Dagster has no materialization of that version.

Belongs here: comparing Dagster's events with the warehouse, and storing those that are missing.
Does not belong: what an event says (``events``), the check's messages (``checks``).

A load is committed before Dagster stores its event. A run that is killed in between, or has no disk
space left in Dagster's home, leaves partitions that are current, so nobody loads them again, and
that Dagster knows nothing of. Each run that loads compares at its end. The sensor, and a sync with
nothing to load, compare if a run has ended and its lock file is still there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS, VERSION_TAG, materialization
from cp_pipeline.defs.instance.orphaned_runs import end_orphaned_runs, remove_locks_of_ended_runs
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionLoaded, Pipeline
from cp_pipeline.locks.run_locks import RunLocks

# CentrePoint lists nothing newer than what is loaded.
_UP_TO_DATE = frozenset({"current", "withdrawn"})


@dataclass(frozen=True, slots=True)
class EventsCompared:
    """How many partitions are loaded, and those of which Dagster's event names another execution.

    ``differing``: the executions that Dagster's event names (none, if it has no event), and those
    in the warehouse.
    """

    examined: int
    differing: Mapping[Partition, tuple[frozenset[str], frozenset[str]]]


def newest_event(instance: dg.DagsterInstance) -> int:
    """The storage id of Dagster's newest event; see ``events.provenance``."""
    return instance.event_log_storage.get_maximum_record_id() or 1


def compare_events(pipeline: Pipeline, instance: dg.DagsterInstance) -> EventsCompared:
    """Compare Dagster's data version of each partition with the executions in the warehouse.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    stored = instance.event_log_storage.get_latest_tags_by_partition(
        DATASET_EXPORTS, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
    )
    versions = pipeline.versions()
    differing = {}
    for partition, version in sorted(versions.items()):
        tag = stored.get(key_of(partition), {}).get(VERSION_TAG, "")
        known = frozenset(tag.split(",")) if tag else frozenset[str]()
        if not known or not version.still_listed <= known <= version.loaded:
            differing[partition] = (known, version.loaded)
    return EventsCompared(len(versions), differing)


def give_missing_events(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    log: Callable[[dg.AssetMaterialization], None],
    listed_after: int,
    at_most: int | None = None,
) -> EventsCompared:
    """Store the events that are missing; nothing is downloaded or loaded.

    Args:
        pipeline: has the warehouse.
        instance: has the events.
        log: stores an event.
        listed_after: a storage id from before the newest listing; see ``events.provenance``.
        at_most: for so many partitions, if there is little time.

    Returns:
        What differed before.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    compared = compare_events(pipeline, instance)
    if not compared.differing:
        return compared
    some = list(compared.differing)[:at_most]
    register(instance, some)
    states = {each.partition: each.state for each in pipeline.states()}
    for partition, kept in pipeline.loaded(some).items():
        # A partition that is not up to date must look stale, also if it was listed long ago.
        after = listed_after if states.get(partition) in _UP_TO_DATE else 1
        log(materialization(PartitionLoaded(partition, (), kept), after))
    return compared


def recover_orphaned_runs(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    locks: RunLocks,
    listed_after: int,
    at_most: int | None = None,
) -> int:
    """End orphaned runs, and store the events that runs which ended badly did not store.

    Does nothing if every run with a lock file still has its process.

    Args:
        pipeline: has the warehouse.
        instance: has the runs and events.
        locks: of the runs.
        listed_after: a storage id from before the newest listing; see ``events.provenance``.
        at_most: events for so many partitions, if there is little time. The next call gives more.

    Returns:
        For how many partitions the event was missing.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    if not (released := locks.released()):
        return 0
    end_orphaned_runs(instance, locks)
    ended = [instance.get_run_by_id(run_id) for run_id in released]
    missing = 0
    # A run that is not known was killed before Dagster stored it, perhaps after its first load.
    if any(run is None or not run.is_success for run in ended):
        log = instance.report_runless_asset_event
        missing = len(give_missing_events(pipeline, instance, log, listed_after, at_most).differing)
    if at_most is None or missing <= at_most:
        remove_locks_of_ended_runs(instance, locks)
    return missing
