"""The landing: every export as it came, on disk, before anything parses it.

Belongs here: where a file lies, its checksum, writing aside and renaming, the quarantine.
Does not belong: opening a file (``csv_text``), HTTP, DuckDB.

A file lies at ``{study}/{subject}/{data set}/{program}_{execution}_{checksum}.export`` with a
``.json`` beside it that says what it is, so that the warehouse can be rebuilt from the landing
alone. All names are ours: what a server calls a file never becomes a path (docs/design.md, 2).

Of a small file, landing is mostly making and renaming files, so this does as little of both as it
can (benchmarks/README.md).
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

# Numbers files in folders that only this process writes to.
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One export file on disk.

    ``path`` is relative to the landing; ``sha256`` (hexadecimal) and ``byte_count`` are of the
    bytes as they came. ``modified`` and ``execution`` are CentrePoint's timestamps to the letter;
    ``modified`` is None where CentrePoint does not say.
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

    @property
    def key(self) -> ExportKey:
        """The export that this file is an execution of."""
        return ExportKey(self.study_id, self.subject_id, self.study_program_id, self.dataset_name)

    @property
    def version(self) -> Version:
        """Which bytes of the export these are."""
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
    """What had arrived of a file in the last attempt that broke off; ``path`` lies aside."""

    path: Path
    landed: LandedFile | None = None


class Landing:
    """The landing folder. Safe to use from many threads and processes.

    Args:
        root: the folder; made, for the owner alone, when it is missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Folders of subjects by study, as they were when first asked; one that another process has
        # made since may be missing, and then a file is fetched that had just come.
        self._subjects: dict[int, set[str]] = {}
        # Folders that this process has made or found, so that no file is tried without them.
        self._folders: set[Path] = set()

    def path_of(self, landed: LandedFile) -> Path:
        """Where the bytes of a landed file are."""
        return self.root / landed.path

    def keep(
        self,
        export_file: ExportFile,
        chunks: Iterator[bytes],
        scratch: Path,
        incomplete: "IncompleteFile | None" = None,
    ) -> LandedFile:
        """Write the bytes aside, checksum them, and rename them into place.

        Args:
            export_file: what the bytes are.
            chunks: the bytes as they were sent; what they raise passes through, and nothing stays.
            scratch: a folder of ``scratch_folder``.
            incomplete: where the bytes go that had arrived when ``chunks`` raised.
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
            # The description goes first: bytes in place are always described.
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
        """The newest landed file of this very version whose bytes are still what they were."""
        key = export_file.key
        # To look for each file takes longer than to know whose files there are.
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
        """Move a refused file beside the landing, with the reason; return its new place."""
        source = self.path_of(landed)
        target = self._into_quarantine(source, landed, reason)
        source.with_suffix(".json").unlink(missing_ok=True)
        return target

    def quarantine_incomplete(self, incomplete: "IncompleteFile", reason: str) -> Path | None:
        """Keep what arrived of a file that never came whole; None if nothing did."""
        if incomplete.landed is None:
            return None
        return self._into_quarantine(incomplete.path, incomplete.landed, reason)

    def _into_quarantine(self, source: Path, landed: LandedFile, reason: str) -> Path:
        target = self.root.with_name("quarantine") / landed.path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_json(target.with_suffix(".json"), {**asdict(landed), "refused": reason})
        # Another process may have refused the same file a moment ago.
        if source.exists() or not target.exists():
            source.replace(target)
        return target

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A folder of this process's own, beside the final places, gone at the end.

        What a killed process left is removed by the next one: a folder nobody holds the lock of.
        """
        with scratch_folder(self.root / ".aside") as folder:
            yield folder

    def tidy(self) -> None:
        """Remove what killed processes left in their scratch folders."""
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
        )


def _folder(key: ExportKey) -> str:
    return f"{key.study_id}/{key.subject_id}/{_safe_name(key.dataset_name)}"


def read_description(path: Path) -> LandedFile | None:
    """What the file at ``path`` is, by the description beside it; None if there is none."""
    try:
        landed = LandedFile(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    # An earlier version of this project kept the case in which CentrePoint wrote the program.
    return replace(landed, study_program_id=canonical_program(landed.study_program_id))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(landed: LandedFile, target: Path, scratch: Path) -> None:
    """Write the description of ``target``, which is not there yet, or there already."""
    description = target.with_suffix(".json")
    # Not `asdict`, which copies deeply, and takes longer than writing the file.
    content = {name: getattr(landed, name) for name in _DESCRIBED}
    try:
        _write_json(description, content, new=True)
    except FileNotFoundError:
        # The folder was there a moment ago; its subject may just have been erased.
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _describe(landed, target, scratch)
    except FileExistsError:
        # These very bytes came before, or a killed process left half a description of them.
        if read_description(target) != landed:
            part = scratch / f"{next(_serial)}.json"
            _write_json(part, content)
            part.replace(description)


def _write_json(path: Path, content: dict[str, object], *, new: bool = False) -> None:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    with _written(path, new=new) as file:
        _write_all(file, text.encode())


def _write_all(file: RawIOBase, data: bytes) -> None:
    """A raw write may take only a part, for instance as the disk fills."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _written(path: Path, *, new: bool) -> RawIOBase:
    """A file to write, for the owner alone."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if new else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


@lru_cache(maxsize=4096)
def _safe_name(name: str) -> str:
    """A folder name for a name of CentrePoint's: readable, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _execution_name(export_file: ExportFile) -> str:
    """The program, then 100-ns ticks since 1970, which differ where executions differ."""
    return f"{_safe_name(export_file.study_program_id)}_{export_file.execution.ticks:020d}"
