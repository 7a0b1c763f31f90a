"""Removing the files of a subject who withdrew consent.

Belongs here: where a subject's files are, landed and refused, removing them, and remembering that
it was done. Does not belong: what else is removed, and in which order (``ingest.subject_erasure``).

``.erased/{subject}.json`` says the same as ``lineage.erasures``: so a subject stays erased also
where the warehouse is lost and built anew.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cp_pipeline.landing.store import Landing

_ERASED = ".erased"
_NAMING = ("file_name", "sha256", "execution", "path", "refused")


def folders_of(landing: Landing, subject_id: int) -> list[Path]:
    """The folders that hold the subject's files, in all studies."""
    roots = (landing.root, landing.root.with_name("quarantine"))
    return [folder for root in roots for folder in sorted(root.glob(f"*/{subject_id}"))]


def count_files(landing: Landing, subject_id: int) -> int:
    """How many files of the subject are landed or in quarantine."""
    return sum(1 for folder in folders_of(landing, subject_id) for _ in folder.glob("*/*.export"))


def texts_of(landing: Landing, subject_id: int) -> Iterator[str]:
    """Names, checksums, executions and refusals by which others may have the files on record."""
    for folder in folders_of(landing, subject_id):
        for description in sorted(folder.glob("*/*.json")):
            try:
                content = json.loads(description.read_text())
            except ValueError:
                continue
            yield from (str(content[name]) for name in _NAMING if content.get(name))


def remember_erasure(landing: Landing, subject_id: int) -> None:
    """Write down that the subject is erased, once; by then nothing need be erased yet."""
    folder = landing.root / _ERASED
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{subject_id}.json"
    if path.exists() and path.stat().st_size:
        return
    content = {"subject_id": subject_id, "erased_at": datetime.now(UTC).isoformat()}
    with landing.scratch_folder() as scratch:
        part = scratch / path.name
        part.write_text(json.dumps(content) + "\n")
        part.replace(path)


def remembered_erasures(landing: Landing) -> dict[int, datetime]:
    """The subjects that were erased, and when."""
    erased = {}
    for path in sorted((landing.root / _ERASED).glob("*.json")):
        content = json.loads(path.read_text())
        erased[int(content["subject_id"])] = datetime.fromisoformat(content["erased_at"])
    return erased


def erase_files(landing: Landing, subject_id: int) -> None:
    """Remove the subject's files, and what killed processes left aside of anybody's."""
    for folder in folders_of(landing, subject_id):
        shutil.rmtree(folder)
    if landing.root.exists():
        with landing.scratch_folder():
            # Entering it removes what was abandoned.
            pass
