"""The marts equal an independent calculation to the last digit; their numbers lead to files.

Belongs here: a study with summer time, three time zones, a traveller, and epochs of five lengths.
Does not belong: the calculation (``independent_calculation``).
"""

import csv
import gzip
import hashlib
import io
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models import independent_calculation as own, trial_files as files
from cp_pipeline_tests.models.building import BuiltSite
from cp_pipeline_tests.models.independent_calculation import File, Person, Row

pytestmark = pytest.mark.both_engines

BERLIN, KOLKATA, PACIFIC = "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"
PEOPLE = {
    101: Person(PACIFIC),
    102: Person(BERLIN),
    103: Person(KOLKATA),
    104: Person(BERLIN, [(date(2024, 3, 31), PACIFIC), (date(2024, 4, 2), KOLKATA)]),
    105: Person(None),
    106: Person(BERLIN),
    107: Person(PACIFIC),
    108: Person(None),
}
VISITS = {
    "Baseline": (date(2024, 3, 8), date(2024, 3, 12)),
    "Week 2": (date(2024, 3, 20), date(2024, 3, 26)),
}
EFFORTS = [0.9, 1.2, 1.5, 2.25, 3, 4.4, 6, 7.75]
WORN = ["STEPS", "MET", "CALORIES", "WEAR", "AWAKEWEAR"]


def _epochs(
    draw: random.Random, start: str, seconds: int, hours: int, *, time: str = "TIMESTAMPUTC",
    columns: list[str] = WORN, known: float = 0.97,
) -> pl.DataFrame:  # fmt: skip
    """Epochs with gaps, missing values, hours off the wrist, and a repeated time."""
    first, rows = datetime.fromisoformat(start), []
    for number in range(hours * 3600 // seconds):
        moment = first + timedelta(seconds=number * seconds)
        hour = number * seconds // 3600
        if draw.random() < 0.002:
            continue
        worn = hour % 24 not in {3, 4, 5} or hour % 7 == 0
        values = {
            time: str(moment),
            "STEPS": str(draw.randrange(120)),
            "MET": f"{draw.choice(EFFORTS) * draw.uniform(0.9, 1.1):.2f}",
            "CALORIES": f"{draw.uniform(0.5, 9):.3f}",
            "WEAR": str(int(worn)),
            "AWAKEWEAR": str(int(worn and hour % 24 < 19)),
        }
        row = {
            name: values[name] if name == time or draw.random() < known else None
            for name in (time, *columns)
        }
        rows.append(row)
        if draw.random() < 0.0005:
            rows.append(row | {"STEPS": "999"})
    return pl.DataFrame(rows, schema=dict.fromkeys((time, *columns), pl.String))


def _daily(draw: random.Random, first: date, days: int, end: str = "") -> pl.DataFrame:
    rows = [
        {
            "DATE": f"{first + timedelta(days=number)}{end}",
            "WEARMINUTES": draw.choice([None, "1300", "940", "955.5", "0"]),
            "AWAKEWEARMINUTES": draw.choice([None, "610", "580.25", "600", "0"]),
            "MODERATEMINUTES": str(draw.randrange(90)),
            "VIGOROUSMINUTES": draw.choice([None, str(draw.randrange(40))]),
            "STEPS": str(draw.randrange(30_000)),
            "CALORIES": f"{draw.uniform(900, 3000):.1f}",
            "MET": f"{draw.uniform(1.1, 2):.3f}",
        }
        for number in range(days)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))


def _study_files() -> list[File]:
    draw = random.Random(18)
    return [
        File(101, "ActivityEpochs10", _epochs(draw, "2024-03-08 03:00:00", 60, 110)),
        File(102, "ActivityEpochs10", _epochs(draw, "2024-03-29 20:00:05", 15, 80)),
        File(103, "ActivityEpochs10", _epochs(draw, "2024-03-08 18:30:00", 30, 70)),
        File(103, "ActivityDaily9", _daily(draw, date(2024, 3, 9), 1, "T00:00:00+05:30")),
        File(104, "ActivityEpochs10", _epochs(draw, "2024-03-29 00:00:00", 60, 150)),
        File(105, "ActivityEpochs10", _epochs(draw, "2024-03-08 00:00:00", 300, 200)),
        File(105, "ActivityDaily8", _daily(draw, date(2024, 3, 11), 1)),
        File(106, "ActivityEpochs7", _epochs(
            draw, "2024-10-26 00:00:00", 60, 70, time="TIMESTAMP")),
        File(107, "ActivityDaily8", _daily(draw, date(2024, 3, 8), 20)),
        File(107, "ActivityDaily7", _daily(draw, date(2024, 3, 8), 25)),
        File(107, "ActivityEpochs10", _epochs(draw, "2024-03-27 00:00:00", 60, 60)),
        File(108, "ActivityEpochs11", _epochs(
            draw, "2024-03-08 00:00:00", 10, 50, columns=WORN[:3], known=0.81)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        built = BuiltSite(sandbox, tmp_path_factory.mktemp("independent"))
        for file in _study_files():
            built.put(file.rows.write_csv(), subject_id=file.subject, dataset=file.dataset)
        built.sync()
        for subject, person in PEOPLE.items():
            files.subject(built.storage, subject, person.zone)
            for since, zone in person.changes:
                files.zone_from(built.storage, subject, zone, str(since))
        lines = [f"P107,{name},{start},{end}" for name, (start, end) in VISITS.items()]
        built.storage.visits.write_text("\n".join(["subject_identifier,visit,start,end", *lines]))
        built.build("--resource-type", "model")
        yield built


@pytest.fixture(scope="module")
def days() -> list[Row]:
    return own.subject_days(_study_files(), PEOPLE)


def _assert_equal(found: pl.DataFrame, expected: list[Row]) -> None:
    made = pl.DataFrame(expected, infer_schema_length=None)
    columns = [name for name in found.columns if name in made.columns]
    assert set(made.columns) == set(columns)
    # To the last digit.
    assert_frame_equal(
        found.select(columns), made.select(columns), check_exact=True, check_dtypes=False
    )


def test_subject_days(site: BuiltSite, days: list[Row]) -> None:
    found = site.frame("FROM marts.subject_days ORDER BY subject_id, date")
    _assert_equal(found, days)
    # Otherwise the study would not have the cases.
    assert set(found["day_minutes"]) >= {1380.0, 1440.0, 1500.0}
    assert len(set(found["timezone"])) == 4
    assert set(found["is_valid_day"]) == {True, False, None}
    assert set(found["epoch_seconds"]) >= {10.0, 15.0, 30.0, 60.0, 300.0}
    assert len(set(found["day_basis"])) == 5
    assert found["light_minutes"].null_count() not in {0, len(found)}


def test_subject_summary(site: BuiltSite, days: list[Row]) -> None:
    expected = []
    for subject in PEOPLE:
        own_days = [row for row in days if row["subject_id"] == subject]
        counted = own.counts(own_days)
        enough = own.is_enough(
            int(str(counted["valid_days"])), int(str(counted["unknown_days"])), 4
        )
        expected.append(
            {"subject_id": subject, "has_enough_valid_days": enough}
            | counted
            | own.means(own_days, "overall_")
        )
    _assert_equal(site.frame("FROM marts.subject_summary ORDER BY subject_id"), expected)


def test_subject_visits(site: BuiltSite, days: list[Row]) -> None:
    expected = []
    for name, (start, end) in VISITS.items():
        inside = [
            row
            for row in days
            if row["subject_id"] == 107 and start <= row["date"] <= end  # type: ignore[operator]
        ]
        counted = own.counts(inside)
        compliant = own.is_enough(
            int(str(counted["valid_days"])), int(str(counted["unknown_days"])), 4
        )
        about = {"visit_name": name, "planned_days": (end - start).days + 1, "minimum_days": 4}
        expected.append(about | {"is_compliant": compliant} | counted | own.means(inside))
    _assert_equal(site.frame("FROM marts.subject_visits ORDER BY wear_start"), expected)


class Landed:
    """What the landed files say, read with Python's gzip and csv alone; each file once."""

    def __init__(self, site: BuiltSite) -> None:
        self._paths: dict[int, tuple[Path, str, int]] = {}
        for load, path, checksum, subject in site.rows(
            "SELECT load_id, landing_path, file_sha256, subject_id FROM lineage.loads"
        ):
            where = site.storage.landing / str(path)
            self._paths[int(str(load))] = (where, str(checksum), int(str(subject)))
        self._days: dict[int, dict[date, Row]] = {}

    def rows(self, load_id: int) -> list[Mapping[str, Any]]:
        path, checksum, _ = self._paths[load_id]
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum
        return list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))

    def person(self, load_id: int) -> Person:
        return PEOPLE[self._paths[load_id][2]]

    def day(self, load_id: int, day: date) -> Row:
        """The numbers of one day of a load."""
        if load_id not in self._days:
            landed = self.rows(load_id)
            texts = [{name: value or None for name, value in row.items()} for row in landed]
            file = File(0, "", pl.DataFrame(texts, schema=dict.fromkeys(landed[0], pl.String)))
            is_daily = "DATE" in landed[0]
            self._days[load_id] = (
                own.daily_days(file) if is_daily else own.epoch_days(file, self.person(load_id))
            )
        return self._days[load_id][day]

    def dates(self, load_id: int) -> list[date]:
        """The date of each row."""
        return [_date(each, self.person(load_id)) for each in self.rows(load_id)]


@pytest.fixture(scope="module")
def landed(site: BuiltSite) -> Landed:
    return Landed(site)


SHARES = ("wear", "awake_wear", "effort", "steps", "kilocalories")
OF_A_DAY = {*own.MEASURES, "mean_met"}
OF_EPOCHS = {"epoch_seconds", "covered_minutes", *(f"{name}_known_share" for name in SHARES)}
# An epoch file says nothing of these.
NOT_OF_EPOCHS = {"sleep_minutes", "sedentary_minutes"}


@pytest.mark.parametrize(
    ("mart", "columns"),
    [
        ("subject_days", OF_A_DAY | OF_EPOCHS),
        ("epoch_days", (OF_A_DAY | OF_EPOCHS) - NOT_OF_EPOCHS),
    ],
)
def test_every_number_of_a_day_leads_to_the_bytes_of_its_file(
    site: BuiltSite, landed: Landed, mart: str, columns: set[str]
) -> None:
    found = site.frame(f"FROM marts.{mart}")
    assert columns <= set(found.columns)
    followed = 0
    for row in found.iter_rows(named=True):
        said = landed.day(row["load_id"], row["date"])
        for column in columns:
            assert row[column] == said.get(column), (column, row)
            followed += row[column] is not None
    assert followed > 10 * len(columns)


@pytest.mark.parametrize(
    ("mart", "prefix"), [("subject_summary", "overall_"), ("subject_visits", "")]
)
def test_every_mean_leads_to_the_bytes_of_its_files(
    site: BuiltSite, landed: Landed, mart: str, prefix: str
) -> None:
    found = site.frame(f"FROM marts.{mart} WHERE valid_days > 0")
    numbers = {name for name in found.columns if name.startswith((f"{prefix}mean", f"{prefix}n_"))}
    assert len(numbers) == 2 * len(own.MEASURES)
    for row in found.iter_rows(named=True):
        first = row.get("wear_start", row.get("first_date"))
        last = row.get("wear_end", row.get("last_date"))
        valid = site.rows(
            "SELECT load_id, date FROM marts.subject_days WHERE is_valid_day AND subject_id ="
            f" {row['subject_id']} AND date BETWEEN '{first}' AND '{last}'"
        )
        assert sorted({load for load, _ in valid}) == row["load_ids"]  # type: ignore[type-var]
        of_files: list[Row] = [
            {**landed.day(int(str(load)), day), "is_valid_day": True}  # type: ignore[arg-type]
            for load, day in valid
        ]
        assert row["valid_days"] == len(of_files)
        assert {name: row[name] for name in numbers} == own.means(of_files, prefix)


def test_every_count_leads_to_the_bytes_of_its_file(site: BuiltSite, landed: Landed) -> None:
    by_day = "SELECT load_id, date, sum(row_count)::BIGINT AS row_count FROM marts.load_days"
    found = site.frame(f"{by_day} GROUP BY ALL")
    loads = set(found["load_id"])
    said = Counter((load, day) for load in loads for day in landed.dates(load))
    assert {(row[0], row[1]): row[2] for row in found.iter_rows()} == said
    for table, columns in (
        ("program_executions", ["row_count", "rows_added"]),
        ("chosen_programs", ["row_count"]),
    ):
        for row in site.frame(f"FROM marts.{table}").iter_rows(named=True):
            count = len(landed.rows(row["load_id"]))
            assert [row[column] for column in columns] == [count] * len(columns)
    for row in site.frame("FROM marts.study_coverage").iter_rows(named=True):
        dates = [day for load in row["load_ids"] for day in landed.dates(load)]
        assert (row["row_count"], row["days_covered"]) == (len(dates), len(set(dates)))
        assert row["loads"] == len(row["load_ids"])


def _date(row: Mapping[str, Any], person: Person) -> date:
    if "DATE" in row:
        return date.fromisoformat(row["DATE"][:10])
    if "TIMESTAMP" in row:
        return datetime.fromisoformat(row["TIMESTAMP"]).date()
    return person.local(datetime.fromisoformat(row["TIMESTAMPUTC"])).date()
