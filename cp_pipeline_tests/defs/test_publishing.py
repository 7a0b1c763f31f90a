"""When the sensor publishes, and what is not published.

One whole publication, and that it is one for many loads, is in ``cli/test_publish_command.py``.
"""

from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.dbt_project import model_definitions
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.sandbox import Sandbox
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.defs.conftest import EXPORTS
from cp_pipeline_tests.small_project import small_project
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouses import publish

# A test of the model in ``small_project``, which is red after one load.
NEVER_ONE = """
models:
  - name: loads
    columns:
      - name: loads
        data_tests:
          - accepted_values: {arguments: {values: [0], quote: false}}
"""


def evaluated(instance: dg.DagsterInstance) -> tuple[list[str], str]:
    """Return the run keys that the sensor requests, and its reason if it requests none."""
    # Without the models: the sensor does not need them, and dbt takes seconds to read them.
    definitions = build_defs(models=dg.Definitions())
    sensor = definitions.resolve_sensor_def("publish_after_loads")
    context = dg.build_sensor_context(instance, resources={"source": PipelineResource()})
    data = sensor.evaluate_tick(context)
    return [str(request.run_key) for request in data.run_requests or ()], data.skip_message or ""


def test_the_sensor_publishes_as_soon_as_something_is_loaded_and_no_run_is_loading(
    sandbox: Sandbox, instance: dg.DagsterInstance
) -> None:
    assert evaluated(instance) == ([], "nothing is loaded yet")
    sync_all()
    keys, _ = evaluated(instance)
    assert len(keys) == 1
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
    site: Site, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.load("N\n1\n")
    publish(site.storage)
    before = site.storage.published.read_bytes()
    project = small_project(tmp_path / "models")
    (project / "models" / "loads.yml").write_text(NEVER_ONE)
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    job = build_defs(models=model_definitions()).resolve_job_def("publish")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["models"]
    assert not all(check.passed for check in result.get_asset_check_evaluations())
    assert site.storage.published.read_bytes() == before
