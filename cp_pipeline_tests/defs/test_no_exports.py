"""What Dagster says about a study that ActiGraph has not processed yet."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.texts import NO_EXPORTS
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.defs.conftest import materialize

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_study(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Sandbox(SandboxStudy.empty()) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield


def test_the_sensor_says_how_to_request_processing(instance: dg.DagsterInstance) -> None:
    result = tick(instance, PipelineResource(), Memory(), 60)
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == NO_EXPORTS


def test_so_does_the_asset(instance: dg.DagsterInstance) -> None:
    run_id = materialize(instance, dg.AssetKey("export_files")).run_id
    logged = [entry.user_message for entry in instance.all_logs(run_id)]
    assert NO_EXPORTS in logged


def test_no_text_says_that_processing_is_requested_in_centrepoint() -> None:
    """Processing is requested by e-mail, not in CentrePoint (docs/api.md, "An item")."""
    assert "by e-mail to CPDprocessing@theactigraph.com" in NO_EXPORTS
    texts = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("cp_pipeline/**/*.py")]
    wrong = {
        path.name: phrases
        for path in texts
        if (phrases := re.findall(r"request\w*\W+in\W+CentrePoint", path.read_text()))
    }
    assert wrong == {}
    assert "CPDprocessing@theactigraph.com" in (ROOT / "README.md").read_text()
