"""The type of a column: the narrowest that keeps every value, and proof of it for each value.

Belongs here: the kinds of columns, when a text is one of a kind, and which kinds a column may
widen to. All SQL expressions that look at a value are made here.
Does not belong: reading the text (``staging``), changing a table (``dataset_tables``).

A value counts as kept when the text can be told from the typed value: ``1.50`` is 1.5, but ``007``
is not 7. DuckDB's own casts are kinder than that (docs/design.md, "Facts"), so each cast
is guarded by a comparison with the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_DECIMAL = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_NUMBER = _DECIMAL + r"([eE][+-]?[0-9]+)?"
# `1E5` may be the name of a well on a plate; what has a point or a sign is a number.
_NAME_OR_NUMBER = r"(0|[1-9][0-9]*)[eE][0-9]+"
_DAY_AND_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-5][0-9]%s)?"
_OFFSET = r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
_MICROSECONDS = r"(\.[0-9]{1,6})?"
_NANOSECONDS = r"(\.[0-9]{1,9})?"
# A double holds any decimal of 15 significant digits (IEEE 754), hence texts of up to 15 letters.
_SAFE_DIGITS = 15
# Of more columns, planning an expression for each takes longer than carrying it out.
MANY_COLUMNS = 32


class Kind(StrEnum):
    """What a column holds; the names are kept in ``lineage.column_types``.

    ``undetermined``: nothing but empty fields so far. ``name_or_number``: nothing but whole numbers
    with an exponent so far, such as ``1E5``, which are numbers beside numbers and names otherwise.
    ``instant`` and ``instant_ns``: timestamps that came with an offset and are kept in UTC.
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
        """The kinds that a column of this kind may take later, narrowest first, itself first."""
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
_USUAL = frozenset({Kind.BIGINT, Kind.DOUBLE, Kind.DATE, Kind.TIMESTAMP})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a data set: its name as first seen, and its kind."""

    name: str
    kind: Kind


def quoted(identifier: str) -> str:
    """``identifier`` as SQL takes it, whatever it holds."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: object) -> str:
    """``text`` as a SQL string, where a statement takes no parameter."""
    return "'" + str(text).replace("'", "''") + "'"


def text_name(place: int) -> str:
    """What the text of a file's column is called while it is typed: no name of the file's."""
    return f"text_{place}"


def value_name(place: int) -> str:
    """What the values of a file's column are called while they are staged."""
    return f"value_{place}"


def holds(kind: Kind, text: str, cast: str = "") -> str:
    """A SQL condition: the text, neither NULL nor empty, is kept whole as a value of ``kind``.

    Args:
        kind: what the value would be.
        text: a SQL name of the text.
        cast: a SQL name of the same text's ``value``, where there is one: then it is cast once.
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
    """A SQL expression: the value of a text that ``holds`` as ``kind``; of an empty one, NULL."""
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
    """A SQL expression: the value of ``text`` as ``column.kind``, or the error ``complaint``.

    An empty field is NULL. A quoted empty one is an empty text, and NULL in a typed column.

    Args:
        column: what the value must be.
        text: a SQL name of the text.
        cast: a SQL name of the same text's ``value``; cast by name, it is cast once.
        complaint: the message of the error.
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
    """A SQL condition: one of the texts, of those neither NULL nor empty, is not of ``kind``."""
    if kind is Kind.VARCHAR:
        return "false"
    return f"list_contains({_against(kind, texts, 'true')}, true)"


def places_against(kind: Kind, texts: Sequence[str], first: int) -> str:
    """A SQL expression: a list of the places of texts that are not of ``kind``, from ``first``."""
    against = _against(kind, texts, f"place + {first - 1}")
    return f"list_filter({against}, lambda place: place IS NOT NULL)"


def _against(kind: Kind, texts: Sequence[str], is_against: str) -> str:
    # A condition of CASE is worked out no further than needed; by itself, OR always is.
    case = f"CASE WHEN {holds(kind, 'text')} THEN NULL WHEN text <> '' THEN {is_against} END"
    return f"list_transform([{', '.join(texts)}], lambda text, place: {case})"


def _usually_holds(kind: Kind, text: str, cast: str) -> str:
    """A quick condition that nearly all texts of the kinds ``_USUAL`` meet."""
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
    """The number's digits are those of the shortest decimal that is the same double.

    That is how programs print a double, and how DuckDB does. Where the digits are the same, so is
    the exponent: two decimals that differ in it alone are never the same double. Too large a number
    is infinite, and too small a one zero; neither has its digits.
    """
    return (
        f"(isfinite({cast}) AND {cast}::VARCHAR = {text})"
        f" OR (regexp_full_match({text}, '{_NUMBER}')"
        f" AND {_digits(text)} = {_digits(f'{cast}::VARCHAR')})"
    )


def _digits(number: str) -> str:
    return f"trim(regexp_replace({number}, '[eE].*|[^0-9]', '', 'g'), '0')"


def _holds_timestamp(kind: Kind, text: str, pattern: str) -> str:
    # The minute is compared because DuckDB takes 24:00 and rolls a second of 60 over.
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
