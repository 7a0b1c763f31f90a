"""Dagster's home: where its records are, made once and rightly.

Belongs here: the folder, its ``dagster.yaml``, and opening the instance.
Does not belong: what is recorded (``defs``).
"""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import DBAPIError
from yaml import YAMLError  # type: ignore[import-untyped]

from cp_pipeline.defs.instance.pool import POOL
from cp_pipeline.defs.instance.storage_errors import (
    StorageOutdated,
    storage_errors_explained,
    what_is_missing,
)
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.locks.file_locks import file_locked
from cp_pipeline.settings import StorageSettings

DAGSTER_YAML = """\
# Written by cp-pipeline. One slot for whoever writes the warehouse, in all processes together.
concurrency:
  pools:
    default_limit: 1
    granularity: op
# Ends a run that never started, or does not end when told to. One whose process is gone is found
# by the sensors and by `sync`: Dagster's default launcher does not look.
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 300
# Dagster's own event log with its files kept open: an event takes a seventh of the time.
event_log_storage:
  module: cp_pipeline.defs.event_log
  class: KeptOpenEventLog
  config:
    base_dir: history/runs
# No invitation over the first page.
nux:
  enabled: false
telemetry:
  enabled: false
"""


def prepare_dagster_home(storage: StorageSettings) -> Path:
    """Make Dagster's home and name it in ``DAGSTER_HOME``, unless that is set already."""
    home = _home(storage)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        # Renamed into place: half of it, where the disk is full, would be taken for all of it.
        part = home / f".dagster.yaml.{os.getpid()}"
        try:
            part.write_text(DAGSTER_YAML)
            part.replace(configuration)
        finally:
            part.unlink(missing_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def _home(storage: StorageSettings) -> Path:
    return Path(os.environ.get("DAGSTER_HOME", "") or storage.dagster_home).expanduser().absolute()


# For a run whose output is on somebody's screen. To show it there too, Dagster starts four
# processes, of which one could outlive a run that is killed meanwhile.
_NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def open_instance(storage: StorageSettings, *, captures_output: bool = True) -> dg.DagsterInstance:
    """The Dagster instance of the home.

    Two processes that open a fresh home at once break its SQLite, so the first use is guarded.

    Args:
        storage: says where the home is, unless ``DAGSTER_HOME`` does.
        captures_output: whether what a run prints is kept for the UI.

    Raises:
        StorageUnwritable: the home has no room, is read-only, or damaged.
        StorageOutdated: it is of an older Dagster, and lacks what this one reads.
        PipelineError: its ``dagster.yaml`` cannot be understood.
    """
    home = _home(storage)
    try:
        with storage_errors_explained(home):
            return _open_instance(prepare_dagster_home(storage), captures_output=captures_output)
    except (YAMLError, UnicodeDecodeError, dg.DagsterError) as error:
        raise PipelineError(
            f"Dagster's configuration {home / 'dagster.yaml'} cannot be understood: "
            f"{' '.join(str(error).split())}.",
            "Mend it, or move it away: then a new one is written.",
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
    """Of all that came to Dagster's tables since 1.4, a run cannot do without the pools' limits."""
    records = instance.event_log_storage
    if not records.supports_global_concurrency_limits:
        return
    try:
        records.get_concurrency_info(POOL)
    except DBAPIError as error:
        if not (missing := what_is_missing(error)):
            raise
        found, newest = records.alembic_version() or (None, None)
        raise StorageOutdated(home, missing, can_be_migrated=found != newest) from None
