"""The resource behind all assets: where exports come from and go to.

Belongs here: opening ``Pipeline`` when a run needs it.
Does not belong: any work on exports (``ingest``), anything of Dagster, which takes a second to
import: ``sync`` with nothing to load does without.

Settings are read from the environment inside the run. Nothing of them is a field, so that no
secret can reach the snapshot of the code location that Dagster stores and shows.
"""

from datetime import timedelta

from cp_pipeline.ingest import PartitionResult, Pipeline
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import (
    Compacted,
    Published,
    Warehouse,
    compact,
    publish_current,
    published_state,
    state_of_warehouse,
)


class PipelineResource:
    """Opens the configured studies; the command line and tests put their own in its place.

    ``retries``: whether a run may be tried again from its beginning.
    """

    retries = True

    def open(self) -> Pipeline:
        """The studies named in ``CP_STUDY_ID``.

        Raises:
            SettingsError: naming every variable that is missing or wrong.
        """
        return Pipeline(CentrePointSettings.from_environment(), self.storage())

    def storage(self) -> StorageSettings:
        """Where the data goes."""
        return StorageSettings.from_environment()

    def run_locks(self) -> RunLocks:
        """The locks of the runs that use the data folder."""
        return RunLocks(self.storage().data_dir)

    def publish(self, run_id: str) -> Published:
        """Replace the analysts' file."""
        storage = self.storage()
        with Warehouse.of(storage) as warehouse:
            return publish_current(warehouse, storage.published, run_id)

    def states_to_publish(self, wait_seconds: float) -> tuple[str, str]:
        """The state of the warehouse, and the one that is published; empty where there is none."""
        storage = self.storage()
        with Warehouse.of(storage, wait_seconds) as warehouse:
            return state_of_warehouse(warehouse), published_state(storage.published)

    def compact(self, older_than: timedelta) -> Compacted:
        """Drop loads that were superseded so long ago."""
        with Warehouse.of(self.storage()) as warehouse:
            return compact(warehouse, older_than)

    def saw(self, result: PartitionResult) -> None:
        """Called with each partition's result; the command line draws its progress from it."""
