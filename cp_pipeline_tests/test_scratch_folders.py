"""Scratch folders: locked while their process lives, and removed by the next process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cp_pipeline.locks.scratch_folders import scratch_folder

_KILLED = """
import os, signal, sys
from pathlib import Path
from cp_pipeline.locks.scratch_folders import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert set(tmp_path.iterdir()) == {first, second}
        assert left not in {first, second}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_ever_locked_is_removed_after_an_hour(tmp_path: Path) -> None:
    """A child that outlived its process wrote there again, or the folder is being created now."""
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / "file").touch()
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    with scratch_folder(tmp_path) as mine:
        assert set(tmp_path.iterdir()) == {new, mine}
