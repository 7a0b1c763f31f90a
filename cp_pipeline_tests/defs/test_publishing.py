"""Publishing in Dagster: by itself, once for many loads, and not while anything loads."""

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
    """The run keys that the sensor asks for, and why it asks for none."""
    # Without the models, which dbt takes seconds to read and the sensor does not know.
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
    (made,) = result.asset_materializations_for_node("published")
    keys, reason = evaluated(instance)
    assert not keys
    assert "present state" in reason
    with duckdb.connect(str(StorageSettings.from_environment().published)) as published:
        (days,) = published.execute("SELECT count(*) FROM marts.subject_days").fetchall()
        (tables,) = published.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    assert days == (12,)
    # All but the one that says when it was published.
    assert made.metadata["tables"].value == tables[0] - 1
    sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
    sync_all()
    again, _ = evaluated(instance)
    assert again
    assert again != keys


def test_it_waits_until_nothing_loads(sandbox: Sandbox, instance: dg.DagsterInstance) -> None:
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
    assert "loading is going on (run aaaa" in reason


def test_a_model_that_fails_its_tests_is_not_published(
    sandbox: Sandbox, instance: dg.DagsterInstance
) -> None:
    sync_all()
    storage = StorageSettings.from_environment()
    # That the job publishes these exports as they are is the first test's.
    publish(storage)
    before = storage.published.read_bytes()
    with duckdb.connect(storage.warehouse) as warehouse:
        # Two current loads of one export: every day of it twice, which a key of the marts forbids.
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
