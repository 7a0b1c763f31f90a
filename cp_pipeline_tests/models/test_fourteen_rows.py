"""The table of docs/models.md, row by row: input files, and the only right answer.

Belongs here: one warehouse with the files of all rows, built once. Does not belong: a calculation
of whole marts (``test_independent_calculation``).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models import trial_files as files
from cp_pipeline_tests.models.building import BuiltSite
from cp_pipeline_tests.models.trial_files import DAILY, EPOCHS, epochs, utc
from cp_pipeline_tests.warehouses import changing

README = Path(__file__).parents[2] / "README.md"
PACIFIC = "America/Los_Angeles"
WORN = ",STEPS,MET,WEAR,AWAKEWEAR\n"
FEBRUARY = [f"2024-02-{day:02d}" for day in range(5, 12)]
MAY = [f"2024-05-{day:02d}" for day in range(6, 13)]


def daily(*days: str, columns: str = "DATE,STEPS,WEARMINUTES,AWAKEWEARMINUTES") -> str:
    return "\n".join([columns, *days, ""])


def _put_files(site: BuiltSite) -> None:
    def put(csv: str, subject: int, dataset: str, **more: Any) -> None:
        site.sandbox.study.put(subject_id=subject, data_set_name=dataset, csv=csv.encode(), **more)

    head = "TIMESTAMPUTC" + WORN
    # 1. Seven local days at UTC-8, worn 06:00 to 22:00.
    hours = ["5,1.2,1,1" if 6 <= minute % 1440 // 60 < 22 else "0,1,0,0" for minute in range(10080)]
    put(head + epochs(utc("2024-02-05 00:00", PACIFIC), 60, hours), 1, EPOCHS)
    # 2. One local day, worn 13:00 to 23:20.
    put(head + epochs(utc("2024-02-05 13:00", PACIFIC), 60, ["5,1.2,1,1"] * 620), 2, EPOCHS)
    # 3. A summary and the epochs of that local day; of 3 the time zone is known, of 31 it is not.
    for subject in (3, 31):
        put(daily("2024-02-05,4000,900,700"), subject, DAILY)
        whole = ["5,1.2,1,1"] * 1440
        put(head + epochs(utc("2024-02-05 00:00", PACIFIC), 60, whole), subject, EPOCHS)
    # 4. A device on a table.
    table = "TIMESTAMPUTC,STEPS,MET\n" + epochs(utc("2024-02-05"), 60, ["0,1.0"] * 1440)
    put(table, 4, "ActivityEpochs11")
    # 5. Wear and sleep, without awake wear; and with it.
    put(
        daily("2024-02-05,10,600,480", columns="DATE,STEPS,WEARMINUTES,SLEEPMINUTES"),
        5,
        "ActivityDaily9",
    )
    put(
        daily(
            "2024-02-05,10,75,3,75", columns="DATE,STEPS,WEARMINUTES,SLEEPMINUTES,AWAKEWEARMINUTES"
        ),
        51,
        DAILY,
    )
    # 6. Other names.
    put(
        daily("2024-02-05,900,800,30", columns="DATE,WEARTIME,TOTALSTEPS,MODERATE"),
        6,
        "ActivityDaily10",
    )
    # 7. Two programs of one data set.
    day = head + epochs(utc("2024-02-05"), 60, ["2,1.2,1,1"] * 1440)
    for program in ("aaaaaaaa-0000-0000-0000-000000000007", "bbbbbbbb-0000-0000-0000-000000000007"):
        put(day, 7, EPOCHS, study_program_id=program)
    # 8. Four days of version 8, then version 7 executed again for two.
    put(
        daily(*(f"2024-02-0{d},8,900,700" for d in range(5, 9))),
        8,
        DAILY,
        execution="2024-03-01T10:00:00.0000001+00:00",
    )
    put(
        daily(*(f"2024-02-0{d},7,900,700" for d in range(5, 7))),
        8,
        "ActivityDaily7",
        execution="2024-04-01T10:00:00.0000001+00:00",
    )
    # 9. Effort known in one of 1,440 worn epochs.
    rows = ["5,3.5,1,1"] + ["5,,1,1"] * 1439
    put(head + epochs(utc("2024-02-05"), 60, rows), 9, EPOCHS)
    # 10. Epochs of 15 s, one of four at 6.5.
    rows = ["1,6.5,1,1", "1,1.2,1,1", "1,1.2,1,1", "1,1.2,1,1"] * 1440
    put(head + epochs(utc("2024-02-05"), 15, rows), 10, EPOCHS)
    # 11. Two visits of seven days.
    days = [f"{d},10000,1000,800" for d in FEBRUARY] + [f"{d},2000,1000,800" for d in MAY]
    put(daily(*days), 11, DAILY)
    # 12. The date as written, all with an offset; 13. one such date among others.
    put(daily("2024-02-05T00:00:00+10:00,1,1000,800"), 12, "ActivityDaily12")
    put(daily("2024-02-05,1,1000,800", "2024-02-06,1,1000,800"), 13, "ActivityDaily13")
    put(daily("2024-02-05T00:00:00+10:00,1,1000,800"), 131, "ActivityDaily13")
    # 14. The days of 23 and 25 hours, worn throughout, as epochs and as a summary.
    for subject, date, hours_of_day in ((14, "2024-03-10", 23), (141, "2024-11-03", 25)):
        worn = ["1,1.2,1,1"] * 60 * hours_of_day
        put(head + epochs(utc(f"{date} 00:00", PACIFIC), 60, worn), subject, EPOCHS)
    put(daily("2024-11-03,1,1500,1000"), 142, DAILY)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        built = BuiltSite(sandbox, tmp_path_factory.mktemp("rows"))
        _put_files(built)
        built.sync()
        for subject in (1, 2, 3, 11, 14, 141, 142):
            files.subject(built.storage, subject, PACIFIC)
        files.visit(built.storage, 11, "Baseline", FEBRUARY[0], FEBRUARY[-1])
        files.visit(built.storage, 11, "Week 12.", MAY[0], MAY[-1])
        built.outcomes = built.dbt("build", "--exclude-resource-type", "unit_test")
        yield built


# Row, question, answer.
ROWS: list[tuple[str, str, list[Any]]] = [
    ("1", "SELECT days, valid_days FROM marts.subject_summary WHERE subject_id = 1", [(7, 7)]),
    ("1 covered", "SELECT days_covered FROM marts.study_coverage WHERE subject_id = 1", [(7,)]),
    (
        "1 basis",
        "SELECT DISTINCT day_basis, timezone FROM marts.subject_days WHERE subject_id = 1",
        [("subject_timezone", PACIFIC)],
    ),
    (
        "2",
        (
            "SELECT date::VARCHAR, wear_minutes, awake_wear_minutes, is_valid_day"
            " FROM marts.subject_days WHERE subject_id = 2"
        ),
        [("2024-02-05", 620, 620, True)],
    ),
    *(
        (
            f"3 ({subject})",
            (
                "SELECT date::VARCHAR, measured_by, steps FROM marts.subject_days"
                f" WHERE subject_id = {subject}"
            ),
            [("2024-02-05", "daily summary", 4000)],
        )
        for subject in (3, 31)
    ),
    (
        "4",
        (
            "SELECT wear_minutes, is_valid_day, validity_reason LIKE '%unknown%' FROM"
            " marts.subject_days WHERE subject_id = 4"
        ),
        [(None, None, True)],
    ),
    (
        "5",
        (
            "SELECT wear_minutes, awake_wear_minutes, is_valid_waking_wear, is_valid_day FROM"
            " marts.subject_days WHERE subject_id = 5"
        ),
        [(600, None, None, None)],
    ),
    (
        "5 vendor",
        (
            "SELECT awake_wear_minutes, is_valid_waking_wear, is_valid_wear_24h, is_valid_day FROM"
            " marts.subject_days WHERE subject_id = 51"
        ),
        [(75, False, False, False)],
    ),
    (
        "6",
        "SELECT steps, is_valid_day FROM marts.subject_days WHERE subject_id = 6",
        [(None, None)],
    ),
    ("7", "SELECT steps FROM marts.subject_days WHERE subject_id = 7", [(2880,)]),
    (
        "8",
        (
            "SELECT DISTINCT dataset_name, steps, count(*) OVER () FROM marts.subject_days"
            " WHERE subject_id = 8"
        ),
        [("ActivityDaily8", 8, 4)],
    ),
    (
        "9",
        (
            "SELECT moderate_minutes, mean_met, effort_known_share, is_valid_day FROM"
            " marts.subject_days WHERE subject_id = 9"
        ),
        [(None, None, 1 / 1440, True)],
    ),
    (
        "10",
        (
            "SELECT vigorous_minutes, light_minutes, epoch_seconds FROM marts.subject_days"
            " WHERE subject_id = 10"
        ),
        [(0, 1440, 15)],
    ),
    (
        "11",
        (
            "SELECT visit_name, mean_steps, n_steps, valid_days, planned_days, minimum_days,"
            " is_compliant FROM marts.subject_visits WHERE subject_id = 11 ORDER BY wear_start"
        ),
        [("Baseline", 10000, 7, 7, 7, 4, True), ("Week 12.", 2000, 7, 7, 7, 4, True)],
    ),
    (
        "11 overall",
        (
            "SELECT overall_mean_steps, overall_n_steps FROM marts.subject_summary"
            " WHERE subject_id = 11"
        ),
        [(6000, 14)],
    ),
    (
        "12",
        "SELECT date::VARCHAR, day_basis FROM marts.subject_days WHERE subject_id = 12",
        [("2024-02-05", "as_written")],
    ),
    (
        "12 covered",
        "SELECT days_covered FROM marts.study_coverage WHERE subject_id = 12",
        [(1,)],
    ),
    *(
        (
            f"13 ({subject})",
            (
                "SELECT count(*), max(days_covered) FROM marts.subject_days INNER JOIN"
                " marts.study_coverage USING (subject_id, dataset_name)"
                f" WHERE subject_id = {subject}"
            ),
            [(days, days)],
        )
        for subject, days in ((13, 2), (131, 1))
    ),
    *(
        (
            f"14 ({subject})",
            (
                "SELECT day_minutes, wear_minutes, measured_by FROM marts.subject_days"
                f" WHERE subject_id = {subject}"
            ),
            [(minutes, minutes, by)],
        )
        for subject, minutes, by in (
            (14, 1380, "epochs"),
            (141, 1500, "epochs"),
            (142, 1500, "daily summary"),
        )
    ),
]


@pytest.mark.parametrize(("sql", "answer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row(site: BuiltSite, sql: str, answer: list[tuple[object, ...]]) -> None:
    assert site.rows(sql) == answer


def test_the_first_query_of_the_readme_is_by_program(site: BuiltSite) -> None:
    found = re.search(r"```sql\n(.*?);", README.read_text(), re.DOTALL)
    assert found
    counted = [row for row in site.rows(found[1]) if row[0] == 7]
    assert len(counted) == 2
    assert all(1440 in row and 2880 in row for row in counted)


def test_the_checks_are_red_that_should_be(site: BuiltSite) -> None:
    red = {name for name, outcome in site.outcomes.items() if outcome == "warn"}
    assert {"required_measures_are_mapped", "validity_is_known"} <= red
    assert "fail" not in site.outcomes.values()
    assert "skipped" not in site.outcomes.values()
    assert site.rows(
        "SELECT columns_wanted, columns_found FROM marts.measure_columns"
        " WHERE dataset_name = 'ActivityDaily10' AND measure = 'wear_minutes'"
    ) == [(["WEARMINUTES"], ["DATE", "WEARTIME", "TOTALSTEPS", "MODERATE"])]


def test_the_highest_study_version_decides_and_the_preferred_program_before_it(
    site: BuiltSite,
) -> None:
    chosen = "SELECT dataset_name, compared_by FROM marts.chosen_programs WHERE subject_id = 8"
    assert site.rows(f"{chosen} AND is_chosen") == [("ActivityDaily8", "data set version")]
    with changing(site.storage) as warehouse:
        # A column that a warehouse of an earlier version does not have.
        warehouse.execute("ALTER TABLE lineage.loads ADD COLUMN IF NOT EXISTS study_version BIGINT")
        warehouse.execute(
            "UPDATE lineage.loads SET study_version = CASE dataset_name WHEN 'ActivityDaily7'"
            " THEN 3 ELSE 2 END WHERE subject_id = 8"
        )
    only = ("--select", "chosen_programs", "--resource-type", "model")
    site.dbt("build", *only)
    assert site.rows(f"{chosen} AND is_chosen") == [("ActivityDaily7", "study version")]
    site.dbt("build", *only, "--vars", "{preferred_programs: [activitydaily8]}")
    assert site.rows(f"{chosen} AND is_chosen") == [("ActivityDaily8", "preferred")]


def test_incremental_days_are_those_of_a_full_build_whatever_changed(site: BuiltSite) -> None:
    tables = ("epoch_days", "load_days")
    ask = "SELECT * EXCLUDE (loaded_at) FROM marts.{} ORDER BY load_id, date"

    def days() -> list[list[tuple[object, ...]]]:
        return [site.rows(ask.format(table)) for table in tables]

    before = days()
    site.dbt("run", "--select", *tables)
    assert days() == before
    # The subject's time zone becomes known, a program is executed again, and cut points change.
    files.subject(site.storage, 9, PACIFIC, "S-9")
    csv = "TIMESTAMPUTC" + WORN + epochs(utc("2024-02-05 09:00"), 60, ["7,4.0,1,1"] * 90)
    site.put(csv, subject_id=2, dataset=EPOCHS)
    site.sync()
    cut = ("--vars", "{cut_point_seconds: 0}")
    site.dbt("run", "--select", "+epoch_days", "load_days", *cut)
    incremental = days()
    # Reading loads in batches changes nothing, nor does a batch for each load.
    for_each_load = ("--vars", "{cut_point_seconds: 0, epochs_at_once: 1}")
    assert incremental != before
    assert site.rows("SELECT vigorous_minutes FROM marts.epoch_days WHERE subject_id = 10") == [
        (360,)
    ]
    site.dbt("run", "--full-refresh", "--select", *tables, *for_each_load)
    assert days() == incremental
    ((loads,),) = site.rows("SELECT count(DISTINCT load_id) FROM marts.epoch_days")
    log = (site.storage.data_dir / "dbt" / "dbt.log").read_text()
    batches = log.count('insert into "warehouse"."marts"."epoch_days" by name')
    assert batches >= int(str(loads)) - 1 > 1
    # A new name needs no new days.
    with changing(site.storage) as warehouse:
        warehouse.execute(
            "UPDATE study.subjects_history SET subject_identifier = 'new' WHERE id = 9"
        )
    site.dbt("run", "--select", *tables, *cut)
    names = "SELECT DISTINCT subject_identifier FROM marts.{} WHERE subject_id = 9"
    assert [site.rows(names.format(table)) for table in tables] == [[("new",)]] * 2
