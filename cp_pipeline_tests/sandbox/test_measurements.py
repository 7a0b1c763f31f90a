"""What the synthetic CSVs promise: that they look like actigraphy, and never change by chance."""

import csv
import io
import random
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import mean

import pytest

from cp_pipeline.sandbox import ExportFile, SandboxStudy

DAILY = "ActivityDaily8"
EPOCHS = "ActivityEpochs10"
BAROMETER = "LeapAvgBarometer"
PARAMETERS = "ParamsAndSubject (31)"


@cache
def rows(file: ExportFile) -> list[dict[str, str]]:
    """The rows of a CSV by column, having checked that each is as long as the header."""
    lines = list(csv.reader(io.StringIO(file.csv.decode("utf-8"), newline="")))
    assert all(len(line) == len(lines[0]) for line in lines)
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def of(study: SandboxStudy, data_set_name: str) -> list[ExportFile]:
    """The export files of a data set."""
    return [file for file in study.export_files if file.data_set_name == data_set_name]


def average(epochs: Sequence[dict[str, str]], column: str, first: str, last: str) -> float:
    """The mean of a column over the worn minutes from one time of day to another."""
    return mean(
        float(row[column])
        for row in epochs
        if row[column] and first <= row["TIMESTAMPUTC"][11:16] < last
    )


@pytest.fixture(scope="module")
def ten_days() -> SandboxStudy:
    """Six subjects for ten days."""
    return SandboxStudy.synthetic(subjects=6, days=10)


def test_twelve_subjects_have_59_items_and_the_last_one_no_barometer() -> None:
    study = SandboxStudy.synthetic()
    assert len(study.export_files) == 59
    assert {file.subject_id for file in of(study, BAROMETER)} == set(range(10821, 10832))
    assert len(SandboxStudy.synthetic(subjects=1).export_files) == 5
    assert SandboxStudy.synthetic(subjects=0).export_files == ()


def test_a_study_can_be_restricted_to_some_data_sets() -> None:
    study = SandboxStudy.synthetic(subjects=4, datasets=(DAILY, BAROMETER))
    assert [len(of(study, name)) for name in (DAILY, EPOCHS, BAROMETER, PARAMETERS)] == [4, 0, 3, 0]
    whole = SandboxStudy.synthetic(subjects=4)
    assert [file.csv for file in of(study, DAILY)] == [file.csv for file in of(whole, DAILY)]
    with pytest.raises(ValueError, match="No such data set"):
        SandboxStudy.synthetic(datasets=("Activity",))
    with pytest.raises(ValueError, match="negative"):
        SandboxStudy.synthetic(days=-1)


def test_contents_depend_on_the_seed_and_not_on_the_order_of_asking() -> None:
    first, second = SandboxStudy.synthetic(), SandboxStudy.synthetic()
    shuffled = list(second.export_files)
    random.Random(3).shuffle(shuffled)
    contents = {file.key: file.csv for file in shuffled}
    assert [file.csv for file in first.export_files] == [
        contents[file.key] for file in first.export_files
    ]
    assert first.export_files == second.export_files
    other = SandboxStudy.synthetic(seed=2)
    for one, another in zip(first.export_files, other.export_files, strict=True):
        assert one.csv != another.csv
    assert len(set(contents.values())) == 59


def test_rows_are_as_many_as_were_asked_for() -> None:
    study = SandboxStudy.synthetic(subjects=1, days=2)
    assert [len(rows(of(study, name)[0])) for name in (DAILY, EPOCHS, BAROMETER)] == [2, 2880, 576]
    for count in (0, 1, 1440, 1441, 5000):
        (file,) = SandboxStudy.synthetic(
            subjects=1, days=1, epoch_rows=count, datasets=(EPOCHS,)
        ).export_files
        assert file.csv.count(b"\n") == count + 1


def test_headers_are_the_known_ones(ten_days: SandboxStudy) -> None:
    headers = {file.data_set_name: file.csv.split(b"\n")[0] for file in ten_days.export_files}
    assert headers == {
        EPOCHS: b"SUBJECTID,TIMESTAMPUTC,STEPS,MET,CALORIES",
        DAILY: b"SUBJECTID,DATE,WEARMINUTES,SLEEPMINUTES,STEPS,SEDENTARYMINUTES,LIGHTMINUTES,"
        b"MODERATEMINUTES,VIGOROUSMINUTES,MVPAMINUTES,MET,CALORIES,AWAKEWEARMINUTES",
        BAROMETER: b"SUBJECTID,TIMESTAMPUTC,AVGPRESSUREHPA,TEMPERATUREC",
        PARAMETERS: b"SUBJECTID,SITEID,PARAMETER,VALUE,UNIT,ENTEREDON",
    }


def test_epochs_have_a_night_a_day_and_a_lunchtime(ten_days: SandboxStudy) -> None:
    for file in of(ten_days, EPOCHS):
        epochs = rows(file)
        night = average(epochs, "STEPS", "01:00", "05:00")
        morning = average(epochs, "STEPS", "09:00", "11:00")
        lunch = average(epochs, "STEPS", "11:10", "13:20")
        assert night < 0.2
        assert morning > 2
        assert lunch > 1.2 * morning
        assert average(epochs, "MET", "01:00", "05:00") < 1.05
        assert average(epochs, "MET", "09:00", "18:00") > 1.2


def test_epochs_follow_one_another_and_have_walks_and_gaps(ten_days: SandboxStudy) -> None:
    epochs = rows(of(ten_days, EPOCHS)[4])
    times = [row["TIMESTAMPUTC"] for row in epochs]
    assert times == sorted(set(times))
    assert (times[0], times[1440]) == ("2024-02-05 00:00:00", "2024-02-06 00:00:00")
    assert {row["SUBJECTID"] for row in epochs} == {"10825"}
    walking = [int(row["STEPS"] or 0) > 80 for row in epochs]
    # Walks come in bouts: a walking minute is mostly followed by another.
    followed = sum(one and next_one for one, next_one in pairwise(walking))
    assert sum(walking) > 10 * 15
    assert followed > 0.8 * sum(walking)
    unworn = [row for row in epochs if row["STEPS"] == ""]
    assert 0 < len(unworn) < len(epochs) / 2
    assert all(row["MET"] == row["CALORIES"] == "" for row in unworn)


def test_daily_files_add_up_and_agree_with_the_epochs(ten_days: SandboxStudy) -> None:
    for daily, epochs in zip(of(ten_days, DAILY), of(ten_days, EPOCHS), strict=True):
        minutes = rows(epochs)
        for row in rows(daily):
            todays = [minute for minute in minutes if minute["TIMESTAMPUTC"][:10] == row["DATE"]]
            assert int(row["WEARMINUTES"]) == sum(minute["STEPS"] != "" for minute in todays)
            if row["STEPS"] == "":
                assert row["WEARMINUTES"] == "0"
                continue
            parts = ("SLEEP", "SEDENTARY", "LIGHT", "MODERATE", "VIGOROUS")
            total = sum(int(row[f"{part}MINUTES"]) for part in parts)
            assert total == int(row["WEARMINUTES"])
            active = int(row["MODERATEMINUTES"]) + int(row["VIGOROUSMINUTES"])
            assert int(row["MVPAMINUTES"]) == active
            steps = sum(int(minute["STEPS"] or 0) for minute in todays)
            assert int(row["STEPS"]) == pytest.approx(steps, rel=0.15, abs=400)
            calories = sum(float(minute["CALORIES"] or 0) for minute in todays)
            assert float(row["CALORIES"]) == pytest.approx(calories, rel=0.05)


def test_every_activity_data_set_has_empty_fields_somewhere(ten_days: SandboxStudy) -> None:
    for name in (DAILY, EPOCHS, BAROMETER, PARAMETERS):
        empty = ["" in row.values() for file in of(ten_days, name) for row in rows(file)]
        assert 0 < sum(empty) < len(empty)


def test_a_barometer_measures_plausible_air(ten_days: SandboxStudy) -> None:
    for file in of(ten_days, BAROMETER):
        measured = [row for row in rows(file) if row["AVGPRESSUREHPA"]]
        assert all(950 < float(row["AVGPRESSUREHPA"]) < 1050 for row in measured)
        assert all(15 < float(row["TEMPERATUREC"]) < 40 for row in measured)


def test_parameters_are_of_mixed_kinds_with_commas_quotes_and_leading_zeros() -> None:
    study = SandboxStudy.synthetic()
    first, second = of(study, PARAMETERS)[:2]
    assert (first.subject_id, first.file_name) == (second.subject_id, second.file_name)
    assert first.csv != second.csv
    for file in of(study, PARAMETERS):
        values = {row["PARAMETER"]: row["VALUE"] for row in rows(file)}
        assert len(values) == 13
        assert "," in values["COMMENT"]
        assert '"' in values["COMMENT"]
        assert values["AGE"].isdecimal()
        assert values["CONSENTVERSION"] == "1.10"
        assert all(row["SITEID"].startswith("0") for row in rows(file))
