"""The inventory of the landing, file by file.

Belongs here: listing the landed files, and checking that their bytes are unchanged.
Does not belong: how a file gets there (``store``).
"""

import fcntl
import hashlib
from collections.abc import Iterator
from dataclasses import replace

from cp_pipeline.landing.store import LandedFile, Landing, read_description


def landed_files(landing: Landing) -> Iterator[LandedFile]:
    """Yield every landed file that has a description, ordered by path."""
    for path in sorted(landing.root.glob("*/*/*/*.export")):
        landed = read_description(path)
        if landed is not None:
            # Use the file's current path: the description is outdated if the folder was moved.
            yield replace(landed, path=str(path.relative_to(landing.root)))


def is_in_use(landing: Landing) -> bool:
    """Whether a process is downloading or loading: it locks its scratch folder."""
    for lock_file in landing.root.glob(".aside/*/.lock"):
        try:
            with lock_file.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False


def is_intact(landing: Landing, landed: LandedFile) -> bool:
    """Whether the file exists and still has the checksum of its download."""
    try:
        with landing.path_of(landed).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == landed.sha256
    except OSError:
        return False
