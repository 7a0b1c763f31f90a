"""A home of an older Dagster is migrated or left unchanged, as the message says.

The homes of Dagster 1.4.17 to 1.12.22 were examined once. The tests create a home with today's
Dagster, and remove what those homes did not have.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import open_pipeline
from cp_pipeline_tests.defs.conftest import EXPORTS
from cp_pipeline_tests.warehouse_contents import run

OWN_LOG, DAGSTERS_LOG = True, False
# Values of `alembic_version` in the event log's index.
NO_VERSION = ""
BEFORE_THE_COLUMN = "16e3655b4d9b"
OF_1_9_13 = "7e2f3204cf8e"


@pytest.fixture
def study() -> SandboxStudy:
    """One subject: each test syncs several times."""
    return SandboxStudy.synthetic(subjects=1, days=1, epoch_rows=5)


@pytest.fixture
def home(sandbox: Sandbox, tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "dagster_home"
    open_instance(open_pipeline().storage).dispose()
    return folder


def make_older(home: Path, version: str, *, lacks_column: bool, own_log: bool) -> None:
    if not own_log:
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with closing(sqlite3.connect(home / "history/runs/index.db")) as index, index:
        index.execute("DELETE FROM alembic_version")
        if version:
            index.execute("INSERT INTO alembic_version VALUES (?)", [version])
        if lacks_column:
            index.execute("ALTER TABLE concurrency_limits DROP COLUMN using_default_limit")


def migrate(home: Path) -> None:
    with pytest.MonkeyPatch.context() as here:
        here.setenv("DAGSTER_HOME", str(home))
        done = forked.program("from dagster.__main__ import main; main()", "instance", "migrate")
    assert done.returncode == 0, done.stderr


def refused() -> str:
    """Run a sync that refuses the home, and return its message."""
    done = run("sync")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "made by an older Dagster: no such column" in done.stderr
    return done.stderr


@pytest.mark.parametrize("own_log", [OWN_LOG, DAGSTERS_LOG])
def test_a_home_with_a_version_works_after_a_migration(home: Path, own_log: bool) -> None:
    make_older(home, BEFORE_THE_COLUMN, lacks_column=True, own_log=own_log)
    assert "set DAGSTER_HOME to that folder, run `dagster instance migrate`" in refused()
    migrate(home)
    assert run("sync").returncode == 0


def test_a_home_without_a_version_works_after_a_migration_with_our_event_log(home: Path) -> None:
    make_older(home, NO_VERSION, lacks_column=True, own_log=OWN_LOG)
    assert "run `dagster instance migrate` once" in refused()
    migrate(home)
    assert run("sync").returncode == 0


def test_a_home_without_a_version_must_be_replaced_with_dagsters_event_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_older(home, NO_VERSION, lacks_column=True, own_log=DAGSTERS_LOG)
    for _ in range(2):
        message = refused()
        assert "Move that folder away, or set DAGSTER_HOME to a new one" in message
        assert "`dagster instance migrate` cannot help" in message
        migrate(home)
    new = home.with_name("new_home")
    monkeypatch.setenv("DAGSTER_HOME", str(new))
    assert run("sync").returncode == 0
    with open_instance(open_pipeline().storage) as instance:
        assert len(instance.get_materialized_partitions(EXPORTS)) == 4
    monkeypatch.delenv("DAGSTER_HOME")
    shutil.move(home, home.with_name("away"))
    assert run("sync").returncode == 0


@pytest.mark.parametrize("own_log", [OWN_LOG, DAGSTERS_LOG])
@pytest.mark.parametrize("version", [OF_1_9_13, NO_VERSION])
def test_an_older_home_that_lacks_nothing_works(home: Path, version: str, own_log: bool) -> None:
    make_older(home, version, lacks_column=False, own_log=own_log)
    assert run("sync").returncode == 0
