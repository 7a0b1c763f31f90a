"""A line that cannot be a header is refused, with chunks of any size; a possible header is not."""

import csv
import io
import re
from datetime import date, datetime
from operator import itemgetter

import pytest
from hypothesis import given, strategies as st

from cp_pipeline_tests.headers import ACCEPTED, REFUSED
from cp_pipeline_tests.landing.test_csv_validation import read, refusal, written

CHUNKS = [1, 7, 64, 1 << 20]
_NUMBERS = st.integers().map(str) | st.floats(allow_nan=False, allow_infinity=False).map(str)
# Python writes earlier years without leading zeros.
_MOMENTS = st.datetimes(datetime(1000, 1, 1))  # noqa: DTZ001
_VALUES = st.one_of(
    _NUMBERS,
    st.dates().map(date.isoformat),
    st.datetimes().map(datetime.isoformat),
    _MOMENTS.map(lambda moment: f"{moment:%m/%d/%Y %I:%M:%S %p}"),
    _MOMENTS.map(lambda moment: f"{moment:%d.%m.%Y %H:%M}"),
    _MOMENTS.map(lambda moment: f"{moment:%d %b %Y}"),
    st.times().map(str),
    st.uuids().map(str),
)
_NAMES = st.from_regex(
    r"[A-Z][A-Z_ ;|0-9-]{2,20}", fullmatch=True, alphabet=st.characters(codec="ascii")
)


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize(
    "refused", [case for case in REFUSED if len(case[1]) < 10_000], ids=itemgetter(0)
)
def test_a_line_that_is_no_header_is_refused(
    refused: tuple[str, str, str, int], chunk_bytes: int
) -> None:
    _, text, words, line = refused
    error = refusal(text.encode(), chunk_bytes)
    assert re.search(words, str(error))
    assert error.line == line


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_header_is_taken(name: str, chunk_bytes: int) -> None:
    header, *records = csv.reader(io.StringIO(ACCEPTED[name], newline=""))
    structure, _ = read(ACCEPTED[name].encode(), chunk_bytes)
    assert list(structure.header) == header
    assert structure.record_count == len(records)


@given(st.lists(_VALUES, min_size=1, max_size=5), st.lists(st.just(""), max_size=2))
def test_values_as_programs_write_them_are_no_names(values: list[str], empty: list[str]) -> None:
    data = written([[*values, *empty], ["x"] * len(values + empty)], "\n", csv.QUOTE_MINIMAL)
    assert "no header" in str(refusal(data.encode()))


@given(
    names=st.lists(_NAMES, min_size=2, max_size=4, unique_by=str.casefold),
    records=st.lists(st.integers(), max_size=9),
    place=st.integers(0, 9),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    chunk_bytes=st.sampled_from(CHUNKS),
)
def test_a_header_that_comes_again_is_found_at_its_line(
    names: list[str], records: list[int], place: int, quoting: int, chunk_bytes: int
) -> None:
    lines = [[str(number)] * len(names) for number in records]
    lines.insert(place, names)
    data = written([names, *lines], "\r\n", quoting).encode()
    error = refusal(data, chunk_bytes)
    assert "is repeated" in str(error)
    assert error.line == min(place, len(records)) + 2


@given(st.lists(_NAMES, min_size=2, max_size=4, unique_by=str.casefold), st.lists(_VALUES))
def test_names_over_values_are_a_header(names: list[str], values: list[str]) -> None:
    data = written([names, *([value] * len(names) for value in values)], "\n", csv.QUOTE_MINIMAL)
    assert read(data.encode())[0].header == tuple(names)


def test_a_name_in_the_words_is_cut_short() -> None:
    assert len(str(refusal((";".join(["COLUMN"] * 1_000) + "\n").encode()))) < 200
    assert len(str(refusal((",".join(["1" * 90] * 1_000) + "\n").encode()))) < 300
