"""Cuts: what was current at a moment, frozen under a name, so that an analysis can be repeated.

Belongs here: the file and the manifest of a cut, the loads that it needs, erasing a subject from
cuts. Does not belong: building the models (``defs.dbt_project``), compaction.

A cut is a folder ``cuts/<name>`` beside the warehouse's data: ``<name>.duckdb``, which is read-only
and has what the published file has, and ``manifest.json``, which names each load with its program
execution and checksum. ``lineage.cuts`` names the loads, so that ``compact`` keeps them.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from cp_pipeline.landing import checksum_of
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.errors import WarehouseError
from cp_pipeline.warehouse.published_file import publish_current
from cp_pipeline.warehouse.quiet_connections import connect
from cp_pipeline.warehouse.row_erasure import erase_from_published
from cp_pipeline.warehouse.schema import has_table, insert_rows

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MANIFEST = "manifest.json"
_READ_ONLY = 0o444
_LOADS = (
    "load_id, study_id, subject_id, dataset_name, study_program_id, program_execution, file_name,"
    " file_sha256, row_count"
)


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut that was made. ``loads``: how many loads it has."""

    folder: Path
    loads: int
    rows: int


def check_cut_name(storage: StorageSettings, name: str) -> None:
    """Check that a cut of this name can be made.

    Raises:
        WarehouseError: the name cannot be that of a file, or there is such a cut already.
    """
    if not _NAME.fullmatch(name):
        raise WarehouseError(
            f"{name!r} cannot be the name of a cut.",
            "Use letters, digits, - and _, at most 64 of them.",
        )
    if (_folder(storage, name) / _MANIFEST).exists():
        raise WarehouseError(
            f"There is a cut {name} already, in {_folder(storage, name)}.",
            "A cut never changes. Choose another name.",
        )


def make_cut(storage: StorageSettings, name: str, reason: str | None) -> Cut:
    """Freeze what is current, with the models as they were built last.

    The manifest is written last: without it, there is no cut, and the name is free.

    Raises:
        WarehouseError: see ``check_cut_name``; or a file cannot be written.
    """
    check_cut_name(storage, name)
    folder = _folder(storage, name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / f"{name}.duckdb"
    file.unlink(missing_ok=True)
    with Warehouse.of(storage) as warehouse:
        published = publish_current(warehouse, file)
        loads = _loads_in(file)
        moment = datetime.now(UTC)
        with warehouse.transaction() as connection:
            connection.execute("DELETE FROM lineage.cuts WHERE name = ?", [name])
            rows = [
                dict[str, object](
                    name=name, load_id=load["load_id"], cut_at=moment.replace(tzinfo=None)
                )
                for load in loads
            ]
            insert_rows(connection, "cuts", rows)
    manifest: dict[str, object] = {
        "name": name,
        "cut_at": moment.isoformat(),
        "actor": storage.actor,
        "reason": reason,
        "software_version": version("cp-pipeline"),
        "file": {"name": file.name} | _described(file),
        "loads": loads,
        "erasures": [],
    }
    _write(folder / _MANIFEST, manifest)
    return Cut(folder, len(loads), published.rows)


def is_kept(connection: duckdb.DuckDBPyConnection) -> str:
    """Return SQL: whether a cut needs the load ``load_id``. An earlier version has no cuts."""
    there = has_table(connection, "lineage.cuts")
    return "load_id IN (SELECT load_id FROM lineage.cuts)" if there else "false"


def erase_from_cuts(storage: StorageSettings, subject_id: int) -> tuple[str, ...]:
    """Remove a subject from every cut, and note in its manifest how many loads are gone.

    Can be repeated: the manifest names the subject's loads until its file has none of them.

    Returns:
        The names of the cuts that had the subject.

    Raises:
        WarehouseError: a file cannot be read or written; run it again.
    """
    changed = []
    _remove_unfinished(storage)
    for path in sorted((storage.data_dir / "cuts").glob(f"*/{_MANIFEST}")):
        manifest = json.loads(path.read_text())
        gone = [load for load in manifest["loads"] if load["subject_id"] == subject_id]
        file = path.parent / manifest["file"]["name"]
        # Details may be in the file without any load.
        kept = not file.exists() or erase_from_published(file, subject_id)
        # Its bytes may differ now, even if it had no load of the subject.
        manifest["file"] |= _described(file)
        if gone:
            changed.append(manifest["name"])
            manifest["loads"] = [each for each in manifest["loads"] if each not in gone]
            note = {"erased_at": datetime.now(UTC).isoformat(), "loads": len(gone)}
            manifest["erasures"].append(note if kept else {**note, "file_removed": True})
        _write(path, manifest)
    return tuple(changed)


def _remove_unfinished(storage: StorageSettings) -> None:
    """Remove what a killed process left: a folder without a manifest is no cut."""
    for folder in (storage.data_dir / "cuts").glob("*"):
        if folder.is_dir() and not (folder / _MANIFEST).exists():
            shutil.rmtree(folder)


def _described(file: Path) -> dict[str, object]:
    """Make the file read-only; return its checksum and size, which are None without the file."""
    if not file.exists():
        return {"sha256": None, "bytes": None}
    file.chmod(_READ_ONLY)
    return {"sha256": checksum_of(file), "bytes": file.stat().st_size}


def _folder(storage: StorageSettings, name: str) -> Path:
    return storage.data_dir / "cuts" / name


def _loads_in(file: Path) -> list[dict[str, object]]:
    with connect(file, read_only=True) as opened:
        found = opened.execute(f"SELECT {_LOADS} FROM lineage.current_loads ORDER BY load_id")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _write(path: Path, content: dict[str, object]) -> None:
    part = path.with_suffix(".part")
    opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
