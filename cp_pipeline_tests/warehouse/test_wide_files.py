"""Files of 1,500 columns: loaded correctly, with as few statements as others, and small events.

Issue 14, D6. ``benchmarks/wide_export.py`` measures the time.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cp_pipeline.defs.previews import changed_columns, preview_metadata
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Question, Warehouse, ask
from cp_pipeline.warehouse.attaching import Attachable
from cp_pipeline.warehouse.column_types import MANY_COLUMNS
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.kinds_of_values import KINDS
from cp_pipeline_tests.models.building import BuiltSite
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouses import publish

WIDTH = 1_500


def _of_all_kinds(width: int, empty_before: int = 0) -> str:
    """Return a CSV that repeats all kinds of values, each in its own columns, after empty rows."""
    used = [KINDS[place % len(KINDS)] for place in range(width)]
    height = max(len(kind.fields) for kind in KINDS)
    lines = [",".join(["ROW", *(f"C{place}" for place in range(width))])]
    lines += [f"{number}{',' * width}" for number in range(-empty_before, 0)]
    lines += [
        ",".join([str(row), *(kind.fields[row] if row < len(kind.fields) else "" for kind in used)])
        for row in range(height)
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("empty_before", [0, 3_000])
def test_every_column_has_its_type_and_its_values(site: Site, empty_before: int) -> None:
    """This holds even if the sample has no values."""
    site.load(_of_all_kinds(WIDTH, empty_before))
    types = site.types()
    selected = [
        f"epoch_ns(C{place})" if types[f"C{place}"] == "TIMESTAMP_NS" else f"C{place}"
        for place in range(WIDTH)
    ]
    found = site.rows(f'SELECT {", ".join(selected)} FROM exports.{DATASET} ORDER BY "ROW"')
    assert len(found) == empty_before + max(len(kind.fields) for kind in KINDS)
    for place in range(WIDTH):
        kind = KINDS[place % len(KINDS)]
        assert types[f"C{place}"] == kind.type, kind.name
        values = [row[place] for row in found[empty_before:]]
        assert values == [*kind.values, *[None] * (len(values) - len(kind.values))], kind.name


@pytest.mark.parametrize(
    "width", [MANY_COLUMNS - 1, MANY_COLUMNS, MANY_COLUMNS + 1, 2 * MANY_COLUMNS]
)
def test_there_is_no_step_from_narrow_to_wide(site: Site, width: int) -> None:
    site.load(_of_all_kinds(width))
    types = site.types()
    assert [types[f"C{place}"] for place in range(width)] == [
        KINDS[place % len(KINDS)].type for place in range(width)
    ]


def test_a_wide_column_widens_and_its_text_is_restored(site: Site) -> None:
    names = [f"C{place}" for place in range(WIDTH)]
    written = io.StringIO(newline="")
    first = [f"{place}.50" for place in range(WIDTH)]
    csv.writer(written, lineterminator="\n").writerows([names, first])
    site.load(written.getvalue())
    second = ["x" if place in {0, 700, WIDTH - 1} else "1" for place in range(WIDTH)]
    load = site.load(",".join(names) + "\n" + ",".join(second) + "\n", subject_id=2)
    assert [str(change) for change in load.changes] == [
        f"C{place}: DOUBLE to VARCHAR" for place in (0, 700, WIDTH - 1)
    ]
    assert site.rows(f"SELECT C0, C1, C700, C1499 FROM exports.{DATASET} ORDER BY _subject_id") == [
        ("0.50", 1.5, "700.50", "1499.50"),
        ("x", 1.0, "x", "x"),
    ]


# Number of statements


class _Counted:
    def __init__(self, connection: duckdb.DuckDBPyConnection, statements: list[str]) -> None:
        self._connection = connection
        self._statements = statements

    def execute(self, statement: str, *rest: object) -> object:
        self._statements.append(statement)
        return self._connection.execute(statement, *rest)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


@contextmanager
def _statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record every statement that a connection executes in the block."""
    statements: list[str] = []
    with monkeypatch.context() as here:
        made = vars(Attachable)["connection"].func
        counted = cached_property(lambda warehouse: _Counted(made(warehouse), statements))
        counted.__set_name__(Attachable, "connection")
        here.setattr(Attachable, "connection", counted)
        yield statements


def _numbers(width: int, seed: int) -> str:
    header = ["TIMESTAMP", *(f"C{place}" for place in range(width))]
    kinds: Sequence[object] = (seed, seed + 0.5, "", "wear", "2024-03-01", "1E5")
    row = ["2024-03-01 08:00:00", *(str(kinds[place % len(kinds)]) for place in range(width))]
    return ",".join(header) + "\n" + (",".join(row) + "\n") * 3


def test_statements_do_not_grow_with_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Covers the first load, a second execution, a widening, every check, and publishing."""
    counts = {}
    for width in (240, 640):
        with FaultySandbox(SandboxStudy.empty()) as sandbox, _statements(monkeypatch) as statements:
            site = Site(sandbox, tmp_path / str(width))
            site.load(_numbers(width, 1))
            site.load(_numbers(width, 2))
            site.load(_numbers(width, 3).replace("wear", "x").replace(",3,", ",text,"))
            warehouse = Warehouse(site.storage.warehouse)
            for question in Question:
                ask(warehouse, question)
            publish(site.storage)
            counts[width] = len(statements)
    assert counts[240] == counts[640]


def test_the_record_of_a_wide_load_is_small_and_says_what_is_left_out(site: Site) -> None:
    load = site.load(_numbers(WIDTH, 1))
    metadata = preview_metadata([load])
    schema = metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    assert [column.name for column in schema.schema.columns] == [
        "TIMESTAMP", *(f"C{place}" for place in range(199)),
    ]  # fmt: skip
    assert metadata["columns_left_out"].value == (
        "The schema shows the first 200 columns. 1,301 more are in lineage.column_types."
    )
    assert changed_columns([load]).count("\n") == 200
    assert changed_columns([load]).endswith("and 1,301 more (lineage.column_types lists all)")
    narrow = preview_metadata([site.load(_numbers(199, 1), dataset="Narrow")])
    schema = narrow["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    assert len(schema.schema.columns) == 200
    assert "columns_left_out" not in narrow


def test_models_compare_wide_loads(tmp_path: Path) -> None:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path)
        site.load(_numbers(WIDTH, 1))
        site.load(_numbers(WIDTH, 1).replace("C7,", "Other,").replace("C8,", "c8,"))
        site.build("--select", "program_executions", "--resource-type", "model")
        assert site.rows(
            "SELECT rows_changed, columns_added, columns_removed FROM marts.program_executions"
            " ORDER BY load_id"
        ) == [(0, [], []), (0, ["Other"], ["C7"])]
        with Warehouse(site.storage.warehouse).reading() as connection:
            assert connection.execute(
                f"SELECT count(*) FROM as_of('{DATASET}', now()::TIMESTAMP)"
            ).fetchone() == (3,)
        found = ask(Warehouse(site.storage.warehouse), Question.SCHEMA_IS_UNCHANGED)
        assert [row[3:5] for row in found.rows] == [(["Other"], ["C7"])]
