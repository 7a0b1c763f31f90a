"""Orphaned runs: Dagster shows them as started, but their process is gone.

Belongs here: finding and ending them. Does not belong: the locks (``locks.run_locks``), which
partitions a run loads (``active_runs``), events that such a run did not store (``missing_events``).

Dagster's default launcher does not watch the processes that it starts, and it does not know the
process of ``cp-pipeline sync``. If a process is killed, its run would stay "started" and keep the
pool's only slot. So each run holds a lock file while its process lives (``definitions``).

If Dagster's storage is a server's, runs of other hosts are in it, too. A run that has no lock file
of this host may live there, so it is left to Dagster's run monitoring.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.locks.run_locks import RunLocks

# All statuses that are not final.
UNFINISHED = [
    status
    for status in dg.DagsterRunStatus
    if status
    not in {
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
        dg.DagsterRunStatus.MANAGED,
    }
]
# How long a run without a lock file may have its status. A run takes its lock within tenths of a
# second after it has started. Before that, its process starts and imports Dagster. For comparison:
# Dagster's run monitoring waits three minutes for a start.
_TIME_TO_LOCK = {
    dg.DagsterRunStatus.NOT_STARTED: timedelta(minutes=2),
    dg.DagsterRunStatus.STARTING: timedelta(minutes=5),
    dg.DagsterRunStatus.STARTED: timedelta(minutes=2),
}
LOAD_ASSETS = "load_assets"
_REASON = "The process of this run is gone: it was killed, or the machine was restarted."


def end_orphaned_runs(
    instance: dg.DagsterInstance, locks: RunLocks, now: datetime | None = None
) -> list[str]:
    """Report orphaned runs as failed, free their slots, and return their ids.

    Free the slots of ended runs too; Dagster would keep them for five minutes. ``now`` is by this
    machine's clock.
    """
    _free_slots_of_ended_runs(instance)
    ended, hosts_share = [], is_of_a_server(instance)
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        is_known = run.run_id in locks.all()
        if is_known and locks.is_held(run.run_id):
            continue
        if hosts_share and (not is_known or locks.is_of_another_host(run.run_id)):
            continue
        if not is_known and not _should_be_locked(record, now or datetime.now(UTC)):
            continue
        # Read it again: it may have ended in the meantime, just before its process did.
        again = instance.get_run_by_id(run.run_id)
        if again is not None and again.status in UNFINISHED:
            instance.report_run_failed(again, _REASON)
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def is_of_a_server(instance: dg.DagsterInstance) -> bool:
    """Whether a database server stores the runs, so that other hosts may have some of them."""
    # The public name in both of Dagster's storages on a server.
    return any(hasattr(instance.run_storage, name) for name in ("postgres_url", "mysql_url"))


def remove_locks_of_ended_runs(instance: dg.DagsterInstance, locks: RunLocks) -> None:
    """Remove the lock files of runs that have ended, and of runs that Dagster does not know."""
    for run_id in locks.all():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            locks.remove(run_id)


def _should_be_locked(record: dg.RunRecord, now: datetime) -> bool:
    """Whether a run without a lock file was killed before it could create one.

    False for runs of other code locations, which may share this Dagster.
    """
    run = record.dagster_run
    limit = _TIME_TO_LOCK.get(run.status)
    if limit is None or not _is_ours(run):
        return False
    return now - record.update_timestamp.astimezone(UTC) > limit


def _is_ours(run: dg.DagsterRun) -> bool:
    """Whether a run is of a job or an asset of cp-pipeline that reads or writes the warehouse."""
    ours = {"export_files", "dataset_exports", "published"}
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    jobs = {"sync", "load_partitions", LOAD_ASSETS, "compact", "publish"}
    return run.job_name in jobs or bool(selected & ours)


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    pool = instance.event_log_storage.get_concurrency_info(POOL)
    for run_id in pool.active_run_ids | pool.assigned_run_ids | pool.pending_run_ids:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
