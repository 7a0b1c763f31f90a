"""The documents say what the code does: links, commands, settings, names, SQL, and the words used.

Belongs here: what can be compared. Does not belong: the questions of ``queries/README.md``
(``test_queries``).
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import polars as pl
import pytest

from cp_pipeline.cli import commands
from cp_pipeline.cli.demo import _QUESTIONS
from cp_pipeline.settings import (
    CentrePointSettings,
    SettingsError,
    StorageSettings,
    sensor_seconds,
)
from cp_pipeline.settings.notifications import NotifySettings

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).relative_to(ROOT)
README = ROOT / "README.md"
# Documents that an earlier version had under these names, and where they are now.
MOVED = {"DESIGN" + ".md": "docs/design.md", "API" + ".md": "docs/api.md"}
# Tables, columns and checks that users have stored keep their names (docs/naming.md).
STORED = re.compile(r"unusable_items|records_match_lineage")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w[^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\b(?:CP_[A-Z_]*[A-Z]|DAGSTER_HOME)\b")


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository, by what git knows."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


DOCUMENTS = tracked("*.md")
SOURCES = [
    path
    for path in tracked("*.py", "*.md", "*.sql", "*.yml", "*.toml", "Makefile", ".ci/*", ".env.*")
    if path.relative_to(ROOT) != HERE
]


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    wanted = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if wanted.search(line)
    ]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    kept = "".join(each for each in heading.lower() if each.isalnum() or each in " -_")
    return kept.strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in LINK.findall(path.read_text()):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", MOVED)
def test_documents_are_cited_where_they_are(name: str) -> None:
    assert (ROOT / MOVED[name]).exists()
    assert lines_with(rf"\b{re.escape(name)}", SOURCES) == [], f"is now {MOVED[name]}"


def test_capitals_name_no_document_that_is_not_there() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in re.findall(r"\b[A-Z]{3,}\.md\b", path.read_text())
        if not (ROOT / name).exists() and not (path.parent / name).exists()
    }
    assert found == set()


def test_every_document_that_is_cited_is_there() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {cited}"
        for path in SOURCES
        for cited in re.findall(r"\b(?:docs|benchmarks|queries)/[\w.-]+\.md\b", path.read_text())
        if not (ROOT / cited).exists()
    }
    assert missing == set()


def test_a_section_of_the_contract_that_is_cited_is_there() -> None:
    sections = re.findall(
        r"^#+ (.+)$|^\*\*(.+?)\.\*\*", (ROOT / "docs/api.md").read_text(), re.MULTILINE
    )
    titles = {(heading or bold).lower() for heading, bold in sections}
    cited = {
        " ".join(title.replace("#", " ").split()).lower()
        for path in SOURCES
        for title in re.findall(r"docs/api\.md\)?, \"([^\"]+)\"", path.read_text())
    }
    assert cited - titles == set()


def test_nothing_outside_the_repository_is_named() -> None:
    outside = r"\.\./shared|(?<![\w.~-])/work/"
    assert lines_with(outside, SOURCES) == []


def every_command(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name}{each} ")
        else:
            yield f"{name}{each}", command


COMMANDS = dict(every_command(commands))


def commands_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each ``cp-pipeline …`` of a document that names a command, with its options."""
    for line in re.findall(r"cp-pipeline +([^`\n#]+)", text):
        words = line.partition(" -- ")[0].split()
        if not re.fullmatch(r"[a-z]+", words[0]):
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        yield name, re.findall(r"--[a-z-]+", " ".join(words))


def test_every_command_is_in_the_readme() -> None:
    rows = re.findall(r"^\| `cp-pipeline ([^`]+)`", README.read_text(), re.MULTILINE)
    documented = {name for row in rows for name, _ in commands_in(f"cp-pipeline {row}")}
    assert documented == set(COMMANDS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists_with_its_options(path: Path) -> None:
    code = "\n".join(re.findall(r"`[^`\n]+`", path.read_text()))
    code += "\n".join(body for _, body in BLOCK.findall(path.read_text()))
    for name, options in commands_in(code):
        assert name in COMMANDS
        known = {word for each in COMMANDS[name].params for word in each.opts}
        assert set(options) <= known, name


def test_every_option_in_the_table_of_commands_exists() -> None:
    for row in re.findall(r"^\| `cp-pipeline .*$", README.read_text(), re.MULTILINE):
        ((name, _), *_) = commands_in(row)
        known = {word for each in COMMANDS[name].params for word in each.opts}
        assert set(re.findall(r"(?<=[` ])--[a-z-]+", row)) <= known, name


class Asked(dict[str, str]):
    """An environment without variables that notes which ones are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: object = None) -> str:
        self.names.add(key)
        return str(default or "")


def variables_read() -> set[str]:
    asked = Asked()
    with pytest.raises(SettingsError):
        CentrePointSettings.from_environment(asked)
    StorageSettings.from_environment(asked)
    sensor_seconds(asked)
    NotifySettings.from_environment(asked)
    return asked.names


def test_the_settings_that_are_read_are_in_the_readme_and_the_example() -> None:
    read = variables_read()
    table = README.read_text().partition("| variable | default |")[2].partition("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines() if line.count("|") > 2]
    first_cells = "\n".join(row[1] for row in rows)
    example = (ROOT / ".env.example").read_text()
    assert set(VARIABLE.findall(first_cells)) == read
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == read


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_no_setting_that_is_not_read(path: Path) -> None:
    assert set(VARIABLE.findall(path.read_text())) <= variables_read()


def test_the_defaults_in_the_example_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CP_DATA_DIR")
    example = (ROOT / ".env.example").read_text()
    said = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    needed = {"CP_CLIENT_ID": "a", "CP_CLIENT_SECRET": "b", "CP_STUDY_ID": "1"}
    assert CentrePointSettings.from_environment(
        needed | said
    ) == CentrePointSettings.from_environment(needed)
    assert StorageSettings.from_environment(said) == StorageSettings.from_environment({})
    assert sensor_seconds(said) == sensor_seconds({})


def blocks(kind: str) -> list[str]:
    return [body for name, body in BLOCK.findall(README.read_text()) if name == kind]


def test_the_sql_of_the_readme_has_answers(
    published_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [("centrepoint", sql) for sql in blocks("sql")]
    asked += [("warehouse", sql) for sql in blocks("sql warehouse")]
    assert len(asked) > 1
    for name, block in asked:
        with duckdb.connect(str(published_study / f"{name}.duckdb"), read_only=True) as opened:
            for statement in duckdb.extract_statements(block):
                assert opened.execute(statement).fetchall(), block


def test_the_rows_that_the_readme_shows_are_those_of_the_demo(published_study: Path) -> None:
    """The same study as ``make demo`` has, but for the length of its epoch files."""
    (shown,) = blocks("text")
    lines = [line.strip("| ").split("|") for line in shown.splitlines() if line.startswith("| ")]
    rows = [tuple(cell.strip() for cell in line) for line in lines]
    with duckdb.connect(str(published_study / "centrepoint.duckdb"), read_only=True) as opened:
        answer = opened.execute(_QUESTIONS[shown.partition("\n")[0]]).fetchall()
    assert [tuple(map(str, row)) for row in answer] == rows[1 : len(answer) + 1]


def test_the_python_of_the_readme_runs(
    published_study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").symlink_to(published_study)
    monkeypatch.chdir(tmp_path)
    for code in blocks("python"):
        names: dict[str, object] = {}
        exec(code, names)
        assert isinstance(names["epochs"], pl.DataFrame)
        assert names["epochs"].height


def test_every_table_of_the_readme_is_there(published_study: Path) -> None:
    rows = re.findall(r"^\| `((?:lineage|marts)\.\w+)`", README.read_text(), re.MULTILINE)
    assert rows
    with duckdb.connect(str(published_study / "warehouse.duckdb"), read_only=True) as opened:
        for name in rows:
            opened.execute(f"FROM {name} LIMIT 0")


def test_every_make_target_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        code = re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", path.read_text(), re.MULTILINE)
        assert {inline or line for inline, line in code} <= targets, path


def test_every_test_that_a_document_names_is_there() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {cited}"
        for path in DOCUMENTS
        for cited in re.findall(r"\b((?:\w+/)?test_\w+\.py)\b", path.read_text())
        if not (ROOT / "cp_pipeline_tests" / cited.removeprefix("cp_pipeline_tests/")).exists()
        and not list((ROOT / "cp_pipeline_tests").rglob(cited))
    }
    assert missing == set()


def test_every_file_of_the_design_is_there() -> None:
    design = (ROOT / "docs/design.md").read_text()
    rooms = "cli|defs|ingest|warehouse|landing|centrepoint|domain|locks|charts|sandbox"
    cited = set(re.findall(rf"`(?:cp_pipeline/)?((?:{rooms})/[\w/]+(?:\.py|/))`", design))
    assert cited
    assert {name for name in cited if not (ROOT / "cp_pipeline" / name).exists()} == set()


def test_every_module_that_a_charter_names_is_there() -> None:
    paths = [path for path in (ROOT / "cp_pipeline").rglob("*.py") if path.name != "__init__.py"]
    names = {path.relative_to(ROOT).with_suffix("").parts for path in paths}
    names |= {name[:-1] for name in names}
    modules = {".".join(name[start:]) for name in names for start in range(len(name))}
    missing = set()
    for path in paths:
        charter = ast.get_docstring(ast.parse(path.read_text())) or ""
        for cited in re.findall(r"\(([^()]*)\)", charter.partition("Belongs here")[2]):
            # In brackets stand modules, and a table of the schema `lineage`.
            named = re.findall(r"``((?!lineage\.)[a-z_]+\.[a-z_]+)``", cited)
            missing |= {(path.name, name) for name in named if name not in modules}
    assert missing == set()


def test_every_message_that_the_readme_quotes_is_said() -> None:
    quoted = re.findall(r'^- \*\*"(.+?)"', README.read_text(), re.MULTILINE)
    assert quoted
    texts = "\n".join(
        node.value
        for path in (ROOT / "cp_pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    # A text in SQL may be joined of several; numbers and names differ from message to message.
    said = re.sub(r"%s|%d|'\s+'", "", texts)
    for message in quoted:
        parts = re.sub(r"^\d+ \w+ ", "", message).split("…")
        assert [part for part in parts if part.strip() not in said] == [], message


def test_every_private_name_of_dagster_is_in_the_design() -> None:
    table = (ROOT / "docs/design.md").read_text().partition("<!-- private names -->")[2]
    missing = set()
    for path in (ROOT / "cp_pipeline").rglob("*.py"):
        imports = re.findall(
            r"from dagster\._\S+ import (?:\(([^)]+)\)|(.+))", path.read_text(), re.MULTILINE
        )
        file = str(path.relative_to(ROOT / "cp_pipeline"))
        rows = [row for row in table.splitlines() if row.startswith("|") and f"`{file}`" in row]
        for several, single in imports:
            for name in re.findall(r"[A-Za-z]\w*", several or single.partition("#")[0]):
                if not any(f"`{name}`" in row for row in rows):
                    missing.add(f"{file}: {name}")
    assert missing == set()


def unused_words() -> dict[str, str]:
    """By docs/naming.md: the words that stand nowhere, each with the one that does."""
    table = (ROOT / "docs/naming.md").read_text().partition("| not | but |")[2]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table.partition("\n\n")[0], re.MULTILINE)
    return {
        word.strip(): instead
        for words, instead in rows
        if not words.startswith("---")
        for word in words.split(",")
    }


@pytest.mark.parametrize("word", unused_words())
def test_a_word_that_we_do_not_use_stands_nowhere(word: str) -> None:
    # In code, words are joined in other ways: first_look, FirstLook, first-look.
    joined = r"[\s_-]*".join(re.escape(part) for part in re.split(r"[\s-]+", word))
    pattern = rf"(?i)(?<![a-z]){joined}s?(?![a-z])"
    paths = [path for path in SOURCES if path.name not in {"naming.md", "CHANGELOG.md"}]
    found = [line for line in lines_with(pattern, paths) if not STORED.search(line)]
    assert found == [], f"say: {unused_words()[word]}"
