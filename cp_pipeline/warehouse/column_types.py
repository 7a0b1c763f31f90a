"""The type of a column: the narrowest type that keeps every value, verified for each value.

Belongs here: the kinds of columns, the test whether a text is of a kind, and the kinds that a
column may widen to. This module builds every SQL expression that examines a value.
Does not belong: reading the text (``staging``), changing a table (``dataset_tables``).

A typed value keeps a text if both mean the same: ``1.50`` may become 1.5, but ``007`` must not
become 7. DuckDB's own casts are less strict (docs/design.md, "Facts"), so each cast is
compared with the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_DECIMAL = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_NUMBER = _DECIMAL + r"([eE][+-]?[0-9]+)?"
# `1E5` may be the name of a well on a plate. A text with a point or a sign is a number.
_NAME_OR_NUMBER = r"(0|[1-9][0-9]*)[eE][0-9]+"
_DAY_AND_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-5][0-9]%s)?"
_OFFSET = r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
_MICROSECONDS = r"(\.[0-9]{1,6})?"
_NANOSECONDS = r"(\.[0-9]{1,9})?"
# A double holds any decimal of 15 significant digits (IEEE 754), so any text of 15 characters.
_SAFE_DIGITS = 15
# For more columns, DuckDB needs longer to plan one expression per column than to execute it.
MANY_COLUMNS = 32


class Kind(StrEnum):
    """What a column holds; ``lineage.column_types`` stores these names.

    ``undetermined``: only empty fields so far. ``name_or_number``: only whole numbers with an
    exponent so far, such as ``1E5``; they become numbers if the column has other numbers, and stay
    text otherwise. ``instant`` and ``instant_ns``: timestamps with an offset, stored in UTC.
    """

    UNDETERMINED = "undetermined"
    BIGINT = "bigint"
    NAME_OR_NUMBER = "name_or_number"
    DOUBLE = "double"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMP_NS = "timestamp_ns"
    INSTANT = "instant"
    INSTANT_NS = "instant_ns"
    VARCHAR = "varchar"

    @property
    def sql_type(self) -> str:
        """The DuckDB type of a column of this kind."""
        return _SQL_TYPES.get(self, self.value.upper())

    def widenings(self) -> tuple["Kind", ...]:
        """The kinds that this kind may widen to, from narrow to wide, starting with itself."""
        return _WIDENINGS[self]


_SQL_TYPES = {
    Kind.UNDETERMINED: "VARCHAR",
    Kind.NAME_OR_NUMBER: "VARCHAR",
    Kind.INSTANT: "TIMESTAMP",
    Kind.INSTANT_NS: "TIMESTAMP_NS",
}
_WIDENINGS: dict[Kind, tuple[Kind, ...]] = {
    Kind.UNDETERMINED: tuple(Kind),
    Kind.BIGINT: (Kind.BIGINT, Kind.DOUBLE, Kind.VARCHAR),
    Kind.NAME_OR_NUMBER: (Kind.NAME_OR_NUMBER, Kind.DOUBLE, Kind.VARCHAR),
    Kind.DOUBLE: (Kind.DOUBLE, Kind.VARCHAR),
    Kind.DATE: (Kind.DATE, Kind.VARCHAR),
    Kind.TIMESTAMP: (Kind.TIMESTAMP, Kind.TIMESTAMP_NS, Kind.VARCHAR),
    Kind.TIMESTAMP_NS: (Kind.TIMESTAMP_NS, Kind.VARCHAR),
    Kind.INSTANT: (Kind.INSTANT, Kind.INSTANT_NS, Kind.VARCHAR),
    Kind.INSTANT_NS: (Kind.INSTANT_NS, Kind.VARCHAR),
    Kind.VARCHAR: (Kind.VARCHAR,),
}
# The day of a row: its date is the date as written, which an instant in UTC would lose.
_ROWS_OWN_DATE = re.compile(r"(local_?)?(date|day)(_?local)?", re.IGNORECASE)
_INSTANTS = frozenset({Kind.INSTANT, Kind.INSTANT_NS})
_USUAL = frozenset({Kind.BIGINT, Kind.DOUBLE, Kind.DATE, Kind.TIMESTAMP})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a data set: its name as first seen, and its kind."""

    name: str
    kind: Kind

    def widenings(self) -> tuple[Kind, ...]:
        """The kinds that it may widen to, from narrow to wide, beginning with its own if allowed.

        A column with the date of a row, such as ``DATE``, is never an instant. It is text if its
        dates have offsets (docs/values.md, "A column's type").
        """
        kinds = self.kind.widenings()
        if _ROWS_OWN_DATE.fullmatch(self.name):
            return tuple(kind for kind in kinds if kind not in _INSTANTS)
        return kinds


def quoted(identifier: str) -> str:
    """Quote ``identifier`` for SQL, whatever characters it has."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: object) -> str:
    """Quote ``text`` as a SQL string, for statements that take no parameters."""
    return "'" + str(text).replace("'", "''") + "'"


def text_name(place: int) -> str:
    """The SQL name of a column's text during typing, independent of the names in the file."""
    return f"text_{place}"


def value_name(place: int) -> str:
    """The SQL name of a column's typed values in a staged table."""
    return f"value_{place}"


def holds(kind: Kind, text: str, cast: str = "") -> str:
    """Return a SQL condition: ``kind`` keeps the text, which is neither NULL nor empty.

    Args:
        kind: the kind of the value.
        text: the SQL name of the text.
        cast: the SQL name of the ``value`` of the same text, if it has one, to cast it only once.
    """
    cast = cast or value(kind, text)
    match kind:
        case Kind.UNDETERMINED:
            return "false"
        case Kind.VARCHAR:
            return "true"
        case Kind.BIGINT | Kind.DATE:
            return _usually_holds(kind, text, cast)
        case Kind.NAME_OR_NUMBER:
            return f"regexp_full_match({text}, '{_NAME_OR_NUMBER}')"
        case Kind.DOUBLE:
            return f"({_usually_holds(kind, text, cast)}) OR {_unusual_double(text, cast)}"
        case Kind.TIMESTAMP:
            return (
                f"({_usually_holds(kind, text, cast)})"
                f" OR {_holds_timestamp(kind, text, _DAY_AND_TIME % _MICROSECONDS)}"
            )
        case Kind.TIMESTAMP_NS:
            return _holds_timestamp(kind, text, _DAY_AND_TIME % _NANOSECONDS)
        case Kind.INSTANT:
            return _holds_instant(text, _DAY_AND_TIME % _MICROSECONDS + _OFFSET)
        case Kind.INSTANT_NS:
            return _holds_instant(text, _DAY_AND_TIME % _NANOSECONDS + _OFFSET) + (
                f" AND {text}[1:4] BETWEEN '1678' AND '2261'"
            )


def value(kind: Kind, text: str) -> str:
    """Return a SQL expression: the value of a text of ``kind``, or NULL for an empty text."""
    match kind:
        case Kind.UNDETERMINED | Kind.NAME_OR_NUMBER | Kind.VARCHAR:
            return text
        case Kind.INSTANT:
            return f"make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"
        case Kind.INSTANT_NS:
            return (
                f"make_timestamp_ns(epoch_us(TRY_CAST(regexp_replace({text}, '\\.[0-9]+', '')"
                f" AS TIMESTAMPTZ)) * 1000 + rpad(regexp_extract({text}, '\\.([0-9]+)', 1),"
                f" 9, '0')::BIGINT)"
            )
        case _:
            return f"TRY_CAST({text} AS {kind.sql_type})"


def kept_or_error(column: Column, text: str, cast: str, complaint: str) -> str:
    """Return a SQL expression: the value of ``text`` as ``column.kind``, or an error.

    An empty field is NULL. A quoted empty field is an empty text, and NULL in a typed column.

    Args:
        column: the column of the value.
        text: the SQL name of the text.
        cast: the SQL name of the ``value`` of the same text, to cast it only once.
        complaint: the error message.
    """
    kind = column.kind
    if kind is Kind.VARCHAR:
        return text
    empty = text if kind.sql_type == "VARCHAR" else f"NULL::{kind.sql_type}"
    usual = f"WHEN {_usually_holds(kind, text, cast)} THEN {cast} " if kind in _USUAL else ""
    return (
        f"CASE {usual}WHEN {text} IS NULL OR {text} = '' THEN {empty}"
        f" WHEN {holds(kind, text, cast)} THEN {cast} ELSE error('{complaint}') END"
    )


def any_against(kind: Kind, texts: Sequence[str]) -> str:
    """Return a SQL condition: a text that is neither NULL nor empty is not of ``kind``."""
    if kind is Kind.VARCHAR:
        return "false"
    return f"list_contains({_against(kind, texts, 'true')}, true)"


def places_against(kind: Kind, texts: Sequence[str], first: int) -> str:
    """Return a SQL expression: the positions, from ``first``, of texts that are not of ``kind``."""
    against = _against(kind, texts, f"place + {first - 1}")
    return f"list_filter({against}, lambda place: place IS NOT NULL)"


def _against(kind: Kind, texts: Sequence[str], is_against: str) -> str:
    # CASE evaluates an OR only as far as needed. Outside CASE, DuckDB evaluates all of it.
    case = f"CASE WHEN {holds(kind, 'text')} THEN NULL WHEN text <> '' THEN {is_against} END"
    return f"list_transform([{', '.join(texts)}], lambda text, place: {case})"


def _usually_holds(kind: Kind, text: str, cast: str) -> str:
    """Return a fast SQL condition that holds for nearly all texts of the ``_USUAL`` kinds."""
    match kind:
        case Kind.DATE:
            return f"strlen({text}) = 10 AND {cast}::VARCHAR = {text}"
        case Kind.TIMESTAMP:
            return f"strlen({text}) = 19 AND {cast}::VARCHAR = {text}"
        case Kind.DOUBLE:
            return f"strlen({text}) <= {_SAFE_DIGITS} AND regexp_full_match({text}, '{_DECIMAL}')"
        case _:
            return f"{cast}::VARCHAR = {text}"


def _unusual_double(text: str, cast: str) -> str:
    """Return a SQL condition: the text has the digits of the shortest decimal of the same double.

    Programs, and DuckDB, print a double as this shortest decimal. If the digits are equal, the
    exponent is equal too: two decimals that differ only in the exponent are never the same double.
    A number that is too large becomes infinity, and one that is too small becomes zero. Both have
    other digits than the text.
    """
    return (
        f"(isfinite({cast}) AND {cast}::VARCHAR = {text})"
        f" OR (regexp_full_match({text}, '{_NUMBER}')"
        f" AND {_digits(text)} = {_digits(f'{cast}::VARCHAR')})"
    )


def _digits(number: str) -> str:
    return f"trim(regexp_replace({number}, '[eE].*|[^0-9]', '', 'g'), '0')"


def _holds_timestamp(kind: Kind, text: str, pattern: str) -> str:
    # Compare the minute, because DuckDB accepts 24:00 and turns second 60 into the next minute.
    return (
        f"(regexp_full_match({text}, '{pattern}') AND"
        f" strftime(TRY_CAST({text} AS {kind.sql_type}), '%Y-%m-%d %H:%M')"
        f" = replace({text}[1:16], 'T', ' '))"
    )


def _holds_instant(text: str, pattern: str) -> str:
    return (
        f"regexp_full_match({text}, '{pattern}')"
        f" AND TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL"
        f" AND strftime(TRY_CAST({text}[1:16] AS TIMESTAMP), '%Y-%m-%d %H:%M')"
        f" = replace({text}[1:16], 'T', ' ')"
    )
