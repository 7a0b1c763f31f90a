"""Another process holds the warehouse, or four syncs run at once: all wait, and all succeed."""

import subprocess
import sys

import pytest

from cp_pipeline.warehouse import WarehouseBusy
from cp_pipeline_tests.conftest import files_fetched, open_pipeline
from cp_pipeline_tests.study_site import Site

_HOLD = """
import duckdb, sys, time
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
held.close()
"""
SYNC = [sys.executable, "-m", "cp_pipeline.cli", "sync"]


def hold(site: Site, seconds: float) -> "subprocess.Popen[str]":
    """Start another process that has the warehouse open read-write."""
    arguments = [sys.executable, "-c", _HOLD, site.storage.warehouse, str(seconds)]
    holder = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def sync() -> subprocess.CompletedProcess[str]:
    return subprocess.run(SYNC, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def loaded(here: Site) -> Site:
    """One export is loaded, and five wait to be loaded."""
    here.put("N\n1\n")
    here.sync()
    for subject in range(2, 7):
        here.put(f"N\n{subject}\n", subject_id=subject)
    return here


def test_a_sync_waits_says_for_whom_and_ends_well(loaded: Site) -> None:
    with hold(loaded, 4) as holder:
        done = sync()
    assert done.returncode == 0, done.stderr
    assert f"held by process {holder.pid} " in done.stderr
    assert loaded.rows("SELECT N FROM exports.Kinds ORDER BY 1") == [(n,) for n in range(1, 7)]


def test_a_lock_never_given_up_is_an_error_after_a_settable_time(
    loaded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_WAREHOUSE_WAIT_SECONDS", "2")
    with hold(loaded, 60) as holder:
        done = sync()
        holder.kill()
    assert done.returncode == 2
    assert f"process {holder.pid} " in done.stderr
    assert "waited 2 s" in done.stderr
    assert "All downloads are kept" in done.stderr
    assert "Traceback" not in done.stderr


def test_held_when_the_load_comes_what_was_downloaded_is_kept_and_not_fetched_again(
    loaded: Site,
) -> None:
    exports = open_pipeline()
    survey = exports.survey()
    exports.wait_at_most(1)
    with exports.execute(survey) as results, hold(loaded, 60) as holder:
        with pytest.raises(WarehouseBusy, match=f"process {holder.pid} "):
            list(results)
        holder.kill()
    fetched = files_fetched(loaded.sandbox)
    assert len(loaded.sync()) == 5
    assert files_fetched(loaded.sandbox) == fetched == 6
    assert [*(loaded.storage.data_dir / "landing" / ".aside").iterdir()] == []


def test_four_syncs_at_once_load_each_export_once(loaded: Site) -> None:
    syncs = [
        subprocess.Popen(SYNC, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [(each.communicate(timeout=90), each.returncode) for each in syncs]
    assert [code for _, code in said] == [0] * 4, said
    assert loaded.rows("SELECT count(*), count(DISTINCT subject_id) FROM lineage.loads") == [(6, 6)]
    assert loaded.rows("SELECT count(*) FROM history.Kinds") == [(6,)]
    assert loaded.rows("SELECT count(*) FROM lineage.superseded") == [(0,)]
