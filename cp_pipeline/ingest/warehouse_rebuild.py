"""Rebuild the warehouse from the landing only, without the network.

Belongs here: choosing the landed files, their order and their load ids, and loading them in
batches. Does not belong: the new file and its replacement (``warehouse.new_warehouse``), the load
itself.

If the old warehouse is readable, the new one has the same loads with the same ids. It leaves out
files that were landed but never loaded, and loads that were compacted or erased. Otherwise it has
every landed file, in the order of program executions, including loads that had been compacted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cp_pipeline.domain.exports import Partition
from cp_pipeline.domain.texts import count
from cp_pipeline.ingest.batches import Batch, load_in_halves
from cp_pipeline.ingest.fetching import explain
from cp_pipeline.landing import (
    ExportRefused,
    LandedFile,
    Landing,
    checksum_of,
    read_csv_text,
    remembered_erasures,
)
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    ExportToLoad,
    Loader,
    NewWarehouse,
    Warehouse,
    WarehouseError,
    building_anew,
    record_erasures,
)

_NAMED = 3
_GONE = "the file, or its description, is missing from the landing"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A landed file that is not in the new warehouse, and why. ``path``: within the landing."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What ``rebuild`` did.

    ``old_was_read``: whether the lineage of the old warehouse was readable and is copied.
    ``never_loaded``: the number of landed files that the old warehouse did not have. ``kept_as``:
    the path of the old file now; None for a DuckLake.
    """

    loads: int
    rows: int
    left_out: tuple[LeftOut, ...]
    old_was_read: bool
    never_loaded: int
    kept_as: Path | None


def rebuild(storage: StorageSettings, saw: Callable[[int, int], None] = lambda *_: None) -> Rebuilt:
    """Build a new warehouse from the landed files, and replace the old one with it.

    Args:
        storage: the settings of landing and warehouse.
        saw: called after each file with the number of files done and of all files.

    Raises:
        WarehouseBusy: another process holds the warehouse.
        WarehouseError: the new warehouse cannot be built, or would lack loads of a DuckLake; the
            old one is unchanged.
    """
    landing = Landing.of(storage)
    with (
        Warehouse.of(storage) as warehouse,
        landing.scratch_folder() as scratch,
    ):
        with building_anew(warehouse, scratch) as new:
            building = _Building(landing, scratch, new, saw)
            building.load_all()
            if building.left_out and not warehouse.is_file:
                # Unlike an old file, the old tables do not stay for long.
                raise _incomplete(storage.warehouse, building.left_out)
        return Rebuilt(
            loads=building.loads,
            rows=building.rows,
            left_out=tuple(building.left_out),
            old_was_read=new.earlier is not None,
            never_loaded=building.never_loaded,
            kept_as=new.kept_as,
        )


def _incomplete(location: str, left_out: list[LeftOut]) -> WarehouseError:
    return WarehouseError(
        f"{count(len(left_out), 'load')} of {location} cannot be loaded again: "
        f"{'; '.join(map(str, left_out[:_NAMED]))}{' …' if len(left_out) > _NAMED else ''}.",
        "The DuckLake is unchanged, and still has them. Restore these files of the landing from a "
        "backup, and run rebuild again.",
    )


class _Building:
    """Loads the landed files into the new warehouse, batch by batch."""

    def __init__(
        self, landing: Landing, scratch: Path, new: NewWarehouse, saw: Callable[[int, int], None]
    ) -> None:
        self._landing = landing
        self._scratch = scratch
        self._new = new
        self._saw = saw
        self._loader = Loader(new.warehouse, landing, scratch)
        self.loads = 0
        self.rows = 0
        self.never_loaded = 0
        self.left_out: list[LeftOut] = []

    def load_all(self) -> None:
        numbered = self._as_before() if self._new.earlier is not None else self._by_execution()
        batch = Batch()
        for place, (load_id, landed) in enumerate(numbered):
            export = self._read(landed, load_id)
            if export is not None:
                partition = Partition(landed.subject_id, landed.dataset_name)
                batch.add(partition, [export])
            if batch.is_full:
                self._load(batch)
                batch = Batch()
            self._saw(place + 1, len(numbered))
        self._load(batch)

    def _as_before(self) -> list[tuple[int, LandedFile]]:
        """Return the files of the old warehouse's loads, with their load ids."""
        found = []
        earlier = self._new.earlier or ()
        paths = [load.landing_path for load in earlier]
        described = self._landing.files.each(self._landing.described, paths)
        for load, (_, landed) in zip(earlier, described, strict=True):
            if landed is None or landed.sha256 != load.file_sha256:
                self.left_out.append(LeftOut(load.landing_path, _GONE))
            else:
                found.append((load.load_id, landed))
        known = {load.landing_path for load in earlier} | self._new.compacted_paths
        self.never_loaded = sum(each.path not in known for each in self._landing.all())
        return found

    def _by_execution(self) -> list[tuple[int, LandedFile]]:
        """Return all landed files, except of erased subjects, by execution, with new ids from 1."""
        erased = remembered_erasures(self._landing)
        record_erasures(self._new.warehouse, erased)
        everything = sorted(
            (each for each in self._landing.all() if each.subject_id not in erased),
            key=lambda landed: (landed.version.executed, landed.version.modified or 0, landed.path),
        )
        return list(enumerate(everything, start=1))

    def _read(self, landed: LandedFile, load_id: int) -> ExportToLoad | None:
        try:
            with self._landing.files.local(landed.path, self._scratch) as path:
                if checksum_of(path) == landed.sha256:
                    return ExportToLoad(landed, read_csv_text(path, self._scratch), load_id)
            reason = "its bytes have changed since the download: the checksum differs"
        except ExportRefused as error:
            reason = str(error)
        except OSError:
            reason = _GONE
        self.left_out.append(LeftOut(landed.path, reason))
        return None

    def _load(self, batch: Batch) -> None:
        if not batch.exports:
            return
        outcome = load_in_halves(self._loader, batch.exports, again=True, apart=True)
        loaded = {load.load_id for loads in outcome.loads.values() for load in loads}
        for export in chain.from_iterable(batch.exports.values()):
            export.text.discard()
            if export.load_id not in loaded:
                partition = Partition(export.landed.subject_id, export.landed.dataset_name)
                _, error = outcome.refused[partition]
                self.left_out.append(LeftOut(export.landed.path, explain(error)))
        for loads in outcome.loads.values():
            self.loads += len(loads)
            self.rows += sum(load.row_count for load in loads)
