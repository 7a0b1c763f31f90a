"""The resource of all assets and jobs: it opens the pipeline.

Belongs here: opening ``Pipeline`` when a run needs it.
Does not belong: work on exports (``ingest``), imports of Dagster. Importing Dagster takes a second,
and ``sync`` with nothing to load does not need it.

The run reads the settings from the environment. No setting is a field of the resource, so no secret
can get into the snapshot of the code location that Dagster stores and shows.
"""

from datetime import timedelta

from cp_pipeline.ingest import PartitionResult, Pipeline, Plan
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import (
    Compacted,
    Published,
    Warehouse,
    compact,
    move_notes,
    publish_current,
    published_state,
    record_action,
    state_of_warehouse,
)


class PipelineResource:
    """Open the configured studies. The command line and tests use a subclass.

    ``retries``: whether Dagster may retry a run that failed.
    """

    retries = True

    def open(self) -> Pipeline:
        """Return the pipeline of the studies in ``CP_STUDY_ID``.

        Raises:
            SettingsError: variables are missing or invalid; it names all of them.
        """
        return Pipeline(CentrePointSettings.from_environment(), self.storage())

    def storage(self) -> StorageSettings:
        """Return the settings of the landing, the warehouse and Dagster's home."""
        return StorageSettings.from_environment()

    def run_locks(self) -> RunLocks:
        """Return the locks of the runs that use the data folder."""
        return RunLocks(self.storage().data_dir)

    def publish(self, run_id: str) -> Published:
        """Replace the analysts' file, and its copy in an object store if the settings name one."""
        storage = self.storage()
        with Warehouse.of(storage) as warehouse:
            move_notes(storage.data_dir, warehouse)
            return publish_current(warehouse, storage.published, run_id, storage.publish_to)

    def states_to_publish(self, wait_seconds: float) -> tuple[str, str]:
        """Return the state of the warehouse and the published state; empty if there is none."""
        storage = self.storage()
        with Warehouse.of(storage, wait_seconds) as warehouse:
            return state_of_warehouse(warehouse), published_state(storage.published)

    def compact(self, older_than: timedelta) -> Compacted:
        """Drop loads that were superseded at least this long ago."""
        with Warehouse.of(self.storage()) as warehouse:
            done = compact(warehouse, older_than)
            command = f"job compact, older than {older_than.days} days"
            record_action(warehouse, self.storage().actor, command, None)
            return done

    def planned(self, plan: Plan) -> None:
        """Do nothing with a plan before it is executed; the command line counts its partitions."""

    def report(self, result: PartitionResult) -> None:
        """Do nothing with a partition's result; the command line shows its progress with it."""
