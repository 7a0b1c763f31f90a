"""The models of the sandbox's study agree with the exports, computed in a different way."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.models.building import BEFORE, FAMILIES, MARTS, BuiltSite, built_site

# Two subjects take the device off for a day, so they have too few valid days.
SUBJECTS, DAYS, SEED = 4, 4, 11
VALID = (pl.col("AWAKEWEARMINUTES") >= 600) | (pl.col("WEARMINUTES") >= 960)
ACTIVITY = ["light_minutes", "moderate_minutes", "vigorous_minutes", "moderate_to_vigorous_minutes"]


def study(*datasets: str) -> SandboxStudy:
    return SandboxStudy.synthetic(
        subjects=SUBJECTS, days=DAYS, seed=SEED, datasets=datasets or None
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    with built_site(study(), tmp_path_factory.mktemp("all"), *BEFORE) as built:
        # Build a second time, with nothing new; this time with all tests.
        built.build()
        yield built


def daily(site: BuiltSite) -> pl.DataFrame:
    """The rows of the daily export, from the schema ``exports``."""
    return site.frame('FROM exports."ActivityDaily8"').sort("_subject_id", "DATE")


def test_every_model_is_built_and_every_column_described(site: BuiltSite) -> None:
    described = site.frame(
        "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
        " WHERE schema_name IN ('staging', 'marts')"
    )
    models = {(row[0], row[1]) for row in described.rows()}
    assert models == {("staging", name) for name in FAMILIES} | {("marts", name) for name in MARTS}
    assert described.filter(pl.col("comment").is_null()).rows() == []
    comments = site.rows(
        "SELECT comment FROM duckdb_tables() WHERE schema_name = 'marts' UNION ALL"
        " SELECT comment FROM duckdb_views() WHERE schema_name = 'staging'"
    )
    assert len(comments) == len(models)
    assert all(str(comment).startswith("One row per ") for (comment,) in comments)


def test_a_null_and_a_value_out_of_range_are_found_and_their_columns_named(
    site: BuiltSite, tmp_path: Path
) -> None:
    other = BuiltSite(site.sandbox, tmp_path)
    shutil.copy(site.storage.warehouse, other.storage.warehouse)
    with duckdb.connect(other.storage.warehouse) as warehouse:
        warehouse.execute("UPDATE marts.epoch_days SET date = NULL, effort_known_share = 1.5")
    outcomes = other.dbt(
        "test", "--select", "epoch_days,test_name:never_null", "epoch_days,test_name:in_ranges"
    )
    assert sorted(outcomes.values()) == ["fail", "fail"]
    with duckdb.connect(other.storage.warehouse) as warehouse:
        named = {
            row[0]
            for sql in (other.storage.data_dir / "dbt" / "compiled").rglob("*epoch_days*.sql")
            if "never_null" in sql.name or "in_ranges" in sql.name
            for row in warehouse.execute(sql.read_text()).fetchall()
        }
    assert named == {"date", "effort_known_share"}


def test_staging_has_every_row_and_value(site: BuiltSite) -> None:
    exported = daily(site)
    staged = site.frame("FROM staging.activity_daily ORDER BY subject_id, date")
    assert len(staged) == SUBJECTS * DAYS
    for column, name in [
        ("STEPS", "steps"),
        ("SLEEPMINUTES", "sleep_minutes"),
        ("CALORIES", "kilocalories"),
        ("MET", "mean_met"),
    ]:
        assert staged[name].to_list() == exported[column].cast(pl.Float64).to_list()
    assert staged["program_execution"].to_list() == exported["_program_execution"].to_list()
    assert staged["nonwear_minutes"].null_count() == len(staged)
    epochs = 'SELECT sum(STEPS), sum(MET), count(*), count(STEPS) FROM exports."ActivityEpochs10"'
    assert site.rows(epochs) == site.rows(
        "SELECT sum(steps), sum(met), count(*), count(steps) FROM staging.activity_epochs"
    )
    assert site.rows('SELECT sum(AVGPRESSUREHPA) FROM exports."LeapAvgBarometer"') == site.rows(
        "SELECT sum(mean_pressure_hectopascals) FROM staging.barometer"
    )


def test_two_programs_of_one_data_set_are_two_grains(site: BuiltSite) -> None:
    assert site.rows(
        "SELECT DISTINCT count(DISTINCT study_program_id), count(*) FROM"
        " staging.parameters_and_subject GROUP BY subject_id, parameter"
    ) == [(2, 2)]


def test_subject_days_are_the_daily_summaries(site: BuiltSite) -> None:
    expected = daily(site).select(
        subject_id="_subject_id",
        date="DATE",
        is_valid_day=VALID,
        wear_minutes=pl.col("WEARMINUTES").cast(pl.Float64),
        steps=pl.col("STEPS").cast(pl.Float64),
        moderate_to_vigorous_minutes=(pl.col("MODERATEMINUTES") + pl.col("VIGOROUSMINUTES")).cast(
            pl.Float64
        ),
        load_id="_load_id",
    )
    found = site.frame("FROM marts.subject_days ORDER BY subject_id, date")
    assert_frame_equal(found.select(expected.columns), expected)
    assert set(found["measured_by"]) == {"daily summary"}
    # Otherwise the test would not cover the rule.
    assert set(expected["is_valid_day"]) == {True, False}


def test_subject_summary_is_of_valid_days(site: BuiltSite) -> None:
    expected = (
        daily(site)
        .filter(VALID)
        .group_by(subject_id="_subject_id")
        .agg(
            valid_days=pl.len().cast(pl.Int64),
            overall_mean_wear_minutes=pl.col("WEARMINUTES").mean(),
            overall_mean_sleep_minutes=pl.col("SLEEPMINUTES").mean(),
            overall_mean_steps=pl.col("STEPS").mean(),
            overall_n_steps=pl.len().cast(pl.Int64),
        )
        .with_columns(has_enough_valid_days=pl.col("valid_days") >= 4)
        .sort("subject_id")
    )
    found = site.frame("FROM marts.subject_summary ORDER BY subject_id")
    assert_frame_equal(found.select(expected.columns), expected)
    assert found["days"].to_list() == [DAYS] * SUBJECTS
    assert found["has_enough_valid_days"].to_list() == [True, True, False, False]


def test_study_coverage_is_what_the_exports_cover(site: BuiltSite) -> None:
    found = site.frame("FROM marts.study_coverage")
    epochs = site.frame(
        "SELECT _subject_id AS subject_id, count(*) AS row_count, min(TIMESTAMPUTC) AS"
        " first_timestamp, max(TIMESTAMPUTC) AS last_timestamp, count(DISTINCT"
        ' TIMESTAMPUTC::DATE) AS days_covered FROM exports."ActivityEpochs10" GROUP BY ALL'
        " ORDER BY subject_id"
    )
    of_epochs = found.filter(pl.col("dataset_name") == "ActivityEpochs10").sort("subject_id")
    assert_frame_equal(of_epochs.select(epochs.columns), epochs)
    assert set(epochs["days_covered"]) == {DAYS}
    # The last subject has no barometer. Two programs produce the parameters.
    assert len(found) == SUBJECTS * 4 - 1
    parameters = found.filter(pl.col("dataset_name") == "ParamsAndSubject (31)")
    assert parameters.select("executions", "loads").unique().rows() == [(2, 2)]
    assert set(found["state"]) == {"current"}


def test_days_summed_from_epochs_are_those_of_the_summaries(
    site: BuiltSite, tmp_path: Path
) -> None:
    # The sandbox derives both data sets from the same simulated activity and effort.
    only = ("--select", "+subject_days", "--resource-type", "model")
    with built_site(study("ActivityEpochs10"), tmp_path / "epochs", *only) as epochs_only:
        summed = epochs_only.frame("FROM marts.subject_days ORDER BY subject_id, date")
    summaries = site.frame(
        "FROM marts.subject_days WHERE wear_minutes > 0 ORDER BY subject_id, date"
    )
    assert set(summed["measured_by"]) == {"epochs"}
    for unknown in ("wear_minutes", "sleep_minutes", "is_valid_day"):
        assert summed[unknown].null_count() == len(summed)
    # Days on which the device was taken off too long have no sums: their epochs are empty.
    known = summed.filter(pl.col("effort_known_share") >= 0.8)
    assert 0 < len(known) < len(summed)
    assert summed.filter(pl.col("effort_known_share") < 0.8)["light_minutes"].is_null().all()
    same = ["subject_id", "date", *ACTIVITY]
    summaries = summaries.join(known, on=["subject_id", "date"], how="semi")
    assert_frame_equal(known.select(same), summaries.select(same))
    assert (known["steps"] / summaries["steps"]).is_between(0.8, 1.2).all()


def test_views_stay_valid_whatever_the_file_is_attached_as(site: BuiltSite) -> None:
    with duckdb.connect() as other:
        other.execute(f"ATTACH '{site.storage.warehouse}' AS elsewhere (READ_ONLY)")
        for name in FAMILIES:
            (rows,) = other.execute(f"SELECT count(*) FROM elsewhere.staging.{name}").fetchall()
            assert rows[0] > 0
            # DuckDB 2.0 removes the database name from the view; 1.5 keeps it.
            compiled = site.storage.data_dir / "dbt/compiled/cp_models/models/staging"
            assert '"warehouse"' not in (compiled / f"{name}.sql").read_text()
