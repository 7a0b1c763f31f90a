"""Studies without the data sets that the models need, or with data in an unusual form."""

from pathlib import Path

import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import is_lake
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import FAMILIES, MARTS, BuiltSite
from cp_pipeline_tests.warehouses import changing

# Not the tests of the models' SQL alone, which know nothing of a study.
TESTS = ("--exclude-resource-type", "unit_test")
MODELS = [f"staging.{name}" for name in FAMILIES] + [f"marts.{name}" for name in MARTS]


def test_a_study_without_known_data_sets_and_one_that_gets_them(tmp_path: Path) -> None:
    odd = 'Time (UTC),"Say ""hi""",Größe\n2024-03-01 00:00:00,x,1\n2024-03-02 00:00:00,,2\n'
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path)
        site.put(odd, dataset="Oddly Named-Set.2")
        # Names that only start like a known name.
        for name in ("ActivityDailyNotes", "MyActivityDaily8", "ActivityDaily8b"):
            site.put("DATE,STEPS\n2024-03-01,1\n", dataset=name)
        site.sync()
        # All tests run below: where the same data set is beside known ones, and where nothing is.
        site.build("--resource-type", "model")
        for name in FAMILIES:
            assert site.rows(f"FROM staging.{name}") == []
        assert site.rows("FROM marts.subject_days") == []
        assert site.rows(
            "SELECT row_count, days_covered FROM marts.study_coverage"
            " WHERE dataset_name = 'Oddly Named-Set.2'"
        ) == [(2, 2)]
        empty = columns(site)

        site.put("date,WearMinutes,STEPS\n2024-03-01,1000,1\n", dataset="activitydaily7")
        site.put("STEPS,DATE,WEARMINUTES\n2,2024-03-02,1100\n", dataset="ActivityDaily12")
        site.put("DATE,STEPS,WEARMINUTES\n2024-03-02,3,1200\n", dataset="ActivityDaily8")
        site.sync()
        site.build(*TESTS)
        assert site.rows(
            "SELECT dataset_name, date::VARCHAR, wear_minutes, steps, sleep_minutes"
            " FROM staging.activity_daily ORDER BY steps"
        ) == [
            ("activitydaily7", "2024-03-01", 1000, 1, None),
            ("ActivityDaily12", "2024-03-02", 1100, 2, None),
            ("ActivityDaily8", "2024-03-02", 1200, 3, None),
        ]
        # The columns and types are the same with and without data.
        assert columns(site) == empty
        # All days of a subject come from one data set: the one with the highest version.
        assert site.rows("SELECT date::VARCHAR, steps FROM marts.subject_days") == [
            ("2024-03-02", 2)
        ]


def columns(site: BuiltSite) -> dict[str, list[object]]:
    """The columns of each model, with their types."""
    return {name: [row[:2] for row in site.rows(f"DESCRIBE {name}")] for name in MODELS}


@pytest.mark.both_engines
def test_one_odd_value_is_lost_to_nobody_else_and_a_test_warns(tmp_path: Path) -> None:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path)
        site.put(
            "TIMESTAMPUTC,STEPS,MET,HEARTRATE\n"
            "2024-03-01 00:00:00,5,1.50,60\n"
            "2024-03-01T02:01:00+02:00,NA,NaN,60\n"
            "noon,7,inf, 61 \n",
            dataset="ActivityEpochs10",
        )
        site.sync()
        outcomes = site.dbt("build", "--select", "activity_epochs")
        assert site.rows(
            "SELECT timestamp_utc::VARCHAR, steps, met, heart_beats_per_minute, unreadable_columns"
            " FROM staging.activity_epochs ORDER BY timestamp_utc"
        ) == [
            ("2024-03-01 00:00:00", 5, 1.5, 60, []),
            ("2024-03-01 00:01:00", None, None, 60, ["steps", "met"]),
            (None, 7, None, 61, ["timestamp", "met"]),
        ]
    assert outcomes["activity_epochs"] == "success"
    assert {name for name, outcome in outcomes.items() if outcome == "warn"} == {
        "nothing_unreadable_activity_epochs_",
        "activity_epochs_have_a_time",
    }
    assert "fail" not in outcomes.values()


@pytest.mark.parametrize("made", ["nothing", "schemas"])
def test_before_anything_was_synced(tmp_path: Path, made: str) -> None:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path)
        if made == "schemas":
            with changing(site.storage) as warehouse:
                for schema in ("exports", "history", "lineage"):
                    warehouse.execute(f"CREATE SCHEMA {schema}")
        # Run the tests in one case only; they are the same in both.
        site.build(*(TESTS if made == "schemas" else ("--resource-type", "model")))
        for name in MODELS:
            assert site.rows(f"FROM {name}") == []
        if made == "nothing":
            # Nothing is listed yet. Later, the pipeline uses the file that dbt created.
            if not is_lake(site.storage.warehouse):
                ((version,),) = site.rows(
                    "SELECT tags['storage_version'] FROM duckdb_databases()"
                    " WHERE database_name = 'warehouse'"
                )
                assert str(version).startswith("v1.5")
            site.load("DATE,STEPS\n2024-03-01,1\n", dataset="ActivityDaily8")
            site.build("--select", "+subject_summary", "--resource-type", "model")
            assert site.rows("SELECT subject_id, days FROM marts.subject_summary") == [(1, 1)]
