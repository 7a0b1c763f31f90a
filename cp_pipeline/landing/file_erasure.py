"""Remove the files of a subject who withdrew consent.

Belongs here: finding a subject's landed and refused files, removing them, and recording the
erasure. Does not belong: what else is removed, and in which order (``ingest.subject_erasure``).

``.erased/{subject}.json`` repeats the entry in ``lineage.erasures``, so that the subject stays
erased after the warehouse is lost and rebuilt.
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
    """Return the folders with the subject's files, in all studies."""
    roots = (landing.root, landing.root.with_name("quarantine"))
    return [folder for root in roots for folder in sorted(root.glob(f"*/{subject_id}"))]


def count_files(landing: Landing, subject_id: int) -> int:
    """Return the number of the subject's files, landed or in quarantine."""
    return sum(1 for folder in folders_of(landing, subject_id) for _ in folder.glob("*/*.export"))


def texts_of(landing: Landing, subject_id: int) -> Iterator[str]:
    """Yield the names, checksums, executions and refusals by which events may name the files."""
    for folder in folders_of(landing, subject_id):
        for description in sorted(folder.glob("*/*.json")):
            try:
                content = json.loads(description.read_text())
            except ValueError:
                continue
            yield from (str(content[name]) for name in _NAMING if content.get(name))


def remember_erasure(landing: Landing, subject_id: int) -> None:
    """Record the erasure of the subject, once; call it before anything is erased."""
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
    """Return the erased subjects, and when each was erased."""
    erased = {}
    for path in sorted((landing.root / _ERASED).glob("*.json")):
        content = json.loads(path.read_text())
        erased[int(content["subject_id"])] = datetime.fromisoformat(content["erased_at"])
    return erased


def erase_files(landing: Landing, subject_id: int) -> None:
    """Remove the subject's files, and the scratch folders that killed processes left behind."""
    for folder in folders_of(landing, subject_id):
        shutil.rmtree(folder)
    if landing.root.exists():
        with landing.scratch_folder():
            # Entering the context removes abandoned scratch folders.
            pass
