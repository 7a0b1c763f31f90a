"""The asset ``study_details``, and how people call subjects and programs in Dagster's events."""

import dagster as dg
import pytest

from cp_pipeline.charts import label_in_markdown
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.conftest import one
from cp_pipeline_tests.defs.conftest import (
    DAILY,
    EXPORTS,
    FILES,
    latest,
    materialize,
    pair,
    run_job,
)
from cp_pipeline_tests.faults import FaultySandbox

DETAILS = dg.AssetKey("study_details")


@pytest.fixture
def study() -> SandboxStudy:
    return SandboxStudy.synthetic(subjects=3, days=1, epoch_rows=5, datasets=(DAILY,))


def evaluations(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    records = instance.get_event_records(
        dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    )
    found = [each.event_log_entry.asset_check_evaluation for each in records]
    return {each.check_name: each for each in reversed(found) if each and each.asset_key == DETAILS}


def test_a_run_for_the_whole_study_brings_them_in_and_names_what_it_loads(
    sandbox: FaultySandbox, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_STUDY_DETAILS", "1")
    assert run_job(instance, "sync").success
    assert latest(instance, DETAILS).metadata["subjects"].value == 3
    assert all(each.passed for each in evaluations(instance).values())
    assert len(evaluations(instance)) == 3
    metadata = latest(instance, EXPORTS, pair(10821, DAILY)).metadata
    assert metadata["subject_identifier"].value == "0001"
    assert metadata["site_identifier"].value == "101"
    coverage = str(latest(instance, FILES).metadata["coverage"].value)
    assert label_in_markdown("101-0001") in coverage
    assert label_in_markdown("101 Graz") in coverage
    sandbox.study.people.change(10822, identifier="0001")
    assert materialize(instance, DETAILS).success
    assert not evaluations(instance)["subject_identifiers_are_unique"].passed


def test_off_the_asset_says_how_to_turn_it_on_and_asks_for_nothing(
    sandbox: FaultySandbox, instance: dg.DagsterInstance
) -> None:
    assert materialize(instance, DETAILS).success
    assert "CP_STUDY_DETAILS" in str(latest(instance, DETAILS).metadata["note"].value)
    assert run_job(instance, "sync").success
    assert not [each for each in sandbox.requests if each.kind == "details"]
    metadata = latest(instance, EXPORTS, pair(10821, DAILY)).metadata
    assert "subject_identifier" not in metadata
    assert one("SELECT count(*) FROM study.subjects") == 0


def test_a_client_without_the_scope_does_not_stop_a_run(
    sandbox: FaultySandbox, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_STUDY_DETAILS", "1")
    sandbox.refuse_scope("CentrePoint")
    assert run_job(instance, "sync").success
    assert one("SELECT count(*) FROM lineage.loads") == 3
    assert materialize(instance, DETAILS).success
    assert "invalid_scope" in str(latest(instance, DETAILS).metadata["note"].value)
