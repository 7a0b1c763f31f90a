"""One process at a time: waits for a lock on a file.

Belongs here: waiting for the lock. Does not belong: what is done while it is held.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is created if it is missing; other processes wait.

    The system frees the lock when the process ends, however it ends. The file stays: a process
    that waits for a file that is removed would wait for nothing.

    Raises:
        OSError: the file cannot be created.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
