"""The subprocess executor: the same results, messages and errors as in this process."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cp_pipeline.domain.exports import Partition
from cp_pipeline.ingest import (
    PartitionLoaded,
    PartitionResult,
    Pipeline,
    ProcessLost,
)
from cp_pipeline.ingest.subprocess_executor import SubprocessExecutor
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.warehouse import WarehouseBusy, WarehouseUnreadable
from cp_pipeline_tests.conftest import files_fetched, one, open_pipeline, rows, sync_all
from cp_pipeline_tests.ingest.conftest import surveyed

PARTITIONS = 47
EXPORTS = 59
# Columns that differ between two loads of the same exports: the order and the time.
_LOADS = "SELECT * EXCLUDE (load_id, loaded_at, dagster_run_id) FROM lineage.loads ORDER BY ALL"
_SYNC = """
from cp_pipeline.ingest import Pipeline
from cp_pipeline.settings import CentrePointSettings, StorageSettings
Pipeline.subprocess_from = 0
exports = Pipeline(
    CentrePointSettings.from_environment(), StorageSettings.from_environment()
)
with exports.execute(exports.survey()) as results:
    list(results)
"""


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "subprocess_from", 0)


def loading_processes() -> list[int]:
    """Return the processes that load into this test's folder, of any parent process."""
    mine = os.fsencode(f"CP_DATA_DIR={os.environ['CP_DATA_DIR']}") + b"\0"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"spawn_main" in (process / "cmdline").read_bytes() and (
                mine in (process / "environ").read_bytes()
            ):
                found.append(int(process.name))
    return found


def none_left() -> bool:
    deadline = time.monotonic() + 10
    while loading_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not loading_processes()


def wait_for(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not met() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert met()


def sync_in_this_process() -> list[PartitionResult]:
    with pytest.MonkeyPatch.context() as here:
        here.setattr(Pipeline, "subprocess_from", EXPORTS + 1)
        return sync_all()


def by_partition(results: list[PartitionResult]) -> dict[Partition, tuple[object, ...]]:
    return {
        each.partition: (
            each.row_count,
            each.executions,
            [(load.columns, load.preview, load.look) for load in each.loads],
        )
        for each in results
        if isinstance(each, PartitionLoaded)
    }


def test_rows_lineage_results_and_times_are_known_as_of_a_load_in_one_process(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exports = open_pipeline()
    apart, lineage = by_partition(sync_all(exports)), rows(_LOADS)
    monkeypatch.setenv("CP_DATA_DIR", str(tmp_path / "other"))
    here = by_partition(sync_in_this_process())
    assert len(apart) == PARTITIONS
    assert apart == here
    assert rows(_LOADS) == lineage
    # Where the time went there is known here.
    seconds = exports.seconds_spent()
    assert min(seconds["download"], seconds["load"], seconds["warehouse_held"]) > 0


def test_downloads_begin_at_once_and_loads_when_somebody_is_ready(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    with exports.execute(survey) as results:
        assert isinstance(results, SubprocessExecutor)
        wait_for(lambda: files_fetched(sandbox) == EXPORTS)
        assert not exports.warehouse.exists()
        results.begin()
        wait_for(exports.warehouse.exists)
        assert len(list(results)) == PARTITIONS
    assert none_left()


def test_whoever_was_never_ready_has_loaded_nothing_and_leaves_no_process(
    sandbox: Sandbox,
) -> None:
    exports, survey = surveyed()
    with exports.execute(survey):
        wait_for(lambda: files_fetched(sandbox) == EXPORTS)
    assert none_left()
    assert not exports.warehouse.exists()
    assert list((exports.landing.root / ".aside").iterdir()) == []
    assert len(sync_in_this_process()) == PARTITIONS
    assert files_fetched(sandbox) == EXPORTS


def test_whoever_leaves_early_leaves_nothing_half_done(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    with exports.execute(survey) as results:
        assert isinstance(next(iter(results)), PartitionLoaded)
    assert none_left()
    assert list((exports.landing.root / ".aside").iterdir()) == []
    sync_in_this_process()
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS
    assert files_fetched(sandbox) == EXPORTS


def test_where_the_loading_process_is_killed_that_is_said_and_the_rest_is_loaded_later(
    sandbox: Sandbox,
) -> None:
    exports, survey = surveyed()
    with exports.execute(survey) as results:
        wait_for(lambda: files_fetched(sandbox) == EXPORTS)
        (process,) = loading_processes()
        os.kill(process, signal.SIGKILL)
        with pytest.raises(ProcessLost, match="killed by SIGKILL"):
            list(results)
    sync_in_this_process()
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS
    assert list((exports.landing.root / ".aside").iterdir()) == []


def test_where_the_one_who_asked_is_killed_the_loading_process_ends(
    study: SandboxStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(study, latency_seconds=0.1) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        asking = subprocess.Popen([sys.executable, "-c", _SYNC])
        wait_for(lambda: files_fetched(sandbox) > EXPORTS / 3)
        asking.kill()
        asking.wait()
        assert none_left()
        assert files_fetched(sandbox) < EXPORTS
        sync_in_this_process()
    assert one("SELECT count(*) FROM lineage.loads") == EXPORTS


def test_an_error_there_is_the_same_error_here(sandbox: Sandbox) -> None:
    exports, survey = surveyed()
    warehouse = Path(exports.storage.warehouse)
    warehouse.parent.mkdir(parents=True, exist_ok=True)
    warehouse.write_bytes(b"not a database" * 1000)
    with exports.execute(survey) as results, pytest.raises(WarehouseUnreadable) as caught:
        list(results)
    assert exports.storage.warehouse in str(caught.value)
    assert caught.value.remedy
    assert not caught.value.passing


def test_a_warehouse_that_is_held_is_waited_for_and_who_holds_it_is_said_here(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sync_in_this_process()
    sandbox.execute_again(data_set_name="ActivityDaily8")
    exports, survey = surveyed()
    hold = (
        "import duckdb, sys, time; held = duckdb.connect(sys.argv[1]); print(flush=True);"
        " time.sleep(60)"
    )
    with (
        caplog.at_level(logging.WARNING, "cp_pipeline"),
        subprocess.Popen(
            [sys.executable, "-c", hold, exports.storage.warehouse], stdout=subprocess.PIPE
        ) as holder,
    ):
        assert holder.stdout is not None
        holder.stdout.readline()
        exports.wait_at_most(1.0)
        with (
            exports.execute(survey) as results,
            pytest.raises(WarehouseBusy, match=str(holder.pid)),
        ):
            list(results)
        holder.kill()
    assert f"held by process {holder.pid}" in caplog.text
