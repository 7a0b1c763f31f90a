"""The profile of a load's times, in lineage and for the charts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cp_pipeline.landing import read_csv_text
from cp_pipeline.warehouse.profile import POINTS
from cp_pipeline_tests.study_site import Site

TIMES = "time_column, first_timestamp::VARCHAR, last_timestamp::VARCHAR, duplicate_timestamps"


def test_lineage_tells_the_first_and_last_time_and_how_many_come_twice(site: Site) -> None:
    minutes = ["08:02", "08:00", "08:01", "08:01", "08:01"]
    lines = [f"7,2024-03-01 {minute}:00,{place}" for place, minute in enumerate(minutes)]
    site.load("SUBJECTID,TIMESTAMPUTC,STEPS\n" + "\n".join(lines) + "\n")
    assert site.rows(f"SELECT {TIMES} FROM lineage.loads") == [
        ("TIMESTAMPUTC", "2024-03-01 08:00:00", "2024-03-01 08:02:00", 2)
    ]


_BEGUN = datetime(2024, 2, 1, tzinfo=UTC)
STRETCHES = {
    "whole minutes, over 64 of them": [
        f"2024-02-29 {n // 60:02}:{n % 60:02}:00" for n in range(200)
    ],
    # The step is guessed from about two thousand rows, and this file has more.
    "out of step after a while": [
        *(f"{_BEGUN + timedelta(minutes=n):%Y-%m-%d %H:%M:%S}" for n in range(9000)),
        "2024-02-29 10:00:07",
        "2024-02-29 10:00:11",
        "2024-02-29 10:00:07",
    ],
    "before and after 1970": ["1969-12-31 23:59:30", "1970-01-01 00:00:30", "1969-12-31 23:59:30"],
    "one moment": ["2024-02-29 10:00:00"] * 4,
    "nanoseconds": ["2024-02-29 10:00:00.123456701", "2024-02-29 10:00:00.123456702"] * 2,
    "with empty ones": ["2024-02-29 10:00:00", "", "2024-02-29 10:00:00", ""],
}


@pytest.mark.parametrize("together", [False, True])
def test_times_that_come_twice_are_counted_whatever_steps_they_are_apart(
    site: Site, together: bool
) -> None:
    for subject, times in enumerate(STRETCHES.values(), start=1):
        records = [*times, *times[::3], *["2024-03-01 00:00:0" + str(subject)] * (subject - 1)]
        dataset = "Together" if together else f"Alone{subject}"
        site.put(
            "TIMESTAMP,N\n" + "".join(f"{time},1\n" for time in records),
            subject_id=subject, dataset=dataset,
        )  # fmt: skip
    site.sync()
    datasets = [name for (name,) in site.rows("SELECT DISTINCT dataset_name FROM lineage.loads")]
    counted = [
        row
        for name in datasets
        for row in site.rows(
            "SELECT _load_id, count(TIMESTAMP) - count(DISTINCT TIMESTAMP)"
            f' FROM history."{name}" GROUP BY ALL'
        )
    ]
    assert len(counted) == len(STRETCHES)
    assert all(duplicates for _, duplicates in counted)
    said = site.rows("SELECT load_id, duplicate_timestamps FROM lineage.loads ORDER BY ALL")
    assert said == sorted(counted)


def test_a_timestamp_goes_before_a_date_and_a_date_before_nothing(site: Site) -> None:
    site.load("DATE,STARTEDAT\n2024-03-01,2024-03-01 10:00:00\n", dataset="Both")
    site.load("DATE,STEPS\n2024-03-01,4\n2024-03-01,5\n", dataset="Daily")
    site.load("NAME,STEPS,ENTEREDON\nx,4,2024-03-01\n", dataset="Neither")
    site.load("TIMESTAMPUTC,STEPS\n", dataset="No rows")
    assert site.rows(
        "SELECT dataset_name, time_column, duplicate_timestamps FROM lineage.loads ORDER BY ALL"
    ) == [
        ("Both", "STARTEDAT", 0),
        ("Daily", "DATE", 1),
        ("Neither", None, None),
        ("No rows", None, None),
    ]


def test_the_curve_is_the_mean_of_the_first_number_after_the_time(site: Site) -> None:
    minutes = [
        f"7,2024-03-01 {minute // 60:02}:{minute % 60:02}:00,{minute // 12},9\n"
        for minute in range(POINTS * 12)
    ]
    load = site.load("SUBJECTID,TIMESTAMPUTC,STEPS,MET\n" + "".join(minutes))
    assert load.look is not None
    assert load.look.value_column == "STEPS"
    drawn = [mean for mean in load.look.curve if mean is not None]
    assert len(drawn) == POINTS
    assert drawn == sorted(drawn)
    assert drawn[0] == 0.0
    assert drawn[-1] == pytest.approx(POINTS - 1, abs=0.2)


def test_a_stretch_without_values_has_none_in_the_curve(site: Site) -> None:
    load = site.load("TIMESTAMPUTC,STEPS\n2024-03-01 00:00:00,1\n2024-03-01 12:00:00,3\n")
    assert load.look is not None
    assert [mean for mean in load.look.curve if mean is not None] == [1.0, 3.0]
    assert (load.look.curve[0], load.look.curve[-1]) == (1.0, 3.0)


def test_the_preview_is_the_first_records_to_the_letter(site: Site) -> None:
    load = site.load('NAME,STEPS\n"a ""b""\nc",007\n,1\nx,2\nx,3\nx,4\nx,5\n')
    assert load.preview == (('a "b"\nc', "007"), ("", "1"), ("x", "2"), ("x", "3"), ("x", "4"))


def test_a_preview_of_very_long_records_ends_with_a_whole_one(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("NAME\n" + "".join(f"{letter * 30_000}\n" for letter in "abc"))
    assert [record[0][0] for record in read_csv_text(file, tmp_path).first_records(5)] == ["a", "b"]
