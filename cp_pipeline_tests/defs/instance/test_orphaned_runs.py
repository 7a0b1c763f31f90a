"""Runs whose process is gone are ended, and no other runs."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.instance.orphaned_runs import (
    end_orphaned_runs,
    remove_locks_of_ended_runs,
)
from cp_pipeline.defs.partitions import subject_by_dataset
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline_tests.defs.conftest import status

HOLD = """
import sys, time
from pathlib import Path
from cp_pipeline.locks.run_locks import RunLocks
RunLocks(Path(sys.argv[1])).hold(sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""
LATER = timedelta(minutes=3)
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED
STARTED = dg.DagsterRunStatus.STARTED
FAILURE = dg.DagsterRunStatus.FAILURE


@pytest.fixture
def locks(tmp_path: Path) -> RunLocks:
    return RunLocks(tmp_path)


def created(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STARTED, job: str = "sync"
) -> str:
    run = instance.create_run_for_job(build_defs().resolve_job_def(job), status=status)
    return run.run_id


def holder(locks: RunLocks, run_id: str) -> "subprocess.Popen[str]":
    """Start a process that holds the lock of a run."""
    command = [sys.executable, "-c", HOLD, str(locks.folder.parent), run_id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_is_ended_when_its_process_was_killed_and_not_before(
    instance: dg.DagsterInstance, locks: RunLocks
) -> None:
    run_id = created(instance)
    mine = created(instance)
    locks.hold(mine)
    with holder(locks, run_id) as process:
        assert locks.is_held(run_id)
        later = datetime.now(UTC) + timedelta(days=400)
        assert end_orphaned_runs(instance, locks, later) == []
        assert status(instance, run_id) == STARTED
        process.kill()
    assert locks.released() == [run_id]
    assert end_orphaned_runs(instance, locks) == [run_id]
    assert status(instance, run_id) == FAILURE
    assert end_orphaned_runs(instance, locks) == []
    remove_locks_of_ended_runs(instance, locks)
    assert locks.all() == [mine]
    locks.remove(mine)


@pytest.mark.parametrize(
    ("before", "minutes"), [(NOT_STARTED, 2), (STARTED, 2), (dg.DagsterRunStatus.STARTING, 5)]
)
def test_a_run_that_never_took_its_lock_is_ended_after_minutes(
    instance: dg.DagsterInstance, locks: RunLocks, before: dg.DagsterRunStatus, minutes: int
) -> None:
    run_id = created(instance, before)
    limit = datetime.now(UTC) + timedelta(minutes=minutes)
    assert end_orphaned_runs(instance, locks, limit - timedelta(seconds=30)) == []
    # A clock that is 400 days behind ends no run.
    assert end_orphaned_runs(instance, locks, limit - timedelta(days=400)) == []
    assert end_orphaned_runs(instance, locks, limit + timedelta(seconds=30)) == [run_id]
    assert status(instance, run_id) == FAILURE


def test_a_run_that_is_canceling_is_left_to_dagsters_own_monitoring(
    instance: dg.DagsterInstance, locks: RunLocks
) -> None:
    created(instance, dg.DagsterRunStatus.CANCELING)
    assert end_orphaned_runs(instance, locks, datetime.now(UTC) + timedelta(days=400)) == []


def test_runs_of_other_code_locations_are_left_alone(
    instance: dg.DagsterInstance, locks: RunLocks
) -> None:
    @dg.asset(partitions_def=subject_by_dataset)
    def of_others() -> None:
        pass

    @dg.job
    def job_of_others() -> None:
        pass

    instance.create_run_for_job(job_of_others, status=STARTED)
    others = dg.Definitions([of_others]).resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(others, status=STARTED)
    assert end_orphaned_runs(instance, locks, datetime.now(UTC) + LATER) == []


def test_a_run_started_from_the_assets_in_the_ui_is_ended_too(
    instance: dg.DagsterInstance, locks: RunLocks
) -> None:
    job = build_defs().resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(
        job, status=STARTED, asset_selection=frozenset({dg.AssetKey("export_files")})
    )
    assert end_orphaned_runs(instance, locks, datetime.now(UTC) + LATER) == [run.run_id]


def test_a_lock_file_of_a_run_that_dagster_does_not_know_is_removed(
    instance: dg.DagsterInstance, locks: RunLocks
) -> None:
    locks.hold("of-a-home-that-was-deleted")
    locks.release("of-a-home-that-was-deleted")
    remove_locks_of_ended_runs(instance, locks)
    assert locks.all() == []
