"""The resource behind all assets: where exports come from and go to.

Belongs here: opening ``StudyExports`` when a run needs it.
Does not belong: any work on exports (``ingest``).

Settings are read from the environment inside the run. Nothing of them is a field, so that no
secret can reach the snapshot of the code location that Dagster stores and shows.
"""

from datetime import timedelta

from cp_pipeline.ingest import (
    Compacted,
    PartitionResult,
    Published,
    StudyExports,
    compact,
    publish,
    states_to_publish,
)
from cp_pipeline.settings import CentrePointSettings, StorageSettings


class ExportsSource:
    """Opens the configured studies; the command line and tests put their own in its place.

    ``retries``: whether a run may be tried again from its beginning.
    """

    retries = True

    def open(self) -> StudyExports:
        """The studies named in ``CP_STUDY_ID``.

        Raises:
            SettingsError: naming every variable that is missing or wrong.
        """
        return StudyExports(
            CentrePointSettings.from_environment(), StorageSettings.from_environment()
        )

    def publish(self, run_id: str) -> Published:
        """Replace the analysts' file."""
        return publish(StorageSettings.from_environment(), run_id)

    def states_to_publish(self, wait_seconds: float) -> tuple[str, str]:
        """The state of the warehouse, and the one that is published; empty where there is none."""
        return states_to_publish(StorageSettings.from_environment(), wait_seconds)

    def compact(self, older_than: timedelta) -> Compacted:
        """Drop loads that were superseded so long ago."""
        return compact(StorageSettings.from_environment(), older_than)

    def saw(self, result: PartitionResult) -> None:
        """Told of each partition as it is done; the command line draws its progress from it."""
