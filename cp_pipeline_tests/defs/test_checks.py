"""Each check passes on a correct study, and fails with numbers on the fault that it is for."""

import dagster as dg
import duckdb

from cp_pipeline.defs.checks import CHECKS
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.ingest import ATTEMPTS
from cp_pipeline.locks.run_locks import RunLocks
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import sync_all, usual_study
from cp_pipeline_tests.defs.conftest import DAILY, EXPORTS, run_job
from cp_pipeline_tests.models.trial_files import program, subject

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def evaluations(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the newest evaluation of each check, as the UI shows it."""
    evaluation_of = {}
    for check in CHECKS:
        key = dg.AssetCheckKey(EXPORTS, check.name)
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.event is not None
        evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
        evaluation_of[check.name] = evaluation
    return evaluation_of


def failed(instance: dg.DagsterInstance) -> dict[str, tuple[int, dg.AssetCheckSeverity]]:
    """Return the checks that fail, with the number of rows at fault and the severity.

    In this study, two programs yield one data set of each subject: that is always found.
    """
    found = {
        name: (int(str(each.metadata["at_fault"].value)), each.severity)
        for name, each in evaluations(instance).items()
        if not each.passed
    }
    assert found.pop("datasets_are_of_one_program") == (12, WARN)
    return found


def execute_checks(instance: dg.DagsterInstance) -> None:
    """Execute all checks, like "Execute all" in the Checks tab."""
    job = build_defs().resolve_implicit_global_asset_job_def()
    keys = [dg.AssetCheckKey(EXPORTS, check.name) for check in CHECKS]
    job.get_subset(asset_selection=set(), asset_check_selection=set(keys)).execute_in_process(
        instance=instance
    )


def test_all_pass_after_a_run_and_say_how_much_they_examined(
    synced: dg.DagsterInstance,
) -> None:
    assert failed(synced) == {}
    examined = {n: e.metadata["examined"].value for n, e in evaluations(synced).items()}
    assert examined["listed_execution_is_loaded"] == 47
    assert examined["rows_match_files"] == 59
    assert examined["records_match_lineage"] == 47


def test_they_can_be_executed_by_hand(synced: dg.DagsterInstance) -> None:
    with duckdb.connect(StorageSettings.from_environment().warehouse) as warehouse:
        warehouse.execute(f'DELETE FROM history."{DAILY}" WHERE _load_id % 2 = 0')
    execute_checks(synced)
    assert failed(synced)["rows_match_files"][1] is ERROR


def test_a_listed_execution_that_is_not_loaded(
    synced: dg.DagsterInstance, study: SandboxStudy
) -> None:
    study.put(subject_id=10822, data_set_name=DAILY, csv=b"", study_program_id="another")
    run_job(synced, "sync", raise_on_error=False)
    assert failed(synced)["listed_execution_is_loaded"] == (1, ERROR)
    evaluation = evaluations(synced)["listed_execution_is_loaded"]
    assert evaluation.description == "1 of 47: partitions that are stale, missing or failed."
    table = evaluation.metadata["first_at_fault"]
    assert isinstance(table, dg.TableMetadataValue)
    assert table.records[0].data["subject"] == 10822
    assert table.records[0].data["state"] == "failed"
    assert "The file is empty" in str(table.records[0].data["reason"])


def test_rows_that_are_not_the_files_records(synced: dg.DagsterInstance) -> None:
    with duckdb.connect(StorageSettings.from_environment().warehouse) as warehouse:
        warehouse.execute(f'INSERT INTO history."{DAILY}" FROM history."{DAILY}" LIMIT 1')
        warehouse.execute('DELETE FROM history."LeapAvgBarometer" WHERE hour(TIMESTAMPUTC) = 1')
    execute_checks(synced)
    at_fault, severity = failed(synced)["rows_match_files"]
    assert at_fault > 1
    assert severity is ERROR


def test_columns_that_were_added_removed_and_widened(
    synced: dg.DagsterInstance, study: SandboxStudy
) -> None:
    study.put(subject_id=1, data_set_name="Own", csv=b"A,B,C\n1,2,3\n")
    run_job(synced, "sync")
    assert failed(synced) == {}
    study.put(subject_id=1, data_set_name="Own", csv=b"A,D,C\nx,2,3\n")
    run_job(synced, "sync")
    assert failed(synced) == {"schema_is_unchanged": (1, WARN)}
    table = evaluations(synced)["schema_is_unchanged"].metadata["first_at_fault"]
    assert isinstance(table, dg.TableMetadataValue)
    row = table.records[0].data
    assert (row["added"], row["removed"], row["widened"]) == ("D", "B", "A: bigint to varchar")


def test_an_older_execution_that_is_listed_again(
    synced: dg.DagsterInstance, study: SandboxStudy
) -> None:
    older = "2019-01-01T00:00:00+00:00"
    (export,) = (e for e in study.export_files if (e.subject_id, e.data_set_name) == (10822, DAILY))
    study.put(subject_id=10822, data_set_name=DAILY, csv=b"A\n1\n", execution=older,
              study_program_id=export.study_program_id)  # fmt: skip
    run_job(synced, "sync")
    assert failed(synced) == {"executions_go_forward": (1, WARN)}


def test_an_export_that_is_not_listed_any_more(
    synced: dg.DagsterInstance, study: SandboxStudy
) -> None:
    study.withdraw(subject_id=10822, data_set_name=DAILY)
    run_job(synced, "sync")
    assert failed(synced) == {}
    storage = StorageSettings.from_environment()
    (export,) = (
        e for e in usual_study().export_files if (e.subject_id, e.data_set_name) == (10822, DAILY)
    )
    program(storage, export.study_program_id, "Activity (30)")
    subject(storage, 10822, None, "0042", "101")
    run_job(synced, "sync")
    assert failed(synced) == {"exports_are_still_listed": (1, WARN)}
    table = evaluations(synced)["exports_are_still_listed"].metadata["first_at_fault"]
    assert isinstance(table, dg.TableMetadataValue)
    row = table.records[0].data
    assert (row["subject"], row["subject_identifier"]) == (10822, "101-0042")
    assert row["study_program_id"] == export.study_program_id
    assert row["study_program"] == "Activity (30)"
    assert {column.name for column in table.schema.columns} == set(row)


def test_two_rows_for_one_timestamp(synced: dg.DagsterInstance, study: SandboxStudy) -> None:
    twice = b"TIMESTAMPUTC,STEPS\n2024-03-01 00:00:00,1\n2024-03-01 00:00:00,2\n"
    study.put(subject_id=1, data_set_name="Own", csv=twice)
    run_job(synced, "sync")
    assert failed(synced) == {"timestamps_are_unique": (1, WARN)}


def test_a_load_without_an_event_in_dagster(synced: dg.DagsterInstance, sandbox: Sandbox) -> None:
    sandbox.execute_again(subject_id=10822, data_set_name=DAILY)
    sync_all()
    execute_checks(synced)
    assert failed(synced) == {"records_match_lineage": (1, WARN)}
    other = {"partitions": {DAILY: [10823]}, "refresh": False}
    run_job(synced, "load_partitions", other)
    assert failed(synced) == {"records_match_lineage": (1, WARN)}, (
        "compared for a part of the study"
    )
    locks = RunLocks(StorageSettings.from_environment().data_dir)
    locks.hold("of a run that Dagster does not know")
    locks.release("of a run that Dagster does not know")
    run_job(synced, "load_partitions", other)
    assert failed(synced) == {}


def test_a_partition_that_waits_for_a_person(
    synced: dg.DagsterInstance, study: SandboxStudy
) -> None:
    study.put(subject_id=10822, data_set_name="Broken", csv=b"")
    for _ in range(ATTEMPTS):
        run_job(synced, "sync", raise_on_error=False)
    assert failed(synced)["nothing_waits_for_a_person"] == (1, ERROR)
    table = evaluations(synced)["nothing_waits_for_a_person"].metadata["first_at_fault"]
    assert isinstance(table, dg.TableMetadataValue)
    assert "The file is empty" in str(table.records[0].data["reason"])
