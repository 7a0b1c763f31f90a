"""Whether the first line of a CSV can be a header, and whether the header is repeated.

Belongs here: the signs that a line has no column names (another separator, values), and that a
record repeats the column names. Does not belong: the structure of records (``csv_validation``), the
types of columns (``warehouse.column_types``).

Only a line that cannot be a header is refused. The vendor documents no column names, so ``1``,
``2`` or ``2024-02-29`` beside other names are accepted as names, as in a table with one column for
each day.
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import Literal

from cp_pipeline.landing.errors import CsvRefused

_SEPARATORS = {";": "semicolons", "|": "bars", "\t": "tabs"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMES_SHOWN = 3
_LONGEST_SHOWN = 40
_VALUES_LOOKED_AT = 100

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    rf"|\d{{1,2}}[- ]?{_MONTH}[- ,]*\d{{2,4}}|{_MONTH}[- ]?\d{{1,2}}[- ,]+\d{{4}})"
)
_TIME = r"\d{1,3}(?::\d{2}){1,2}(?:[.,]\d+)?(?: ?[ap]m)?(?: ?(?:z|utc|[+-]\d{2}:?\d{2}))?"
_FLAGS = re.IGNORECASE | re.ASCII
# Kinds of values that are never the name of a column whose values are of the same kind.
_DISTINCT = {
    "a date": re.compile(rf"{_DATE}(?:[t ] *{_TIME})?", _FLAGS),
    "a GUID": re.compile(r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", _FLAGS),
}
_VALUES = (
    re.compile(r"[+-]?(?:\d+(?:[.,]\d*)*|[.,]\d+)(?:e[+-]?\d+)?", _FLAGS),
    re.compile(_TIME, _FLAGS),
    re.compile(r"\d{4}[-/.]\d{1,2}", _FLAGS),
    *_DISTINCT.values(),
)
# Texts that occur among values but do not show whether a line is a header.
_NEUTRAL = frozenset(
    ["", "-", "--", ".", "?", "na", "n/a", "nan", "nil", "none", "null", "inf", "true", "false"]
)


def refuse_other_separator(line: bytes) -> None:
    """Refuse a header that is a single name containing another separator.

    Raises:
        CsvRefused: the header contains another separator; the message names it.
    """
    text = line.decode()
    unquoted = "".join(text.split('"')[0::2])
    if "," in unquoted:
        return
    seen = max(_SEPARATORS, key=lambda each: (unquoted.count(each), text.count(each)))
    if seen in text:
        raise CsvRefused(
            f"The file seems to be separated by {seen!r} ({_SEPARATORS[seen]}), not by commas: "
            f"the only column name would be {_shown(text)}.",
            1,
        )


def refuse_values_as_names(names: Sequence[str]) -> None:
    """Refuse a header with only numbers, dates, times and empty names.

    Raises:
        CsvRefused: the header has only such names; the message shows the first ones.
    """
    if _are_values(names):
        shown = ", ".join(map(_shown, names[:_NAMES_SHOWN]))
        more = ", …" if len(names) > _NAMES_SHOWN else ""
        raise CsvRefused(
            "The file seems to have no header: its first line has only numbers, dates or empty "
            f"fields ({shown}{more}).",
            1,
        )


class RecordsUnderHeader:
    """Checks by the records whether the header is missing or repeated.

    Args:
        line: the header as written in the file, without its line end.
        names: the column names in it.

    With two or more columns, any record that equals the header is a repeated header. With one
    column, such a record may be a value that equals the column's name. Then the other values
    decide: it is a repeated header if the first values of the column are all numbers, dates or
    times.
    """

    def __init__(self, line: bytes, names: Sequence[str]) -> None:
        self._names = names
        minimal, quoted = _written(names, csv.QUOTE_MINIMAL), _written(names, csv.QUOTE_ALL)
        self._lines = {line + b"\n", minimal, quoted}
        self._first_seen = False
        # With one column: its first values, and the number of the first line that equals its name.
        self._values: list[str] = []
        self._repeated_line: int | None = None

    def look_at(self, block: bytes, line: int) -> None:
        r"""Check a block of whole records, each ending in ``\n``; ``line`` is its first line.

        Raises:
            CsvRefused: the first record shows that the header is missing, or a record repeats it.
        """
        if not self._first_seen:
            self._first_seen = True
            self._refuse_same_kinds(block)
        places = [place for each in self._lines if (place := _place_of(each, block)) is not None]
        found = line + block.count(b"\n", 0, min(places)) if places else None
        if len(self._names) == 1:
            self._keep_values(block)
            self._repeated_line = self._repeated_line or found
        elif found is not None:
            raise _repeated(found)

    def finish(self) -> None:
        """With one column, decide whether a record that equals its name is a value.

        Raises:
            CsvRefused: the record is not a value: it differs in kind from the other values.
        """
        if self._repeated_line is not None and _are_values(self._values):
            raise _repeated(self._repeated_line)

    def _refuse_same_kinds(self, block: bytes) -> None:
        try:
            first = next(csv.reader(io.StringIO(block.decode(), newline="")), [])
        except csv.Error:
            # A field is longer than the reader's limit, so it is not a date.
            return
        for place, (name, value) in enumerate(zip(self._names, first, strict=False), start=1):
            for kind, pattern in _DISTINCT.items():
                if pattern.fullmatch(name.strip()) and pattern.fullmatch(value.strip()):
                    raise CsvRefused(
                        f"The file seems to have no header: the name of column {place} would be "
                        f"{_shown(name)}, {kind} like the value below it.",
                        1,
                    )

    def _keep_values(self, block: bytes) -> None:
        wanted = _VALUES_LOOKED_AT - len(self._values)
        if wanted > 0:
            fields = (each.decode().strip('"') for each in block.split(b"\n", wanted)[:wanted])
            self._values += [field for field in fields if field != self._names[0]]


def _repeated(line: int) -> CsvRefused:
    return CsvRefused(
        "The header is repeated: this record has the column names, as in concatenated files.",
        line,
    )


def _are_values(texts: Sequence[str]) -> bool:
    """Whether all texts are values (numbers, dates, times) or neutral; at least one is a value."""
    told = [text for each in texts if (text := each.strip()).lower() not in _NEUTRAL]
    return bool(told) and all(any(kind.fullmatch(text) for kind in _VALUES) for text in told)


def _place_of(line: bytes, block: bytes) -> int | None:
    """Return where a record begins that equals ``line``, with or without a byte order mark."""
    at = block.find(line)
    while at >= 0:
        start = at
        if block.endswith(_BYTE_ORDER_MARK, 0, at):
            start -= len(_BYTE_ORDER_MARK)
        begins = start == 0 or block.endswith(b"\n", 0, start)
        # Inside quotes, the line is part of a text that spans lines.
        if begins and block.count(b'"', 0, start) % 2 == 0:
            return start
        at = block.find(line, at + 1)
    return None


def _written(names: Sequence[str], quoting: Literal[0, 1]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _shown(text: str) -> str:
    shown = text.strip()
    return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…")
