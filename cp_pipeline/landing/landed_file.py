"""One landed file: what is known of it, and its name.

Belongs here: the description and the names. Does not belong: reading and writing (``store``).
"""

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from cp_pipeline.domain.exports import ExportFile, ExportKey, Instant, Version, canonical_program


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One export file in the landing.

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

    def described(self, refused: str | None = None) -> bytes:
        """Return the content of the description, with the reason of a refused file."""
        # Do not use `asdict`: its deep copy takes longer than writing the file.
        content = {name: getattr(self, name) for name in _DESCRIBED}
        if refused is not None:
            content["refused"] = refused
        return (json.dumps(content, ensure_ascii=False) + "\n").encode()


_DESCRIBED = tuple(field.name for field in fields(LandedFile))


@dataclass(slots=True)
class IncompleteFile:
    """The partial file of the last attempt that broke off; ``path`` is in a scratch folder."""

    path: Path
    landed: LandedFile | None = None


def described_by(content: bytes) -> LandedFile | None:
    """Return the file that a description describes; None if it is invalid."""
    try:
        landed = LandedFile(**json.loads(content))
    except (ValueError, TypeError):
        return None
    # An earlier version of this project kept CentrePoint's upper or lower case in the program.
    return replace(landed, study_program_id=canonical_program(landed.study_program_id))


def named(export_file: ExportFile, sha256: str, byte_count: int) -> LandedFile:
    """Return the landed file of an item whose bytes have this checksum."""
    return LandedFile(
        *export_file.key,
        file_name=export_file.file_name,
        modified=None if export_file.modified is None else export_file.modified.verbatim,
        execution=export_file.execution.verbatim,
        sha256=sha256,
        byte_count=byte_count,
        path=f"{folder_of(export_file.key)}/{beginning_of(export_file)}{sha256[:16]}.export",
        study_version=export_file.study_version,
    )


def folder_of(key: ExportKey) -> str:
    """Return the folder of an export's files."""
    return f"{key.study_id}/{key.subject_id}/{_safe_name(key.dataset_name)}"


def beginning_of(export_file: ExportFile) -> str:
    """Return how the name begins: program and execution, in 100-ns ticks since 1970."""
    program = _safe_name(export_file.study_program_id)
    return f"{program}_{export_file.execution.ticks:020d}_"


def description_of(path: str) -> str:
    """Return the name of the description of a landed file."""
    return f"{path.removesuffix('.export')}.json"


@lru_cache(maxsize=4096)
def _safe_name(name: str) -> str:
    """Return a readable folder name for a name from CentrePoint, unique for each name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
