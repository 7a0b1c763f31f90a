"""The landing folder: every export is stored unchanged on disk before anything parses it.

Belongs here: a file's path, its checksum, writing to a scratch folder and renaming, the quarantine.
Does not belong: reading a file (``csv_text``), HTTP, DuckDB.

A file is at ``{study}/{subject}/{data set}/{program}_{execution}_{checksum}.export``. A ``.json``
file beside it describes it, so that the warehouse can be rebuilt from the landing alone. We choose
all names: a server's file name never becomes a path (docs/design.md).

For small files, creating and renaming files takes most of the time, so this module does as little
of both as possible (benchmarks/README.md).
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from io import RawIOBase
from pathlib import Path

from cp_pipeline.domain.exports import ExportFile, ExportKey, Instant, Version, canonical_program
from cp_pipeline.locks.scratch_folders import remove_abandoned, scratch_folder

# Names for files in folders that only this process writes to.
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One export file on disk.

    ``path`` is relative to the landing. ``sha256`` (hexadecimal) and ``byte_count`` are of the
    downloaded bytes. ``modified`` and ``execution`` are CentrePoint's timestamps, as written;
    ``modified`` is None if CentrePoint sends none. ``study_version`` is None if it was not sent, or
    an earlier version of this project landed the file.
    """

    study_id: int
    subject_id: int
    study_program_id: str
    dataset_name: str
    file_name: str
    modified: str | None
    execution: str
    sha256: str
    byte_count: int
    path: str
    study_version: int | None = None

    @property
    def key(self) -> ExportKey:
        """The export that this file belongs to."""
        return ExportKey(self.study_id, self.subject_id, self.study_program_id, self.dataset_name)

    @property
    def version(self) -> Version:
        """The version of the export that this file has."""
        modified = None if self.modified is None else Instant.parse(self.modified).nanoseconds
        return Version(Instant.parse(self.execution).nanoseconds, modified, self.file_name)

    def __str__(self) -> str:
        return (
            f"study {self.study_id}, subject {self.subject_id}, data set {self.dataset_name}, "
            f"study program {self.study_program_id}, file {self.file_name}"
        )


_DESCRIBED = tuple(field.name for field in fields(LandedFile))


@dataclass(slots=True)
class IncompleteFile:
    """The partial file of the last attempt that broke off; ``path`` is in a scratch folder."""

    path: Path
    landed: LandedFile | None = None


class Landing:
    """The landing folder. Safe to use from many threads and processes.

    Args:
        root: the folder; created if missing, readable only by its owner.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Cache: folders of subjects by study. A folder that another process created later may be
        # missing; then a file is downloaded that was already there.
        self._subjects: dict[int, set[str]] = {}
        # Cache: folders that this process has created or found.
        self._folders: set[Path] = set()

    def path_of(self, landed: LandedFile) -> Path:
        """Return the path of a landed file."""
        return self.root / landed.path

    def keep(
        self,
        export_file: ExportFile,
        chunks: Iterator[bytes],
        scratch: Path,
        incomplete: "IncompleteFile | None" = None,
    ) -> LandedFile:
        """Write the bytes to a scratch folder, checksum them, and rename the file into place.

        Args:
            export_file: the item of the bytes.
            chunks: the bytes as sent. If the iterator raises, the error passes through and no file
                stays.
            scratch: a folder of ``scratch_folder``.
            incomplete: receives the partial file if ``chunks`` raises.
        """
        checksum, byte_count = hashlib.sha256(), 0
        part = scratch / f"{next(_serial)}.part"
        try:
            with _written(part, new=True) as file:
                for chunk in chunks:
                    checksum.update(chunk)
                    byte_count += len(chunk)
                    _write_all(file, chunk)
            landed = self._named(export_file, checksum.hexdigest(), byte_count)
            target = self.path_of(landed)
            # Write the description first, so that every file in place has one.
            self._make_folder(export_file.key, target.parent)
            _describe(landed, target, scratch)
            part.replace(target)
        except BaseException:
            if incomplete is not None and byte_count:
                part.replace(incomplete.path)
                incomplete.landed = self._named(export_file, checksum.hexdigest(), byte_count)
            part.unlink(missing_ok=True)
            raise
        return landed

    def find(self, export_file: ExportFile) -> LandedFile | None:
        """Return the newest landed file of exactly this version whose bytes are unchanged."""
        key = export_file.key
        # Checking the cached subjects is faster than looking for each file.
        if str(key.subject_id) not in self._landed_subjects(key.study_id):
            return None
        wanted = f"{_execution_name(export_file)}_"
        try:
            with os.scandir(self.root / _folder(key)) as entries:
                found = [
                    entry
                    for entry in entries
                    if entry.name.startswith(wanted) and entry.name.endswith(".export")
                ]
        except FileNotFoundError:
            return None
        found.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        for path in (Path(entry) for entry in found):
            landed = read_description(path)
            if (
                landed is not None
                and landed.version == export_file.version
                and _sha256(path) == landed.sha256
            ):
                return landed
        return None

    def _landed_subjects(self, study_id: int) -> set[str]:
        if study_id not in self._subjects:
            folder = self.root / str(study_id)
            there = {each.name for each in folder.iterdir()} if folder.exists() else set()
            return self._subjects.setdefault(study_id, there)
        return self._subjects[study_id]

    def quarantine(self, landed: LandedFile, reason: str) -> Path:
        """Move a refused file into the quarantine folder, with the reason; return its new path."""
        source = self.path_of(landed)
        target = self._into_quarantine(source, landed, reason)
        source.with_suffix(".json").unlink(missing_ok=True)
        return target

    def quarantine_incomplete(self, incomplete: "IncompleteFile", reason: str) -> Path | None:
        """Keep the partial file of a failed download in quarantine; None if no byte arrived."""
        if incomplete.landed is None:
            return None
        return self._into_quarantine(incomplete.path, incomplete.landed, reason)

    def _into_quarantine(self, source: Path, landed: LandedFile, reason: str) -> Path:
        target = self.root.with_name("quarantine") / landed.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_json(target.with_suffix(".json"), {**asdict(landed), "refused": reason})
        # Another process may have moved the same file a moment ago.
        if source.exists() or not target.exists():
            source.replace(target)
        return target

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Provide a scratch folder for this process, on the same disk as the landed files.

        It is removed at the end. Scratch folders of killed processes, which nobody has locked, are
        removed at the beginning.
        """
        with scratch_folder(self.root / ".aside") as folder:
            yield folder

    def tidy(self) -> None:
        """Remove the scratch folders of killed processes."""
        remove_abandoned(self.root / ".aside")

    def _make_folder(self, key: ExportKey, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folders.add(folder)
            self._landed_subjects(key.study_id).add(str(key.subject_id))

    def _named(self, export_file: ExportFile, sha256: str, byte_count: int) -> LandedFile:
        name = f"{_execution_name(export_file)}_{sha256[:16]}.export"
        return LandedFile(
            *export_file.key,
            file_name=export_file.file_name,
            modified=None if export_file.modified is None else export_file.modified.verbatim,
            execution=export_file.execution.verbatim,
            sha256=sha256,
            byte_count=byte_count,
            path=f"{_folder(export_file.key)}/{name}",
            study_version=export_file.study_version,
        )


def _folder(key: ExportKey) -> str:
    return f"{key.study_id}/{key.subject_id}/{_safe_name(key.dataset_name)}"


def read_description(path: Path) -> LandedFile | None:
    """Read the description beside the file at ``path``; None if there is no valid one."""
    try:
        landed = LandedFile(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    # An earlier version of this project kept CentrePoint's upper or lower case in the program.
    return replace(landed, study_program_id=canonical_program(landed.study_program_id))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(landed: LandedFile, target: Path, scratch: Path) -> None:
    """Write the description of ``target``, unless the same description already exists."""
    description = target.with_suffix(".json")
    # Do not use `asdict`: its deep copy takes longer than writing the file.
    content = {name: getattr(landed, name) for name in _DESCRIBED}
    try:
        _write_json(description, content, new=True)
    except FileNotFoundError:
        # The folder was removed since we created it: its subject may just have been erased.
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _describe(landed, target, scratch)
    except FileExistsError:
        # The same bytes were landed before, or a killed process left an incomplete description.
        if read_description(target) != landed:
            part = scratch / f"{next(_serial)}.json"
            _write_json(part, content)
            part.replace(description)


def _write_json(path: Path, content: dict[str, object], *, new: bool = False) -> None:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    with _written(path, new=new) as file:
        _write_all(file, text.encode())


def _write_all(file: RawIOBase, data: bytes) -> None:
    """Write all the data; one raw write may write only a part, for instance on a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _written(path: Path, *, new: bool) -> RawIOBase:
    """Open a file for writing, readable only by its owner."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


@lru_cache(maxsize=4096)
def _safe_name(name: str) -> str:
    """Return a readable folder name for a name from CentrePoint, unique for each name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _execution_name(export_file: ExportFile) -> str:
    """Return the program and the execution in 100-ns ticks since 1970, unique per execution."""
    return f"{_safe_name(export_file.study_program_id)}_{export_file.execution.ticks:020d}"
