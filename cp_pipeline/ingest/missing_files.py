"""Missing landed files: fetch them again if CentrePoint still has the same version.

Belongs here: finding the version in a listing, and fetching it to its old path.
Does not belong: the use of the files (``warehouse.widening``).
"""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cp_pipeline.centrepoint import CentrePointError, Filters
from cp_pipeline.domain.exports import ExportFile, ExportKey
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.warehouse import HistoricLoad

# For more files, one listing of the whole data set takes fewer requests.
_LISTED_ONE_BY_ONE = 8
_log = logging.getLogger(__name__)


class MissingFiles:
    """Restore missing landed files, each at most once."""

    def __init__(self, rooms: Rooms, scratch: Path) -> None:
        self._centrepoint, self._landing = rooms.centrepoint, rooms.landing
        self._scratch = scratch
        self._asked: set[int] = set()

    def restore(self, loads: Sequence[HistoricLoad]) -> None:
        """Fetch the files that CentrePoint still has; the others stay missing."""
        wanted = [load for load in loads if load.load_id not in self._asked]
        self._asked |= {load.load_id for load in wanted}
        try:
            listed = self._listed([load.key for load in wanted])
        except CentrePointError as error:
            _log.warning("landed files are missing and cannot be listed again: %s", error)
            return
        found = [
            listed[load.key]
            for load in wanted
            if load.key in listed and listed[load.key].version == load.version
        ]
        with ThreadPoolExecutor(self._centrepoint.settings.download_threads) as threads:
            restored = sum(threads.map(self._fetch, found))
        _log.warning(
            "%d landed files are missing; %d of them were fetched again", len(wanted), restored
        )

    def _listed(self, keys: Sequence[ExportKey]) -> dict[ExportKey, ExportFile]:
        filters: Iterable[tuple[int, Filters]]
        if len(keys) <= _LISTED_ONE_BY_ONE:
            filters = [
                (key.study_id, Filters(key.subject_id, key.study_program_id, key.dataset_name))
                for key in keys
            ]
        else:
            pairs = {(key.study_id, key.dataset_name) for key in keys}
            filters = [(study_id, Filters(dataset_name=name)) for study_id, name in pairs]
        return {
            item.key: item
            for study_id, each in filters
            for item in self._centrepoint.list_export_files(study_id, each).items
        }

    def _fetch(self, item: ExportFile) -> bool:
        """Land one file; the same bytes get the same path."""
        try:
            self._centrepoint.fetch(
                item, lambda actual, chunks: self._landing.keep(actual, chunks, self._scratch)
            )
        except CentrePointError as error:
            _log.warning("%s", error)
            return False
        return True
