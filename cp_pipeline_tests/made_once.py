"""What takes seconds to make, and tests only read: made once for all workers of xdist.

Belongs here: where it is, and that the others wait for it. Does not belong: what it is.
"""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def folder_of_all_workers(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """The folder of this session's temporary files, which all workers share."""
    own = factory.getbasetemp()
    return own.parent if hasattr(config, "workerinput") else own


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, which ``make`` fills if no worker has done so."""
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Under another name until it is whole: others would take what is there.
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
