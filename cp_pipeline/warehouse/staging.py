"""From checked CSV text to typed rows, outside the warehouse.

Belongs here: reading many small files in one go, typing every value once under guard. The result is
a table in DuckDB's memory, whose columns have names of ours: no name of a file's is near our
own words in SQL before it is quoted behind its table's name (``load_transaction``,
``dataset_tables``).
Does not belong: finding a column's kind (``column_kinds``), the warehouse's tables
(``dataset_tables``).

Files of one exact header are joined, each record led by the number of its file: 0.1 ms a file
against 3.6 ms one by one (docs/design.md, "Facts"). DuckDB reads all as text, because its typed
reader changes values silently.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import duckdb

from cp_pipeline.landing import CsvText
from cp_pipeline.warehouse.column_kinds import determine, guess
from cp_pipeline.warehouse.column_types import (
    MANY_COLUMNS,
    Column,
    Kind,
    any_against,
    kept_or_error,
    literal,
    text_name,
    value,
    value_name,
)

_USUAL_LINE_BYTES = 2 << 20
_NUMBER_BYTES = 20
# DuckDB's threads take shares of 8 MB, of which a batch has few: on two of them, five take as long
# as six. A buffer is never shared, so that smaller ones are smaller shares.
_JOINED_BUFFER_BYTES = 4 << 20
# In each write Python lets all threads that download go first: few large ones are quicker.
_WRITTEN_AT_ONCE = 1 << 20
_COMPLAINT = "cp-pipeline: not of its kind"
# A name that no file's column may have (landing.csv_structure.RESERVED_NAMES).
_FILE = "_load_id"


@dataclass(frozen=True, slots=True)
class Staged:
    """Typed rows of exports with one header: a table in DuckDB's memory.

    ``columns``: in the order of the file's header, with the kinds that hold for every value; in the
    table, they are called ``values`` (``value_0``, …) and ``_load_id``.
    ``numbers``: which exports of the batch are in it. ``row_counts``: rows by export number.
    """

    table: str
    columns: tuple[Column, ...]
    numbers: tuple[int, ...]
    row_counts: Mapping[int, int]

    @property
    def values(self) -> tuple[str, ...]:
        """What each of ``columns`` is called in the table."""
        return tuple(value_name(place) for place in range(len(self.columns)))


def stage(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    texts: Mapping[int, CsvText],
    known: Mapping[str, Column],
    scratch: Path,
) -> Staged:
    """Read and type the texts, which all have the same header, into ``memory.{table}``.

    Args:
        connection: the connection.
        table: the name of the table to make.
        texts: the exports by their number in the batch.
        known: the data set's columns so far, by lower-case name.
        scratch: a folder for the joined text.

    Raises:
        duckdb.Error: a record does not fit the header.
    """
    header = next(iter(texts.values())).header
    columns = [known.get(name.lower(), Column(name, Kind.UNDETERMINED)) for name in header]
    with _Source(texts, header, scratch) as source:
        columns = guess(connection, source.beginning, columns)
        while not _typed(connection, table, source, columns):
            columns = determine(connection, source.expression, columns)
    counts = connection.execute(f"SELECT {_FILE}, count(*) FROM memory.{table} GROUP BY ALL")
    row_counts = dict.fromkeys(texts, 0) | dict(counts.fetchall())
    return Staged(table, tuple(columns), tuple(texts), row_counts)


class _Source:
    """One CSV file of all the texts.

    ``expression`` reads it as text; ``beginning`` reads only its first rows as text.
    """

    def __init__(self, texts: Mapping[int, CsvText], header: Sequence[str], scratch: Path) -> None:
        self.texts = texts
        self.width = len(header)
        # DuckDB's own 2 MiB if possible: by this it cuts a file for its threads to read, and in
        # shares of 16 MiB they find nothing to share.
        longest = max(text.longest_record_bytes for text in texts.values()) + _NUMBER_BYTES
        self._longest_line = max(_USUAL_LINE_BYTES, longest)
        self._spans_lines = any(text.spans_lines for text in texts.values())
        self._scratch = scratch
        self._joined: Path | None = None

    def __enter__(self) -> "_Source":
        first_number, first = next(iter(self.texts.items()))
        if len(self.texts) == 1 and first.path is not None:
            # Too large to be copied for a number that is the same in all records.
            select = f"SELECT {first_number} AS {_FILE}, *"
            if _begins_with_mark(first.path):
                self._joined = self._after_a_line(first.path)
                self._read(self._joined, select, skip=1)
            else:
                self._read(first.path, select)
            return self
        with tempfile.NamedTemporaryFile(
            dir=self._scratch, suffix=".csv", delete=False, buffering=_WRITTEN_AT_ONCE
        ) as file:
            self._joined = Path(file.name)
            for number, text in self.texts.items():
                for block in text.blocks():
                    file.write(numbered(block, number, text.has_quotes))
        self._read(self._joined, "SELECT *", with_number=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._joined is not None:
            self._joined.unlink(missing_ok=True)

    def _after_a_line(self, path: Path) -> Path:
        """A copy of the text after a line that is to be skipped."""
        with tempfile.NamedTemporaryFile(dir=self._scratch, suffix=".csv", delete=False) as copy:
            copy.write(b"," * (self.width - 1) + b"\n")
            with path.open("rb") as original:
                shutil.copyfileobj(original, copy)
        return Path(copy.name)

    def _read(self, path: Path, select: str, *, with_number: bool = False, skip: int = 0) -> None:
        names = {text_name(place): "VARCHAR" for place in range(self.width)}
        columns = {_FILE: "BIGINT", **names} if with_number else names
        # For read_csv, brackets and the like in the data folder's name are a pattern.
        located = literal(escape(str(path)))
        call = (
            f"({select} FROM read_csv({located}, columns = {columns}, auto_detect = false,"
            f" header = false, skip = {skip}, delim = ',', quote = '\"', escape = '\"',"
            " strict_mode = true, null_padding = false, allow_quoted_nulls = false,"
            f" new_line = '\\n', max_line_size = {self._longest_line}"
            # A thread that begins in the middle looks for the next line end, and cannot tell one
            # inside quotes: DuckDB 2.0 then refuses files that are right.
            + (", parallel = false" if self._spans_lines else "")
        )
        buffer = max(_JOINED_BUFFER_BYTES, self._longest_line)
        self.expression = call + (f", buffer_size = {buffer}))" if with_number else "))")
        # Of DuckDB's usual 16 lines at once, most would be read for nothing.
        self.beginning = f"{call}, buffer_size = {self._longest_line}))"


def _begins_with_mark(path: Path) -> bool:
    """Whether the first value begins with U+FEFF, which DuckDB would drop as a byte order mark."""
    with path.open("rb") as file:
        return file.read(4).lstrip(b'"').startswith(b"\xef\xbb\xbf")


def numbered(block: bytes, number: int, has_quotes: bool) -> bytes:
    """``block`` with ``number`` as the first field of each record (not: of each line)."""
    if not block:
        return block
    lead = b"%d," % number
    if not has_quotes:
        return lead + block[:-1].replace(b"\n", b"\n" + lead) + b"\n"
    pieces = block[:-1].split(b'"')
    pieces[0::2] = [piece.replace(b"\n", b"\n" + lead) for piece in pieces[0::2]]
    return lead + b'"'.join(pieces) + b"\n"


def _typed(
    connection: duckdb.DuckDBPyConnection, table: str, source: _Source, columns: Sequence[Column]
) -> bool:
    """Make the typed table; False if a value is not of its column's kind."""
    select = _guarded_together if len(columns) > MANY_COLUMNS else _guarded_one_by_one
    try:
        connection.execute(
            f"CREATE OR REPLACE TABLE memory.{table} AS {select(columns, source.expression)}"
        )
    except duckdb.InvalidInputException as error:
        if _COMPLAINT in str(error):
            return False
        raise
    return True


def _guarded_one_by_one(columns: Sequence[Column], source: str) -> str:
    """The quickest to execute, as each value is cast once; but a millisecond a column to plan."""
    casts = "".join(
        f", {value(column.kind, text_name(place))} AS cast_{place}"
        for place, column in enumerate(columns)
    )
    selected = ", ".join(
        kept_or_error(column, text_name(place), f"cast_{place}", _COMPLAINT)
        + f" AS {value_name(place)}"
        for place, column in enumerate(columns)
    )
    return f"SELECT {selected}, {_FILE} FROM (SELECT *{casts} FROM {source})"


def _guarded_together(columns: Sequence[Column], source: str) -> str:
    """One guard for all columns of a kind: a tenth of the time to plan, half as much to execute.

    It stands before the number of the file, so that no row is without one.
    """
    selected = ", ".join(
        f"{value(column.kind, text_name(place))} AS {value_name(place)}"
        for place, column in enumerate(columns)
    )
    places: dict[Kind, list[int]] = {}
    for place, column in enumerate(columns):
        places.setdefault(column.kind, []).append(place)
    against = " OR ".join(
        any_against(kind, [text_name(place) for place in of_kind])
        for kind, of_kind in places.items()
    )
    guarded = f"CASE WHEN {against} THEN error('{_COMPLAINT}')::BIGINT ELSE {_FILE} END"
    return f"SELECT {selected}, {guarded} AS {_FILE} FROM {source}"
