"""Remove the files of a subject who withdrew consent.

Belongs here: finding a subject's landed and refused files, removing them, and recording the
erasure. Does not belong: what else is removed, and in which order (``ingest.subject_erasure``).

``.erased/{subject}.json`` repeats the entry in ``lineage.erasures``, so that the subject stays
erased after the warehouse is lost and rebuilt.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from cp_pipeline.landing.store import Files, Landing

_ERASED = ".erased"
_NAMING = ("file_name", "sha256", "execution", "path", "refused")


def _folders_of(landing: Landing, subject_id: int) -> Iterator[tuple[Files, str]]:
    """Yield the folders with the subject's files, in all studies."""
    for files in (landing.files, landing.refused):
        for study in sorted(files.subfolders("")):
            if study.isdecimal():
                yield files, f"{study}/{subject_id}"


def _files_of(landing: Landing, subject_id: int, suffix: str) -> Iterator[tuple[Files, str]]:
    for files, folder in _folders_of(landing, subject_id):
        yield from ((files, name) for name in files.below(folder) if name.endswith(suffix))


def count_files(landing: Landing, subject_id: int) -> int:
    """Return the number of the subject's files, landed or in quarantine."""
    return sum(1 for _ in _files_of(landing, subject_id, ".export"))


def texts_of(landing: Landing, subject_id: int) -> Iterator[str]:
    """Yield the names, checksums, executions and refusals by which events may name the files."""
    for files, name in _files_of(landing, subject_id, ".json"):
        try:
            content = json.loads(files.read(name))
        except ValueError:
            continue
        yield from (str(content[name]) for name in _NAMING if content.get(name))


def remember_erasure(landing: Landing, subject_id: int) -> None:
    """Record the erasure of the subject, once; call it before anything is erased."""
    name = f"{_ERASED}/{subject_id}.json"
    if landing.files.exists(name) and landing.files.read(name):
        return
    content = {"subject_id": subject_id, "erased_at": datetime.now(UTC).isoformat()}
    with landing.scratch_folder() as scratch:
        landing.files.replace(name, (json.dumps(content) + "\n").encode(), scratch)


def remembered_erasures(landing: Landing) -> dict[int, datetime]:
    """Return the erased subjects, and when each was erased."""
    erased = {}
    names = [name for name in landing.files.below(_ERASED) if name.endswith(".json")]
    for _, read in landing.files.each(landing.files.read, names):
        content = json.loads(read)
        erased[int(content["subject_id"])] = datetime.fromisoformat(content["erased_at"])
    return erased


def erase_files(landing: Landing, subject_id: int) -> None:
    """Remove the subject's files, and the scratch folders that killed processes left behind."""
    for files, folder in _folders_of(landing, subject_id):
        files.remove_folder(folder)
    if landing.root.exists():
        landing.tidy()
