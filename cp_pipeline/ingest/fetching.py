"""One partition from the API to checked text on disk or in memory.

Belongs here: landing each export, opening it, fetching it once more where its bytes were damaged.
Does not belong: many partitions at once (``executor``).
"""

import errno
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from cp_pipeline.centrepoint import (
    CentrePoint,
    ExportFileError,
    FileRequests,
    ServiceError,
    redact,
)
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import ExportFile, Partition
from cp_pipeline.ingest.partition_results import PartitionFailed
from cp_pipeline.ingest.plan import PlannedExport, Reason
from cp_pipeline.ingest.timings import Activity, Timings
from cp_pipeline.landing import (
    CsvText,
    ExportRefused,
    IncompleteFile,
    LandedFile,
    Landing,
    read_csv_text,
)
from cp_pipeline.warehouse import ExportToLoad, NotEnoughMemory

Fetched = list[ExportToLoad] | PartitionFailed
_FEW_BYTES = 1 << 20
# What no other file is spared of; all else is one file's own fault.
_OF_THE_DISK = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENOTDIR,
    }
)  # fmt: skip
NOT_FORESEEN = "Not foreseen"
_OF_MEMORY = re.compile(
    "can't start new thread|cannot allocate memory|failed to map segment|bad.alloc", re.IGNORECASE
)
_log = logging.getLogger(__name__)


class DiskUnusable(PipelineError):
    """Files cannot be written or read here, so no other export can be had either."""


class Fetching:
    """Brings the exports of a partition to where they can be loaded. Used from many threads."""

    def __init__(
        self,
        centrepoint: CentrePoint,
        landing: Landing,
        scratch: Path,
        timings: Timings,
        largest_csv_bytes: int,
    ) -> None:
        self._centrepoint = centrepoint
        self._landing = landing
        self._scratch = scratch
        self._time_spent = timings
        self._largest_csv_bytes = largest_csv_bytes

    def partition(self, partition: Partition, planned: Sequence[PlannedExport]) -> Fetched:
        """The partition's exports, or why one of them cannot be had.

        Raises:
            ServiceError: CentrePoint itself is at fault; no use in going on.
            DiskUnusable: the landing cannot be written, or not be read.
        """
        ready: list[ExportToLoad] = []
        for each in planned:
            try:
                ready.append(self._export(each))
            except (ServiceError, DiskUnusable):
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, it fails this partition)
                if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                    raise DiskUnusable(
                        f"Files under {self._landing.root} cannot be written or read: "
                        f"{error.strerror}.",
                        "See that there is room, and whose the folder is; then run this again.",
                    ) from None
                for export in ready:
                    export.text.discard()
                stage = "download" if isinstance(error, ExportFileError) else "decode"
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
            # Damage may have happened on the way; a second copy tells.
            if not error.may_be_damaged or not requests.left:
                raise
            _log.info("%s: %s fetching it again", landed, error)
        landed, content = self._download(export_file, requests)
        return ExportToLoad(landed, self._read(landed, content), reason=reason.value)

    def _read(self, landed: LandedFile, content: bytes | None) -> CsvText:
        try:
            with self._time_spent.on(Activity.DECODE):
                return read_csv_text(
                    self._landing.path_of(landed),
                    self._scratch,
                    content,
                    largest_bytes=self._largest_csv_bytes,
                )
        except ExportRefused as error:
            self._landing.quarantine(landed, str(error))
            raise

    def _download(
        self, export_file: ExportFile, requests: FileRequests
    ) -> tuple[LandedFile, bytes | None]:
        """Land the file; its bytes, too, where they are few."""
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
        except ExportFileError as error:
            self._landing.quarantine_incomplete(incomplete, str(error))
            raise
        finally:
            if incomplete.landed is not None:
                incomplete.path.unlink(missing_ok=True)


class _Arriving:
    """The bytes of a file as they come, kept in mind while they are few.

    To read a small file from the disk again takes longer than to unpack it.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._are_all = False

    def seen(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks; begun anew where a file is asked for again."""
        self._chunks, self._are_all, size = [], True, 0
        for chunk in chunks:
            size += len(chunk)
            self._are_all = size <= _FEW_BYTES
            if self._are_all:
                self._chunks.append(chunk)
            yield chunk

    @property
    def content(self) -> bytes | None:
        """All of them, or None."""
        return b"".join(self._chunks) if self._are_all else None


def explain(error: Exception) -> str:
    """An error in words; anything that nobody foresaw with its kind."""
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, MemoryError) or _OF_MEMORY.search(str(error)):
        return str(NotEnoughMemory(str(error) or "Python cannot have more"))
    return redact(f"{NOT_FORESEEN}: {type(error).__name__}: {error}")
