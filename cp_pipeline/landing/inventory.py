"""The inventory of the landing, file by file.

Belongs here: listing the landed files, and whether a process uses them.
Does not belong: how a file gets there (``store``).
"""

import fcntl
import re
from collections.abc import Iterator
from dataclasses import replace

from cp_pipeline.landing.landed_file import LandedFile
from cp_pipeline.landing.store import Landing

# Study, subject, data set, file: the quarantine of an object store has one folder more.
_LANDED = re.compile(r"[0-9]+/[0-9]+/[^/]+/[^/]+\.export")


def landed_files(landing: Landing) -> Iterator[LandedFile]:
    """Yield every landed file that has a description, ordered by path."""
    for study in sorted(landing.files.subfolders("")):
        if not study.isdecimal():
            continue
        paths = [path for path in landing.files.below(study) if _LANDED.fullmatch(path)]
        for path, landed in landing.files.each(landing.described, paths):
            if landed is not None:
                # Use the file's current path: the description is outdated if the folder was moved.
                yield replace(landed, path=path)


def is_in_use(landing: Landing) -> bool:
    """Whether a process on this machine is downloading or loading: it locks its scratch folder."""
    for lock_file in landing.root.glob(".aside/*/.lock"):
        try:
            with lock_file.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False
