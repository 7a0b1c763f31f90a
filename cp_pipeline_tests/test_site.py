"""The documentation's site: built strictly, complete, and without requests to other hosts.

Belongs here: what the built pages have. Does not belong: whether the documents are true
(``test_documents``, ``test_team_page``). Links to other hosts are not followed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import duckdb
import pytest

from cp_pipeline_tests.made_once import made_once
from cp_pipeline_tests.test_documents import COMMANDS, tracked

ROOT = Path(__file__).parents[1]


def build(root: Path, target: Path, study: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", target],
        cwd=root,
        env={**os.environ, "DOCS_STUDY": str(study), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def site(shared_folder: Path, published_study: Path) -> Path:
    def make(folder: Path) -> None:
        done = build(ROOT, folder, published_study)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr

    return made_once(shared_folder / "site", make)


def pages(site: Path) -> Iterator[tuple[str, str]]:
    for path in site.rglob("*.html"):
        yield path.name, path.read_text()


def sections(html: str) -> dict[str, str]:
    """The text below each heading of the second and third level, by the heading's text."""
    parts = re.split(r"<h[23] id=[^>]*>(.*?)<a ", html)
    texts = [unescape(re.sub(r"<[^>]+>", "", part)) for part in parts]
    return dict(zip(texts[1::2], texts[2::2], strict=True))


def test_the_build_ends_with_a_lost_page_a_broken_link_or_a_broken_anchor(
    tmp_path: Path, published_study: Path
) -> None:
    for path in tracked(
        "*.md", "docs*", "deploy", "examples", "dbt_style_sql", "mkdocs.yml", ".env.example"
    ):
        copy = tmp_path / "tree" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (tmp_path / "tree" / "docs" / "lost.md").write_text(
        "# Lost\n[one](nowhere.md) [two](naming.md#nothing) [three](../nowhere.py)\n"
    )
    done = build(tmp_path / "tree", tmp_path / "site", published_study)
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    for said in ('not included in the "nav"', "nowhere.md", "#nothing", "nowhere.py"):
        assert said in done.stderr
    assert len(warnings) == 4, warnings


def test_no_page_asks_another_host(site: Path) -> None:
    loaded = r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//"
    found = [name for name, html in pages(site) if re.search(loaded, html)]
    found += [str(path) for path in site.rglob("*.css") if "url(http" in path.read_text()]
    assert found == []


def test_a_list_is_a_list(site: Path) -> None:
    """Unlike GitHub, MkDocs wants an empty line before a list."""
    found = {
        name: [text[:60] for text in re.findall(r"<p>(.*?)</p>", html, re.DOTALL)
               if re.search(r"\n(-|\d+\.) ", text)]
        for name, html in pages(site)
    }  # fmt: skip
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_every_command_and_option_is_there(site: Path) -> None:
    html = (site / "commands.html").read_text()
    described = sections(html)
    assert described.keys() == COMMANDS.keys()
    before = html.partition("<h2")[0]
    missing = {
        f"{name} {option}"
        for name, command in COMMANDS.items()
        for each in command.params
        for option in each.opts
        if option.startswith("-") and option not in described[name] and option not in before
    }
    assert missing == set()
    assert "\\" not in html.partition("<article")[2], "a character that Markdown does not escape"
    unlike = {
        name
        for name, command in COMMANDS.items()
        if (command.help or "").partition("\n")[0] not in described[name].replace("\n", " ")
    }
    assert unlike == set()


def test_every_table_column_and_function_is_there_with_its_comment(
    site: Path, published_study: Path
) -> None:
    described = sections((site / "tables.html").read_text())
    with duckdb.connect(str(published_study / "centrepoint.duckdb"), read_only=True) as published:
        columns = published.execute(
            "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
            " WHERE database_name = current_database() AND NOT internal"
        ).fetchall()
    assert len(columns) > 100
    for schema, table, column, comment in columns:
        text = next(
            text for name, text in described.items() if name.replace('"', "") == f"{schema}.{table}"
        )
        assert column in text
        assert (comment or "").replace("`", "") in text
    with duckdb.connect(str(published_study / "warehouse.duckdb"), read_only=True) as warehouse:
        functions = warehouse.execute(
            "SELECT function_name FROM duckdb_functions()"
            " WHERE function_type = 'table_macro' AND NOT internal"
        ).fetchall()
    assert {"as_of", "as_loaded"} <= {name for (name,) in functions}
    last = described["history (in the warehouse only)"]
    for (name,) in functions:
        assert re.search(rf"{name}\([a-z, ]+\)\s+\w", last), f"{name} needs words in descriptions"
