"""No value changes between the export API and ``exports``: each sentence of issue 3.

The expected types and values are from the issue. A table must hold what Python's ``csv`` wrote.
"""

import csv
import io
import math
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from packaging.version import Version

from cp_pipeline.ingest import PartitionLoaded
from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline.warehouse import Warehouse
from cp_pipeline.warehouse.column_types import Kind, holds, value
from cp_pipeline_tests.cells import value_of
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.kinds_of_values import KINDS, KindOfValue
from cp_pipeline_tests.study_site import DATASET, Site


def _one_column_a_kind(empty_rows_before: int) -> bytes:
    """Return a CSV with a column for each kind, whose first rows are empty."""
    width = max(len(kind.fields) for kind in KINDS)
    lines = ["ROW," + ",".join(f"K{place}" for place in range(len(KINDS))) + ",PADDING"]
    commas, padding = "," * (len(KINDS) + 1), "x" * 1_000
    lines += [f"{number}{commas}{padding}" for number in range(-empty_rows_before, 0)]
    for number in range(width):
        fields = [kind.fields[number] if number < len(kind.fields) else "" for kind in KINDS]
        lines.append(",".join([str(number), *fields, ""]))
    return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True)
class Kinds:
    """The warehouse with all kinds, open to read, and the types of each data set's columns."""

    connection: duckdb.DuckDBPyConnection
    types: dict[str, dict[str, str]]

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self.connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinds]:
    """All kinds from the first row of one file, and at the end of another file of over 4 MiB."""
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, tmp_path_factory.mktemp("kinds"))
        site.put(_one_column_a_kind(0), dataset="AtOnce")
        late = _one_column_a_kind(5_000)
        assert len(late) > 4 << 20
        site.put(late, dataset="Late")
        assert all(isinstance(result, PartitionLoaded) for result in site.sync())
    types = {dataset: site.types(dataset) for dataset in ("AtOnce", "Late")}
    with Warehouse.of(site.storage) as warehouse, warehouse.reading() as connection:
        yield Kinds(connection, types)


@pytest.mark.parametrize("dataset", ["AtOnce", "Late"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_of_value_has_its_type_and_comes_back(
    kinds: Kinds, dataset: str, kind: KindOfValue
) -> None:
    column = f"K{KINDS.index(kind)}"
    assert kinds.types[dataset][column] == kind.type
    selected = f"epoch_ns({column})" if kind.type == "TIMESTAMP_NS" else column
    found = kinds.rows(
        f'SELECT {selected} FROM exports."{dataset}" WHERE "ROW" BETWEEN 0 AND'
        f' {len(kind.fields) - 1} ORDER BY "ROW"'
    )
    assert [row[0] for row in found] == list(kind.values)
    elsewhere = kinds.rows(
        f'SELECT count({column}) FROM exports."{dataset}" WHERE "ROW" < 0'
        f' OR "ROW" >= {len(kind.fields)}'
    )
    assert elsewhere == [(0,)]


def test_a_minus_before_a_zero_is_kept(kinds: Kinds) -> None:
    place = next(place for place, kind in enumerate(KINDS) if kind.name == "negative-zeros")
    found = kinds.rows(
        f'SELECT K{place} FROM exports."AtOnce" WHERE "ROW" BETWEEN 0 AND 2 ORDER BY "ROW"'
    )
    # DuckDB 1.5 stores the first sign for a run of zeros (docs/values.md).
    last = "0.0" if Version(duckdb.__version__).major > 1 else "-0.0"
    assert [str(value) for (value,) in found] == ["-0.0", "-0.0", last]


# Doubles


_digits = st.text("0123456789", min_size=1, max_size=20).map(lambda each: each.lstrip("0") or "0")
_mantissas = st.tuples(_digits, st.text("0123456789", max_size=20)).map(
    lambda each: f"{each[0]}.{each[1]}" if each[1] else each[0]
)
_exponents = st.tuples(st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 400))
_any_double = st.floats(allow_nan=False, allow_infinity=False)
_number_texts = (
    _any_double.map(repr)
    | _any_double.map(lambda each: f"{each:.17g}")
    | _any_double.map(lambda each: f"{each:.15g}")
    | _any_double.map(lambda each: f"{each:.14E}")
    | _any_double.map(lambda each: f"{Decimal(each):.25e}")
    | st.floats(-5e-308, 5e-308).map(repr)
    | _mantissas
    | st.tuples(_mantissas, _exponents).map(
        lambda each: each[0] + each[1][0] + each[1][1] + str(each[1][2])
    )
    | st.text("0123456789.eE+-", max_size=8)
)
_SEEN_AS_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _is_a_double(text: str) -> bool:
    """Whether the text equals the shortest decimal of its double, computed in Python."""
    if not _SEEN_AS_NUMBER.fullmatch(text) or math.isinf(float(text)):
        return False
    return Decimal(text) == Decimal(repr(float(text)))


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(_number_texts.filter(bool), min_size=20, max_size=60))
@example(texts=["inf", "nan", "-inf", "1e400", "-0", "-0.0", "0e999999999999", "1e-999999999999"])
def test_a_double_is_told_as_python_tells_it(
    empty: duckdb.DuckDBPyConnection, texts: list[str]
) -> None:
    told = empty.execute(
        f"SELECT text, coalesce({holds(Kind.DOUBLE, 'text')}, false),"
        f" {value(Kind.DOUBLE, 'text')} FROM (SELECT unnest(?::VARCHAR[]) AS text)",
        [texts],
    ).fetchall()
    assert len(told) == len(texts)
    for text, is_double, double in told:
        assert is_double == _is_a_double(text), text
        if is_double:
            assert repr(double) == repr(float(text))


def test_there_are_at_least_sixty_kinds_of_values() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 60


# Arbitrary tables

_characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
_numbers = st.integers(-(2**70), 2**70).map(str) | st.decimals(
    allow_nan=False, allow_infinity=False, places=3, min_value=-(10**14), max_value=10**14
).map(str)
_floats = st.floats(allow_nan=False).map(repr) | st.floats(allow_nan=False).map("{:.6E}".format)
_exponents_alone = st.tuples(st.integers(1, 99), st.integers(0, 20)).map("{0[0]}E{0[1]}".format)
_dates = st.dates().map(date.isoformat)
_moments = st.datetimes().map(datetime.isoformat) | st.datetimes().map(str)
_instants = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
_texts = st.text(_characters, max_size=12) | st.text('",\r\n \ufeffa1', max_size=6)
_columns = st.sampled_from(
    [
        _numbers,
        _floats,
        _exponents_alone,
        _exponents_alone | _numbers | _floats,
        _dates,
        _moments,
        _instants,
        _texts,
    ]
).flatmap(lambda values: st.just(values | st.just("")))
_names = st.text(_characters, min_size=1, max_size=8).filter(
    lambda name: (
        name.strip()
        and name.casefold() not in RESERVED_NAMES
        # At the start of a file, these two mean a byte order mark and an HTML page.
        and not name.startswith("\ufeff")
        and not name.strip().startswith("<")
    )
)


def _is_no_record(header: list[str]) -> bool:
    """Whether a name has a letter that no number has, and a single name has no other separator."""
    lone = len(header) == 1
    return any(re.search(r"[^\W\de]", name.casefold()) for name in header) and not (
        lone and set(header[0]) & set(";|\t")
    )


@dataclass(frozen=True)
class Table:
    """A table, and how Python's ``csv`` writes it."""

    header: list[str]
    cells: list[list[str]]
    quoting: int = csv.QUOTE_MINIMAL
    line_end: str = "\n"

    def written(self) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, quoting=self.quoting, lineterminator=self.line_end)  # type: ignore[arg-type]
        writer.writerows([self.header, *self.cells])
        return text.getvalue()


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = st.lists(_names, min_size=1, max_size=6, unique_by=str.casefold)
    header = draw(names.filter(_is_no_record))
    values = [draw(_columns) for _ in header]
    count = draw(st.integers(0, 20))
    cells = [[draw(each) for each in values] for _ in range(count)]
    # A record that equals the header may be refused (test_csv_header).
    cells = [record for record in cells if record != header]
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    if any("\r" in text for record in [header, *cells] for text in record):
        # Before Python 3.13, the writer does not quote a carriage return if lines end with "\n".
        line_end = "\r\n"
    return Table(header, cells, draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])), line_end)


@pytest.fixture(scope="module")
def served() -> Iterator[FaultySandbox]:
    with FaultySandbox(
        SandboxStudy.empty(), packing=Packing.GZIP, requests_per_minute=100_000
    ) as served:
        yield served


# Five tables in each example, because a sync of five takes hardly longer than a sync of one.
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(five=st.lists(tables(), min_size=5, max_size=5))
@example(
    five=[
        Table(["_file", "rowid"], [["1", "a"], ["x", ""]]),
        Table(["text_1", "text_0"], [["1", "a"]], line_end="\r\n"),
        Table(["\u0391\u03a3", "\u0130", "i"], [["1", "2", "x"]]),
        Table(["A"], [["\ufeffa"], [""], ["b"]]),
        Table(["A"], [["9.000000000000001e9"], ["1.5"]]),
    ]
)
def test_every_cell_of_an_arbitrary_table_comes_back(
    served: FaultySandbox, five: list[Table]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(served, Path(folder))
        for nth, table in enumerate(five):
            site.put(table.written(), dataset=f"{DATASET}{nth}")
        results = {result.partition.dataset_name: result for result in site.sync()}
        for nth, table in enumerate(five):
            dataset = f"{DATASET}{nth}"
            result = results[dataset]
            assert isinstance(result, PartitionLoaded), result
            assert result.row_count == len(table.cells)
            types = site.types(dataset)
            assert list(types) == table.header
            selected = ", ".join(
                f"epoch_ns({name})" if types[column] == "TIMESTAMP_NS" else name
                for column in table.header
                for name in ['"' + column.replace('"', '""') + '"']
            )
            # In a file of one column, Python's csv quotes an empty field.
            quoted = table.quoting == csv.QUOTE_ALL or len(table.header) == 1
            expected = [
                tuple(
                    value_of(text, types[name], quoted=quoted)
                    for name, text in zip(table.header, record, strict=True)
                )
                for record in table.cells
            ]
            found = site.rows(f'SELECT {selected} FROM exports."{dataset}"')
            assert Counter(found) == Counter(expected)
