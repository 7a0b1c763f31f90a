"""Many partitions at once: the work in progress is bounded, and stops when the caller stops."""

import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from cp_pipeline.ingest import PartitionLoaded, batches, executor
from cp_pipeline.ingest.executor import thread_executor
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.conftest import (
    files_fetched,
    one,
    open_pipeline,
    rows,
    sync_all,
    usual_study,
)
from cp_pipeline_tests.ingest.conftest import surveyed

PARTITIONS = 15
EXPORTS = 19


@pytest.fixture
def study() -> SandboxStudy:
    return SandboxStudy.synthetic(study_id=4711, subjects=4, days=1, seed=1, epoch_rows=60)


def threads_of_ours() -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith(("download", "load"))
    ]


def test_downloads_begin_before_anybody_looks_and_loads_do_not(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    with thread_executor(exports.rooms, survey, "") as results:
        deadline = time.monotonic() + 20
        while files_fetched(sandbox) < EXPORTS and time.monotonic() < deadline:
            time.sleep(0.02)
        assert files_fetched(sandbox) == EXPORTS
        assert not exports.warehouse.exists()
        assert len(list(results)) == PARTITIONS
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS
    assert threads_of_ours() == []


def test_loads_are_committed_from_when_somebody_is_ready_for_them(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    with thread_executor(exports.rooms, survey, "") as results:
        results.begin()
        deadline = time.monotonic() + 20
        while not exports.warehouse.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert exports.warehouse.exists()
        assert len(list(results)) == PARTITIONS


def test_whoever_was_never_ready_has_loaded_nothing(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    with thread_executor(exports.rooms, survey, ""):
        deadline = time.monotonic() + 20
        while files_fetched(sandbox) < EXPORTS and time.monotonic() < deadline:
            time.sleep(0.02)
    assert threads_of_ours() == []
    assert not exports.warehouse.exists()
    assert list((Path(exports.landing.root) / ".aside").iterdir()) == []
    assert len(sync_all()) == PARTITIONS
    assert files_fetched(sandbox) == EXPORTS


def test_whoever_leaves_early_leaves_nothing_half_done(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_EXPORTS", 1)
    exports, survey = surveyed()
    with thread_executor(exports.rooms, survey, "") as results:
        first = next(iter(results))
    assert isinstance(first, PartitionLoaded)
    assert threads_of_ours() == []
    assert list((Path(exports.landing.root) / ".aside").iterdir()) == []
    loaded = {
        (subject_id, name)
        for subject_id, name in rows("SELECT DISTINCT subject_id, dataset_name FROM lineage.loads")
    }
    assert tuple(first.partition) in {tuple(each) for each in loaded}
    # The next execution loads the rest, and each file was fetched only once in total.
    assert len(sync_all()) == PARTITIONS - len(loaded)
    assert files_fetched(sandbox) == EXPORTS
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS


def test_an_error_of_whoever_takes_the_results_ends_all_threads(sandbox: Sandbox) -> None:
    exports, survey = surveyed()

    def stumble() -> None:
        with thread_executor(exports.rooms, survey, "") as results:
            for _ in results:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    assert threads_of_ours() == []


@pytest.mark.parametrize(
    ("module", "setting", "value"),
    [
        (executor, "PARTITIONS_AHEAD", 1),
        (executor, "_CSV_BYTES_AHEAD", 1),
        (executor, "_BATCHES_AHEAD", 1),
        (executor, "BATCH_SECONDS", 0.0),
        (batches, "BATCH_EXPORTS", 1),
        (batches, "BATCH_CSV_BYTES", 1),
    ],
)
def test_however_narrow_the_bounds_are_all_is_loaded_once(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    setting: str,
    value: float,
) -> None:
    # With a low limit, batches are small, and each one would wait for more.
    monkeypatch.setattr(executor, "BATCH_SECONDS", 0.2)
    monkeypatch.setattr(module, setting, value)
    assert len(sync_all()) == PARTITIONS
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS
    assert files_fetched(sandbox) == EXPORTS


def test_downloads_wait_while_nobody_takes_what_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "PARTITIONS_AHEAD", 4)
    monkeypatch.setattr(batches, "BATCH_EXPORTS", 2)
    with Sandbox(usual_study()) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        exports, survey = surveyed()
        with thread_executor(exports.rooms, survey, "") as results:
            taken = iter(results)
            next(taken)
            time.sleep(1.5)
            assert files_fetched(sandbox) < 59 / 2
            assert len(list(taken)) == 47 - 1
    assert one("SELECT count(*) FROM lineage.loads") == 59


def test_the_seconds_of_each_activity_are_added_up(sandbox: Sandbox) -> None:
    exports = open_pipeline()
    sync_all(exports)
    seconds = exports.timings.seconds()
    assert seconds["download"] > 0
    assert seconds["decode"] >= 0
    assert 0 < seconds["load"] < 60
    assert 0 < exports.warehouse.longest_hold_seconds <= exports.warehouse.held_seconds
    assert exports.warehouse.held_seconds < 60
