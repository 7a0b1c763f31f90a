"""Validate a CSV on its bytes, independently of the loader.

Belongs here: UTF-8, header, quotes, the length and number of records; normalizing line ends.
Refuses any text that two readers could read differently.
Does not belong: whether the first line can be a header (``csv_header``), what a value means
(``warehouse.column_types``).

The dialect of docs/api.md: UTF-8, comma, double quotes doubled inside quotes (RFC 4180), one
header.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cp_pipeline.landing.csv_header import (
    RecordsUnderHeader,
    refuse_other_separator,
    refuse_values_as_names,
)
from cp_pipeline.landing.decompression import peek
from cp_pipeline.landing.errors import CsvRefused

LONGEST_RECORD_BYTES = 16 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BEGINNING_BYTES = 1024
# An HTML or XML page begins with one of these, or with another tag that ends before any comma.
_PAGE = re.compile(
    rb"\s*<(!doctype|!--|html|\?xml|error|head|body|[a-z][^<>,\r\n]*>)", re.IGNORECASE
)
RESERVED_NAMES = frozenset(
    {
        "_load_id",
        "_study_id",
        "_subject_id",
        "_study_program_id",
        "_program_execution",
        "_program_executed_at",
    }
)


@dataclass(slots=True)
class CsvStructure:
    """What has been read of one CSV so far.

    ``header``: the column names, in the file's order. ``record_count``: records after the header.
    ``byte_count``: bytes of the decompressed file. ``has_quotes``: whether a record has quotes.
    ``spans_lines``: whether a record has a line end inside quotes.
    ``longest_record_bytes``: an upper bound of the length of the longest record.
    """

    header: tuple[str, ...] = ()
    record_count: int = 0
    byte_count: int = 0
    has_quotes: bool = False
    spans_lines: bool = False
    longest_record_bytes: int = 0
    _line: int = field(default=1, repr=False)
    # The number of the first blank line, or 0. After it, only blank lines are allowed.
    _blank: int = field(default=0, repr=False)
    _under_header: RecordsUnderHeader | None = field(default=None, repr=False)

    def records(self, chunks: Iterable[bytes], *, thorough: bool = False) -> Iterator[bytes]:
        r"""Yield blocks of whole records without the header, each ending in ``\n``.

        Line ends outside quotes become ``\n``; nothing else changes.

        Raises:
            CsvRefused: the CSV is invalid; the error has the line number, if it is known.
        """
        blocks = self._blocks(self._checked_bytes(chunks))
        first = next(blocks, b"")
        if not first.strip():
            raise CsvRefused("The file is empty or blank: it has no header.")
        rest = self._take_header(first)
        if rest and (plain := self._check(rest, thorough)):
            yield plain
        for block in blocks:
            if plain := self._check(block, thorough):
                yield plain
        if self._under_header:
            self._under_header.finish()

    def _checked_bytes(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Check that the text is UTF-8 without NUL bytes; drop a byte order mark."""
        carried = b""
        # The first chunk must be long enough to recognize the format.
        _, chunks = peek(iter(chunks), _BEGINNING_BYTES)
        for number, chunk in enumerate(chunks):
            data, position = carried + chunk, self.byte_count - len(carried)
            self.byte_count += len(chunk)
            if number == 0:
                if data.startswith(_BYTE_ORDER_MARK):
                    data, position = data[len(_BYTE_ORDER_MARK) :], len(_BYTE_ORDER_MARK)
                _refuse_other_formats(data)
            if (nul := data.find(b"\0")) >= 0:
                raise CsvRefused(f"The file has a NUL byte at byte {position + nul}.")
            carried = b"" if data.isascii() else _incomplete_end(data, position)
            yield data[: len(data) - len(carried)]
        if carried:
            raise CsvRefused(
                f"The text is not UTF-8: it ends inside a character at byte "
                f"{self.byte_count - len(carried)}."
            )

    def _blocks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Split into blocks of whole records: each block ends at a line end outside quotes."""
        kept = b""
        for chunk in chunks:
            kept += chunk
            end = _last_record_end(kept)
            if end:
                yield kept[:end]
                kept = kept[end:]
            elif len(kept) > LONGEST_RECORD_BYTES:
                break
        if kept.count(b'"') % 2:
            raise CsvRefused("A quote is opened here, but never closed.", self._open_quote(kept))
        if len(kept) > LONGEST_RECORD_BYTES:
            raise CsvRefused("The record is longer than 16 MiB.", self._line)
        if kept:
            yield kept + (b"" if kept.endswith(b"\n") else b"\n")

    def _open_quote(self, kept: bytes) -> int:
        return self._line + kept.count(b"\n", 0, kept.rfind(b'"'))

    def _take_header(self, block: bytes) -> bytes:
        """Read and check the header; return the rest of the block."""
        end = _record_end(block)
        line = block[:end].rstrip(b"\r\n")
        if not line.strip():
            raise CsvRefused("The line is blank where the header should be.", 1)
        refuse_other_separator(line)
        if b"\r" in self._without_quoted(line)[0]:
            raise CsvRefused("The line has a lone carriage return outside quotes.", 1)
        try:
            names = next(csv.reader(io.StringIO(line.decode(), newline=""), strict=True), [])
        except csv.Error as error:
            raise CsvRefused(f"The header cannot be read: {error}.", 1) from None
        refuse_values_as_names(names)
        _check_names(names)
        self.header = tuple(names)
        self._under_header = RecordsUnderHeader(line, names)
        self._line += block.count(b"\n", 0, end)
        return block[end:]

    def _check(self, block: bytes, thorough: bool) -> bytes:
        r"""Check one block of whole records and count them; return it with ``\n`` line ends.

        Unless ``thorough``, check only the total number of fields in the block. That is enough
        because DuckDB's reader refuses short records: without short ones, the total leaves no room
        for long ones.
        """
        if b'"' in block:
            self.has_quotes = True
            skeleton, plain = self._without_quoted(block)
        else:
            skeleton = plain = block.replace(b"\r\n", b"\n") if b"\r" in block else block
        if b"\r" in skeleton:
            line = self._line + skeleton.count(b"\n", 0, skeleton.index(b"\r"))
            raise CsvRefused("There is a lone carriage return outside quotes.", line)
        self.longest_record_bytes = max(self.longest_record_bytes, len(block))
        lines = skeleton.count(b"\n")
        # With several columns, the number of commas shows that a blank line has none.
        narrow = len(self.header) == 1
        blank = narrow and (skeleton.startswith(b"\n") or b"\n\n" in skeleton)
        commas = lines * (len(self.header) - 1)
        if thorough or blank or self._blank or skeleton.count(b",") != commas:
            self._check_each_record(skeleton, block)
        else:
            self.record_count += lines
        line_ends = lines if skeleton is block else block.count(b"\n")
        if self._under_header:
            self._under_header.look_at(plain, self._line)
        self._line += line_ends
        self.spans_lines = self.spans_lines or line_ends > lines or b"\r" in plain
        if self._blank:
            plain = plain.rstrip(b"\n") + b"\n"
        return plain if plain != b"\n" else b""

    def _check_each_record(self, skeleton: bytes, block: bytes) -> None:
        line_numbers = _line_numbers(block, self._line)
        for record in skeleton[:-1].split(b"\n"):
            line = next(line_numbers)
            if not record:
                self._blank = self._blank or line
                if len(self.header) == 1:
                    raise CsvRefused(
                        "The line is blank: in the only column, that may be a value or no record.",
                        line,
                    )
                continue
            if self._blank:
                raise CsvRefused("The line is blank, and records follow it.", self._blank)
            self._check_length(record.count(b",") + 1, line)
            self.record_count += 1

    def _check_length(self, fields: int, line: int) -> None:
        if fields != len(self.header):
            kind = "shorter" if fields < len(self.header) else "longer"
            raise CsvRefused(
                f"The record is {kind} than the header: "
                f"{fields} fields where the header has {len(self.header)}.",
                line,
            )

    def _without_quoted(self, block: bytes) -> tuple[bytes, bytes]:
        r"""Return the block without quoted text, and the whole block with ``\n`` line ends.

        A quote may open only at the start of a field, and close only at its end. In ``, "x"``,
        DuckDB silently drops the space and the quotes; other readers keep them.
        """
        pieces = block.split(b'"')
        last = len(pieces) - 1
        for place in range(0, len(pieces), 2):
            piece = pieces[place] = pieces[place].replace(b"\r\n", b"\n")
            if not piece:
                continue
            if place and piece[0] not in b",\n":
                line = self._line_of(pieces, place, at_end=False)
                raise CsvRefused("There is text after a closing quote.", line)
            if place < last and piece[-1] not in b",\n":
                line = self._line_of(pieces, place, at_end=True)
                raise CsvRefused("There is a quote inside an unquoted field.", line)
        return b'"'.join(pieces[0::2]), b'"'.join(pieces)

    def _line_of(self, pieces: list[bytes], place: int, *, at_end: bool) -> int:
        before = self._line + sum(piece.count(b"\n") for piece in pieces[:place])
        return before + (pieces[place].count(b"\n") if at_end else 0)


def _refuse_other_formats(beginning: bytes) -> None:
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CsvRefused("The text is UTF-16, not UTF-8: it begins with a UTF-16 mark (byte 0).")
    if _PAGE.match(beginning):
        raise CsvRefused("The file is an HTML or XML page, not a CSV.", 1)


def _incomplete_end(data: bytes, position: int) -> bytes:
    """Return the bytes of a character that the end of ``data`` cuts; refuse invalid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and error.end == len(data):
            return data[error.start :]
        raise CsvRefused(
            f"The text is not UTF-8: byte {position + error.start} is 0x{data[error.start]:02x}."
        ) from None
    return b""


def _last_record_end(data: bytes) -> int:
    """Return where the last whole record ends, or 0; an even number of quotes precedes it."""
    end = data.rfind(b"\n") + 1
    # Searching for one quote is 30 times as fast as counting all of them.
    if b'"' not in data:
        return end
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, data.rfind(b'"', 0, end)) + 1
    return end


def _record_end(data: bytes, start: int = 0) -> int:
    """Return where the record ends that begins at ``start``; quoted fields may span lines."""
    end = data.find(b"\n", start) + 1
    while end and data.count(b'"', start, end) % 2:
        end = data.find(b"\n", data.find(b'"', end)) + 1
    return end or len(data)


def _line_numbers(block: bytes, line: int) -> Iterator[int]:
    """Yield the line number at which each record begins."""
    start = 0
    while start < len(block):
        yield line
        end = _record_end(block, start)
        line += block.count(b"\n", start, end)
        start = end


def _check_names(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for place, name in enumerate(names, start=1):
        if not name.strip():
            raise CsvRefused(f"The name of column {place} is empty.", 1)
        if name.casefold() in RESERVED_NAMES:
            raise CsvRefused(f"The column name {name!r} is reserved for this pipeline.", 1)
        if name.casefold() in seen:
            raise CsvRefused(
                f"Two columns have the same name: {seen[name.casefold()]!r} and {name!r} "
                f"(DuckDB does not tell them apart by case).",
                1,
            )
        seen[name.casefold()] = name
