"""Read a landed file into validated CSV text, ready for a loader.

Belongs here: decompression and validation in one pass; small files in memory, large ones on disk.
Does not belong: how decompression (``decompression``) and validation (``csv_validation``) work.
"""

import csv
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cp_pipeline.landing.csv_validation import CsvStructure
from cp_pipeline.landing.decompression import is_packed, unpack
from cp_pipeline.landing.errors import CsvRefused, ExportRefused, PackingRefused

IN_MEMORY_BYTES = 4 << 20
_FIRST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class CsvText:
    """The records of one export: UTF-8, a line feed after each record, without the header.

    ``header``: column names in the file's order. ``record_count``: counted on the bytes.
    ``csv_bytes``: size of the decompressed file. ``has_quotes``: whether a record has quotes.
    ``spans_lines``: whether a record has a line end inside quotes. ``longest_record_bytes``: an
    upper bound of the length of the longest record. ``body`` has the records of a small file; a
    large file's records are in the file ``path``. The other of the two is None.
    """

    header: tuple[str, ...]
    record_count: int
    csv_bytes: int
    has_quotes: bool
    spans_lines: bool
    longest_record_bytes: int
    body: bytes | None
    path: Path | None

    def discard(self) -> None:
        """Remove the file of a large text."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def blocks(self) -> Iterator[bytes]:
        """Yield the records in blocks; a block from the file may end inside a record."""
        if self.body is not None:
            yield self.body
        elif self.path is not None:
            with self.path.open("rb") as file:
                yield from iter(lambda: file.read(1 << 20), b"")

    def first_records(self, count: int) -> tuple[tuple[str, ...], ...]:
        """Return the first records as written in the file; fewer if they are very long."""
        beginning = next(self.blocks(), b"")[:_FIRST_BYTES].decode(errors="ignore")
        whole = len(beginning.encode()) < _FIRST_BYTES
        records = list(islice(csv.reader(io.StringIO(beginning, newline="")), count + 1))
        return tuple(map(tuple, records[: count if whole or len(records) > count else -1]))


def read_csv_text(
    source: Path | bytes,
    scratch: Path,
    *,
    thorough: bool = False,
    largest_bytes: int | None = None,
) -> CsvText:
    """Decompress and validate an export.

    Args:
        source: the path of a landed file, or its bytes, if they are already in memory.
        scratch: a scratch folder for the text of a large file.
        thorough: check the length of each single record; see ``CsvStructure``.
        largest_bytes: the limit for each decompressed layer; None for no limit.

    Raises:
        ExportRefused: the compressed file or the CSV is invalid. If both are, the error is about
            the compressed file: damage shows first in the text, and in the checksum only at the
            end.
    """
    structure = CsvStructure()
    unpacked = unpack(source, largest_bytes)
    try:
        small, large = _collect(structure.records(unpacked, thorough=thorough), scratch)
    except CsvRefused as error:
        if is_packed(source):
            _check_the_rest(unpacked)
        else:
            error.may_be_damaged = True
        raise
    return CsvText(
        header=structure.header,
        record_count=structure.record_count,
        csv_bytes=structure.byte_count,
        has_quotes=structure.has_quotes,
        spans_lines=structure.spans_lines,
        longest_record_bytes=structure.longest_record_bytes,
        body=small,
        path=large,
    )


def _check_the_rest(unpacked: Iterator[bytes]) -> None:
    """Decompress to the end to verify the checksum.

    Raises:
        PackingRefused: the checksum is wrong, or the data is truncated.
    """
    try:
        for _ in unpacked:
            pass
    except PackingRefused:
        raise
    except ExportRefused:
        # The file is too large to decompress to its end, so its checksum stays unknown.
        return


def _collect(records: Iterator[bytes], scratch: Path) -> tuple[bytes | None, Path | None]:
    kept: list[bytes] = []
    size = 0
    for block in records:
        kept.append(block)
        size += len(block)
        if size > IN_MEMORY_BYTES:
            break
    else:
        return b"".join(kept), None
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".csv", delete=False) as file:
        try:
            file.writelines(kept)
            file.writelines(records)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return None, Path(file.name)
