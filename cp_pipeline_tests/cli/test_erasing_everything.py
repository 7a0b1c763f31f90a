"""Erase a subject with a unique id, after every command has handled it. Then search all files.

The search covers all bytes of all files, and looks for the id too. Only the proof of the erasure
may contain the id: ``landing/.erased/<number>.json``, and ``lineage.erasures`` in DuckDB's binary
format.
"""

from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.dbt_project import model_definitions
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.publish_job import PUBLISHED
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.warehouse_contents import MARKER, found_in, run

SUBJECT = 73190462
EXPORTS = dg.AssetKey("dataset_exports")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageSettings:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster_home"))
    return StorageSettings.from_environment()


def a_study() -> SandboxStudy:
    study = SandboxStudy.synthetic(study_id=4711, subjects=1, days=1, seed=1, epoch_rows=30)
    rows = f"TIMESTAMPUTC,STEPS,V\n2024-01-01T00:00:00Z,{MARKER},{MARKER}\n".encode()
    study.put(subject_id=SUBJECT, data_set_name="ActivityDaily8", csv=rows)
    study.put(subject_id=SUBJECT, data_set_name="Bad", csv=f"{MARKER},{MARKER}\n".encode())
    return study


def run_in_dagster(storage: StorageSettings) -> None:
    """Start the runs that a sensor (several partitions) and a person (one partition) start."""
    chosen = {"partitions": {"ActivityDaily8": [SUBJECT, 10821]}}
    key = dg.MultiPartitionKey({"subject": str(SUBJECT), "dataset": "ActivityDaily8"})
    with open_instance(storage) as instance:
        build_defs().resolve_job_def("load_partitions").execute_in_process(
            instance=instance,
            run_config={"ops": {"load_chosen_partitions": {"config": chosen}}},
        )
        build_defs().resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[EXPORTS], partition_key=key
        )


def publish(storage: StorageSettings) -> None:
    """Do what ``cp-pipeline publish`` does, with one model only, because each takes a second."""
    job = build_defs(models=model_definitions()).resolve_implicit_global_asset_job_def()
    model = dg.AssetKey(["staging", "activity_daily"])
    with open_instance(storage) as instance:
        done = job.execute_in_process(instance=instance, asset_selection=[model, PUBLISHED])
    assert done.success


def test_after_sync_publish_and_runs_of_dagster_no_byte_of_an_erased_subject_is_left(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(a_study()) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        assert run("sync").returncode == 1
        run_in_dagster(storage)
        publish(storage)
        # Files like those of a killed build, and of plain dbt with this output folder.
        left = storage.data_dir / "dbt" / "builds" / "killed" / "run_results.json"
        left.parent.mkdir(parents=True)
        left.write_text(MARKER)
        (storage.data_dir / "dbt" / "dbt.log").write_text(f"{SUBJECT} {MARKER}")
        # What is made of the published file, and what a killed process left of it.
        for path in (storage.report, storage.workbook):
            path.write_text(f"{SUBJECT} {MARKER}")
            path.with_name(f".{path.name}.{'0a' * 16}.partial").write_text(MARKER)
        half = storage.workbook_scratch / "killed" / "sheet1"
        half.parent.mkdir(parents=True)
        (half.parent / ".lock").touch()
        half.write_text(MARKER)
        texts = {MARKER, str(SUBJECT)}
        before = found_in(storage.data_dir, texts)
        for name in (
            "warehouse.duckdb", "centrepoint.duckdb", "dbt/dbt.log", "dbt/builds/killed/",
            "study-report.html", "centrepoint.xlsx", "workbook_scratch/killed/",
            "dagster_home/history/runs.db", "dagster_home/history/runs/index.db",
            f"landing/4711/{SUBJECT}/", f"quarantine/4711/{SUBJECT}/",
        ):  # fmt: skip
            assert any(each.startswith(name) for each in before), name

        done = run("erase", "--subject", str(SUBJECT), "--yes")
        assert done.returncode == 0, done.stderr
        for made in ("report", "publish --xlsx"):
            assert f"is removed. Run `cp-pipeline {made}` to make it again." in done.stdout
        record = f"landing/.erased/{SUBJECT}.json"
        assert found_in(storage.data_dir, texts) == {record: {str(SUBJECT)}}
        named = [path for path in storage.data_dir.rglob("*") if str(SUBJECT) in path.name]
        assert named == [storage.data_dir / record]
        # dbt's artifacts about the models stay, and Dagster can read all its data.
        assert (storage.data_dir / "dbt" / "manifest.json").exists()
        with open_instance(storage) as instance:
            for each in instance.get_runs():
                assert instance.all_logs(each.run_id)
                assert str(SUBJECT) not in str(each.run_config)
        assert run("sync").returncode == 0
        assert found_in(storage.data_dir, texts) == {record: {str(SUBJECT)}}
