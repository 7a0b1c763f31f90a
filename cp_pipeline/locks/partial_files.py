"""A file that is replaced at once: written beside its place under another name, then renamed.

Belongs here: the names of unfinished files, and what killed processes left. Does not belong: what
is in a file.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_NOBODYS_AFTER_SECONDS = 3600.0


def remove_partial(path: Path, older_than_seconds: float = 0.0) -> None:
    """Remove what killed processes left of a file, and DuckDB's logs of it.

    Args:
        path: the file.
        older_than_seconds: keep what is newer, because its process may live.
    """
    mine = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{32}\.partial(\.wal)?")
    for leftover in path.parent.iterdir():
        if mine.fullmatch(leftover.name):
            age = time.time() - leftover.stat().st_mtime
            if age >= older_than_seconds:
                leftover.unlink(missing_ok=True)


@contextmanager
def replaced_at_once(path: Path, mode: int) -> Iterator[Path]:
    """Yield where to write the next version of a file; put it in place at the end of the block.

    After an error, the old file is there as it was. A reader that has it open keeps it.

    Args:
        path: the file. Its folder is made if need be.
        mode: the permissions of the new file.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(path, _NOBODYS_AFTER_SECONDS)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        yield partial
        partial.chmod(mode)
        # It must be completely on the disk before it has the name, in case of a power failure.
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_with_partial(path: Path) -> bool:
    """Remove a file, and what killed processes left of it; return whether there was one."""
    if not path.parent.exists():
        return False
    remove_partial(path)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed
