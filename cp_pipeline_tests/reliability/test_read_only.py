"""Folders without write permission: an immediate error that names them, and no partial work.

Permissions do not apply to root, so for root the folder is mounted read-only.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.warehouse import WarehouseUnreadable
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import contents, run
from cp_pipeline_tests.warehouses import check_writable, publish


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        before = folder.stat().st_mode
        folder.chmod(0o500)
        yield
        folder.chmod(before)
        return
    name = str(folder)
    mounts = [["mount", "--bind", name, name], ["mount", "-o", "remount,ro,bind", name]]
    if any(subprocess.run(each, capture_output=True, check=False).returncode for each in mounts):
        pytest.skip("root can write everywhere, and cannot mount anything in this container")
    try:
        yield
    finally:
        subprocess.run(["umount", name], check=True)


@pytest.fixture
def spread(here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """One export is loaded and published, and one waits. Each kind of file has its own folder."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CP_WAREHOUSE", str(tmp_path / "warehouse" / "warehouse.duckdb"))
    monkeypatch.setenv("CP_PUBLISHED", str(tmp_path / "published" / "centrepoint.duckdb"))
    here.storage = type(here.storage).from_environment()
    here.put("N\n1\n")
    here.sync()
    (tmp_path / "home").mkdir()
    publish(here.storage)
    here.put("N\n2\n", subject_id=2)
    return here


@pytest.mark.parametrize("folder", ["data", "data/landing", "warehouse", "home"])
def test_a_sync_names_the_folder_at_once_and_with_leave_to_write_the_next_one_ends_right(
    spread: Site, tmp_path: Path, folder: str
) -> None:
    with read_only(tmp_path / folder):
        started = time.monotonic()
        done = run("sync")
        assert time.monotonic() - started < 20
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert str(tmp_path / folder) in done.stderr
        assert "Read-only" in done.stderr or "ermission" in done.stderr
        assert run("status").returncode == 0
    assert spread.rows("SELECT N FROM exports.Kinds") == [(1,)]
    assert run("sync").returncode == 0
    assert spread.rows("SELECT N FROM exports.Kinds ORDER BY 1") == [(1,), (2,)]


@pytest.mark.parametrize("command", ["compact", "erase", "rebuild"])
def test_what_writes_the_warehouse_says_at_once_that_it_cannot(
    spread: Site, tmp_path: Path, command: str
) -> None:
    options = {
        "compact": ["--older-than", "0", "--yes"],
        "erase": ["--subject", "1", "--yes", "--no-dagster"],
    }
    before = contents()
    with read_only(tmp_path / "warehouse"):
        started = time.monotonic()
        done = run(command, *options.get(command, []))
        assert time.monotonic() - started < 20
        assert done.returncode in {1, 2}, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert str(tmp_path / "warehouse") in done.stderr
    assert contents() == before


def test_models_are_not_tried_where_they_cannot_be_written(spread: Site, tmp_path: Path) -> None:
    """Publishing checks this first; dbt alone would retry each model for half a minute."""
    with (
        read_only(tmp_path / "warehouse"),
        pytest.raises(WarehouseUnreadable, match=str(tmp_path / "warehouse")),
    ):
        check_writable(spread.storage)
    check_writable(spread.storage)


def test_a_published_file_that_cannot_be_replaced_stays(spread: Site, tmp_path: Path) -> None:
    published = spread.storage.published
    before = published.read_bytes()
    spread.sync()
    with read_only(tmp_path / "published"):
        with pytest.raises(PipelineError, match=rf"{published} cannot be written"):
            publish(spread.storage)
        assert published.read_bytes() == before
    publish(spread.storage)
    assert published.read_bytes() != before
