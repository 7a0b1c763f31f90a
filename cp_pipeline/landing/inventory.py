"""What is in the landing, file by file.

Belongs here: going through the folder, and telling whether bytes are still what they were.
Does not belong: how a file gets there (``store``).
"""

import fcntl
import hashlib
from collections.abc import Iterator
from dataclasses import replace

from cp_pipeline.landing.store import LandedFile, Landing, read_description


def landed_files(landing: Landing) -> Iterator[LandedFile]:
    """Every landed file that has its description, in the order of their paths."""
    for path in sorted(landing.root.glob("*/*/*/*.export")):
        landed = read_description(path)
        if landed is not None:
            # Where it lies is where it is found, whatever a folder that was moved says.
            yield replace(landed, path=str(path.relative_to(landing.root)))


def is_in_use(landing: Landing) -> bool:
    """Whether a process is fetching or loading: one that holds a ``scratch_folder``."""
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
    """Whether the bytes are there and have the checksum with which they came."""
    try:
        with landing.path_of(landed).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == landed.sha256
    except OSError:
        return False
