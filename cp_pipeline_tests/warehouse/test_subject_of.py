"""``subject_of``: a subject by identifier in SQL, by the rule of the commands."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, erase_from_published, publish_current, study_names
from cp_pipeline_tests.lakes import warehouse_variables
from cp_pipeline_tests.models.trial_files import subject
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import changing, reading

pytestmark = pytest.mark.both_engines

# By the number: the site's identifier, and the subject's.
PEOPLE = {
    1: ("101", "0001"),
    2: ("102", "0001"),
    3: (None, "0003"),
    4: ("101", "Ärzte-7a"),
    5: ("", "0005"),
    6: ("103", "4"),
    # An identifier that is another one's with the site's before it.
    7: ("104", "0007"),
    8: (None, "104-0007"),
    9: ("105", ""),
}
NAMES: dict[str | None, int | None] = {
    "101-0001": 1,
    "102-0001": 2,
    "0001": None,
    "0003": 3,
    " 0003\t\n": 3,
    "ärzte-7A": 4,
    "101-ÄRZTE-7A": 4,
    "0005": 5,
    "-0005": None,
    "4": 6,
    "0004": None,
    "104-0007": None,
    "0007": 7,
    "105": None,
    "105-": None,
    "": None,
    "101": None,
    "%": None,
    "1": None,
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    data = tmp_path_factory.mktemp("identifiers")
    settings = StorageSettings.from_environment(
        {"CP_DATA_DIR": str(data), **warehouse_variables(data)}
    )
    with Warehouse.of(settings) as warehouse:
        with warehouse.transaction():
            pass
        for number, (site, identifier) in PEOPLE.items():
            subject(settings, number, None, identifier or "x", site)
        with changing(settings) as opened:
            opened.execute("UPDATE study.subjects_history SET subject_identifier = '' WHERE id = 9")
        publish_current(warehouse, settings.published)
        yield settings


def answered(storage: StorageSettings, identifier: str | None) -> int | None:
    with reading(storage) as opened:
        try:
            row = opened.execute("SELECT subject_of(?)", [identifier]).fetchone()
        except duckdb.InvalidInputException:
            return None
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("identifier", NAMES)
def test_it_answers_as_the_commands_do(storage: StorageSettings, identifier: str) -> None:
    for each in (storage, replace(storage, warehouse=str(storage.published))):
        assert answered(each, identifier) == NAMES[identifier]
        with Warehouse.of(each) as warehouse:
            named = study_names(warehouse).subjects.values()
        found: list[int | None] = [each.subject_id for each in named if each.is_named(identifier)]
        assert (found if len(found) == 1 else [None]) == [NAMES[identifier]]


def test_what_it_cannot_answer_it_says_in_words(storage: StorageSettings) -> None:
    refusals = {
        "0001": r"2 subjects .* 0001: 1 \(101-0001\); 2 \(102-0001",
        "9": r"No subject has the identifier 9\. .FROM study",
    }
    for identifier, words in refusals.items():
        # A lake is read in a transaction, which ends with the first error.
        with reading(storage) as opened, pytest.raises(duckdb.Error, match=words):
            opened.execute("SELECT subject_of(?)", [identifier])
    assert answered(storage, None) is None


def test_a_file_without_an_erased_subject_still_has_it(
    storage: StorageSettings, tmp_path: Path
) -> None:
    file = tmp_path / "copy.duckdb"
    file.write_bytes(storage.published.read_bytes())
    assert erase_from_published(file, 1)
    copy = replace(storage, warehouse=str(file))
    assert (answered(copy, "101-0001"), answered(copy, "0001")) == (None, 2)


@pytest.mark.parametrize("where", [[], ["--warehouse"]])
def test_a_query_takes_the_option(
    storage: StorageSettings, where: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in warehouse_variables(storage.data_dir).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CP_DATA_DIR", str(storage.data_dir))

    def asked(sql: str, identifier: str) -> subprocess.CompletedProcess[str]:
        return run("query", sql, "--format", "csv", "--subject-identifier", identifier, *where)

    done = asked("SELECT id FROM study.subjects WHERE id = $subject", "102-0001")
    assert (done.returncode, done.stdout) == (0, "id\n2\n"), done.stderr
    ambiguous = asked("SELECT $subject", "0001")
    assert (ambiguous.returncode, ambiguous.stdout) == (2, "")
    assert "2 subjects have the identifier 0001" in ambiguous.stderr
    unused = asked("SELECT 1", "102-0001")
    assert unused.returncode == 2
    assert "$subject" in unused.stderr
