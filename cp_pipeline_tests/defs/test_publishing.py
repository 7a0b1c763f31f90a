"""The sensor publishes once for many loads, and not while a run is loading."""

import os

import dagster as dg
import duckdb

from cp_pipeline.defs.dbt_project import model_definitions
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.sandbox import Sandbox
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.defs.conftest import DAILY, EXPORTS
from cp_pipeline_tests.warehouses import publish


def evaluated(instance: dg.DagsterInstance) -> tuple[list[str], str]:
    """Return the run keys that the sensor requests, and its reason if it requests none."""
    # Without the models: the sensor does not need them, and dbt takes seconds to read them.
    definitions = build_defs(models=dg.Definitions())
    sensor = definitions.resolve_sensor_def("publish_after_loads")
    context = dg.build_sensor_context(instance, resources={"source": PipelineResource()})
    data = sensor.evaluate_tick(context)
    return [str(request.run_key) for request in data.run_requests or ()], data.skip_message or ""


def test_the_sensor_publishes_once_for_all_that_was_loaded(
    sandbox: Sandbox, instance: dg.DagsterInstance
) -> None:
    assert evaluated(instance) == ([], "nothing is loaded yet")
    sync_all()
    keys, _ = evaluated(instance)
    assert len(keys) == 1
    job = build_defs(models=model_definitions()).resolve_job_def("publish")
    result = job.execute_in_process(instance=instance)
    assert result.success
    (event,) = result.asset_materializations_for_node("published")
    (reported,) = result.asset_materializations_for_node("study_report")
    report = StorageSettings.from_environment().report
    assert reported.metadata["path"].value == str(report)
    assert reported.metadata["bytes"].value == report.stat().st_size
    preview = str(reported.metadata["preview"].value)
    assert "| Current | **100 %** 47 of 47 partitions |" in preview
    # Dagster shows it without a click, and stores no subject's number with it.
    assert len(preview) < 1000
    assert "108" not in preview
    keys, reason = evaluated(instance)
    assert not keys
    assert "has the current state of the warehouse" in reason
    # A day later it is published again, once: it also says when CentrePoint was last asked.
    published_file = StorageSettings.from_environment().published
    written = published_file.stat().st_mtime
    os.utime(published_file, (written, written - 25 * 3600))
    keys, _ = evaluated(instance)
    assert len(keys) == 1
    assert evaluated(instance)[0] == keys
    os.utime(published_file, (written, written))
    with duckdb.connect(str(StorageSettings.from_environment().published)) as published:
        (days,) = published.execute("SELECT count(*) FROM marts.subject_days").fetchall()
        (tables,) = published.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    assert days == (12,)
    # The metadata does not count the table with the time of publishing.
    assert event.metadata["tables"].value == tables[0] - 1
    sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
    sync_all()
    again, _ = evaluated(instance)
    assert again
    assert again != keys


def test_it_waits_until_no_run_is_loading(sandbox: Sandbox, instance: dg.DagsterInstance) -> None:
    sync_all()
    instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id="a" * 36,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({EXPORTS}),
        )
    )
    keys, reason = evaluated(instance)
    assert not keys
    assert "a run is loading (run aaaa" in reason


def test_a_model_that_fails_its_tests_is_not_published(
    sandbox: Sandbox, instance: dg.DagsterInstance
) -> None:
    sync_all()
    storage = StorageSettings.from_environment()
    # That the job publishes these exports as they are is the first test's.
    publish(storage)
    before = storage.published.read_bytes()
    with duckdb.connect(storage.warehouse) as warehouse:
        # Two current loads of one export: each of its days occurs twice, which a unique key of the
        # marts forbids.
        warehouse.execute(
            "INSERT INTO lineage.loads SELECT * REPLACE (-1 AS load_id, NULL AS dataset_name)"
            f" FROM lineage.loads WHERE dataset_name = '{DAILY}' LIMIT 1"
        )
    job = build_defs(models=model_definitions()).resolve_job_def("publish")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["models"]
    assert not all(check.passed for check in result.get_asset_check_evaluations())
    assert storage.published.read_bytes() == before
