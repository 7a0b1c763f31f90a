"""Convert validated CSV text to typed rows, outside the warehouse.

Belongs here: reading many small files at once, typing and verifying each value once. The result is
a table in DuckDB's memory, with our own column names: SQL uses a name from a file only later,
quoted and qualified with its table (``load_transaction``, ``dataset_tables``).
Does not belong: finding a column's kind (``column_kinds``), the warehouse's tables
(``dataset_tables``).

Files with exactly the same header are joined, and each record begins with the number of its file.
This takes 0.1 ms per file, against 3.6 ms one by one (docs/design.md). DuckDB reads all values as
text, because its typed reader changes values silently.
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
# By default, a DuckDB thread reads 8 MB at a time, and a batch has few such parts: with two
# threads, five parts take as long as six. Threads never share a buffer, so smaller buffers make
# smaller parts.
_JOINED_BUFFER_BYTES = 4 << 20
# Each write releases Python's lock to the download threads, so few large writes are faster.
_WRITTEN_AT_ONCE = 1 << 20
_COMPLAINT = "cp-pipeline: not of its kind"
# A reserved name, which no file may have as a column (landing.csv_validation.RESERVED_NAMES).
_FILE = "_load_id"


@dataclass(frozen=True, slots=True)
class Staged:
    """The typed rows of exports with the same header: a table in DuckDB's memory.

    ``columns``: in the order of the header, with the kinds that fit every value. The table's column
    names are ``values`` (``value_0``, …) and ``_load_id``.
    ``numbers``: the exports of the batch in the table. ``row_counts``: rows by export number.
    """

    table: str
    columns: tuple[Column, ...]
    numbers: tuple[int, ...]
    row_counts: Mapping[int, int]

    @property
    def values(self) -> tuple[str, ...]:
        """The table's name for each of ``columns``."""
        return tuple(value_name(place) for place in range(len(self.columns)))


def stage(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    texts: Mapping[int, CsvText],
    known: Mapping[str, Column],
    scratch: Path,
) -> Staged:
    """Read and type texts that all have the same header into ``memory.{table}``.

    Args:
        connection: the in-memory DuckDB connection.
        table: the name of the table to create.
        texts: the exports by their number in the batch.
        known: the data set's existing columns, by lower-case name.
        scratch: a scratch folder for the joined text.

    Raises:
        duckdb.Error: a record does not match the header.
    """
    header = next(iter(texts.values())).header
    columns = [
        _allowed(known.get(name.lower(), Column(name, Kind.UNDETERMINED))) for name in header
    ]
    with _Source(texts, header, scratch) as source:
        columns = guess(connection, source.beginning, columns)
        while not _typed(connection, table, source, columns):
            columns = determine(connection, source.expression, columns)
    counts = connection.execute(f"SELECT {_FILE}, count(*) FROM memory.{table} GROUP BY ALL")
    row_counts = dict.fromkeys(texts, 0) | dict(counts.fetchall())
    return Staged(table, tuple(columns), tuple(texts), row_counts)


def _allowed(column: Column) -> Column:
    """Return the column as text if an earlier version gave it a kind that it may not have."""
    return column if column.kind in column.widenings() else Column(column.name, Kind.VARCHAR)


class _Source:
    """One CSV file with all the texts.

    ``expression``: SQL that reads it as text. ``beginning``: the same, faster for the first rows
    only.
    """

    def __init__(self, texts: Mapping[int, CsvText], header: Sequence[str], scratch: Path) -> None:
        self.texts = texts
        self.width = len(header)
        # Use DuckDB's default of 2 MiB if possible: DuckDB divides a file for its threads by this
        # size, and with parts of 16 MiB one thread reads everything.
        longest = max(text.longest_record_bytes for text in texts.values()) + _NUMBER_BYTES
        self._longest_line = max(_USUAL_LINE_BYTES, longest)
        self._spans_lines = any(text.spans_lines for text in texts.values())
        self._scratch = scratch
        self._joined: Path | None = None

    def __enter__(self) -> "_Source":
        first_number, first = next(iter(self.texts.items()))
        if len(self.texts) == 1 and first.path is not None:
            # Do not copy a large file only to add the same number to each record.
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
        """Copy the text with an extra first line, which DuckDB skips."""
        with tempfile.NamedTemporaryFile(dir=self._scratch, suffix=".csv", delete=False) as copy:
            copy.write(b"," * (self.width - 1) + b"\n")
            with path.open("rb") as original:
                shutil.copyfileobj(original, copy)
        return Path(copy.name)

    def _read(self, path: Path, select: str, *, with_number: bool = False, skip: int = 0) -> None:
        names = {text_name(place): "VARCHAR" for place in range(self.width)}
        columns = {_FILE: "BIGINT", **names} if with_number else names
        # read_csv takes brackets and similar characters in a path as a pattern.
        located = literal(escape(str(path)))
        call = (
            f"({select} FROM read_csv({located}, columns = {columns}, auto_detect = false,"
            f" header = false, skip = {skip}, delim = ',', quote = '\"', escape = '\"',"
            " strict_mode = true, null_padding = false, allow_quoted_nulls = false,"
            f" new_line = '\\n', max_line_size = {self._longest_line}"
            # A thread that starts in the middle of a file looks for the next line end, and does not
            # know whether it is inside quotes: DuckDB 2.0 then refuses valid files.
            + (", parallel = false" if self._spans_lines else "")
        )
        buffer = max(_JOINED_BUFFER_BYTES, self._longest_line)
        self.expression = call + (f", buffer_size = {buffer}))" if with_number else "))")
        # DuckDB's default buffer holds 16 lines of the maximum size, most of them not needed here.
        self.beginning = f"{call}, buffer_size = {self._longest_line}))"


def _begins_with_mark(path: Path) -> bool:
    """Whether the first value begins with U+FEFF, which DuckDB would drop as a byte order mark."""
    with path.open("rb") as file:
        return file.read(4).lstrip(b'"').startswith(b"\xef\xbb\xbf")


def numbered(block: bytes, number: int, has_quotes: bool) -> bytes:
    """Return ``block`` with ``number`` as the first field of each record (not of each line)."""
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
    """Create the typed table; return False if a value is not of its column's kind."""
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
    """Return SQL that casts each value once: fast to execute, but 1 ms per column to plan."""
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
    """Return SQL with one test for all columns of a kind: a tenth of the planning time.

    Its execution takes half as long again. The test is part of the file number's expression, so
    DuckDB runs it for every row.
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
