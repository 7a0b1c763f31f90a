"""An object store as the place of the landed files: S3, or Azure's blobs.

Belongs here: objects and their names, and trying whether the store can be used. Does not belong:
what is in an object (``store``), the words for the store's errors (``object_errors``).

``obstore`` reads the credentials from the store's own variables (``AWS_…``, ``AZURE_…``) or from
the machine's role. They are no settings of ours, and nothing here shows them.

An object is visible when it is whole. It is created only if its name is free, so no host changes
what another one wrote (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from cp_pipeline.landing.errors import LandingUnusable
from cp_pipeline.landing.folder import checksum_of
from cp_pipeline.landing.object_errors import explained

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult
    from obstore.store import ObjectStore as Client

# Larger objects are sent in parts, of which each may take the time of a request. obstore does not
# send parts under a condition, so the name is looked at first.
ONE_REQUEST_BYTES = 64 << 20
_THREADS = 16
_ALLOW_HTTP = ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP")
# A part of a request's time; obstore's own, 30 s, ends the upload of a large file on a slow line.
_REQUEST = timedelta(minutes=2)
_RETRIES = 5
_RETRY_FOR = timedelta(minutes=1)
Answer = TypeVar("Answer")


class ObjectStore:
    """The objects below a prefix of a bucket.

    Args:
        client: of the bucket and the prefix.
        where: the location, for people.
        use: what the store is for, for people.
    """

    def __init__(self, client: "Client", where: str, use: str) -> None:
        self._client = client
        self._where = where
        self._use = use

    @classmethod
    def at(cls, location: str, use: str = "the landing") -> Self:
        """Return the store of a location such as ``s3://bucket/prefix``; no request is made.

        Args:
            location: the bucket and the prefix.
            use: what the store is for, for people.

        Raises:
            LandingUnusable: a variable of the store is missing, or the package ``obstore``.
        """
        try:
            from obstore.store import from_url  # noqa: PLC0415  (an extra, and slow to import)
        except ModuleNotFoundError:
            raise LandingUnusable(
                f"{location} is an object store, but the package obstore is not installed.",
                "Install it: `pip install 'cp-pipeline[object-store]'`.",
            ) from None
        with explained(f"{use} {location}"):
            client = from_url(
                location,
                client_options={
                    "timeout": _REQUEST,
                    "connect_timeout": timedelta(seconds=10),
                    # With options of ours, obstore does not read these variables itself.
                    "allow_http": any(os.environ.get(each) == "true" for each in _ALLOW_HTTP),
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
            )
        return cls(client, location, use)

    def __str__(self) -> str:
        return self._where

    @property
    def named(self) -> str:
        """What the store is for, and its location, for people."""
        return f"{self._use} {self._where}"

    def subfolders(self, folder: str) -> set[str]:
        """Return the names of the folders directly in ``folder``."""
        with explained(self.named):
            found = self._client.list_with_delimiter(folder or None)
        return {each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"]}

    def below(self, folder: str) -> Iterator[str]:
        """Yield the names of all objects below ``folder``, in the names' order."""
        yield from sorted(each["path"] for each in self._listed(folder))

    def newest(self, folder: str, beginning: str) -> list[str]:
        """Return the objects in ``folder`` whose names begin so, the newest first."""
        wanted = f"{folder}/{beginning}"
        found = [each for each in self._listed(folder) if each["path"].startswith(wanted)]
        found.sort(key=lambda each: each["last_modified"], reverse=True)
        return [each["path"] for each in found]

    def _listed(self, folder: str) -> "list[ObjectMeta]":
        with explained(self.named):
            return list(self._client.list(folder).collect())

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        try:
            with explained(self.named, name):
                self._client.head(name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return the content of a small object."""
        with explained(self.named, name):
            return bytes(self._client.get(name).bytes())

    def create(self, name: str, content: bytes) -> None:
        """Write a small object that must not exist yet."""
        self._put(name, content, mode="create")

    def _put(self, name: str, content: bytes | Path, **options: Any) -> "PutResult":  # noqa: ANN401
        with explained(self.named, name):
            return self._client.put(name, content, chunk_size=ONE_REQUEST_BYTES // 4, **options)

    def replace(self, name: str, content: bytes, scratch: Path) -> None:  # noqa: ARG002
        """Write a small object, in place of one of the same name."""
        self._put(name, content)

    def put(self, name: str, part: Path) -> None:
        """Upload a file, and remove it here; it is not uploaded if the same object exists."""
        is_small = part.stat().st_size <= ONE_REQUEST_BYTES
        try:
            if not is_small and self.exists(name):
                raise FileExistsError(name)
            self._put(name, part, mode="create" if is_small else "overwrite")
        except FileExistsError:
            if self.checksum(name) != checksum_of(part):
                # Damaged: the name has the checksum of other bytes.
                self._put(name, part)
        part.unlink()

    def upload(self, name: str, path: Path) -> str:
        """Upload a file, in place of an object of the same name; return its checksum.

        The file stays. The object is visible when it is whole; its metadata ``sha256`` is the
        checksum.
        """
        checksum = checksum_of(path)
        self._put(name, path, attributes={"sha256": checksum})
        return checksum

    @contextmanager
    def local(self, name: str, scratch: Path) -> Iterator[Path]:
        """Provide a copy in ``scratch``, removed at the end."""
        path = scratch / f"{uuid4().hex}.copy"
        try:
            with path.open("wb") as file:
                file.writelines(self._chunks(name))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def checksum(self, name: str) -> str:
        """Return the SHA-256 of an object's bytes; the whole object is read."""
        checksum = hashlib.sha256()
        for chunk in self._chunks(name):
            checksum.update(chunk)
        return checksum.hexdigest()

    def _chunks(self, name: str) -> Iterator[bytes]:
        with explained(self.named, name):
            for chunk in self._client.get(name):
                yield bytes(chunk)

    def remove(self, name: str) -> None:
        """Remove an object, if it exists."""
        self._remove([name])

    def remove_folder(self, folder: str) -> None:
        """Remove all objects below a folder."""
        if names := list(self.below(folder)):
            self._remove(names)

    def _remove(self, names: Sequence[str]) -> None:
        with explained(self.named):
            self._client.delete(names)

    def check(self, *, overwrites: bool = False) -> bool:
        """Try every operation; nothing stays. Return whether removed objects stay as versions.

        Args:
            overwrites: whether objects are to be overwritten here, unlike those of the landing.

        Raises:
            LandingUnusable: one of them is refused, or the store overwrites what is only created.
        """
        name, content = f".doctor/{uuid4().hex}.txt", b"cp-pipeline doctor\n"
        version = self._put(name, content, mode="create")["version"]
        try:
            if self.read(name) != content or name not in self.below(".doctor"):
                raise LandingUnusable(
                    f"The object store of {self.named} does not return what was written."
                )
            if not overwrites:
                self._refuse_overwriting(name)
        finally:
            self.remove(name)
        if self.exists(name):
            raise LandingUnusable(f"A file was removed from {self.named}, but is still there.")
        return version not in {None, "null"}

    def _refuse_overwriting(self, name: str) -> None:
        try:
            self.create(name, b"overwritten\n")
        except FileExistsError:
            return
        raise LandingUnusable(
            f"The object store of {self.named} overwrites an object that was only to be created: "
            "it does not know the condition If-None-Match. Hosts could overwrite each other's "
            "files.",
            "Use a store that knows it, such as Amazon S3, Azure, MinIO or SeaweedFS.",
        )

    def each(
        self, ask: Callable[[str], Answer], names: Sequence[str]
    ) -> Iterator[tuple[str, Answer]]:
        """Yield the answer for each name, in order; asked on many threads at once."""
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from zip(names, threads.map(ask, names), strict=True)
