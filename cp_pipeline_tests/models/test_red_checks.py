"""Tests of the models that are red in Dagster, name what they found, and let the file be published.

Belongs here: one publication through the command, of a study with rows 4 and 6 of docs/models.md.
"""

import dagster as dg
import pytest

from cp_pipeline.cli.publish import run_publish
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.models.trial_files import epochs, utc


def _study() -> SandboxStudy:
    study = SandboxStudy.empty()
    table = "TIMESTAMPUTC,STEPS,MET\n" + epochs(utc("2024-02-05"), 60, ["0,1.0"] * 60)
    other = "DATE,WEARTIME,TOTALSTEPS,MODERATE\n2024-02-05,900,800,30\n"
    study.put(subject_id=4, data_set_name="ActivityEpochs10", csv=table.encode())
    study.put(subject_id=6, data_set_name="ActivityDaily8", csv=other.encode())
    return study


def test_they_are_errors_name_what_they_found_and_the_file_is_published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sandbox(_study()) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        sync_all()
        assert run_publish() == 0
    storage = StorageSettings.from_environment()
    assert storage.published.exists()
    printed = " ".join(capsys.readouterr().err.split())
    assert "The check required_measures_are_mapped is red." in printed
    assert "columns wanted: WEARMINUTES; columns found: DATE, WEARTIME, TOTALSTEPS," in printed
    assert "The check validity_is_known is red." in printed
    assert "wear_24h: unknown (no column says wear)" in printed
    with open_instance(storage) as instance:
        for asset, check in (
            ("measure_columns", "required_measures_are_mapped"),
            ("subject_days", "validity_is_known"),
        ):
            key = dg.AssetCheckKey(dg.AssetKey(["marts", asset]), check)
            summary = instance.event_log_storage.get_asset_check_summary_records([key])[key]
            assert summary.last_check_execution_record is not None
            evaluation = summary.last_check_execution_record.evaluation
            assert evaluation is not None
            assert not evaluation.passed
            assert evaluation.severity is dg.AssetCheckSeverity.ERROR
            assert "unknown" in str(evaluation.metadata) or "WEARTIME" in str(evaluation.metadata)
