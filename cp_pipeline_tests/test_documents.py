"""The documents say what is true: links lead somewhere, commands and variables are the code's."""

import re
import subprocess
from pathlib import Path

import pytest

from cp_pipeline.cli import _COMMANDS

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT, capture_output=True, text=True, check=True,
).stdout.split("\0")  # fmt: skip
TEXTS = {
    name: (ROOT / name).read_text()
    for name in TRACKED
    if name.endswith((".py", ".md", ".sql", ".yml", ".toml")) and (ROOT / name).exists()
}
DOCUMENTS = {name: text for name, text in TEXTS.items() if name.endswith(".md")}
README, EXAMPLE = TEXTS["README.md"], (ROOT / ".env.example").read_text()
VARIABLE = re.compile(r"\bCP_[A-Z_]+[A-Z]\b")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_of_a_document_leads_to_something_in_the_repository(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", DOCUMENTS[name])
    missing = [each for each in targets if not (ROOT / name).parent.joinpath(each).exists()]
    assert missing == []


def test_every_command_is_in_the_readme_and_every_one_in_the_readme_is_a_command() -> None:
    named = set(re.findall(r"cp-pipeline ([a-z]+)", README))
    assert set(_COMMANDS) - named == set()
    assert named - set(_COMMANDS) == set()


def test_every_variable_that_the_settings_read_is_documented_and_no_other() -> None:
    read = set(VARIABLE.findall(TEXTS["cp_pipeline/settings.py"]))
    assert read - set(VARIABLE.findall(README)) == set()
    assert read - set(VARIABLE.findall(EXAMPLE)) == set()
    assert set(VARIABLE.findall(README)) - read == set()
    assert set(VARIABLE.findall(EXAMPLE)) - read == set()


def test_nothing_cites_a_document_that_is_not_in_the_repository() -> None:
    citation = re.compile(r"(?<!docs/)\b(?:API|DESIGN|MODELS)\.md|\.\./shared")
    citing = {name for name, text in TEXTS.items() if citation.search(text)}
    assert citing - {"cp_pipeline_tests/test_documents.py"} == set()


def test_every_test_that_a_document_names_is_there() -> None:
    named = {
        found
        for text in DOCUMENTS.values()
        for found in re.findall(r"`(?:cp_pipeline_tests/)?((?:[a-z_]+/)?test_[a-z_]+\.py)`", text)
    }
    assert named
    missing = [each for each in sorted(named) if not (ROOT / "cp_pipeline_tests" / each).exists()]
    assert missing == []
