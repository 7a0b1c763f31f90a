"""Dagster's own daemon, launcher and UI on a real PostgreSQL (docs/hosts.md)."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.browser.dagster_ui import DagsterUi, dagster_dev, until
from cp_pipeline_tests.defs.conftest import status
from cp_pipeline_tests.faults import FaultySandbox, Trickle
from cp_pipeline_tests.postgres_servers import PASSWORD, PostgresServer

SENSOR = "new_program_executions"
STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


def of_another_host(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A started run whose process nobody here knows, and that may take a second."""
    run = instance.create_run_for_job(
        build_defs().resolve_job_def("sync"),
        tags={dg.MAX_RUNTIME_SECONDS_TAG: "1", "cp_pipeline/events": "incomplete"},
    )
    begun = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    instance.report_dagster_event(begun, run.run_id)
    return run


def killed_in_the_middle(ui: DagsterUi, instance: dg.DagsterInstance, backfill: str) -> str:
    """Kill the process of the backfill's run as soon as it has loaded something."""
    ours = dg.RunsFilter(tags={"dagster/backfill": backfill})
    (run_id,) = until("the run of the range", lambda: instance.get_run_ids(ours))
    until(
        "its first loads",
        lambda: ui.rows(f"SELECT 1 FROM lineage.loads WHERE dagster_run_id = '{run_id}'"),
    )
    (begun,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
    assert status(instance, run_id) is STARTED
    os.kill(begun.get_dagster_event().pid or 0, signal.SIGKILL)
    return run_id


def test_the_daemon_loads_what_is_new_and_a_killed_range_of_the_ui(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SandboxStudy.synthetic(
        subjects=3, days=1, datasets=("ActivityDaily8", "ActivityEpochs10")
    )
    with FaultySandbox(study) as service, dagster_dev(service, tmp_path, server) as ui:
        ui.stop_sensor("publish_after_loads")
        until("all partitions to be loaded", lambda: ui.versions() == ui.listed())
        ui.stop_sensor(SENSOR)
        ((job, ended, tags),) = ui.when_loaded().values()
        assert (job, ended, tags["dagster/sensor_name"]) == ("load_partitions", "SUCCESS", SENSOR)

        service.execute_again()
        service.faults.add_trickle("file", Trickle(1.0))
        monkeypatch.setenv("DAGSTER_HOME", str(ui.storage.dagster_home))
        monkeypatch.setenv("DAGSTER_PG_PASSWORD", PASSWORD)
        with open_instance(ui.storage) as instance:
            elsewhere = of_another_host(instance).run_id
            killed = killed_in_the_middle(ui, instance, ui.load_range([*ui.listed()]))
            until("the end of the run elsewhere", lambda: status(instance, elsewhere) is FAILED)
            assert ui.versions() != ui.listed()
            ui.start_sensor(SENSOR)
            until("the rest to be loaded", lambda: ui.versions() == ui.listed())
            ui.stop_sensor(SENSOR)
            assert ui.when_loaded()[killed].status == "FAILURE"
            planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
            assert len(instance.all_logs(killed, of_type=planned)) == 1
        for partition, records in ui.records().items():
            versions = [record.data_version for record in records]
            assert len(versions) == len(set(versions)) == 2, partition
        every = len(ui.listed())
        assert ui.rows("SELECT count(*) FROM lineage.loads") == [(2 * every,)]
        assert ui.rows("SELECT count(*) FROM lineage.current_loads") == [(every,)]
