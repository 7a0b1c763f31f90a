"""A full disk, files changed by others, an invalid warehouse: a clear error, and no data lost."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.missing_events import compare_events
from cp_pipeline.ingest import PartitionLoaded, rebuild
from cp_pipeline_tests.conftest import files_fetched, open_pipeline
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import contents, run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 10 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small tmpfs, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("full", ["landing", "warehouse"])
def test_a_full_disk_is_said_in_words_and_the_next_sync_loads_the_rest(
    here: Site, small_disk: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    data_dir = here.storage.data_dir
    if full == "warehouse":
        monkeypatch.setenv("CP_WAREHOUSE", str(small_disk / "warehouse.duckdb"))
    else:
        data_dir.mkdir(mode=0o700)
        (data_dir / full).symlink_to(small_disk)
    here.put("N\n1\n", dataset="Small")
    assert run("sync").returncode == 0
    for subject in range(3):
        here.put(os.urandom(600_000).hex().join(["N\n", "\n"]), subject_id=subject)
    filler = fill(small_disk, 200_000)
    done = run("sync")
    said = done.stdout + done.stderr
    assert done.returncode in {1, 2}, said
    assert "Traceback" not in said
    assert any(
        words in said.lower() for words in ("no space left", "disk is full", "could not write")
    )
    filler.unlink()
    small_enough = run("sync")
    assert small_enough.returncode == 0, small_enough.stderr


def fill(disk: Path, left: int) -> Path:
    """Fill a disk with a file until only ``left`` bytes are free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, shutil.disk_usage(disk).free - left))
    return filler


# Too little space to create the home, to open it, and to store all events of a run.
@pytest.mark.parametrize(("is_new", "left"), [(True, 0), (False, 20_000), (False, 300_000)])
def test_dagsters_home_without_room_is_said_in_words_and_the_next_sync_ends_right(
    here: Site, small_disk: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool, left: int
) -> None:
    home = small_disk / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    here.put("N\n1\n")
    if not is_new:
        assert run("sync").returncode == 0
    for subject in range(2, 7):
        here.put(f"N\n{subject}\n", subject_id=subject)
    filler = fill(small_disk, left)
    before = time.monotonic()
    done = run("sync")
    assert time.monotonic() - before < 20
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert f"{home} cannot be read or written: its disk is full" in done.stderr
    loaded = here.loaded_partitions() - (not is_new)
    assert f"{loaded} partitions were loaded by then." in done.stderr
    assert loaded == (5 if left > 100_000 else 0)

    filler.unlink()
    again = run("sync")
    assert again.returncode == 0, again.stderr
    assert here.loaded_partitions() == 6
    assert files_fetched(here.sandbox) == 6
    with open_instance(here.storage) as instance:
        compared = compare_events(open_pipeline(), instance)
        assert (compared.examined, compared.differing) == (6, {})
        assert [each for each in instance.get_runs() if not each.is_finished] == []


@pytest.mark.parametrize("name", ["dagster.yaml", "history/runs.db", "history/runs/index.db"])
def test_a_damaged_home_of_dagster_is_said_in_words_and_a_new_one_gets_all_records(
    here: Site, name: str
) -> None:
    here.put("N\n1\n")
    here.sync()
    here.put("N\n2\n", subject_id=2)
    home = here.storage.dagster_home
    open_instance(here.storage).dispose()
    (home / name).write_bytes(b"\xff: [" * 999)
    done = run("sync")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert str(home) in done.stderr
    assert "move " in done.stderr
    home.rename(home.with_name("away"))
    assert run("sync").returncode == 0
    with open_instance(here.storage) as instance:
        compared = compare_events(open_pipeline(), instance)
        assert (compared.examined, compared.differing) == (2, {})


def landed(site: Site) -> Path:
    (path,) = site.storage.landing.glob("*/*/*/*.export")
    return path


@pytest.mark.parametrize("harm", ["altered", "deleted", "its description deleted"])
def test_a_landed_file_changed_behind_our_back_is_not_loaded_but_fetched_again(
    here: Site, harm: str
) -> None:
    here.put("N\n1\n")
    here.sync()
    Path(here.storage.warehouse).unlink()
    path = landed(here)
    original = path.read_bytes()
    if harm == "altered":
        path.write_bytes(original[:-1] + b"x")
    elif harm == "deleted":
        path.unlink()
    else:
        path.with_suffix(".json").unlink()
    assert isinstance(here.sync()[0], PartitionLoaded)
    assert files_fetched(here.sandbox) == 2
    assert landed(here).read_bytes() == original
    assert here.rows("SELECT N FROM exports.Kinds") == [(1,)]


@pytest.mark.parametrize("content", [b"a,b\n" * 4096, b"", b"DUCK" * 5000, "cut short"])
def test_a_warehouse_that_is_none_is_refused_untouched_and_made_anew_from_the_landing(
    here: Site, content: bytes | str
) -> None:
    here.put("N\n1\n")
    here.sync()
    before, warehouse = contents(), Path(here.storage.warehouse)
    bad = warehouse.read_bytes()[:9000] if isinstance(content, str) else content
    warehouse.write_bytes(bad)
    for command in (["sync"], ["status"], ["doctor"]):
        done = run(*command)
        if bad:
            assert done.returncode == 2, (command, done.stdout, done.stderr)
            assert str(warehouse) in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not bad or warehouse.read_bytes() == bad
    fetched = files_fetched(here.sandbox)
    rebuild(here.storage)
    assert files_fetched(here.sandbox) == fetched
    assert here.rows("SELECT N FROM exports.Kinds") == [(1,)]
    assert contents().keys() == before.keys()
