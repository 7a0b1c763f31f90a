"""A folder as the place of the landed files.

Belongs here: paths, modes, and writing a file whole.
Does not belong: what is in a file (``store``).

For small files, creating and renaming files takes most of the time, so this module does as little
of both as possible (benchmarks/README.md).
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")
# Names for files in folders that only this process writes to.
_serial = itertools.count()


class Folder:
    """A folder on a disk; created when its first file is, readable only by its owner."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Cache: folders that this process has created or found.
        self._folders: set[Path] = set()

    def __str__(self) -> str:
        return str(self.root)

    def subfolders(self, folder: str) -> set[str]:
        """Return the names of the folders directly in ``folder``, which need not exist."""
        try:
            with os.scandir(self.root / folder) as entries:
                return {entry.name for entry in entries if entry.is_dir()}
        except FileNotFoundError:
            return set()

    def below(self, folder: str) -> Iterator[str]:
        """Yield the names of all files in ``folder`` and below it, in the names' order."""
        for path in sorted((self.root / folder).rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self.root))

    def newest(self, folder: str, beginning: str) -> list[str]:
        """Return the files directly in ``folder`` whose names begin so, the newest first."""
        try:
            with os.scandir(self.root / folder) as entries:
                found = [entry for entry in entries if entry.name.startswith(beginning)]
        except FileNotFoundError:
            return []
        found.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
        return [f"{folder}/{entry.name}" for entry in found]

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.root / name).exists()

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        return (self.root / name).read_bytes()

    def create(self, name: str, content: bytes) -> None:
        """Write a small file that must not exist yet."""
        path = self.root / name
        self._make_folder(path.parent)
        try:
            with written(path) as file:
                write_all(file, content)
        except FileNotFoundError:
            # The folder was removed since we created it: its subject may just have been erased.
            self._folders.discard(path.parent)
            self.create(name, content)

    def replace(self, name: str, content: bytes, scratch: Path) -> None:
        """Write a small file, in place of one of the same name."""
        part = scratch / f"{next(_serial)}.json"
        with written(part) as file:
            write_all(file, content)
        self.put(name, part)

    def put(self, name: str, part: Path) -> None:
        """Rename the file ``part``, which is on the same disk."""
        path = self.root / name
        self._make_folder(path.parent)
        part.replace(path)

    @contextmanager
    def local(self, name: str, scratch: Path) -> Iterator[Path]:  # noqa: ARG002  (no copy needed)
        """Provide the file itself."""
        yield self.root / name

    def checksum(self, name: str) -> str:
        """Return the SHA-256 of a file, in hexadecimal."""
        return checksum_of(self.root / name)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        (self.root / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all files below it, if it exists."""
        if (path := self.root / folder).exists():
            shutil.rmtree(path)

    def each(
        self, ask: Callable[[str], Answer], names: Sequence[str]
    ) -> Iterator[tuple[str, Answer]]:
        """Yield the answer for each name, one after another."""
        return ((name, ask(name)) for name in names)

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folders.add(folder)


def write_all(file: RawIOBase, data: bytes) -> None:
    """Write all the data; one raw write may write only a part, for instance on a full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def written(path: Path) -> RawIOBase:
    """Open a new file for writing, readable only by its owner."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


def checksum_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
