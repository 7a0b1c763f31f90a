"""Erase a subject who withdrew consent, everywhere except in Dagster's events.

Belongs here: finding the subject's data, and the order in which it is erased. Does not belong:
Dagster's events. Callers erase these first (``defs.instance.event_erasure``), because the texts by
which events are found are gone afterwards.

The warehouse comes before the landing, because a warehouse without its landed files cannot widen a
column. The first step records the erasure, so that no other process loads the subject again. Each
step can be repeated, so a second run completes the work of a killed process.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.landing import (
    Landing,
    ObjectStore,
    count_files,
    erase_files,
    remember_erasure,
    texts_of,
)
from cp_pipeline.locks.partial_files import remove_with_partial
from cp_pipeline.locks.scratch_folders import remove_abandoned
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    Known,
    Warehouse,
    erase_from_cuts,
    erase_from_published,
    erase_from_warehouse,
    known_of,
    old_files,
)

# Shorter texts occur in other texts by chance.
_SHORTEST_TEXT = 6


@dataclass(frozen=True, slots=True)
class Erasable:
    """The stored data of a subject.

    ``known``: what the warehouse has; its texts with those of the landing, without short ones.
    ``files``: the number of files in landing and quarantine. ``old_files``: the number of old
    warehouses kept by ``rebuild``, which have the subject's data too.
    """

    known: Known
    files: int
    old_files: int


@dataclass(frozen=True, slots=True)
class Erased:
    """What ``erase`` did that a person must know.

    ``published_removed``: the published file had to be removed completely. ``unclear_tables``:
    tables that someone else made in the warehouse, whose columns do not identify the subject.
    ``cuts``: the cuts that had the subject; they are not what they were. ``removed``: files that
    were made of the published file, and can be made anew: the study report, the workbook.
    """

    published_removed: bool
    unclear_tables: tuple[str, ...]
    cuts: tuple[str, ...] = ()
    removed: tuple[Path, ...] = ()


class SyncRunning(PipelineError):
    """A subject cannot be erased while files are fetched and loaded."""


def erasable(storage: StorageSettings, subject_id: int) -> Erasable:
    """Return the stored data of a subject.

    Raises:
        SyncRunning: exports are being fetched or loaded now.
        WarehouseError: the warehouse cannot be read.
    """
    landing = Landing.of(storage)
    if landing.is_in_use:
        raise SyncRunning(
            "Exports are being fetched or loaded now.",
            "Run this again when that has ended.",
        )
    with Warehouse.of(storage) as warehouse:
        known = known_of(warehouse, subject_id)
        kept = len(old_files(warehouse))
    texts = known.texts | frozenset(texts_of(landing, subject_id))
    telling = frozenset(text for text in texts if len(text) >= _SHORTEST_TEXT)
    return Erasable(replace(known, texts=telling), count_files(landing, subject_id), kept)


def erase(storage: StorageSettings, subject_id: int) -> Erased:
    """Remove the subject from warehouse, published file, landing and quarantine.

    The study report, the workbook and the uploaded published file are removed whole.

    Args:
        storage: the settings with their paths.
        subject_id: the subject.

    Raises:
        WarehouseError: a file cannot be opened or written; run it again.
    """
    landing = Landing.of(storage)
    remember_erasure(landing, subject_id)
    with Warehouse.of(storage) as warehouse:
        unclear = erase_from_warehouse(warehouse, subject_id, count_files(landing, subject_id))
        for path in old_files(warehouse):
            path.unlink()
    published_is_there = erase_from_published(storage.published, subject_id)
    remove_abandoned(storage.workbook_scratch)
    removed = tuple(
        path for path in (storage.report, storage.workbook) if remove_with_partial(path)
    )
    if storage.publish_to:
        # Whole: the file of this host may be older, or missing.
        uploaded = ObjectStore.at(storage.publish_to, "the published file in")
        uploaded.remove(storage.published.name)
    cuts = erase_from_cuts(storage, subject_id)
    erase_files(landing, subject_id)
    return Erased(not published_is_there, unclear, cuts, removed)
