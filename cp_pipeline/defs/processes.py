"""Runs whose process is gone: found by what the run wrote down of it, and ended.

Belongs here: which process works on a run, and telling that there is none any more.
Does not belong: which partitions a run loads (``active_runs``).

Dagster's default launcher does not look after the processes that it starts, and ``cp-pipeline
sync`` is a process of its own: killed, either would leave a run "started" for ever, in the pool's
one slot. A process is known by its host, its number, and when it began, since numbers come again.

Dagster's code server ends a run whose process it has started and lost. Killed with it, before the
run's first step could write down which process it is, the run is known by what Dagster noted of it,
where the sensor that asked for it was on this machine.
"""

import json
import multiprocessing
import os
import socket
import subprocess
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from cp_pipeline.defs.asset_tags import POOL

PROCESS_TAG = "cp_pipeline/process"
LAUNCHED_TAG = "cp_pipeline/launched_on"
_STARTED_FIELD = 19
# By so much a clock may be put right meanwhile; a machine is not restarted in less.
_CLOCK_SECONDS = 20.0
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tag(run_id: str) -> dict[str, str]:
    """The tag of a run that says which process works on it: this one, or who looks after it."""
    # A step in a process of its own ends before its run does; whoever started it stays.
    parent = multiprocessing.parent_process()
    number = os.getpid() if parent is None or parent.pid is None else parent.pid
    # The run is named, because whoever executes a run again copies its tags.
    found = {"run": run_id, "host": socket.gethostname(), "process": number}
    return {PROCESS_TAG: json.dumps(found | {"began": _began(number)})}


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    pool = instance.event_log_storage.get_concurrency_info(POOL)
    for run_id in pool.active_run_ids | pool.assigned_run_ids | pool.pending_run_ids:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def launched_tag() -> dict[str, str]:
    """The tag of a run that is asked for on this machine."""
    return {LAUNCHED_TAG: socket.gethostname()}


def is_gone(run: dg.DagsterRun) -> bool:
    """Whether the run's process was on this machine and is no more; False where that is unknown."""
    try:
        found = json.loads(run.tags.get(PROCESS_TAG, "{}"))
        here = (found["run"], found["host"]) == (run.run_id, socket.gethostname())
        return here and bool(found["began"]) and _began(int(found["process"])) != found["began"]
    except (ValueError, KeyError, TypeError):
        return False


def end_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs failed whose process is gone, and free their slots; their ids.

    Also the slot of a run that Dagster has reported failed, which it would keep for five minutes.
    """
    _free_slots_of_ended_runs(instance)
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if not is_gone(run) and not _worker_is_gone(instance, run):
            continue
        # It may have ended well since it was read, just before its process did.
        again = instance.get_run_by_id(run.run_id)
        if again is not None and again.status in _UNFINISHED:
            words = "The process of this run is gone: it was killed, or the machine was restarted."
            instance.report_run_failed(again, words)
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def _worker_is_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that Dagster's default launcher started on this machine is no more."""
    # The launcher that starts processes on the code server's machine, and it alone, leaves this.
    if run.tags.get(LAUNCHED_TAG) != socket.gethostname() or GRPC_INFO_TAG not in run.tags:
        return False
    if f'"{run.run_id}"' in run.tags.get(PROCESS_TAG, ""):
        # Its step says it better.
        return False
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        number = event.engine_event_data.metadata.get("pid") if event else None
        if number is not None:
            # Of a younger process with the same number the run knows nothing.
            began = _began_at(int(str(number.value)))
            return not 0 < began < entry.timestamp + _CLOCK_SECONDS
    return False


def _began_at(number: int) -> float:
    """When a process began, in seconds since 1970; 0 if there is none, 1 if nobody knows."""
    began = _began(number)
    if not began.isdecimal():
        return 1.0 if began else 0.0
    up_since = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
    return int(up_since) + int(began) / os.sysconf("SC_CLK_TCK")


def _began(number: int) -> str:
    """When a process began, in the system's own words; empty if there is none."""
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _began_by_ps(number)
    except OSError:
        return ""
    # What follows the program's name, which may have spaces and brackets in it.
    state, *rest = status.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else rest[_STARTED_FIELD - 1]


def _began_by_ps(number: int) -> str:
    done = subprocess.run(  # noqa: S603  (a number is all that comes from outside)
        ["/bin/ps", "-o", "lstart=", "-p", str(number)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
