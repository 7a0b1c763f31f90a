"""The assets and jobs, executed in real Dagster instances."""

import re
from collections import Counter
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.conftest import files_fetched, one
from cp_pipeline_tests.defs.conftest import (
    DAILY,
    EXPORTS,
    FILES,
    latest,
    materialize,
    pair,
    picture_in,
    rectangle,
    run_job,
)


def test_listing_registers_subjects_and_data_sets_as_partitions(
    sandbox: Sandbox, instance: dg.DagsterInstance
) -> None:
    materialize(instance, FILES)
    assert len(instance.get_dynamic_partitions("subjects")) == 12
    assert len(instance.get_dynamic_partitions("datasets")) == 4
    assert one("SELECT count(*) FROM lineage.export_files") == 59
    assert files_fetched(sandbox) == 0


def test_the_event_of_a_partition_names_what_it_was_loaded_from(
    study: SandboxStudy, listed: dg.DagsterInstance
) -> None:
    key = pair(10821, DAILY)
    materialize(listed, EXPORTS, partition_key=key)

    (export,) = (
        item
        for item in study.export_files
        if (item.subject_id, item.data_set_name) == (10821, DAILY)
    )
    event = latest(listed, EXPORTS, key)
    shown = {name: entry.value for name, entry in event.metadata.items()}
    assert shown["rows"] == 1
    assert shown["columns"] == 13
    assert shown["bytes"] == one("SELECT file_bytes FROM lineage.loads")
    assert shown["checksum"] == one("SELECT file_sha256 FROM lineage.loads")
    assert shown["file_names"] == export.file_name
    execution = one("SELECT program_execution FROM lineage.loads")
    assert shown["program_execution"] == execution
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == execution
    assert one("SELECT count(*) FROM lineage.loads") == 1


def test_two_programs_of_one_data_set_are_one_partition_with_both_executions(
    listed: dg.DagsterInstance,
) -> None:
    key = pair(10821, "ParamsAndSubject (31)")
    materialize(listed, EXPORTS, partition_key=key)
    version = (latest(listed, EXPORTS, key).tags or {})["dagster/data_version"]
    assert len(set(version.split(","))) == 2


def test_a_range_is_one_run_with_an_event_for_each_partition(
    listed: dg.DagsterInstance,
) -> None:
    materialize(listed, EXPORTS, tags=rectangle(f"{DAILY}|10821", "ActivityEpochs10|10823"))
    assert listed.get_materialized_partitions(EXPORTS) == {
        pair(subject, dataset)
        for subject in (10821, 10822, 10823)
        for dataset in (DAILY, "ActivityEpochs10")
    }
    assert one("SELECT count(*) FROM lineage.loads") == 6


def test_all_partitions_load_even_if_a_pair_has_no_export(
    listed: dg.DagsterInstance,
) -> None:
    everything = rectangle(f"{DAILY}|10821", "ParamsAndSubject (31)|10832")
    result = materialize(listed, EXPORTS, tags=everything)
    assert result.success
    assert one("SELECT count(*) FROM lineage.loads") == 59
    without_barometer = pair(10832, "LeapAvgBarometer")
    empty = latest(listed, EXPORTS, without_barometer)
    assert "lists no export for subject 10832" in str(empty.description)
    assert empty.metadata["rows"].value == 0
    assert one('SELECT count(*) FROM exports."LeapAvgBarometer" WHERE _subject_id = 10832') == 0


def test_a_run_of_one_partition_goes_on_downstream_and_one_of_several_says_what_it_skips(
    listed: dg.DagsterInstance,
) -> None:
    published = dg.AssetKey("published")
    # Without the models, `published` is next.
    job = build_defs(models=dg.Definitions()).resolve_implicit_global_asset_job_def()

    def run(**how: Any) -> dg.ExecuteInProcessResult:
        selected = [EXPORTS, published]
        return job.execute_in_process(instance=listed, asset_selection=selected, **how)

    # The first loads it, the second finds it current, the third has no export.
    for key in (pair(10821, DAILY), pair(10821, DAILY), pair(10832, "LeapAvgBarometer")):
        result = run(partition_key=key)
        events = result.asset_materializations_for_node("dataset_exports")
        assert [each.partition for each in events if each.asset_key == EXPORTS] == [key]
        assert len(result.asset_materializations_for_node("published")) == 1
        compared = [
            each.passed
            for each in result.get_asset_check_evaluations()
            if each.check_name == "records_match_lineage"
        ]
        assert compared
        assert all(compared)
    assert latest(listed, EXPORTS, pair(10821, DAILY)).metadata["rows"].value == 1
    result = run(tags=rectangle(f"{DAILY}|10821", f"{DAILY}|10822"))
    assert result.success
    assert result.asset_materializations_for_node("published") == []
    stored = listed.get_run_by_id(result.run_id)
    assert stored is not None
    assert stored.tags["cp_pipeline/skipped"] == "published"
    assert any(
        "skips the other selected assets: published" in entry.user_message
        for entry in listed.all_logs(result.run_id)
    )


def test_a_current_partition_gets_an_event_and_is_downloaded_again_only_on_refresh(
    sandbox: Sandbox, listed: dg.DagsterInstance
) -> None:
    key = pair(10821, DAILY)
    materialize(listed, EXPORTS, partition_key=key)
    loaded = latest(listed, EXPORTS, key)
    sandbox.forget_requests()
    materialize(listed, EXPORTS, partition_key=key)
    assert files_fetched(sandbox) == 0
    assert latest(listed, EXPORTS, key).metadata["fetched"].value is False
    for name in ("load_ids", "first_records", "dagster/column_schema"):
        assert latest(listed, EXPORTS, key).metadata[name] == loaded.metadata[name]
    refresh = {"ops": {"dataset_exports": {"config": {"refresh": True}}}}
    materialize(listed, EXPORTS, partition_key=key, run_config=refresh)
    assert files_fetched(sandbox) == 1


def test_a_failed_partition_is_named_and_all_others_load(
    sandbox: Sandbox, study: SandboxStudy, instance: dg.DagsterInstance
) -> None:
    study.put(subject_id=10822, data_set_name=DAILY, csv=b"", file_name="nothing.csv.gz",
              study_program_id="another")  # fmt: skip
    materialize(instance, FILES)
    daily = rectangle(f"{DAILY}|10821", f"{DAILY}|10832")
    result = materialize(instance, EXPORTS, raise_on_error=False, tags=daily)
    assert not result.success
    materialized = instance.get_materialized_partitions(EXPORTS)
    assert len(materialized) == 11
    assert pair(10822, DAILY) not in materialized
    failure = result.failure_data_for_node("dataset_exports")
    assert failure is not None
    assert failure.user_failure_data is not None
    description = str(failure.user_failure_data.description)
    assert "subject 10822" in description
    assert "nothing.csv.gz" in description
    assert "1 partition failed, 11 loaded:" in description


def test_the_sync_job_stores_an_event_for_each_partition_and_no_planned_events(
    synced: dg.DagsterInstance,
) -> None:
    (run,) = synced.get_runs()
    assert run.is_success
    assert len(synced.get_materialized_partitions(EXPORTS)) == 47
    assert events_of(synced, run.run_id)["ASSET_MATERIALIZATION"] == 48
    assert "ASSET_MATERIALIZATION_PLANNED" not in events_of(synced, run.run_id)
    again = run_job(synced, "sync")
    assert events_of(synced, again.run_id)["ASSET_MATERIALIZATION"] == 1


def events_of(instance: dg.DagsterInstance, run_id: str) -> Counter[str]:
    events = [each.dagster_event for each in instance.all_logs(run_id)]
    return Counter(event.event_type_value for event in events if event)


def test_a_run_that_cannot_reach_the_service_fails_with_the_reason(
    sandbox: Sandbox, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "a-wrong-secret-that-must-not-be-stored"
    monkeypatch.setenv("CP_CLIENT_SECRET", secret)
    result = materialize(instance, FILES, raise_on_error=False)
    failure = result.failure_data_for_node("export_files")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "CP_CLIENT_SECRET" in str(failure.user_failure_data.description)
    stored = "".join(
        str(record.event_log_entry)
        for record in instance.get_records_for_run(result.run_id).records
    )
    assert secret not in stored


def test_definitions_hold_no_setting(sandbox: Sandbox) -> None:
    from dagster._core.remote_representation.external_data import RepositorySnap

    snapshot = dg.serialize_value(RepositorySnap.from_def(build_defs().get_repository_def()))
    for name in ("CP_CLIENT_SECRET", "CP_CLIENT_ID", "CP_API_URL"):
        assert sandbox.environment[name] not in snapshot


def test_a_run_says_where_its_time_went(synced: dg.DagsterInstance) -> None:
    (run,) = synced.get_runs()
    tag = run.tags["cp_pipeline/time_spent"]
    for activity in ("listing", "download", "decode", "load", "warehouse held", "events"):
        assert re.search(rf"{activity} \d+\.\d s", tag), tag
    metadata = latest(synced, FILES).metadata
    for name in ("download", "decode", "load", "records", "warehouse_held"):
        assert float(str(metadata[f"{name}_seconds"].value)) > 0
    assert "Where the time went" in picture_in(metadata["where_the_time_went"])


@pytest.mark.parametrize("job", ["sync", "load_partitions", "compact"])
def test_a_run_that_is_terminated_is_not_tried_again(
    instance: dg.DagsterInstance, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(PipelineResource, "open", interrupted)
    monkeypatch.setattr(PipelineResource, "compact", interrupted)
    partitions: dict[str, list[int]] = {}
    ops = {"load_chosen_partitions": {"config": {"partitions": partitions}}}
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        build_defs().resolve_job_def(job).execute_in_process(
            instance=instance, run_config={"ops": ops} if job == "load_partitions" else None
        )
    (run,) = instance.get_runs()
    kinds = {entry.dagster_event_type for entry in instance.all_logs(run.run_id)}
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
    assert run.is_finished
    assert not run.is_success
