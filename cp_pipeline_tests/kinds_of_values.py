"""Kinds of values as CSV fields, with the types and values that issues 3 and 14 require."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

GUID = "5E65F4E3-6996-41fe-A5AA-c79210285F7e"
LONG_DECIMAL = "0.1234567890123456789012345678901234"


@dataclass(frozen=True)
class KindOfValue:
    """``fields``: as in the file, one per record; ``values``: for TIMESTAMP_NS, ns since 1970."""

    name: str
    type: str
    fields: tuple[str, ...]
    values: tuple[object, ...]


def text(name: str, *fields: str) -> KindOfValue:
    """Unquoted fields that must stay unchanged."""
    return KindOfValue(name, "VARCHAR", fields, fields)


def number(name: str, *fields: str) -> KindOfValue:
    return KindOfValue(name, "BIGINT", fields, tuple(map(int, fields)))


def double(name: str, *fields: str) -> KindOfValue:
    return KindOfValue(name, "DOUBLE", fields, tuple(map(float, fields)))


def moment(name: str, *fields: str) -> KindOfValue:
    """Timestamps: with an offset they are converted to UTC, without one they stay as written."""
    read = [datetime.fromisoformat(field) for field in fields]
    naive = (each.astimezone(UTC).replace(tzinfo=None) if each.tzinfo else each for each in read)
    return KindOfValue(name, "TIMESTAMP", fields, tuple(naive))


def nanoseconds(name: str, field: str, whole: str, fraction: int) -> KindOfValue:
    """A TIMESTAMP_NS: ``whole`` is the second in UTC, ``fraction`` its nanoseconds."""
    second = int(datetime.fromisoformat(whole).timestamp())
    return KindOfValue(name, "TIMESTAMP_NS", (field,), (second * 10**9 + fraction,))


KINDS = [
    number("whole-numbers", "0", "1", "-17"),
    number("largest-and-smallest-64-bit", str(2**63 - 1), str(-(2**63))),
    number("one-more-than-a-double-holds", str(2**53 + 1), str(2**53)),
    text("two-to-the-63", str(2**63), "1"),
    text("two-to-the-64-and-one", str(2**64 + 1)),
    text("below-64-bits", str(-(2**63) - 1)),
    text("leading-zeros", "007", "08"),
    text("a-leading-zero-among-numbers", "1", "2", "007"),
    text("zeros", "00"),
    text("plus-sign", "+5", "1"),
    text("number-with-a-space-before", " 12", "1"),
    text("number-with-a-space-after", "12 ", "1"),
    text("spaces-around", " 12 "),
    text("number-with-underscores", "1_000"),
    text("number-with-a-blank", "1 000"),
    KindOfValue("number-with-comma", "VARCHAR", ('"1,5"', '"2"'), ("1,5", "2")),
    text("hexadecimal", "0x1F"),
    text("name-of-a-well", "1E5", "2E3"),
    text("name-of-a-well-in-small-letters", "1e5", "2E3", "10e0"),
    text("name-of-a-well-among-names", "1E5", "A1", "12"),
    text("too-large-among-names-of-wells", "1E5", "1E400"),
    text("leading-zero-and-an-exponent", "01E5", "1.5"),
    text("exponent-without-digits", "1e", "1e+", "1.5"),
    text("exponent-that-is-no-whole-number", "1e1.5", "1.5"),
    double("exponent-beside-a-whole-number", "1E5", "12"),
    double("exponent-beside-a-decimal", "1e5", "0.5", "2E3"),
    double("exponent-beside-a-signed-one", "1E5", "1E+5"),
    double("exponent-with-a-sign", "1e+22"),
    double("exponent-with-a-minus", "5e-324"),
    double("minus-and-an-exponent", "-1E5"),
    double("as-python-prints", "-1.1102230246251565e-16", "1e+22", "0.1", "1e-07", "3.0"),
    double("as-javascript-prints", "1e+21", "1.1102230246251565e-16", "5e-7", "100000"),
    double("as-java-prints", "1.7976931348623157E308", "1.0E10", "1.1102230246251565E-16"),
    double("as-c-sharp-prints", "9.5367431640625E-07", "1E+22", "1.7976931348623157E+308"),
    double("as-r-prints", "1e+05", "1e-04", "123456.7"),
    double("largest-double", "1.7976931348623157e+308", "-1.7976931348623157E308"),
    double("smallest-normal-double", "2.2250738585072014e-308"),
    double("denormal-double", "5e-324", "2.225073858507201e-308", "1e-310"),
    double("decimal-with-zeros-and-an-exponent", "12.500e3", "0.00125E1", "-120.0e-2", "0e5"),
    double("decimal-of-17-digits-with-an-exponent", "1.2345678901234568e-05", "7.0"),
    double("negative-zeros", "-0.0", "-0", "0.0"),
    text("decimal-of-17-digits-for-a-shorter-one", "0.10000000000000001", "1.5"),
    text("exponent-of-17-digits-for-a-shorter-one", "1.0000000000000001e-01", "1.5"),
    text("denormal-in-more-digits-than-it-has", "4.9406564584124654e-324", "1.5"),
    text("denormal-of-15-digits", "1.23456789012345e-320", "1.5"),
    text("above-the-largest-double", "1.7976931348623159e308", "1.5"),
    text("overflow", "1e309", "1.5"),
    text("underflow", "1e-400", "1.5"),
    text("whole-number-that-no-double-is", "12345678901234567891", "1.5"),
    text("plus-and-an-exponent", "+1e5", "1.5"),
    text("arabic-digits", "١٢"),
    text("fullwidth-digits", "１２"),  # noqa: RUF001
    text("superscript-digit", "²"),
    double("decimals", "1.5", "-0.25", "3"),
    double("decimal-with-a-zero-at-its-end", "1.50", "2.0", "1"),
    double("tenths", "0.1", "0.2", "0.3"),
    double("decimal-of-15-digits", "12345678.1234567"),
    double("decimal-of-17-digits", "0.12345678901234568"),
    text("34-digit-decimal", LONG_DECIMAL, "1.5"),
    text("whole-number-beside-a-decimal", str(2**53 + 1), "1.5"),
    text("16-digits-with-an-exponent", "9.000000000000001e9", "1.5"),
    text("decimal-without-digits-before", ".5", "1.5"),
    text("decimal-without-digits-after", "5.", "1.5"),
    text("decimal-with-leading-zeros", "00.5"),
    text("decimal-with-a-plus", "+1.5"),
    text("lone-inf", "inf"),
    text("infinity-among-numbers", "Infinity", "1.5"),
    text("nan-among-numbers", "NaN", "1.5"),
    text("not-available", "NA", "1"),
    text("null-as-a-word", "NULL", "null", "None"),
    text("short-booleans", "T", "F"),
    text("booleans", "true", "false"),
    text("yes-and-no", "Yes", "no"),
    text("clock-times", "00:30", "23:59"),
    text("clock-times-with-seconds", "00:30:00"),
    text("durations", "25:00:00", "1 day"),
    KindOfValue("iso-dates", "DATE", ("2024-02-29", "1999-12-31"),
                (date(2024, 2, 29), date(1999, 12, 31))),
    KindOfValue("first-and-last-date", "DATE", ("0001-01-01", "9999-12-31"),
                (date.min, date.max)),
    text("no-such-date", "2023-02-29"),
    text("dates-either-way", "02/03/2024"),
    text("dates-with-points", "03.02.2024"),
    text("dates-without-hyphens", "20240229T", "20240301T"),
    text("date-with-one-digit", "2024-2-9"),
    text("date-beside-a-moment", "2024-02-29", "2024-02-29 10:00:00"),
    text("year-and-month", "2024-02"),
    moment("moments", "2024-02-29 10:09:20", "1969-12-31 23:59:59"),
    moment("moments-with-t", "2024-02-29T10:09:20"),
    moment("moments-with-microseconds", "2024-02-29 10:09:20.589975", "2024-02-29 10:09:20.5"),
    moment("moments-in-zulu", "2024-02-29T10:09:20Z"),
    moment("moments-with-an-offset", "2024-02-29T10:09:20+02:00", "2024-02-29T23:30:00-05:00"),
    moment("moments-with-an-offset-and-microseconds", "2024-02-29T00:09:20.589975+05:30"),
    nanoseconds("seven-digits", "2024-02-29 10:09:20.5899754", "2024-02-29T10:09:20Z", 589_975_400),
    nanoseconds("nine-digits", "2024-02-29T10:09:20.123456789", "2024-02-29T10:09:20Z",
                123_456_789),
    nanoseconds("seven-digits-and-an-offset", "2024-02-29T10:09:20.5899754+02:00",
                "2024-02-29T08:09:20Z", 589_975_400),
    nanoseconds("seven-digits-before-1970", "1969-12-31 23:59:58.5899754", "1969-12-31T23:59:58Z",
                589_975_400),
    text("ten-digits", "2024-02-29 10:09:20.1234567891"),
    text("seven-digits-in-the-year-3000", "3000-01-01 00:00:00.1234567"),
    text("moments-with-and-without-an-offset", "2024-02-29T10:09:20Z", "2024-02-29T10:09:20"),
    text("24-oclock", "2024-02-29 24:00:00"),
    text("a-second-of-60", "2016-12-31 23:59:60"),
    text("no-such-moment", "2023-02-29 10:00:00"),
    text("moments-the-american-way", "2/29/2024 10:09:20 AM"),
    text("moment-with-a-zone-name", "2024-02-29 10:09:20 Europe/Berlin"),
    text("guids-in-either-case", GUID, GUID.lower(), GUID.upper()),
    text("guid-that-looks-like-a-number", "00000000-0000-0000-0000-000000000000"),
    text("spaces-inside-and-around", "  two  words  "),
    text("tab", "\ta\t"),
    text("no-break-space", "\u00a0a\u00a0"),
    text("umlauts-both-ways", "ä", "a\u0308"),
    text("emoji", "👩‍🔬🧪", "🇩🇪"),
    text("right-to-left", "שלום", "مرحبا"),
    text("byte-order-mark-inside", "a\ufeffb", "\ufeffa"),
    text("line-separators", "a\u2028b\u2029c\u0085d"),
    text("control-characters", "a\x01b\x1fc\x7f"),
    text("highest-characters", "\U0010ffff\ufffe\uffff"),
    text("backslashes", "a\\b", "\\N", "\\n"),
    text("apostrophes", "it's", "'1'"),
    text("other-separators", "a;b|c", "a\t1"),
    text("hash-first", "#1", "# comment"),
    text("formula", "=1+1", "@SUM(A1)"),
    text("long-text", "x" * 10_000),
    text("json", "{}", "[1;2]"),
    text("percent", "5%"),
    text("money", "$5"),
    KindOfValue("quoted-comma", "VARCHAR", ('"a,b"',), ("a,b",)),
    KindOfValue("quoted-quotes", "VARCHAR", ('"say ""hi"""', '""""'), ('say "hi"', '"')),
    KindOfValue("quoted-line-ends", "VARCHAR", ('"a\nb"', '"a\r\nb"', '"a\rb"'),
                ("a\nb", "a\r\nb", "a\rb")),
    KindOfValue("quoted-spaces", "VARCHAR", ('" a "', '" "'), (" a ", " ")),
    KindOfValue("quoted-numbers", "BIGINT", ('"1"', "2"), (1, 2)),
    KindOfValue("empty-among-texts", "VARCHAR", ("a", "", '""'), ("a", None, "")),
    KindOfValue("empty-among-numbers", "BIGINT", ("1", "", '""'), (1, None, None)),
    KindOfValue("empty-among-decimals", "DOUBLE", ("1.5", "", '""'), (1.5, None, None)),
    KindOfValue("empty-among-dates", "DATE", ("2024-02-29", "", '""'),
                (date(2024, 2, 29), None, None)),
    KindOfValue("empty-among-moments", "TIMESTAMP", ("2024-02-29 10:00:00", "", '""'),
                (datetime(2024, 2, 29, 10), None, None)),  # noqa: DTZ001
    KindOfValue("only-empty", "VARCHAR", ("", ""), (None, None)),
]  # fmt: skip
