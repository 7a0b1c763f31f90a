"""The partitions that the active runs will load, so that no partition is requested twice.

Belongs here: reading a run's configuration and tags. Does not belong: requesting runs
(``sensors``).
"""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from cp_pipeline.defs.events import DATASET_EXPORTS
from cp_pipeline.defs.instance.orphaned_runs import (
    LOAD_ASSETS,
    UNFINISHED,
    end_orphaned_runs,
)
from cp_pipeline.defs.partitions import key_of
from cp_pipeline.domain.exports import Partition
from cp_pipeline.locks.run_locks import RunLocks

Covers = Callable[[Partition], bool]


def active_runs(instance: dg.DagsterInstance, locks: RunLocks) -> dict[str, Covers]:
    """Return, by run id, a function that tells whether the run loads a partition.

    Runs that load nothing are left out. Orphaned runs are ended first, because their partitions
    would never be requested again.
    """
    end_orphaned_runs(instance, locks)
    active = {}
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        covers = _covers(run)
        if covers is not None:
            active[run.run_id] = covers
    return active


def _covers(run: dg.DagsterRun) -> Covers | None:
    ops: Mapping[str, Any] = (run.run_config or {}).get("ops", {})  # type: ignore[assignment]
    configured = {name: op.get("config", {}) for name, op in ops.items()}
    if run.job_name == "sync":
        config = configured.get("sync_exports", {})
        subjects = frozenset(config.get("subject_ids") or ())
        datasets = frozenset(config.get("dataset_names") or ())
        return lambda partition: (
            (not subjects or partition.subject_id in subjects)
            and (not datasets or partition.dataset_name in datasets)
        )
    if run.job_name == "load_partitions":
        chosen = {
            Partition(subject, dataset)
            for dataset, subjects in configured["load_chosen_partitions"]["partitions"].items()
            for subject in subjects
        }
        return lambda partition: partition in chosen
    # A job's own run names no assets: it is for all of them.
    selected = run.asset_selection or ({DATASET_EXPORTS} if run.job_name == LOAD_ASSETS else ())
    if DATASET_EXPORTS in selected:
        key = run.tags.get("dagster/partition")
        # A run without this tag is for a range. It may load any partition, so all of them wait.
        return lambda partition: key is None or key_of(partition) == key
    return None
