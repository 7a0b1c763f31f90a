"""``cp-pipeline publish`` through Dagster, once for all tests: what it says, makes and records.

The study has rows 4 and 6 of docs/models.md, so two tests of the models are red.

Belongs here: the outcome of one whole publication by the command. Does not belong: publications
that fail, and when the sensor starts one (``defs/test_publishing.py``).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cp_pipeline.cli.sync import run_sync
from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.publish_job import PUBLISHED, STUDY_REPORT
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import ANSWERED
from cp_pipeline_tests.cli.test_commands import run
from cp_pipeline_tests.cli.test_machines import said
from cp_pipeline_tests.conftest import sync_all, usual_study
from cp_pipeline_tests.defs.conftest import DAILY, EXPORTS, latest
from cp_pipeline_tests.defs.test_publishing import evaluated
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import FAMILIES, MARTS
from cp_pipeline_tests.models.trial_files import epochs, utc

DAYS = dg.AssetKey(["marts", "subject_days"])
DAILY_MODEL = dg.AssetKey(["staging", "activity_daily"])


@dataclass(frozen=True)
class Publication:
    """A publication, and the run key for which the sensor would have started it."""

    sandbox: FaultySandbox
    storage: StorageSettings
    done: subprocess.CompletedProcess[str]
    run_key: str


@pytest.fixture(scope="module")
def publication(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publication]:
    folder = tmp_path_factory.mktemp("by_command")
    study = usual_study()
    table = "TIMESTAMPUTC,STEPS,MET\n" + epochs(utc("2024-02-05"), 60, ["0,1.0"] * 60)
    other = "DATE,WEARTIME,TOTALSTEPS,MODERATE\n2024-02-05,900,800,30\n"
    study.upload(20_000)
    study.put(subject_id=1, data_set_name="X", raw=b"\x1f\x8bnot gzip", file_name="bad.csv.gz")
    study.put(subject_id=4, data_set_name="ActivityEpochs11", csv=table.encode())
    study.put(subject_id=6, data_set_name="ActivityDaily9", csv=other.encode())
    with FaultySandbox(study) as sandbox, pytest.MonkeyPatch.context() as here:
        for name, value in sandbox.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(folder / "data"))
        here.delenv("DAGSTER_HOME", raising=False)
        # As the command does, which also records the looks at CentrePoint.
        assert run_sync() == 1
        for name in ("CP_WAREHOUSE", "CP_PUBLISHED", "DAGSTER_HOME"):
            os.environ.pop(name, None)
        storage = StorageSettings.from_environment()
        with open_instance(storage) as instance:
            (run_key,), _ = evaluated(instance)
        # Otherwise dbt would parse the models first, in the other process.
        prepared_project(storage)
        done = run("publish", "--json", "--xlsx", folder=folder)
        yield Publication(sandbox, storage, done, run_key)


@pytest.fixture
def copy(
    publication: Publication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> StorageSettings:
    """A copy of the data folder after the publication; the environment points to it."""
    shutil.copytree(publication.storage.data_dir, tmp_path / "data")
    for name, value in publication.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return StorageSettings.from_environment()


def test_it_says_as_json_what_it_made(publication: Publication) -> None:
    published = said("publish", publication.done)
    assert published["exit_code"] == 0
    assert published["published"] == str(publication.storage.published)
    assert Path(published["workbook"]).read_bytes().startswith(b"PK")
    assert published["report"] == str(publication.storage.report)
    assert publication.storage.report.read_text().startswith("<!DOCTYPE html>")
    with duckdb.connect(published["published"], read_only=True) as file:
        asked = file.execute("SELECT asked_for, outcome FROM lineage.listings").fetchall()
    assert asked == [("whole listing", ANSWERED)]


def test_the_report_can_be_made_again(copy: StorageSettings, tmp_path: Path) -> None:
    copy.report.write_text("of yesterday")
    reported = said("report", run("report", "--json", folder=tmp_path))
    assert reported["report"] == str(copy.report)
    assert copy.report.read_text().startswith("<!DOCTYPE html>")
    assert reported["bytes"] == copy.report.stat().st_size


def test_status_says_as_json_who_waits_for_what(copy: StorageSettings, tmp_path: Path) -> None:
    waiting = said("status", run("status", "--waiting", "--json", folder=tmp_path))
    states = {(each["subject_id"], each["state"]) for each in waiting["processing"]}
    assert states >= {(20_000, "uploaded_never_processed"), (1, "failed")}
    assert waiting["request"]["address"] == "CPDprocessing@theactigraph.com"
    assert "20000" in waiting["request"]["text"]


def test_red_checks_are_errors_name_what_they_found_and_the_file_is_published(
    publication: Publication,
) -> None:
    printed = " ".join(publication.done.stderr.split())
    assert "The check required_measures_are_mapped is red." in printed
    assert "columns wanted: WEARMINUTES; columns found: DATE, WEARTIME, TOTALSTEPS," in printed
    assert "The check validity_is_known is red." in printed
    assert "wear_24h: unknown (no column says wear)" in printed
    with open_instance(publication.storage) as instance:
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


def test_dagster_records_the_tests_of_the_models_and_where_columns_come_from(
    publication: Publication,
) -> None:
    run_id = said("publish", publication.done)["run_id"]
    with open_instance(publication.storage) as instance:
        events = [each.dagster_event for each in instance.all_logs(run_id)]
    made = {
        str(each.asset_key): each.step_materialization_data.materialization.metadata
        for each in events
        if each and each.is_step_materialization
    }
    models = {str(dg.AssetKey(["staging", name])) for name in FAMILIES}
    models |= {str(dg.AssetKey(["marts", name])) for name in MARTS}
    assert set(made) == {*models, str(PUBLISHED), str(STUDY_REPORT)}
    days = made[str(DAYS)]
    assert days["dagster/row_count"].value == 14
    columns = days["dagster/column_schema"].value.columns  # type: ignore[union-attr]
    assert ("wear_minutes", "DOUBLE") in {(column.name, column.type) for column in columns}
    assert sources(days, "sleep_minutes") == {(DAILY_MODEL, "sleep_minutes")}
    daily = made[str(DAILY_MODEL)]
    assert sources(daily, "sleep_minutes") == {(EXPORTS, f"{DAILY}.SLEEPMINUTES")}
    # Also as text, because open-source Dagster's UI does not show column lineage.
    assert "| activity\\_daily.sleep\\_minutes" in str(days["columns_made_from"].value)
    assert f"| {DAILY}.SLEEPMINUTES" in str(daily["columns_made_from"].value)
    checks = [
        each.asset_check_evaluation_data
        for each in events
        if each and each.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    assert len(checks) > 20
    assert {each.check_name for each in checks if not each.passed} == {
        "required_measures_are_mapped",
        "validity_is_known",
    }


def sources(metadata: Mapping[str, dg.MetadataValue], column: str) -> set[tuple[dg.AssetKey, str]]:
    lineage = metadata["dagster/column_lineage"].value
    return {(each.asset_key, each.column_name) for each in lineage.deps_by_column[column]}  # type: ignore[union-attr]


def test_dagster_records_the_file_and_previews_the_report(publication: Publication) -> None:
    with open_instance(publication.storage) as instance:
        published, reported = latest(instance, PUBLISHED), latest(instance, STUDY_REPORT)
    report = publication.storage.report
    assert reported.metadata["path"].value == str(report)
    assert reported.metadata["bytes"].value == report.stat().st_size
    preview = str(reported.metadata["preview"].value)
    assert "| Current | **98 %** 49 of 50 partitions |" in preview
    # Dagster shows it without a click, and stores no subject's number with it.
    assert len(preview) < 1000
    assert "108" not in preview
    with duckdb.connect(str(publication.storage.published), read_only=True) as file:
        (days,) = file.execute("SELECT count(*) FROM marts.subject_days").fetchall()
        (tables,) = file.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    # One of each subject of the synthetic study, and those of the two others.
    assert days == (14,)
    # The metadata does not count the table with the time of publishing.
    assert published.metadata["tables"].value == tables[0] - 1


def test_the_sensor_publishes_once_for_all_that_was_loaded(
    publication: Publication, copy: StorageSettings
) -> None:
    with open_instance(copy) as instance:
        keys, reason = evaluated(instance)
        assert not keys
        assert "has the current state of the warehouse" in reason
        # A day later it is published again, once: it also says when CentrePoint was last asked.
        written = copy.published.stat().st_mtime
        os.utime(copy.published, (written, written - 25 * 3600))
        keys, _ = evaluated(instance)
        assert len(keys) == 1
        assert evaluated(instance)[0] == keys
        os.utime(copy.published, (written, written))
        publication.sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
        sync_all()
        again, _ = evaluated(instance)
        assert again
        assert again not in (keys, [publication.run_key])
