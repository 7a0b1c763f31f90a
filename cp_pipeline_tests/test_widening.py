"""Columns that are widened, added and removed: the sentences of issue 3 on later exports.

In whatever order files arrive, every value keeps its original text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import permutations

import duckdb
import pytest

from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded
from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Load
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouses import compact, reading

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (as DuckDB's TIMESTAMP is without a zone)


def _column(values: Sequence[str]) -> str:
    return "N,V\n" + "".join(f"{place},{value}\n" for place, value in enumerate(values))


WIDENINGS = {
    "bigint-to-double": (["7", "-3"], ["1.5"], "DOUBLE", [7.0, -3.0, 1.5]),
    "bigint-to-text": (["7", "8"], ["007"], "VARCHAR", ["7", "8", "007"]),
    "double-to-text": (["1.50", "2"], ["NA"], "VARCHAR", ["1.50", "2", "NA"]),
    "double-to-long-decimal": (
        ["1.50"],
        ["0.1000000000000000055511151231257827"],
        "VARCHAR",
        ["1.50", "0.1000000000000000055511151231257827"],
    ),
    "too-large-for-a-double": (
        ["9007199254740993"],
        ["1.50"],
        "VARCHAR",
        ["9007199254740993", "1.50"],
    ),
    "date-to-text": (["2024-02-29"], ["29.2."], "VARCHAR", ["2024-02-29", "29.2."]),
    "date-to-ambiguous": (["2024-02-03"], ["02/03/2024"], "VARCHAR", ["2024-02-03", "02/03/2024"]),
    "instant-to-no-offset": (
        ["2024-02-29T10:00:00+02:00"],
        ["2024-02-29 10:00:00"],
        "VARCHAR",
        ["2024-02-29T10:00:00+02:00", "2024-02-29 10:00:00"],
    ),
    "moment-to-text": (
        ["2024-02-29 10:00:00.50"],
        ["?"],
        "VARCHAR",
        ["2024-02-29 10:00:00.50", "?"],
    ),
    "empty-to-bigint": (["", ""], ["5"], "BIGINT", [None, None, 5]),
    "names-of-wells-to-numbers": (
        ["1E5", "", '""'],
        ["12"],
        "DOUBLE",
        [1e5, None, None, 12.0],
    ),
    "names-of-wells-to-names": (["1E5", ""], ["A1"], "VARCHAR", ["1E5", None, "A1"]),
    "numbers-to-a-name-of-a-well": (["12"], ["1E5"], "DOUBLE", [12.0, 1e5]),
    "large-number-to-an-exponent": (
        ["9007199254740993"],
        ["1E5"],
        "VARCHAR",
        ["9007199254740993", "1E5"],
    ),
    "quoted-empty-to-bigint": (['""', ""], ["5"], "BIGINT", [None, None, 5]),
    "quoted-empty-to-text": (['""', ""], ["x"], "VARCHAR", ["", None, "x"]),
    "typed-quoted-empty-to-text": (['""', "", "1"], ["x"], "VARCHAR", ["", None, "1", "x"]),
}


def _loads(site: Site) -> dict[str, Load]:
    """Sync, and return the load of each data set."""
    results = [result for result in site.sync() if isinstance(result, PartitionLoaded)]
    return {result.partition.dataset_name: result.loads[0] for result in results}


def _types(opened: duckdb.DuckDBPyConnection, dataset: str) -> dict[str, str]:
    """The types of the data set's own columns."""
    relation = opened.sql(f'FROM exports."{dataset}"')
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    return {name: type_name for name, type_name in types.items() if name not in RESERVED_NAMES}


@dataclass(frozen=True)
class Widened:
    """A warehouse, open to read, with the first types and the second load of each data set."""

    opened: duckdb.DuckDBPyConnection
    types_before: dict[str, dict[str, str]]
    loads: dict[str, Load]


@pytest.fixture(scope="module")
def widened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Widened]:
    """Each widening, as a data set of its own."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path_factory.mktemp("widened") / "data")
        for name, (before, _, _, _) in WIDENINGS.items():
            site.put(_column(before), dataset=name)
        assert len(_loads(site)) == len(WIDENINGS)
        with reading(site.storage) as opened:
            types_before = {name: _types(opened, name) for name in WIDENINGS}
        for name, (_, after, _, _) in WIDENINGS.items():
            site.put(_column(after), subject_id=2, dataset=name)
        loads = _loads(site)
    with reading(site.storage) as opened:
        yield Widened(opened, types_before, loads)


@pytest.mark.parametrize("name", WIDENINGS)
def test_a_later_export_widens_the_column_and_earlier_text_is_restored(
    widened: Widened, name: str
) -> None:
    _, _, type_name, values = WIDENINGS[name]
    kind_before, load = widened.types_before[name]["V"], widened.loads[name]
    assert _types(widened.opened, name) == {"N": "BIGINT", "V": type_name}
    found = widened.opened.sql(f'SELECT V FROM exports."{name}" ORDER BY _subject_id, N').fetchall()
    assert [row[0] for row in found] == values
    if kind_before != type_name:
        assert f"V: {kind_before} to {type_name}" in [str(change) for change in load.changes]
    (_, first, _), (previous, kind, caused_by) = widened.opened.execute(
        "SELECT previous_kind, kind, caused_by_load_id FROM lineage.column_types"
        " WHERE dataset_name = ? AND column_name = 'V' ORDER BY revision",
        [name],
    ).fetchall()
    assert (previous, str(kind).upper(), caused_by) == (first, type_name, load.load_id)


def test_a_seventh_digit_in_a_later_export_makes_nanoseconds_of_all(site: Site) -> None:
    site.load(_column(["2024-02-29 10:09:20.5"]))
    load = site.load(_column(["2024-02-29 10:09:20.5899754"]), subject_id=2)
    assert site.types()["V"] == "TIMESTAMP_NS"
    second = (datetime(2024, 2, 29, 10, 9, 20) - EPOCH) // timedelta(seconds=1)  # noqa: DTZ001
    assert site.rows(f"SELECT epoch_ns(V) FROM exports.{DATASET} ORDER BY _subject_id") == [
        (second * 10**9 + 500_000_000,),
        (second * 10**9 + 589_975_400,),
    ]
    assert [str(change) for change in load.changes] == ["V: TIMESTAMP to TIMESTAMP_NS"]


LATE = [
    ("7", "1.5", "DOUBLE"),
    ("1E5", "7", "DOUBLE"),
    ("7", "1E5", "DOUBLE"),
    ("1E5", "A1", "VARCHAR"),
    ("7", "007", "VARCHAR"),
    ("1.50", "NA", "VARCHAR"),
    ("2024-02-29", "02/03/2024", "VARCHAR"),
    ("", "5", "BIGINT"),
]


@pytest.fixture(scope="module")
def widened_late(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Each file whose last value widens the column, as a data set of its own."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path_factory.mktemp("late") / "data")
        for early, late, _ in LATE:
            site.put(_column([early] * 119_999 + [late]), dataset=f"{early} {late}")
        assert len(_loads(site)) == len(LATE)
    with reading(site.storage) as opened:
        yield opened


@pytest.mark.parametrize(("early", "late", "type_name"), LATE)
def test_row_120_000_of_the_same_file_widens_the_column_too(
    widened_late: duckdb.DuckDBPyConnection, early: str, late: str, type_name: str
) -> None:
    dataset = f"{early} {late}"
    assert _types(widened_late, dataset)["V"] == type_name
    convert = {"DOUBLE": float, "BIGINT": int}.get(type_name, str)
    assert widened_late.sql(
        f'SELECT V, count(*) FROM exports."{dataset}" GROUP BY V ORDER BY count(*)'
    ).fetchall() == [
        (convert(late), 1),
        (convert(early) if early else None, 119_999),
    ]


def test_a_superseded_load_is_restored_as_well(site: Site) -> None:
    site.load(_column(["1.50"]))
    site.load(_column(["2.50"]))
    site.load(_column(["x"]))
    assert site.rows(f"SELECT V FROM history.{DATASET} ORDER BY _load_id") == [
        ("1.50",),
        ("2.50",),
        ("x",),
    ]
    assert site.rows(f"SELECT V FROM exports.{DATASET}") == [("x",)]


def test_two_data_sets_that_widen_in_one_sync_keep_their_own_rows(site: Site) -> None:
    for dataset, value in [("First", "1.50"), ("Second", "2.50")]:
        site.put(_column([value]), dataset=dataset)
    site.sync()
    for dataset in ["First", "Second"]:
        site.put(_column(["x"]), subject_id=2, dataset=dataset)
    site.sync()
    for dataset, value in [("First", "1.50"), ("Second", "2.50")]:
        assert site.rows(f"SELECT V FROM exports.{dataset} ORDER BY _subject_id") == [
            (value,),
            ("x",),
        ]


# Any order


NUMBERS_AND_NAMES = [
    (("1E5", "12"), "DOUBLE"),
    (("1E5", "0.5"), "DOUBLE"),
    (("1E5", "1e+22"), "DOUBLE"),
    (("1E5", "", "12"), "DOUBLE"),
    (("1E5", "2E3", ""), "VARCHAR"),
    (("1E5", "9007199254740993"), "VARCHAR"),
    (("1E400", "12"), "VARCHAR"),
    (("1E5", "12", "A1"), "VARCHAR"),
    (("1E5", "2024-02-29"), "VARCHAR"),
]


ORDERS = [(order, kind) for values, kind in NUMBERS_AND_NAMES for order in permutations(values)]
WAYS = ("one file", "one sync", "a sync each")


def _of_exponents(way: str, values: Sequence[str]) -> str:
    """The name of the data set with these values, which arrived in this way."""
    return f"{way} {' '.join(values)}"


@pytest.fixture(scope="module")
def exponents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Each order of values that arrived in each way, as a data set of its own."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path_factory.mktemp("exponents") / "data")
        for number in range(max(len(values) for values, _ in ORDERS)):
            for values, _ in ORDERS:
                if number == 0:
                    site.put(_column(values), dataset=_of_exponents("one file", values))
                    for subject, value in enumerate(values, start=1):
                        dataset = _of_exponents("one sync", values)
                        site.put(_column([value]), subject_id=subject, dataset=dataset)
                for subject, value in enumerate(values[number : number + 1], start=number + 1):
                    dataset = _of_exponents("a sync each", values)
                    site.put(_column([value]), subject_id=subject, dataset=dataset)
            assert {type(result) for result in site.sync()} == {PartitionLoaded}
    with reading(site.storage) as opened:
        yield opened


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("values", "type_name"), ORDERS)
def test_a_column_of_exponents_is_the_same_in_any_order(
    exponents: duckdb.DuckDBPyConnection, values: tuple[str, ...], type_name: str, way: str
) -> None:
    dataset = _of_exponents(way, values)
    assert _types(exponents, dataset)["V"] == type_name
    found = {row[0] for row in exponents.sql(f'SELECT V FROM exports."{dataset}"').fetchall()}
    convert = float if type_name == "DOUBLE" else str
    assert found == {convert(value) if value else None for value in values}


# Columns


def test_columns_are_matched_by_name_whatever_their_order_and_case(site: Site) -> None:
    site.load("A,B,C\n1,x,1.5\n")
    load = site.load("c,A,B\n2.5,2,y\n", subject_id=2)
    assert list(site.types()) == ["A", "B", "C"]
    assert load.changes == ()
    assert site.rows(f"SELECT A, B, C FROM exports.{DATASET} ORDER BY A") == [
        (1, "x", 1.5),
        (2, "y", 2.5),
    ]


def test_new_columns_are_added_missing_ones_are_null_and_the_order_stays(site: Site) -> None:
    site.load("A,B\n1,x\n")
    load = site.load("NEW,B\n2024-02-29,y\n", subject_id=2)
    assert list(site.types().items()) == [("A", "BIGINT"), ("B", "VARCHAR"), ("NEW", "DATE")]
    assert [str(change) for change in load.changes] == ["NEW: new, DATE"]
    assert site.rows(f"SELECT A, B, NEW FROM exports.{DATASET} ORDER BY _subject_id") == [
        (1, "x", None),
        (None, "y", date(2024, 2, 29)),
    ]
    site.load("B,NEW,A\nz,soon,q\n", subject_id=3)
    assert list(site.types().items()) == [("A", "VARCHAR"), ("B", "VARCHAR"), ("NEW", "VARCHAR")]
    assert site.rows(f"SELECT A, B, NEW FROM exports.{DATASET} ORDER BY _subject_id") == [
        ("1", "x", None),
        (None, "y", "2024-02-29"),
        ("q", "z", "soon"),
    ]


def test_exports_of_one_batch_with_other_headers_and_kinds_share_one_table(site: Site) -> None:
    site.put("A,B\n1.50,1\n")
    site.put("B,A,C\n007,2,2024-02-29\n", subject_id=2)
    site.put("A,B\n,\n", subject_id=3)
    site.sync()
    assert site.types() == {"A": "DOUBLE", "B": "VARCHAR", "C": "DATE"}
    assert site.rows(f"SELECT A, B, C FROM exports.{DATASET} ORDER BY _subject_id") == [
        (1.5, "1", None),
        (2.0, "007", date(2024, 2, 29)),
        (None, None, None),
    ]


def test_files_of_one_batch_widen_old_rows_and_each_other(site: Site) -> None:
    site.load("A\n1.50\n")
    site.put("A,B\n2.50,1\n", subject_id=2)
    site.put("B,A\n2,x\n", subject_id=3)
    site.sync()
    assert site.types() == {"A": "VARCHAR", "B": "BIGINT"}
    assert site.rows(f"SELECT A, B FROM exports.{DATASET} ORDER BY _subject_id") == [
        ("1.50", None),
        ("2.50", 1),
        ("x", 2),
    ]


def test_a_file_of_a_refused_partition_widens_nothing(site: Site) -> None:
    site.load(_column(["1.50"]))
    study = site.sandbox.study
    # The load of the second program's file is refused, and so is the whole partition.
    study.put(subject_id=2, data_set_name=DATASET, csv=b"N,V\n1,text\n", study_program_id="p-1")
    study.put(subject_id=2, data_set_name=DATASET, csv=b"N,V\n1\n1,2,3\n", study_program_id="p-2")
    site.put(_column(["2.50"]), subject_id=3)
    site.sync()
    assert site.types()["V"] == "DOUBLE"
    assert site.rows(f"SELECT V FROM exports.{DATASET} ORDER BY V") == [(1.5,), (2.5,)]


def test_a_large_file_may_begin_with_a_mark_that_is_a_value(site: Site) -> None:
    records = "".join(f"{place},{'x' * 40}\n" for place in range(110_000))
    site.load("N,T\n\ufeff1,a\n" + records)
    assert site.rows("SELECT csv_bytes > 4 << 20 FROM lineage.loads") == [(True,)]
    assert site.rows(f"SELECT N FROM exports.{DATASET} WHERE T = 'a'") == [("\ufeff1",)]


# Missing landed files -----------------------------------------------------------------------------


def gone(site: Site, subject_id: int) -> None:
    """Remove the file but not its description, as a retention rule of the storage may do."""
    found = list(site.storage.landing.glob(f"*/{subject_id}/*/*.export"))
    assert found
    for path in found:
        path.unlink()


def test_a_landed_file_that_is_gone_is_fetched_again_where_it_is_still_to_be_had(
    site: Site,
) -> None:
    site.put("N\n1\n", subject_id=1)
    site.put("N\n2\n", subject_id=2)
    site.sync()
    gone(site, 1)
    site.sandbox.forget_requests()
    assert isinstance(site.load("N\n1.50\n", subject_id=3), Load)
    assert site.rows(f'SELECT N FROM exports."{DATASET}" ORDER BY N') == [(1.0,), (1.5,), (2.0,)]
    assert sum(each.kind == "file" for each in site.sandbox.requests) == 2
    assert len(list(site.storage.landing.glob("*/1/*/*.export"))) == 1


def test_files_that_are_gone_for_good_fail_the_partitions_that_need_them_and_nothing_else(
    site: Site,
) -> None:
    site.put("N\n1\n", subject_id=1)
    site.put("M\na\n", subject_id=1, dataset="Other")
    site.sync()
    # The load is superseded, and CentrePoint has only the newer execution.
    site.put("N\n10\n", subject_id=1)
    site.sync()
    ((load_id, first),) = site.rows(
        "SELECT load_id, landing_path FROM lineage.loads"
        " SEMI JOIN lineage.superseded USING (load_id)"
    )
    (site.storage.landing / str(first)).unlink()
    site.put("N\n2\n", subject_id=2)
    site.put("N\n2.5\n", subject_id=3)
    site.put("M\nb\n", subject_id=2, dataset="Other")
    results = {result.partition: result for result in site.sync()}
    assert len(results) == 3
    (failed,) = [each for each in results.values() if isinstance(each, PartitionFailed)]
    assert failed.partition == Partition(3, DATASET)
    for words in (
        f"data set {DATASET} must widen",
        f"load {load_id}",
        str(first),
        "compact --older-than 0",
    ):
        assert words in failed.error
    assert site.rows("SELECT subject_id, dataset_name FROM lineage.failures") == [(3, DATASET)]
    # The advice in the message works.
    compact(site.storage, timedelta(0))
    assert [type(result) for result in site.sync()] == [PartitionLoaded]
    assert site.rows(f'SELECT N FROM exports."{DATASET}" ORDER BY N') == [(2.0,), (2.5,), (10.0,)]


def test_many_that_are_gone_are_listed_in_one_request(site: Site) -> None:
    for subject in range(1, 31):
        site.put(f"N\n{subject}\n", subject_id=subject)
    site.sync()
    for subject in range(1, 31):
        gone(site, subject)
    site.put("N\nx\n", subject_id=31)
    site.sandbox.forget_requests()
    site.sync()
    assert site.types() == {"N": "VARCHAR"}
    assert sum(each.kind == "listing" for each in site.sandbox.requests) == 2
    assert site.rows("SELECT count(*) FROM lineage.failures") == [(0,)]


def test_other_bytes_than_those_that_were_loaded_are_not_taken_for_them(site: Site) -> None:
    site.put("N\n1\n", subject_id=1)
    site.sync()
    item = site.sandbox.study.export_files[0]
    gone(site, 1)
    # The file was written again, but the listing is unchanged.
    site.sandbox.study.put(
        subject_id=1, data_set_name=DATASET, csv=b"N\n9\n", execution=item.execution,
        modified=item.modified, file_name=item.file_name,
    )  # fmt: skip
    site.put("N\n1.5\n", subject_id=2)
    (failed,) = site.sync()
    assert isinstance(failed, PartitionFailed)
    assert "is missing or damaged" in failed.error
    assert site.rows(f'SELECT N FROM exports."{DATASET}"') == [(1,)]


def test_a_damaged_landed_file_is_fetched_again(site: Site) -> None:
    site.put("N\n1\n", subject_id=1)
    site.sync()
    (landed,) = site.storage.landing.glob("*/1/*/*.export")
    landed.write_bytes(landed.read_bytes()[:-3])
    site.put("N\n1.5\n", subject_id=2)
    assert [type(result) for result in site.sync()] == [PartitionLoaded]
    assert site.types() == {"N": "DOUBLE"}
