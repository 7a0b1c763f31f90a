"""``cp-pipeline models scaffold``: the model it writes for an unknown data set can be built."""

from collections.abc import Iterator

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from cp_pipeline.cli.models import models
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.model_scaffold import family_of, snake_case
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import BuiltSite, copied_project

SLEEP = (
    'SUBJECTID,StartOfSleep,TotalSleepTime,Efficiency %,group,subject_id,Größe,O\'Brien,"{{ x }}"\n'
    "1,2024-03-01 22:10:00,421,0.93,a,1,7,x,007\n"
    "1,2024-03-02 22:30:00,388,0.9,b,1,8,y,1\n"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    folder = tmp_path_factory.mktemp("scaffold")
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        built = BuiltSite(sandbox, folder / "data", copied_project(folder))
        built.put(SLEEP, dataset="SleepPeriods3")
        built.put("QUESTION,ANSWER\nq1,yes\nq1,yes\n", dataset="Oddly Named-Set.2")
        built.put("TIME,B\n2024-03-01 00:00:00,1\n2024-03-01 00:00:00,2\n", dataset="Twice")
        built.sync()
        yield built


def scaffold(site: BuiltSite, dataset: str) -> Result:
    return CliRunner().invoke(
        models,
        ["scaffold", dataset, "--project-dir", str(site.project)],
        env={"CP_WAREHOUSE": site.storage.warehouse},
    )


def test_a_model_is_written_that_builds_with_its_tests(site: BuiltSite) -> None:
    done = scaffold(site, "sleepperiods3")
    assert done.exit_code == 0, done.output
    staging = site.project / "models" / "staging"
    for path in ("sleep_periods.sql", "sleep_periods.yml", "../../columns.yml"):
        assert f"Wrote {(staging / path).resolve()}" in done.output
    mapping = yaml.safe_load((site.project / "columns.yml").read_text())
    assert mapping["SleepPeriods"]["measures"]["total_sleep_time"] == [
        {"column": "TotalSleepTime", "unit": "whole_number", "known_from": "our study"}
    ]
    assert "known_from: sandbox" in (site.project / "columns.yml").read_text()
    outcomes = site.build("--select", "sleep_periods")
    assert outcomes["unique_combination_sleep_periods_load_id__start_of_sleep"] == "pass"
    assert outcomes["not_null_sleep_periods_start_of_sleep"] == "pass"
    assert site.rows(
        "SELECT start_of_sleep::VARCHAR, total_sleep_time, efficiency, group_in_export,"
        " subject_id_in_export, größe, o_brien, x FROM staging.sleep_periods ORDER BY ALL"
    ) == [
        ("2024-03-01 22:10:00", 421, 0.93, "a", 1, 7, "x", "007"),
        ("2024-03-02 22:30:00", 388, 0.9, "b", 1, 8, "y", "1"),
    ]
    types = {row[0]: row[1] for row in site.rows("DESCRIBE staging.sleep_periods")}
    assert (types["start_of_sleep"], types["total_sleep_time"]) == ("TIMESTAMP", "BIGINT")
    described = yaml.safe_load((staging / "sleep_periods.yml").read_text())["models"][0]
    assert [column["name"] for column in described["columns"]] == list(types)
    assert described["description"].startswith(
        "One row per subject, study program and start_of_sleep"
    )


def test_a_later_version_with_another_type_loses_nothing_in_silence(site: BuiltSite) -> None:
    scaffold(site, "SleepPeriods3")
    site.put(
        "StartOfSleep,TotalSleepTime\n2024-03-03 22:00:00,400.5\n2024-03-04 22:00:00,401.0\n",
        dataset="SleepPeriods4",
    )
    site.sync()
    outcomes = site.dbt("build", "--select", "sleep_periods")
    assert site.rows(
        "SELECT total_sleep_time, unreadable_columns FROM staging.sleep_periods"
        " WHERE dataset_name = 'SleepPeriods4' ORDER BY start_of_sleep"
    ) == [(None, ["total_sleep_time"]), (401, [])]
    assert outcomes["nothing_unreadable_sleep_periods_"] == "warn"


@pytest.mark.parametrize(
    ("dataset", "model"), [("Oddly Named-Set.2", "oddly_named_set"), ("Twice", "twice")]
)
def test_without_unique_times_no_grain_is_claimed(
    site: BuiltSite, dataset: str, model: str
) -> None:
    assert scaffold(site, dataset).exit_code == 0
    outcomes = site.build("--select", model)
    assert not any(name.startswith("unique") for name in outcomes)
    assert site.rows(f"SELECT count(*) FROM staging.{model}") == [(2,)]
    written = (site.project / "models" / "staging" / f"{model}.yml").read_text()
    assert "describe here what identifies a row" in written


def test_nothing_is_overwritten(site: BuiltSite) -> None:
    scaffold(site, "Twice")
    path = site.project / "models" / "staging" / "twice.sql"
    path.with_suffix(".yml").unlink()
    mapping = (site.project / "columns.yml").read_text()
    path.write_text("-- mine\n")
    refused = scaffold(site, "Twice")
    assert isinstance(refused.exception, PipelineError)
    assert f"{path} already exists" in refused.exception.what
    assert path.read_text() == "-- mine\n"
    assert not path.with_suffix(".yml").exists()
    path.unlink()
    refused = scaffold(site, "Twice")
    assert isinstance(refused.exception, PipelineError)
    assert "already has the family Twice" in refused.exception.what
    assert not path.exists()
    assert (site.project / "columns.yml").read_text() == mapping


def test_a_data_set_that_is_not_there_is_said_with_those_that_are(site: BuiltSite) -> None:
    refused = scaffold(site, "Sleep")
    assert isinstance(refused.exception, PipelineError)
    assert "'Sleep'" in refused.exception.what
    assert "SleepPeriods3" in str(refused.exception.remedy)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("HeartRate", "heart_rate"),
        ("WEARMINUTES", "wearminutes"),
        ("Heart rate (bpm)", "heart_rate_bpm"),
        ("HTTPAnswer2xx", "http_answer2xx"),
        ("__a--b__", "a_b"),
        ("%", ""),
    ],
)
def test_names_in_snake_case(name: str, written: str) -> None:
    assert snake_case(name) == written


@pytest.mark.parametrize(
    ("dataset", "family"),
    [
        ("ActivityDaily8", "ActivityDaily"),
        ("ActivityEpochs10", "ActivityEpochs"),
        ("LeapAvgBarometer", "LeapAvgBarometer"),
        ("ParamsAndSubject (31)", "ParamsAndSubject"),
        ("Oddly Named-Set.2", "Oddly Named-Set."),
        ("12", "12"),
    ],
)
def test_the_family_is_the_name_without_its_version(dataset: str, family: str) -> None:
    assert family_of(dataset) == family
