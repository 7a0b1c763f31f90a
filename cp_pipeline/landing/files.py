"""What the landing needs of the place where its files are: a folder, or an object store.

Belongs here: the operations, with what each promises.
Does not belong: how a place does them (``folder``, ``object_store``), the files' names (``store``).

A name is relative to the place and has '/' between its parts. We choose all names.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


class Files(ABC):
    """A place for files. Safe to use from many threads, processes and hosts.

    Each method raises ``LandingUnusable`` if an object store cannot be used, and another
    ``OSError`` if a folder cannot.
    """

    @abstractmethod
    def __str__(self) -> str:
        """Where it is, for people; without credentials."""

    @abstractmethod
    def subfolders(self, folder: str) -> set[str]:
        """Return the names of the folders directly in ``folder``, which need not exist."""

    @abstractmethod
    def below(self, folder: str) -> Iterator[str]:
        """Yield the names of all files in ``folder`` and below it, in the names' order."""

    @abstractmethod
    def newest(self, folder: str, beginning: str) -> list[str]:
        """Return the files directly in ``folder`` whose names begin so, the newest first."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def create(self, name: str, content: bytes) -> None:
        """Write a small file that must not exist yet.

        Raises:
            FileExistsError: it exists, and is unchanged.
        """

    @abstractmethod
    def replace(self, name: str, content: bytes, scratch: Path) -> None:
        """Write a small file, in place of one of the same name; readers see the old or the new."""

    @abstractmethod
    def put(self, name: str, part: Path) -> None:
        """Give the file ``part`` this name, for good; it is whole as soon as it is visible.

        The name has a checksum of the bytes. So a file of the same name has the same bytes, or is
        damaged: then it is replaced.
        """

    @abstractmethod
    def local(self, name: str, scratch: Path) -> AbstractContextManager[Path]:
        """Provide the file on this machine's disk, if need be as a copy in ``scratch``.

        Raises:
            FileNotFoundError: there is no file of this name.
        """

    @abstractmethod
    def checksum(self, name: str) -> str:
        """Return the SHA-256 of a file, in hexadecimal.

        Raises:
            FileNotFoundError: there is no file of this name.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all files below it, if it exists."""

    @abstractmethod
    def each(
        self, ask: Callable[[str], Answer], names: Sequence[str]
    ) -> Iterator[tuple[str, Answer]]:
        """Yield the answer for each name, in order; on many threads where that is faster."""
