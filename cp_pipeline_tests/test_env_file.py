"""The commands and ``dagster dev`` take the values in ``.env`` unchanged."""

import os
from pathlib import Path

import pytest
from dagster._core.secrets.env_file import get_env_var_dict

from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.env_file import read_differently, read_env_file, read_to_the_letter
from cp_pipeline.sandbox import Sandbox, access
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests import forked
from cp_pipeline_tests.cli.test_commands import all_output, run

SECRET = "CP_CLIENT_SECRET"
# The text in the file, and the value.
WRITTEN = {
    "ab${HOME}cd": "ab${HOME}cd",
    "'ab${HOME}cd'": "ab${HOME}cd",
    '"ab${HOME}cd"': "ab${HOME}cd",
    "${HOME}": "${HOME}",
    "${UNSET:-other}": "${UNSET:-other}",
    "${CP_STUDY_ID}": "${CP_STUDY_ID}",
    "${": "${",
    "$HOME": "$HOME",
    "$$a$": "$$a$",
    "a#b": "a#b",
    "'a #b'": "a #b",
    "it's": "it's",
    'a"b"c': 'a"b"c',
    "'a\"b'": 'a"b',
    r"a\b\n": r"a\b\n",
    r"'a\b\n${x}'": r"a\b\n${x}",
    "a b c": "a b c",
    "' a '": " a ",
    "a;b&c|d=e": "a;b&c|d=e",
    "%41%20": "%41%20",
}
NASTY = "a${HOME}b$c#d\\e'f\"g;h"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CP_STUDY_ID", SECRET):
        # So that monkeypatch removes it at the end of the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = SECRET) -> None:
    (folder / ".env").write_text(f"CP_STUDY_ID=4711\n{name}={text}\n")


@pytest.mark.parametrize("text", WRITTEN)
def test_the_commands_take_it_to_the_letter(here: Path, text: str) -> None:
    write(here, text)
    read_env_file(here)
    assert os.environ[SECRET] == WRITTEN[text]


@pytest.mark.parametrize("text", WRITTEN)
def test_so_does_what_dagster_loads(here: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here, text)
    for name, value in get_env_var_dict(str(here)).items():
        monkeypatch.setenv(name, value)
    read_to_the_letter(here)
    assert os.environ[SECRET] == WRITTEN[text]
    assert os.environ["CP_STUDY_ID"] == "4711"


@pytest.mark.parametrize("value", ["of the environment", ""], ids=["a value", "empty"])
def test_a_value_that_is_not_of_the_file_stays(
    here: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    write(here, "${HOME}")
    monkeypatch.setenv(SECRET, value)
    read_env_file(here)
    read_to_the_letter(here)
    assert os.environ[SECRET] == value


def test_without_a_file_nothing_is_read(here: Path) -> None:
    read_env_file(here)
    read_to_the_letter(here)
    assert SECRET not in os.environ
    assert read_differently(here) == []


@pytest.fixture
def nasty_study(sandbox: Sandbox, here: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A service whose secret has unusual characters and is set only in ``.env``."""
    monkeypatch.setattr(access, "CLIENT_SECRET", NASTY)
    monkeypatch.delenv(SECRET, raising=False)
    escaped = NASTY.replace("\\", "\\\\").replace("'", "\\'")
    write(here, f"'{escaped}'")
    return sandbox


def test_a_command_gets_a_token_with_it(nasty_study: Sandbox, here: Path) -> None:
    done = run("doctor", folder=here)
    assert done.returncode == 0, all_output(done)
    assert "granted" in done.stdout
    assert "values are read literally" in done.stdout
    assert os.environ["HOME"] not in done.stdout.partition("warehouse")[0]


def test_dagster_gets_a_token_with_it(
    nasty_study: Sandbox, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = here / "data" / "dagster_home"
    home.mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    # Otherwise dbt would parse the models first, in the other process.
    prepared_project(StorageSettings.from_environment())
    command = ["asset", "materialize", "--select", "export_files", "-m", "cp_pipeline.definitions"]
    done = forked.program("from dagster.__main__ import main; main()", *command, seconds=120)
    assert done.returncode == 0, all_output(done)
    assert "RUN_SUCCESS" in done.stderr
    assert any(request.kind == "listing" for request in nasty_study.requests)


def test_doctor_says_which_variables_dagster_reads_differently_and_not_their_values(
    sandbox: Sandbox, here: Path
) -> None:
    write(here, sandbox.environment[SECRET])
    with (here / ".env").open("a") as file:
        file.write("DAGSTER_HOME=/somewhere/${LOGNAME:-else}\nCP_DATA_DIR=d${HOME}\n")
    done = run("doctor", folder=here)
    assert done.returncode == 2
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert ".env" in line
    assert "DAGSTER_HOME" in line
    assert "`dagster dev`" in line
    assert "CP_DATA_DIR" not in line
    assert "somewhere" not in all_output(done)
