"""Cuts, actions and ``as_loaded``: what was current can be had again, and who did what is known."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.ingest import erase, rebuild
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    Warehouse,
    WarehouseError,
    check_cut_name,
    compact,
    compactable,
    make_cut,
    record_action,
)
from cp_pipeline_tests.conftest import one, rows
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouse_contents import MARKED_SUBJECT

LONG_AGO = timedelta(0)


def manifest_of(storage: StorageSettings, name: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(
        (storage.data_dir / "cuts" / name / "manifest.json").read_text()
    )
    return content


def file_of(storage: StorageSettings, name: str) -> Path:
    return storage.data_dir / "cuts" / name / f"{name}.duckdb"


def values(site: Site, instant: datetime) -> list[tuple[object, ...]]:
    naive = instant.astimezone(UTC).replace(tzinfo=None)
    return site.rows(f"SELECT N FROM as_loaded('{DATASET}', '{naive}') ORDER BY N")


@pytest.mark.both_engines
def test_as_loaded_is_what_was_current_here_and_refuses_what_is_gone(site: Site) -> None:
    site.load("N\n1\n")
    first = datetime.now(UTC)
    site.load("N\n2\n")
    second = datetime.now(UTC)
    assert values(site, first - timedelta(days=1)) == []
    assert values(site, first) == [(1,)]
    assert values(site, second) == [(2,)]
    with Warehouse.of(site.storage) as warehouse:
        compact(warehouse, LONG_AGO)
    assert values(site, second) == [(2,)]
    with pytest.raises(duckdb.Error, match=r"as_loaded cannot answer: load 1 \(subject 1"):
        values(site, first)


def test_compact_keeps_what_a_cut_needs_and_a_rebuild_knows_the_cut(site: Site) -> None:
    site.load("N\n1\n")
    cut = make_cut(site.storage, "interim-1", "interim analysis")
    assert (cut.loads, cut.rows) == (1, 1)
    site.load("N\n2\n")
    site.load("N\n3\n")
    with Warehouse.of(site.storage) as warehouse:
        assert compactable(warehouse, LONG_AGO).loads == 1
        assert compact(warehouse, LONG_AGO).loads == 1
    assert site.rows(f'SELECT N FROM history."{DATASET}" ORDER BY N') == [(1,), (3,)]
    rebuild(site.storage)
    assert site.rows("SELECT name, load_id FROM lineage.cuts") == [("interim-1", 1)]
    with duckdb.connect(str(file_of(site.storage, "interim-1")), read_only=True) as opened:
        assert opened.execute(f'SELECT N FROM exports."{DATASET}"').fetchall() == [(1,)]


@pytest.mark.both_engines
def test_a_manifest_names_each_load_and_the_file_is_read_only(site: Site) -> None:
    site.load("N\n1\n")
    make_cut(site.storage, "final", "primary endpoint")
    manifest = manifest_of(site.storage, "final")
    loads = manifest["loads"]
    assert isinstance(loads, list)
    assert [
        (each["load_id"], each["program_execution"], each["file_sha256"]) for each in loads
    ] == (site.rows("SELECT load_id, program_execution, file_sha256 FROM lineage.loads"))
    assert (manifest["reason"], manifest["actor"]) == ("primary endpoint", site.storage.actor)
    assert file_of(site.storage, "final").stat().st_mode & 0o777 == 0o444
    with pytest.raises(WarehouseError, match="already"):
        check_cut_name(site.storage, "final")


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a b", "-x", "x" * 65, "ä"])
def test_a_cut_never_leaves_its_folder(site: Site, name: str) -> None:
    with pytest.raises(WarehouseError, match="cannot be the name"):
        check_cut_name(site.storage, name)


def test_erasing_reaches_cuts_and_says_so(storage: StorageSettings) -> None:
    make_cut(storage, "before", None)
    # As a killed process leaves it.
    make_cut(storage, "unfinished", None)
    (storage.data_dir / "cuts" / "unfinished" / "manifest.json").unlink()
    before = manifest_of(storage, "before")
    assert erase(storage, MARKED_SUBJECT).cuts == ("before",)
    assert [each.name for each in (storage.data_dir / "cuts").iterdir()] == ["before"]
    after = manifest_of(storage, "before")
    assert isinstance(after["erasures"], list)
    assert isinstance(before["loads"], list)
    assert isinstance(after["loads"], list)
    assert after["erasures"][0]["loads"] == len(before["loads"]) - len(after["loads"]) > 0
    assert after["file"] != before["file"]
    with duckdb.connect(str(file_of(storage, "before")), read_only=True) as opened:
        subjects = opened.execute("SELECT DISTINCT subject_id FROM lineage.loads").fetchall()
    assert subjects
    assert (MARKED_SUBJECT,) not in subjects
    assert not erase(storage, MARKED_SUBJECT).cuts


def test_an_action_says_who_and_why(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_ACTOR", "a data manager")
    named = StorageSettings.from_environment()
    with Warehouse.of(storage) as warehouse:
        record_action(warehouse, named.actor, "compact --older-than 90", "disk is full")
    rebuild(storage)
    assert rows("SELECT actor, command, reason FROM lineage.actions") == [
        ("a data manager", "compact --older-than 90", "disk is full")
    ]
    assert one("SELECT software_version FROM lineage.actions")
