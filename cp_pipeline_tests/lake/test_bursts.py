"""The sensor divides a burst among the runs that a lake lets write at once."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.lakes import postgres_lake

SUBJECTS = 401
FIRST = 10821


@pytest.mark.parametrize("runs", [1, 2])
def test_the_runs_of_a_burst_have_other_subjects_and_together_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    study = SandboxStudy.synthetic(subjects=SUBJECTS, days=1, datasets=("ActivityDaily8",))
    # So many files are listed by a run, not by the tick.
    monkeypatch.setattr("cp_pipeline.ingest.look_survey.REQUESTS_AT_MOST", 1)
    pool = {"concurrency": {"pools": {"default_limit": 2}}}
    # A file has one writer, whatever the pool allows.
    warehouse = postgres_lake(tmp_path) if runs > 1 else {}
    with Sandbox(study) as service, dg.instance_for_test(overrides=pool) as instance:
        for name, value in {**service.environment, **warehouse}.items():
            monkeypatch.setenv(name, value)
        asked = tick(instance, PipelineResource(), Memory(), 300).run_requests or []
    configs: list[Any] = [request.run_config["ops"]["sync_exports"]["config"] for request in asked]
    chosen = [subject for config in configs for subject in config["subject_ids"]]
    assert len(asked) == len({request.run_key for request in asked}) == runs
    assert sorted(chosen) == list(range(FIRST, FIRST + SUBJECTS))
