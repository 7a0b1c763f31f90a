"""Dagster's home: the folder with its storage and its configuration.

Belongs here: the folder, its ``dagster.yaml``, and opening the instance.
Does not belong: the events that are stored there (``events``).
"""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import DBAPIError
from yaml import YAMLError  # type: ignore[import-untyped]

from cp_pipeline.defs.instance.home_folder import home_folder
from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.instance.storage_errors import (
    StorageOutdated,
    storage_errors_explained,
    what_is_missing,
)
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.file_locks import file_locked
from cp_pipeline.locks.partial_files import replaced_at_once
from cp_pipeline.settings import StorageSettings

DAGSTER_YAML = """\
# Written by cp-pipeline. One slot for all writers of the warehouse, in all processes together.
concurrency:
  pools:
    default_limit: 1
    granularity: op
# Ends a run that does not start, or that does not end when it is terminated. Dagster's default
# launcher does not find runs whose process is gone; the sensors and `sync` find them.
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 300
# Dagster's own event log, with its files kept open. An event takes a seventh of the time.
event_log_storage:
  module: cp_pipeline.defs.event_log
  class: KeptOpenEventLog
  config:
    base_dir: history/runs
# Do not show the sign-up dialog on the first page.
nux:
  enabled: false
telemetry:
  enabled: false
"""


def prepare_dagster_home(storage: StorageSettings) -> Path:
    """Create Dagster's home if it does not exist, and set ``DAGSTER_HOME`` to it."""
    home = home_folder(storage)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        # If the disk is full, half a file must not look like the whole.
        with replaced_at_once(configuration, 0o600) as part:
            part.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


# For a run whose output is on the screen. To capture it as well, Dagster starts four processes. If
# the run is killed, one of them could live on.
_NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def open_instance(storage: StorageSettings, *, captures_output: bool = True) -> dg.DagsterInstance:
    """Open the Dagster instance of the home: of ``DAGSTER_HOME``, if it is set.

    A lock guards the opening, because two processes that open a new home at the same time break its
    SQLite files. ``captures_output``: whether Dagster keeps the output of runs for the UI.

    Raises:
        StorageUnwritable: the disk of the home is full, or the home is read-only or damaged.
        StorageOutdated: an older Dagster created it, and it lacks what this version reads.
        PipelineError: its ``dagster.yaml`` cannot be read.
    """
    home = home_folder(storage)
    try:
        with storage_errors_explained(home):
            return _open_instance(prepare_dagster_home(storage), captures_output=captures_output)
    except (YAMLError, UnicodeDecodeError, dg.DagsterError) as error:
        raise PipelineError(
            f"Dagster's configuration {home / 'dagster.yaml'} cannot be read: "
            f"{' '.join(str(error).split())}.",
            "Correct the file, or move it away: the next command then writes a new one.",
        ) from None


def _open_instance(home: Path, *, captures_output: bool) -> dg.DagsterInstance:
    with file_locked(home / ".opening.lock"):
        overrides = None if captures_output else _NO_CAPTURE
        reference = InstanceRef.from_dir(str(home), overrides=overrides)
        instance = dg.DagsterInstance.from_ref(reference)
        instance.get_runs_count()
        instance.get_dynamic_partitions("subjects")
        instance.all_instigator_state()
        _refuse_older(home, instance)
    return instance


def _refuse_older(home: Path, instance: dg.DagsterInstance) -> None:
    """Refuse a home without the limits of pools.

    Of all that Dagster has added to its tables since 1.4, runs need only these.

    Raises:
        StorageOutdated: the home does not have them.
    """
    event_log = instance.event_log_storage
    if not event_log.supports_global_concurrency_limits:
        return
    try:
        event_log.get_concurrency_info(POOL)
    except DBAPIError as error:
        if not (missing := what_is_missing(error)):
            raise
        stored, newest = event_log.alembic_version() or (None, None)
        raise StorageOutdated(home, missing, can_be_migrated=stored != newest) from None
