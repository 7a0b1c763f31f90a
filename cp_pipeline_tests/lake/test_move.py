"""A warehouse is moved into a lake and back, with all load ids, and a kill leaves nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Warehouse, WarehouseError, move
from cp_pipeline_tests import lakes
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import Site

CONTENT = (
    "SELECT load_id, subject_id, file_sha256, loaded_at FROM lineage.loads ORDER BY load_id",
    "SELECT load_id, superseded_by, superseded_at FROM lineage.superseded ORDER BY load_id",
    "SELECT N, V, _load_id, _program_execution FROM exports.Kinds ORDER BY ALL",
    "SELECT * FROM history.Kinds ORDER BY ALL",
)
# Ends the process in the middle of a move: all is copied, and nothing committed.
KILLED = (
    "import os; from cp_pipeline.warehouse import moving;"
    " moving._compare = lambda *_: os._exit(9);"
    " from cp_pipeline.cli import main; main()"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A DuckDB file with three loads; one is superseded, and a column was widened to text."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path / "data", lake={})
        site.load("N,V\n1,7\n")
        site.load("N,V\n1,x\n2,\n", subject_id=2)
        site.load("N,V\n1,1.50\n2,3\n")
        yield site


@pytest.fixture(params=["catalog-file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variables of a lake that is not made yet."""
    if request.param == "postgres":
        return lakes.postgres_lake(tmp_path / "data")
    return {"CP_WAREHOUSE": f"ducklake:{tmp_path}/lake/warehouse.ducklake"}


def content(site: Site) -> list[list[tuple[object, ...]]]:
    return [site.rows(sql) for sql in CONTENT]


def run(site: Site, variables: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    data = {"CP_DATA_DIR": str(site.storage.data_dir)}
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **site.sandbox.environment, **data, **variables},
        cwd=site.storage.data_dir, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_all_loads_keep_their_ids_into_a_lake_and_back(
    site: Site, place: dict[str, str], tmp_path: Path
) -> None:
    before = content(site)
    place_of = {**place, "CP_WAREHOUSE": ""}
    command = ["move", "--to", place["CP_WAREHOUSE"], "--reason", "more hosts"]
    killed = run(site, place_of, "-c", KILLED, *command)
    assert killed.returncode == 9, killed.stdout + killed.stderr
    lake = Site(site.sandbox, site.storage.data_dir, lake=place)
    with Warehouse.of(lake.storage) as warehouse:
        assert not warehouse.exists()

    done = run(site, place_of, "-m", "cp_pipeline.cli", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 loads" in done.stdout
    assert content(lake) == before
    assert content(site) == before
    acted = lake.rows("SELECT command, reason FROM lineage.actions")
    assert acted == [(f"move from {site.storage.warehouse}", "more hosts")]
    again = run(site, place_of, "-m", "cp_pipeline.cli", *command)
    assert "An earlier move did all" in again.stdout
    assert lake.sync() == []

    assert lake.load("N,V,W\n5,y,1\n", subject_id=3).load_id == 4
    back = Site(site.sandbox, tmp_path / "back", lake={})
    with Warehouse.of(lake.storage) as old, Warehouse.of(back.storage) as new:
        assert move(old, new).loads == 4
    assert content(back) == content(lake)
    assert back.types() == lake.types()
    assert Path(back.storage.warehouse).stat().st_mode & 0o777 == 0o600
    assert back.load("N,V\n9,z\n", subject_id=4).load_id == 5
    # The first file has fewer loads than the lake now.
    assert "has loads of its own already" in refusal(lake, site)
    assert content(site) == before


def refusal(old: Site, new: Site) -> str:
    with (
        Warehouse.of(old.storage) as source,
        Warehouse.of(new.storage) as target,
        pytest.raises(WarehouseError) as refused,
    ):
        move(source, target)
    return str(refused.value)


def test_what_cannot_be_moved_is_said(site: Site, tmp_path: Path) -> None:
    other = Site(site.sandbox, tmp_path / "other", lake={})
    assert "are both DuckDB files" in refusal(site, other)
    lake = Site(site.sandbox, tmp_path / "l", {"CP_WAREHOUSE": f"ducklake:{tmp_path}/l/w.ducklake"})
    assert "There is no warehouse" in refusal(other, lake)
