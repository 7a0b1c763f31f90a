"""Kill a process while it erases a subject, then erase again: all data is gone."""

import shutil
from pathlib import Path

import pytest

from cp_pipeline.cli import commands
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.warehouse_contents import (
    MARKED_SUBJECT,
    contents,
    folders_named,
    found_in,
    known_of_subject,
    run,
    run_killed,
)

ERASE = ["erase", "--subject", str(MARKED_SUBJECT), "--yes"]


def erase() -> None:
    commands(ERASE, standalone_mode=False)


POINTS = [
    ("before", "os.rename {data}/centrepoint.duckdb.aside", 1),
    ("before", "COMMIT", 1),
    ("after", "COMMIT", 1),
    ("after", "COPY FROM DATABASE warehouse TO fresh", 1),
    ("before", "os.rename {data}/warehouse.duckdb.aside", 1),
    ("before", "os.remove {data}/warehouse.duckdb.before-rebuild", 1),
    ("before", "shutil.rmtree {data}/landing/4711/99", 1),
    ("before", "shutil.rmtree {data}/quarantine/4711/99", 1),
    # At this point, two of its files are already deleted.
    ("before", "os.remove ", 8),
]


@pytest.mark.parametrize(("when", "what", "nth"), POINTS)
def test_killed_anywhere_and_run_again_it_ends_as_if_never_killed(
    storage: StorageSettings, undisturbed: list[dict[str, str]], when: str, what: str, nth: int
) -> None:
    texts = known_of_subject()
    run_killed(*ERASE, when=when, what=what.format(data=storage.data_dir), nth=nth)
    assert found_in(storage.data_dir, texts) or folders_named(storage.data_dir, "99")
    erase()
    assert found_in(storage.data_dir, texts) == {}
    assert folders_named(storage.data_dir, "99") == []
    assert [contents(), contents(storage.published)] == undisturbed
    assert {path.name for path in storage.data_dir.iterdir()} == {
        "asked", "centrepoint.duckdb", "dagster_home", "landing", "quarantine", "run_locks",
        "warehouse.duckdb",
    }  # fmt: skip


def test_killed_between_dagsters_files_the_rest_is_done_the_next_time(
    storage: StorageSettings,
) -> None:
    texts = known_of_subject()
    shards = sorted((storage.dagster_home / "history" / "runs").glob("*.db"))
    assert len(shards) > 2
    run_killed(*ERASE, when="before", what=f"sqlite3.connect {shards[1]}", nth=1)
    assert found_in(storage.dagster_home, texts)
    erase()
    assert found_in(storage.data_dir, texts) == {}


@pytest.fixture(scope="module")
def undisturbed(
    recorded_study: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    data_dir = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(recorded_study, data_dir)
    with pytest.MonkeyPatch.context() as here:
        here.setenv("CP_DATA_DIR", str(data_dir))
        here.delenv("DAGSTER_HOME", raising=False)
        assert run(*ERASE).returncode == 0
    return [contents(data_dir / "warehouse.duckdb"), contents(data_dir / "centrepoint.duckdb")]
