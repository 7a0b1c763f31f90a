"""One lock file for each run: tells whether the process of a run lives.

Belongs here: creating, holding, testing and removing them. Does not belong: what is done about a
run whose process is gone (``defs.instance.orphaned_runs``).

The system frees a lock when its process ends, however it ends, and process ids that are used again
cannot mislead. A file names its host: of a process on another host, a lock says nothing, because a
file system that hosts share need not know locks.
"""

import fcntl
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from cp_pipeline.domain.errors import PipelineError

# By path: the open files whose locks this process holds.
_held: dict[Path, TextIO] = {}


class RunLockUnavailable(PipelineError):
    """The lock file of a run cannot be created."""


class RunLocks:
    """The lock files of all runs that use one data folder.

    Args:
        data_dir: the data folder; the files are in ``run_locks`` below it, named by run id.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "run_locks"

    def hold(self, run_id: str) -> None:
        """Create the run's lock file, and hold its lock until this process ends or releases it.

        Not until the step ends: the run is not over for Dagster then, and would look orphaned.

        Raises:
            RunLockUnavailable: the file cannot be created.
        """
        path = self.folder / run_id
        if path in _held:
            return
        try:
            _held[path] = self._locked(path)
        except OSError as error:
            raise RunLockUnavailable(
                f"The lock file of this run cannot be created in {self.folder}: {error}.",
                "See who owns the folder, and whether its disk is full or read-only.",
            ) from error

    def _locked(self, path: Path) -> TextIO:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Renamed when it is locked: before, it would look like the file of a process that is gone.
        part = self.folder / f".{path.name}.{os.getpid()}"
        file = part.open("w")
        file.write(platform.node())
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        part.replace(path)
        return file

    def release(self, run_id: str) -> None:
        """Release the lock; the file stays for whoever looks after runs that ended badly."""
        if file := _held.pop(self.folder / run_id, None):
            file.close()

    def all(self) -> list[str]:
        """The ids of all runs that have a lock file."""
        return sorted(path.name for path in self.folder.glob("[!.]*"))

    def is_held(self, run_id: str) -> bool:
        """Whether the process of the run lives, if it is on this host."""
        with suppress(FileNotFoundError), (self.folder / run_id).open("r") as file:
            try:
                # Shared: others who test at the same time do not disturb each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def is_of_another_host(self, run_id: str) -> bool:
        """Whether another host has created the lock file, so that its lock says nothing here."""
        with suppress(FileNotFoundError):
            # An earlier version of this project named no host.
            return (self.folder / run_id).read_text() not in {"", platform.node()}
        return False

    def released(self) -> list[str]:
        """The ids of runs whose process has ended, well or not, and whose file is still there."""
        return [run_id for run_id in self.all() if not self.is_held(run_id)]

    def remove(self, run_id: str) -> None:
        """Remove the file of a run that has ended, for Dagster too."""
        self.release(run_id)
        (self.folder / run_id).unlink(missing_ok=True)
