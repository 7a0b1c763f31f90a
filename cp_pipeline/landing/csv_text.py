"""From a landed file to checked CSV text that a loader can take as it is.

Belongs here: unpacking and checking in one pass, small files in memory, large ones on disk.
Does not belong: the packing (``decompression``) and the checks (``csv_validation``) themselves.
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
    ``csv_bytes``: size of the decoded file. ``spans_lines``: whether a record has a line end inside
    quotes. ``longest_record_bytes``: no record is longer. The records are ``body``, or, where they
    are too many to be held in memory, in the file ``path``; one of the two is None.
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
        """The records, in blocks of whole records only where they are in memory."""
        if self.body is not None:
            yield self.body
        elif self.path is not None:
            with self.path.open("rb") as file:
                yield from iter(lambda: file.read(1 << 20), b"")

    def first_records(self, count: int) -> tuple[tuple[str, ...], ...]:
        """The first records as they stand in the file; fewer where they are very long."""
        beginning = next(self.blocks(), b"")[:_FIRST_BYTES].decode(errors="ignore")
        whole = len(beginning.encode()) < _FIRST_BYTES
        records = list(islice(csv.reader(io.StringIO(beginning, newline="")), count + 1))
        return tuple(map(tuple, records[: count if whole or len(records) > count else -1]))


def read_csv_text(
    path: Path,
    scratch: Path,
    content: bytes | None = None,
    *,
    thorough: bool = False,
    largest_bytes: int | None = None,
) -> CsvText:
    """Unpack and check the export at ``path``.

    Args:
        path: a landed file.
        scratch: a folder for the text of a large file.
        content: its bytes, where they are at hand.
        thorough: check each record's length by itself; see ``CsvStructure``.
        largest_bytes: the file may decompress to no more; None for no limit.

    Raises:
        ExportRefused: the packing or the CSV is no good. Where both are, it is the packing: damage
            on the way shows in the text first, and in the checksum only at its end.
    """
    structure = CsvStructure()
    unpacked = unpack(path if content is None else content, largest_bytes)
    try:
        small, large = _collect(structure.records(unpacked, thorough=thorough), scratch)
    except CsvRefused as error:
        if is_packed(path):
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
    """Unpack to the end, for the checksum.

    Raises:
        PackingRefused: it does not hold, or there is no end.
    """
    try:
        for _ in unpacked:
            pass
    except PackingRefused:
        raise
    except ExportRefused:
        # Too large to be unpacked to its end; then there is no telling.
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
