"""Fetch one partition from the API, as validated text on disk or in memory.

Belongs here: landing each export, reading it, fetching it again if its bytes were damaged.
Does not belong: many partitions at once (``executor``).
"""

import errno
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from cp_pipeline.centrepoint import (
    DownloadFailed,
    FileRequests,
    ServiceError,
    redact,
)
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import ExportFile, Partition
from cp_pipeline.ingest.partition_results import PartitionFailed
from cp_pipeline.ingest.plan import PlannedExport, Reason
from cp_pipeline.ingest.rooms import Rooms
from cp_pipeline.ingest.timings import Activity
from cp_pipeline.landing import (
    CsvText,
    ExportRefused,
    IncompleteFile,
    LandedFile,
    LandingUnusable,
    read_csv_text,
)
from cp_pipeline.warehouse import ExportToLoad, NotEnoughMemory

Fetched = list[ExportToLoad] | PartitionFailed
_FEW_BYTES = 1 << 20
# These errors affect every file. All other errors affect one file only.
_OF_THE_DISK = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENOTDIR,
    }
)  # fmt: skip
NOT_FORESEEN = "Unexpected error"
_OF_MEMORY = re.compile(
    "can't start new thread|cannot allocate memory|failed to map segment|bad.alloc", re.IGNORECASE
)
_log = logging.getLogger(__name__)


class DiskUnusable(PipelineError):
    """Files cannot be written or read here, so no other export can be fetched either."""


class Fetching:
    """Fetch the exports of a partition, ready to be loaded. Safe to use from many threads.

    Args:
        rooms: the service, the landing, the largest size of a CSV, and the timings.
        scratch: a folder for files that are not complete.
    """

    def __init__(self, rooms: Rooms, scratch: Path) -> None:
        self._centrepoint = rooms.centrepoint
        self._landing = rooms.landing
        self._scratch = scratch
        self._time_spent = rooms.timings
        self._largest_csv_bytes = rooms.storage.largest_csv_bytes

    def partition(self, partition: Partition, planned: Sequence[PlannedExport]) -> Fetched:
        """Return the partition's exports, or why one of them cannot be fetched.

        Raises:
            ServiceError: CentrePoint itself fails, so other downloads would fail too.
            DiskUnusable, LandingUnusable: the landing cannot be written or read.
        """
        ready: list[ExportToLoad] = []
        for each in planned:
            try:
                ready.append(self._export(each))
            except (ServiceError, DiskUnusable, LandingUnusable):
                raise
            except Exception as error:  # noqa: BLE001  (any error fails this partition)
                if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                    raise DiskUnusable(
                        f"Files under {self._landing.root} cannot be written or read: "
                        f"{error.strerror}.",
                        "Check the disk space and the folder's owner, then run this again.",
                    ) from None
                for export in ready:
                    export.text.discard()
                stage = "download" if isinstance(error, DownloadFailed) else "decode"
                return PartitionFailed(partition, each.export_file, stage, explain(error))
        return ready

    def _export(self, planned: PlannedExport) -> ExportToLoad:
        export_file, reason = planned.export_file, planned.reason
        again = reason is Reason.REFRESH
        requests = FileRequests()
        landed, content = None if again else self._landing.find(export_file), None
        if landed is None:
            landed, content = self._download(export_file, requests)
        try:
            return ExportToLoad(landed, self._read(landed, content), reason=reason.value)
        except ExportRefused as error:
            # The file may have been damaged in transit, so fetch it once more.
            if not error.may_be_damaged or not requests.left:
                raise
            _log.info("%s: %s fetching it again", landed, error)
        landed, content = self._download(export_file, requests)
        return ExportToLoad(landed, self._read(landed, content), reason=reason.value)

    def _read(self, landed: LandedFile, content: bytes | None) -> CsvText:
        try:
            if content is not None:
                return self._decoded(content)
            with self._landing.files.local(landed.path, self._scratch) as path:
                return self._decoded(path)
        except ExportRefused as error:
            self._landing.quarantine(landed, str(error), self._scratch)
            raise

    def _decoded(self, source: Path | bytes) -> CsvText:
        with self._time_spent.on(Activity.DECODE):
            return read_csv_text(source, self._scratch, largest_bytes=self._largest_csv_bytes)

    def _download(
        self, export_file: ExportFile, requests: FileRequests
    ) -> tuple[LandedFile, bytes | None]:
        """Land the file, and return it with its bytes, or None for the bytes of a large file."""
        arriving = _Arriving()
        incomplete = IncompleteFile(self._scratch / f"{uuid4().hex}.incomplete")
        try:
            with self._time_spent.on(Activity.DOWNLOAD):
                landed = self._centrepoint.fetch(
                    export_file,
                    lambda actual, chunks: self._landing.keep(
                        actual, arriving.seen(chunks), self._scratch, incomplete
                    ),
                    requests,
                )
                return landed, arriving.content
        except DownloadFailed as error:
            self._landing.quarantine_incomplete(incomplete, str(error), self._scratch)
            raise
        finally:
            if incomplete.landed is not None:
                incomplete.path.unlink(missing_ok=True)


class _Arriving:
    """The bytes of a file as they arrive, kept in memory if the file is small.

    Reading a small file from the disk again takes longer than decompressing it.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._are_all = False

    def seen(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the chunks on and keep them; start again if the file is requested again."""
        self._chunks, self._are_all, size = [], True, 0
        for chunk in chunks:
            size += len(chunk)
            self._are_all = size <= _FEW_BYTES
            if self._are_all:
                self._chunks.append(chunk)
            yield chunk

    @property
    def content(self) -> bytes | None:
        """All bytes of the file, or None if it is large or incomplete."""
        return b"".join(self._chunks) if self._are_all else None


def explain(error: Exception) -> str:
    """Return an error as text for people; for an unexpected error, with the name of its class."""
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, MemoryError) or _OF_MEMORY.search(str(error)):
        return str(NotEnoughMemory(str(error) or "Python cannot get more"))
    return redact(f"{NOT_FORESEEN}: {type(error).__name__}: {error}")
