"""The resource behind all assets: where exports come from and go to.

Belongs here: opening ``StudyExports`` when a run needs it.
Does not belong: any work on exports (``ingest``).

Settings are read from the environment inside the run. Nothing of them is a field, so that no
secret can reach the snapshot of the code location that Dagster stores and shows.
"""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta

from cp_pipeline.ingest import (
    Compacted,
    Listed,
    PartitionResult,
    Plan,
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

    def list_exports(
        self,
        exports: StudyExports,
        subject_ids: Collection[int] | None = None,
        dataset_names: Collection[str] | None = None,
    ) -> Listed:
        """The listing that a run works on, read once."""
        return exports.list_exports(subject_ids, dataset_names)

    def plan(self, exports: StudyExports, listed: Listed, *, refresh: bool) -> Plan:
        """Write the listing down, and say what of it is to be loaded."""
        exports.record(listed)
        return exports.plan(listed, refresh=refresh)

    def carry_out(
        self, exports: StudyExports, plan: Plan, run_id: str, *, refresh: bool
    ) -> AbstractContextManager[Iterable[PartitionResult]]:
        """The plan on its way: what becomes of each partition."""
        return exports.carry_out_beside(plan, run_id=run_id, refresh=refresh)

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
