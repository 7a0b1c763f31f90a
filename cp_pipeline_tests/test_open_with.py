"""The commands of docs/open-with.md that can be tried here, and what a reader sees that stays."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.locks.partial_files import replaced_at_once

PAGE = Path(__file__).parents[1] / "docs" / "open-with.md"
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINES = [line for block in SHELL.findall(PAGE.read_text()) for line in block.splitlines()]
DUCKDB = [line for line in LINES if line.startswith("duckdb ")]


@pytest.fixture
def folder(published_study: Path, tmp_path: Path) -> Path:
    """A folder with a published file in ``data``."""
    (tmp_path / "data").mkdir()
    shutil.copy(published_study / "centrepoint.duckdb", tmp_path / "data")
    return tmp_path


def test_duckdbs_command_line_answers(folder: Path) -> None:
    program = Path(sys.executable).with_name("duckdb")
    if not program.exists():
        pytest.skip("no duckdb-cli: make development has it")
    assert len(DUCKDB) == 3
    for line in DUCKDB:
        words = shlex.split(line.partition(" > ")[0])
        done = subprocess.run(
            [program, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) > 12


def test_a_reader_keeps_the_file_that_it_opened(folder: Path) -> None:
    published = folder / "data" / "centrepoint.duckdb"
    count = "SELECT count(*) FROM marts.subject_summary"
    with duckdb.connect(str(published), read_only=True) as reader:
        assert reader.execute(count).fetchall() == [(12,)]
        with replaced_at_once(published, 0o644) as newer:
            shutil.copy(published, newer)
            with duckdb.connect(str(newer)) as writer:
                writer.execute("DELETE FROM marts.subject_summary WHERE subject_id > 10821")
        assert reader.execute(count).fetchall() == [(12,)]
    # Another process, because this one shares what it has open.
    code = (
        f"import duckdb; opened = duckdb.connect({str(published)!r}, read_only=True);"
        f" print(opened.execute({count!r}).fetchall())"
    )
    again = [sys.executable, "-c", code]
    done = subprocess.run(again, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[(1,)]"
