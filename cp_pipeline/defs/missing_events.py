"""Partitions that are loaded and not on record, and giving them the record they miss.

Belongs here: comparing Dagster's records with the warehouse's, and making up for what is missing.
Does not belong: what a record says (``events``), the check's words (``checks``).

A load is committed before Dagster has its record. Killed in between, or with no room in Dagster's
home, a run leaves partitions that are current, so nobody loads them again, and that Dagster knows
nothing of. Every run that loads compares at its end, as it does for the check anyway; a sync that
has nothing to load, and the sensor, compare only where the run before ended badly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS, VERSION_TAG, materialization
from cp_pipeline.defs.partitions import key_of, register
from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionLoaded, Pipeline

# Where CentrePoint lists nothing newer than what is loaded.
_UP_TO_DATE = frozenset({"current", "withdrawn"})


@dataclass(frozen=True, slots=True)
class RecordsCompared:
    """How many partitions are loaded, and those of which Dagster has another execution on record.

    ``differing``: the executions in Dagster's records (none, where it has no record), and those in
    the warehouse.
    """

    examined: int
    differing: Mapping[Partition, tuple[frozenset[str], frozenset[str]]]


def compare_records(pipeline: Pipeline, instance: dg.DagsterInstance) -> RecordsCompared:
    """Dagster's data version of each partition against the executions in the warehouse.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    recorded = instance.event_log_storage.get_latest_tags_by_partition(
        DATASET_EXPORTS, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
    )
    versions = pipeline.versions()
    differing = {}
    for partition, version in sorted(versions.items()):
        tag = recorded.get(key_of(partition), {}).get(VERSION_TAG, "")
        known = frozenset(tag.split(",")) if tag else frozenset[str]()
        if not known or not version.still_listed <= known <= version.loaded:
            differing[partition] = (known, version.loaded)
    return RecordsCompared(len(versions), differing)


def give_missing_records(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    log: Callable[[dg.AssetMaterialization], None],
    listed_after: int,
    at_most: int | None = None,
) -> RecordsCompared:
    """Record what is loaded and not on record; nothing is fetched or loaded.

    Args:
        pipeline: has the warehouse.
        instance: has the records.
        log: takes each record.
        listed_after: a storage id from before the newest listing; see ``events.provenance``.
        at_most: of so many partitions, where there is little time.

    Returns:
        What differed before.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    compared = compare_records(pipeline, instance)
    if not compared.differing:
        return compared
    some = list(compared.differing)[:at_most]
    register(instance, some)
    states = {each.partition: each.state for each in pipeline.states()}
    for partition, kept in pipeline.loaded(some).items():
        # What is not up to date must look stale, whenever it was that CentrePoint listed more.
        after = listed_after if states.get(partition) in _UP_TO_DATE else 1
        log(materialization(PartitionLoaded(partition, (), kept), after))
    return compared
