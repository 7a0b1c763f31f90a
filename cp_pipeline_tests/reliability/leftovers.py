"""Find what must not remain after a process was killed and its command was run again."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import dagster as dg

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.missing_events import compare_events
from cp_pipeline.domain.exports import Partition
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import open_pipeline


def leftovers(storage: StorageSettings) -> list[str]:
    """Temporary files that a sync must not leave, and landed files without their description."""
    landed = set(storage.landing.rglob("*.export"))
    described = {path.with_suffix(".export") for path in storage.landing.glob("*/*/*/*.json")}
    odd = [*storage.landing.glob(".aside/*"), *storage.data_dir.glob("run_locks/*")]
    odd += [path for path in storage.data_dir.iterdir() if path.name.endswith((".wal", ".tmp"))]
    return [str(path) for path in [*odd, *(landed ^ described)]]


def processes_left(storage: StorageSettings) -> list[str]:
    """Command lines of running processes that know the data folder (needs /proc)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            told = command + (process / "environ").read_bytes()
            if os.fsencode(storage.data_dir) in told:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def unfinished(storage: StorageSettings) -> list[dg.DagsterRun]:
    with open_instance(storage) as instance:
        return [run for run in instance.get_runs() if not run.is_finished]


def without_event(
    storage: StorageSettings, *, newest_is_killed: bool = False
) -> Mapping[Partition, object]:
    """Loaded partitions for which Dagster has no event, or one with another execution.

    Not those of a run that Dagster takes for unfinished, unless it is the newest and was killed.
    """
    with open_instance(storage) as instance:
        killed = instance.get_run_ids(limit=1) if newest_is_killed else []
        return compare_events(open_pipeline(), instance, own_run="".join(killed)).differing
