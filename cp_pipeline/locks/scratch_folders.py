"""A folder of a process's own, gone at its end, and at the latest when the next process comes.

Belongs here: making, locking and removing it, and whether one is in use.
Does not belong: what is worked on in it.
"""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NOBODYS_AFTER_SECONDS = 3600.0


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, which is made if need be; for the owner alone.

    What a killed process left is removed first: a folder nobody holds the lock of.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(dir=parent))
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def any_locked(parent: Path) -> bool:
    """Whether a process on this machine has a scratch folder there."""
    for lock_file in parent.glob("*/.lock"):
        try:
            with lock_file.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False


def remove_abandoned(parent: Path) -> None:
    """Remove what killed processes left in their scratch folders."""
    for folder in parent.glob("*"):
        try:
            with (folder / ".lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            # Only just made and not locked yet; or a child that outlived its process wrote there
            # once more.
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _NOBODYS_AFTER_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Held by a living process.
            continue
