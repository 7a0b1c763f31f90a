"""The validation of a CSV, compared with Python's ``csv`` module."""

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import example, given, strategies as st

from cp_pipeline.landing import CsvRefused
from cp_pipeline.landing.csv_validation import RESERVED_NAMES, CsvStructure
from cp_pipeline_tests.malformed_files import HEADER, good_csv

# The validation reads this many bytes first. Padding moves the tested text into later, small
# chunks.
PADDING = "x" * 1_200


def read(data: bytes, chunk_bytes: int = 1 << 20) -> tuple[CsvStructure, bytes]:
    """Validate a file in chunks of that size; return its structure and its records."""
    structure = CsvStructure()
    chunks = [data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes)]
    blocks = list(structure.records(chunks))
    assert all(block.endswith(b"\n") for block in blocks)
    return structure, b"".join(blocks)


def refusal(data: bytes, chunk_bytes: int = 1 << 20, *, thorough: bool = True) -> CsvRefused:
    structure = CsvStructure()
    chunks = [data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes)]
    with pytest.raises(CsvRefused) as refused:
        list(structure.records(chunks, thorough=thorough))
    return refused.value


def written(records: Sequence[Sequence[str]], line_end: str, quoting: int) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=line_end, quoting=quoting).writerows(records)  # type: ignore[arg-type]
    return file.getvalue()


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


_texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6
) | st.text('",\r\n a\u00e9\U0001f9ea', max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(_texts, min_size=width, max_size=width), max_size=12))


@given(
    records=tables(),
    chunk_bytes=st.integers(1, 40),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    final_line_end=st.booleans(),
    mark=st.sampled_from(["", "\ufeff"]),
)
@example(records=[["a\r\n", ""]], chunk_bytes=1, quoting=0, final_line_end=True, mark="\ufeff")
@example(records=[['"\n"']], chunk_bytes=1, quoting=0, final_line_end=False, mark="")
def test_the_record_count_is_that_of_pythons_csv_wherever_chunks_end(
    records: list[list[str]], chunk_bytes: int, quoting: int, final_line_end: bool, mark: str
) -> None:
    header = [f"{PADDING}{place}" for place in range(len(records[0]) if records else 2)]
    text = written([header, *records], "\r\n", quoting)
    # Without a line end, a last record with one empty field would not count as a record.
    data = (mark + (text if final_line_end else text.removesuffix("\r\n"))).encode()
    expected = parsed(text)

    structure, body = read(data, chunk_bytes)

    assert structure.record_count == len(expected) - 1
    assert list(structure.header) == expected[0]
    assert structure.byte_count == len(data)
    assert structure.has_quotes == (b'"' in body)
    fields = [field for record in parsed(body.decode()) for field in record]
    assert structure.spans_lines == any("\n" in field or "\r" in field for field in fields)
    assert parsed(body.decode()) == expected[1:]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 64, 1 << 20])
def test_line_ends_outside_quotes_become_plain_and_inside_quotes_stay(
    line_end: bytes, chunk_bytes: int
) -> None:
    data = line_end.join([b"A,B", b'1,"x\r\ny"', b'"\r",2', b""])
    assert read(data, chunk_bytes)[1] == b'1,"x\r\ny"\n"\r",2\n'


def test_a_header_alone_is_a_file_of_no_records() -> None:
    for data in (b"A,B", b"A,B\n", b"A,B\r\n", b"\xef\xbb\xbfA,B\n"):
        structure, body = read(data)
        assert (structure.header, structure.record_count, body) == (("A", "B"), 0, b"")


def test_blank_lines_at_the_end_are_no_records() -> None:
    for end in (b"\n", b"\n\n\n", b"\r\n\r\n"):
        structure, body = read(b"A,B\n1,2" + end)
        assert (structure.record_count, body) == (1, b"1,2\n")


def test_in_one_column_a_blank_line_could_be_a_value_and_is_refused() -> None:
    error = refusal(b"A\n1\n\n2\n")
    assert (error.line, "blank" in str(error)) == (3, True)
    assert read(b'A\n1\n""\n2\n')[0].record_count == 3


REFUSALS = {
    "nothing": (b"", "file is empty", None),
    "mark-alone": (b"\xef\xbb\xbf", "file is empty", None),
    "blank-header": (b"\nA,B\n1,2\n", "blank where the header", 1),
    "shorter": (b"A,B\n1,2\n1\n", "1 fields where the header has 2", 3),
    "longer": (b"A,B\n1,2\n1,2,3\n", "3 fields where the header has 2", 3),
    "longer-in-one-column": (b"A\n1\n1,2\n", "longer", 3),
    "shorter-after-quoted-lines": (b'A,B\n"x\n\ny",2\n1\n', "shorter", 5),
    "short-and-long-alike": (b"A,B\n1\n1,2,3\n", "shorter", 2),
    "blank-between": (b"A,B\n1,2\n\n1,2\n", "blank", 3),
    "unclosed": (b'A,B\n1,2\n1,"2\n3,4\n', "never closed", 3),
    "unclosed-header": (b'A,"B\n1,2\n', "never closed", 1),
    "after-closing": (b'A,B\n"1"x,2\n', "after a closing quote", 2),
    "inside-unquoted": (b'A,B\n1,2\nx"y"z,2\n', "inside an unquoted field", 3),
    "carriage-return": (b"A,B\n1,2\n1\r,2\n", "carriage return", 3),
    "carriage-return-in-the-header": (b"A\rB\n1\n", "carriage return", 1),
    "mac-line-ends": (b"A,B\r1,2\r", "carriage return", 1),
    "same-name": (b"A,A\n", "'A' and 'A'", 1),
    "same-name-by-case": (b"Ab,aB\n", "'Ab' and 'aB'", 1),
    "empty-name": (b"A,,C\n", "column 2 is empty", 1),
    "blank-name": (b"A, \t\n", "column 2 is empty", 1),
    "header-quote": (b'A"x",B\n', "inside an unquoted field", 1),
    "header-after-quote": (b'"A"x,B\n', "after a closing quote", 1),
    "utf-16": ("\ufeffA,B\n".encode("utf-16-le"), "UTF-16", None),
    "latin-1": (b"A,B\n1,\xe9\n", "byte 6 is 0xe9", None),
    "latin-1-late": (b"A,B\n" + b"1,2\n" * 1_000 + b"1,\xe9\n", "byte 4006 is 0xe9", None),
    "cut-character": (b"A\nx\xf0\x9f\xa7", "byte 3", None),
    "nul": (b"A,B\n1,\0\n", "NUL byte at byte 6", None),
    "nul-after-a-mark": (b"\xef\xbb\xbfA,B\n1,\0\n", "NUL byte at byte 9", None),
    "html": (b"<!doctype HTML><html>", "HTML or XML page", 1),
    "xml-after-a-mark": (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "HTML or XML page", 1),
    **{
        f"ours{name}": (f"A,{name.upper()}\n1,2\n".encode(), "is reserved", 1)
        for name in sorted(RESERVED_NAMES)
    },
}


@pytest.mark.parametrize("chunk_bytes", [1, 5, 1 << 20])
@pytest.mark.parametrize("name", REFUSALS)
def test_what_could_be_read_in_two_ways_is_refused_with_its_line(
    name: str, chunk_bytes: int
) -> None:
    data, words, line = REFUSALS[name]
    error = refusal(data, chunk_bytes)
    assert words in str(error)
    assert error.line == line
    if line is not None:
        assert str(error).startswith(f"Line {line}: ")


@pytest.mark.parametrize("chunk_bytes", [100, 4_096, 1 << 20])
@pytest.mark.parametrize("record", [b"1,2", b"1,2,3,4", b'1,"2', b'1,"2"x,3', b"", b"1,\r,3"])
def test_the_line_of_a_fault_5000_records_down_is_right(record: bytes, chunk_bytes: int) -> None:
    lines = good_csv(6_000).split(b"\n")
    lines[5_000] = record
    assert refusal(b"\n".join(lines), chunk_bytes).line == 5_001


def test_without_thoroughness_a_file_of_too_many_or_few_fields_is_refused_all_the_same() -> None:
    assert refusal(HEADER + b"1,2,3\n1,2,3,4\n", thorough=False).line == 3
    assert refusal(HEADER + b"1,2,3\n1,2\n", thorough=False).line == 3


def test_a_column_name_may_be_any_other_text() -> None:
    names = ["_file", "rowid", "select", "a b", " a", "\u00e4", "x\ny", 'q"q', "a,b", "<5"]
    assert list(read(written([names], "\r\n", csv.QUOTE_MINIMAL).encode())[0].header) == names


def test_a_name_with_a_less_than_sign_is_not_taken_for_a_page() -> None:
    assert read(b"<5 min,>5 min\n1,2\n")[0].header == ("<5 min", ">5 min")


def test_a_record_beyond_sixteen_mebibytes_is_refused() -> None:
    error = refusal(b'A,B\n1,2\n1,"' + b"x" * (18 << 20) + b'"\n')
    assert error.line == 3
