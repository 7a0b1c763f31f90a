"""Run every query of ``queries/README.md`` on a study, as an analyst would."""

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

PAGE = Path(__file__).parents[1] / "queries" / "README.md"
QUESTION = re.compile(r"^## (\d+)\. (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```(sql|sql warehouse|python)\n(.*?)```", re.DOTALL)
QUESTIONS = {
    int(n): (title, BLOCK.findall(body)) for n, title, body in QUESTION.findall(PAGE.read_text())
}
# Empty for a study without failures and without missing subjects.
EMPTY_HERE = {3, 13}


@pytest.fixture
def study(published_study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the data in `data`, and the analyst's own demographics file."""
    (tmp_path / "data").symlink_to(published_study)
    people = pl.DataFrame(
        {
            "subject_id": list(range(10821, 10833)),
            "arm": ["treatment", "control"] * 6,
            "age": [30 + 3 * place for place in range(12)],
        }
    )
    people.write_csv(tmp_path / "demographics.csv")
    people.write_parquet(tmp_path / "demographics.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_fifteen_questions_each_with_an_answer() -> None:
    assert list(QUESTIONS) == list(range(1, 16))
    assert all(blocks for _, blocks in QUESTIONS.values())


@pytest.mark.parametrize("number", range(1, 15))
def test_a_question_in_sql_has_an_answer(study: Path, number: int) -> None:
    for kind, sql in QUESTIONS[number][1]:
        name = "warehouse.duckdb" if kind == "sql warehouse" else "centrepoint.duckdb"
        with duckdb.connect(str(study / "data" / name), read_only=True) as opened:
            answer = opened.execute(sql).fetchall()
        assert answer or number in EMPTY_HERE


def test_what_is_handed_on_is_all_there(study: Path) -> None:
    ((_, sql),) = QUESTIONS[14][1]
    with duckdb.connect(str(study / "data/centrepoint.duckdb"), read_only=True) as opened:
        opened.execute(sql)
        days = opened.execute("SELECT count(*) FROM marts.subject_days").fetchone()
    assert days is not None
    assert pl.read_parquet("subject_days.parquet").height == days[0]
    assert pl.read_csv("subject_days.csv").height == days[0]
    assert pl.read_csv("epochs_10821.csv.gz").height > 0


def test_python_writes_an_excel_file(study: Path) -> None:
    pytest.importorskip("xlsxwriter", reason="pip install xlsxwriter")
    ((_, code),) = QUESTIONS[15][1]
    exec(code, {})
    assert Path("summary.xlsx").read_bytes().startswith(b"PK")
