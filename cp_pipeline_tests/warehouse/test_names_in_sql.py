"""Names of columns and data sets never conflict with names in our SQL.

The tested names are all words in our own SQL, and all keywords of DuckDB.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

import cp_pipeline.warehouse
from cp_pipeline.ingest import PartitionLoaded
from cp_pipeline.landing.csv_validation import RESERVED_NAMES
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import (
    Load,
    Question,
    Warehouse,
    ask,
    erase_from_published,
    erase_from_warehouse,
)
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import BEFORE, PROJECT, BuiltSite
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouses import publish, reading

WAREHOUSE = Path(cp_pipeline.warehouse.__file__).parent
# A family with a staging model, so that the models read it.
FAMILY = "ActivityDaily8"
# Data sets may have such names too.
OTHERS = ("loads", "rows", "chosen", "history", "exports", "staged", "field", "Other")


def _texts(module: Path) -> Iterator[str]:
    """Yield every string of a module except docstrings, including the parts of f-strings."""
    tree = ast.parse(module.read_text())
    statements = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in statements:
            continue
        if isinstance(node.value, str):
            yield node.value


def _words() -> list[str]:
    texts = [text for module in sorted(WAREHOUSE.glob("*.py")) for text in _texts(module)]
    texts += [path.read_text() for path in sorted(PROJECT.rglob("*.sql"))]
    with duckdb.connect() as connection:
        texts += [
            word
            for (word,) in connection.execute(
                "SELECT keyword_name FROM duckdb_keywords()"
            ).fetchall()
        ]
    words = {word.lower() for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}
    places = [f"{name}_{place}" for name in ("value", "text", "cast") for place in range(3)]
    return sorted({*words, *places} - RESERVED_NAMES)


WORDS = _words()
_FIELDS = (
    ("2024-03-01 08:00:00", "2024-03-01 08:05:00", "2024-03-02 09:00:00"),
    ("17", "4", "-5"),
    ("1.5", "0.25", "1e+22"),
    ("wear", "007", ""),
    ("2024-03-01", "2024-03-02", "2024-03-02"),
)
_TYPES = ("TIMESTAMP", "BIGINT", "DOUBLE", "VARCHAR", "DATE")


def _csv(names: list[str], *, changed: bool) -> str:
    """Return a CSV with a column for each name, of all types in turn; changed: 1 in 7 has text."""
    columns = [_FIELDS[place % len(_FIELDS)] for place in range(len(names))]
    if changed:
        columns = [
            ("now text", *fields[1:]) if place % 7 == 0 else fields
            for place, fields in enumerate(columns)
        ]
    return "\n".join(",".join(each) for each in [names, *zip(*columns, strict=True)]) + "\n"


@dataclass(frozen=True)
class Everything:
    """A site with a data set of all names, loaded twice; its first execution and published file."""

    site: BuiltSite
    first_execution: str
    published: Path


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path_factory.mktemp("names"))
        site.put(_csv([word.upper() for word in WORDS], changed=False), dataset=FAMILY)
        site.put("SUBJECT_ID,LOAD_ID,STEPS\n1,1,5\n", subject_id=2, dataset=DATASET)
        site.put("SUBJECT_ID,LOAD_ID,STEPS\n2,2,5\n", subject_id=1, dataset=DATASET)
        for name in OTHERS:
            site.put(f"TIMESTAMP,{name}\n2024-03-01 08:00:00,1\n", dataset=name)
        assert all(isinstance(result, PartitionLoaded) for result in site.sync())
        _check_cells(site.rows(f'FROM exports."{FAMILY}"'), changed=False)
        site.build(*BEFORE)
        ((first,),) = site.rows(
            "SELECT program_executed_at::VARCHAR FROM lineage.loads"
            f" WHERE dataset_name = '{FAMILY}'"
        )
        site.put(_csv(WORDS, changed=True), dataset=FAMILY)
        for name in OTHERS:
            site.put(f"TIMESTAMP,{name}\n2024-03-01 08:00:00,2\n", dataset=name)
        assert all(isinstance(result, PartitionLoaded) for result in site.sync())
        site.build("--resource-type", "model")
        publish(site.storage)
        yield Everything(site, str(first), site.storage.published)


def _check_cells(found: list[tuple[object, ...]], *, changed: bool, as_text: bool = False) -> None:
    """Check all cells as text: widened columns as in the file, others as their type prints them."""
    wanted = set()
    for record in range(3):
        cells = []
        for place in range(len(WORDS)):
            text = _FIELDS[place % len(_FIELDS)][record]
            widened = (changed or as_text) and place % 7 == 0
            if changed and place % 7 == 0 and record == 0:
                text = "now text"
            number = _TYPES[place % len(_TYPES)] in {"BIGINT", "DOUBLE"} and not widened
            cells.append(str(float(text)) if number else text or "None")
        wanted.add(tuple(cells))
    shown = {
        tuple(
            str(float(cell)) if isinstance(cell, int | float) else str(cell)
            for cell in row[: len(WORDS)]
        )
        for row in found
    }
    assert shown == wanted
    assert len(found) == 3


def test_there_are_many_words_and_those_of_the_issue_among_them() -> None:
    assert len(WORDS) > 900
    assert {"ended", "begun", "loads", "rows", "select", "order", "subject_id"} <= set(WORDS)


def test_the_newer_execution_is_current_in_every_cell(everything: Everything) -> None:
    _check_cells(everything.site.rows(f'FROM exports."{FAMILY}"'), changed=True)
    types = everything.site.types(FAMILY)
    assert [name.lower() for name in types] == WORDS
    for place, kind in enumerate(types.values()):
        assert kind == ("VARCHAR" if place % 7 == 0 else _TYPES[place % len(_TYPES)])


def test_as_of_gives_the_older_execution_in_every_cell(everything: Everything) -> None:
    question = f"FROM as_of('{FAMILY}', '{everything.first_execution}')"
    _check_cells(everything.site.rows(question), changed=False, as_text=True)


def test_the_published_file_has_every_cell(everything: Everything) -> None:
    with duckdb.connect(str(everything.published), read_only=True) as opened:
        _check_cells(opened.execute(f'FROM exports."{FAMILY}"').fetchall(), changed=True)


def test_the_profiles_is_at_the_right_columns(everything: Everything) -> None:
    looks = everything.site.rows(
        "SELECT lower(time_column), first_timestamp::VARCHAR, last_timestamp::VARCHAR,"
        f" duplicate_timestamps FROM lineage.loads WHERE dataset_name = '{FAMILY}' ORDER BY load_id"
    )
    named = re.compile("timestamp|^(date|day|time|start|begin)")
    times = [
        next(
            word
            for place, word in enumerate(WORDS)
            if place % 5 == 0 and named.search(word) and not (widened and place % 7 == 0)
        )
        for widened in (False, True)
    ]
    assert looks == [(time, "2024-03-01 08:00:00", "2024-03-02 09:00:00", 0) for time in times]


def test_models_compare_the_loads(everything: Everything) -> None:
    compared = everything.site.rows(
        "SELECT dataset_name, rows_added, rows_removed, rows_changed, columns_added,"
        " columns_removed FROM marts.program_executions WHERE previous_load_id IS NOT NULL"
        " ORDER BY dataset_name = 'ActivityDaily8' DESC, dataset_name"
    )
    # In the newer execution, every seventh column has text in one row. So these columns are text
    # for the older execution's rows too, and both can be compared.
    assert compared[0][:4] == (FAMILY, 0, 0, 1)
    assert compared[1:] == [(name, 0, 0, 1, [], []) for name in sorted(OTHERS)]
    assert everything.site.rows("SELECT count(*) FROM staging.activity_daily") == [(3,)]


@pytest.mark.parametrize("question", Question)
def test_every_question_is_answered(everything: Everything, question: Question) -> None:
    with closing(Warehouse(everything.site.storage.warehouse)) as warehouse:
        found = ask(warehouse, question)
    if question is Question.SCHEMA_IS_UNCHANGED:
        assert [row[:2] for row in found.rows] == [(1, FAMILY)]
    else:
        assert found.at_fault == 0


NAMES = (
    "ENDED", "BEGUN", "STARTED", "RUN", "STRETCH", "STEPS", "REST", "ROWS", "TEXT_0", "VALUE_0",
    "CAST_0", "LOADS", "CHOSEN", "STAGED", "FIELD", "SOURCE", "LOAD", "TICK",
)  # fmt: skip


TIMES = ["2024-03-01 08:00:00", "2024-03-01 08:05:00", "2024-03-01 08:05:07"] * 2


@dataclass(frozen=True)
class Named:
    """The load of each data set, and the warehouse, open to read."""

    loads: dict[str, Load]
    opened: duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    """Each name of the value of the curve, and of a time column without a regular step."""
    value = [f"{time},{place}" for place, time in enumerate(TIMES)]
    time = [f"{place},{time},{place}" for place, time in enumerate(TIMES)]
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, tmp_path_factory.mktemp("named") / "data")
        for name in NAMES:
            site.put("\n".join([f"TIMESTAMP,{name}", *value, ""]), dataset=f"Value {name}")
            columns = f"{name},TIMESTAMP{name},N"
            site.put("\n".join([columns, *time, ""]), dataset=f"Time {name}")
        results = site.sync()
    loads = {}
    for result in results:
        assert isinstance(result, PartitionLoaded), result
        loads[result.partition.dataset_name] = result.loads[0]
    with reading(site.storage) as opened:
        yield Named(loads, opened)


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_a_name_of_ours(named: Named, name: str) -> None:
    for dataset, time_column, drawn in (
        (f"Value {name}", "TIMESTAMP", name),
        (f"Time {name}", f"TIMESTAMP{name}", "N"),
    ):
        look = named.loads[dataset].look
        assert look is not None
        assert (look.time_column, look.value_column) == (time_column, drawn)
        assert (look.first, look.last, look.duplicate_count) == (TIMES[0], TIMES[2], 3)
        assert [mean for mean in look.curve if mean is not None] == [1.5, 2.5, 3.5]
        total = named.opened.sql(f'SELECT sum("{name}") FROM exports."{dataset}"')
        assert total.fetchall() == [(15,)]


def test_erasing_goes_by_the_load_and_not_by_a_column_of_the_file(everything: Everything) -> None:
    """SUBJECT_ID in a file may be another number: here each file has the other subject's."""
    site = everything.site
    with closing(Warehouse(site.storage.warehouse)) as warehouse:
        erase_from_warehouse(warehouse, 2, 1)
    assert erase_from_published(everything.published, 2)
    assert site.rows(f"SELECT SUBJECT_ID, _subject_id FROM exports.{DATASET}") == [(2, 1)]
    assert site.rows(f"SELECT SUBJECT_ID FROM history.{DATASET}") == [(2,)]
    with duckdb.connect(str(everything.published), read_only=True) as opened:
        kept = opened.execute(f"SELECT SUBJECT_ID, _subject_id FROM exports.{DATASET}").fetchall()
    assert kept == [(2, 1)]
