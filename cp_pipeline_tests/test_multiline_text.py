"""Quoted text over several lines stays unchanged, in files of any size.

DuckDB's threads start at different positions in a file. If a line end is inside quotes, the text
after it may look like a record, or like the end of a quoted field.
"""

import csv
import io
import random
from pathlib import Path

import pytest

from cp_pipeline.landing import CsvText, read_csv_text
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline.warehouse import Warehouse
from cp_pipeline.warehouse.staging import stage
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import DATASET, Site

HEADER = ("NUMBER", "TEXT", "SIZE")
Record = tuple[int, str, int]


def text_like_records(chance: random.Random) -> str:
    """Return a text whose lines look like records, or like the start or end of quotes."""
    kind = chance.random()
    if kind < 0.5:
        return "\n".join(
            f'{chance.randrange(9)},"{chance.randrange(9)}",z'
            if chance.random() < 0.5
            else f"{chance.randrange(99)},{chance.randrange(99)},y,q"
            for _ in range(chance.randint(1, 8))
        )
    if kind < 0.6:
        return '"\n"' * chance.randint(1, 5)
    if kind < 0.65:
        return "\n" * chance.randint(1, 30)
    return "x" * chance.randint(1, 60)


def records(chance: random.Random, number: int) -> list[Record]:
    return [(place, text_like_records(chance), chance.randrange(10**6)) for place in range(number)]


def written(rows: list[Record]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("seed", [10, 12, 15, 22])
def test_of_many_files_that_are_read_together(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    texts: dict[int, CsvText] = {}
    expected: list[tuple[int, int, str, int]] = []
    for number in range(40):
        rows = records(chance, 2500)
        texts[number] = read_csv_text(written(rows).encode(), tmp_path)
        expected += [(number, *row) for row in rows]
    assert all(text.spans_lines and text.body for text in texts.values())
    warehouse = Warehouse(str(tmp_path / "warehouse.duckdb"))
    warehouse.connection.execute("SET threads = 4")
    staged = stage(warehouse.connection, "together", texts, {}, tmp_path)
    found = warehouse.connection.execute(
        "SELECT _load_id, * EXCLUDE (_load_id) FROM memory.together"
    )
    assert sorted(found.fetchall()) == sorted(expected)
    assert staged.row_counts == dict.fromkeys(range(40), 2500)
    warehouse.close()


def test_of_one_large_file(tmp_path: Path) -> None:
    rows = records(random.Random(1), 300_000)
    text = written(rows)
    assert len(text) > 12 << 20
    with FaultySandbox(SandboxStudy.empty(), packing=Packing.GZIP) as served:
        site = Site(served, tmp_path)
        site.load(text)
        assert sorted(
            site.rows(f'SELECT "NUMBER", "TEXT", "SIZE" FROM exports."{DATASET}"')
        ) == sorted(rows)
