"""``program_executions``: what each execution changed, for files with known changes."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cp_pipeline.ingest import Pipeline, Request
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline_tests.executions import put_file, with_column
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.lakes import copied
from cp_pipeline_tests.models.building import BEFORE, BuiltSite, built_site
from cp_pipeline_tests.warehouses import changing

TIMES = "SUBJECTID,TIME,STEPS\n"
CHANGES = "rows_added, rows_removed, rows_changed, columns_added, columns_removed"
EXECUTIONS = ("--select", "program_executions", "+load_days")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = BuiltSite(sandbox, tmp_path_factory.mktemp("executions"))
        put_kept(site, 5)
        site.sync()
        put_kept(site, 6)
        # Two successive files for each data set; one build compares all of them.
        for number, late in enumerate(LATE[:2]):
            for dataset, (contents, _) in CASES.items():
                site.put(contents[number], dataset=dataset)
            put_late(sandbox, *late)
            site.sync()
            site.dbt("run", *EXECUTIONS)
        put_late(sandbox, *LATE[2])
        # An older execution is loaded only with a refresh.
        refresh(site, "Late")
        site.dbt("run", *EXECUTIONS)
        yield site


# The day of each execution, in the order of the loads, and its steps.
LATE = [(1, 5), (9, 9), (4, 5)]


def put_late(sandbox: FaultySandbox, day: int, steps: int) -> None:
    sandbox.study.put(
        subject_id=1,
        data_set_name="Late",
        csv=at(f"01:00,{steps}").encode(),
        execution=f"2024-03-0{day}T00:00:00.0000001+00:00",
    )


def put_kept(site: BuiltSite, steps: int) -> None:
    for subject in (1, 2):
        site.put(at(f"01:00,{steps}"), subject_id=subject, dataset="Kept")


def at(*rows: str) -> str:
    """A file with times. Each row gives the minute and the steps."""
    return TIMES + "".join(f"1,2024-03-01 00:{row}\n" for row in rows)


# Data set: (first file, second file), what the second changed.
CASES: dict[str, tuple[tuple[str, str], tuple[object, ...]]] = {
    "Same": ((at("01:00,5", "02:00,6"), at("02:00,6", "01:00,5")), (0, 0, 0, [], [])),
    "Changed": ((at("01:00,5", "02:00,6"), at("01:00,5", "02:00,7")), (0, 0, 1, [], [])),
    "Added": ((at("01:00,5"), at("01:00,5", "02:00,6", "03:00,7")), (2, 0, 0, [], [])),
    "Removed": ((at("01:00,5", "02:00,6"), at("02:00,6")), (0, 1, 0, [], [])),
    "All three": (
        (at("01:00,5", "02:00,6", "03:00,7"), at("02:00,60", "03:00,7", "04:00,8")),
        (1, 1, 1, [], []),
    ),
    # Of three rows with the same time, one stays, one changes and one is removed.
    "Twice": ((at("01:00,5", "01:00,5", "01:00,6"), at("01:00,5", "01:00,7")), (0, 1, 1, [], [])),
    "Twice the same": ((at("01:00,5", "01:00,5"), at("01:00,5")), (0, 1, 0, [], [])),
    # A new column alone changes no row. Neither does a removed column.
    "Column came": (
        (
            at("01:00,5", "02:00,6"),
            "TIME,STEPS,SUBJECTID,MET\n2024-03-01 00:01:00,5,1,2.5\n2024-03-01 00:02:00,7,1,2.5\n",
        ),
        (0, 0, 1, ["MET"], []),
    ),
    "Column went": (
        (
            at("01:00,5", "02:00,6"),
            "TIME,SUBJECTID\n2024-03-01 00:01:00,1\n2024-03-01 00:02:00,1\n",
        ),
        (0, 0, 0, [], ["STEPS"]),
    ),
    # The column still exists, so the value was removed.
    "Emptied": ((at("01:00,5"), at("01:00,")), (0, 0, 1, [], [])),
    "No records left": ((at("01:00,5", "02:00,6"), TIMES), (0, 2, None, [], [])),
    "No times": (("A,B\n1,x\n1,x\n2,y\n", "A,B\n1,x\n2,z\n3,w\n"), (2, 2, None, [], [])),
    # A time that the warehouse stores as text.
    "Odd times": (
        (at("01:00,5", "02:00,6"), TIMES + "1,2024-03-01 00:01:00,5\n1,unknown,6\n"),
        (1, 1, 0, [], []),
    ),
    'It\'s-2 "quoted"': ((at("01:00,5"), at("01:00,6")), (0, 0, 1, [], [])),
}


@pytest.mark.parametrize("dataset", CASES)
def test_what_an_execution_changed(site: BuiltSite, dataset: str) -> None:
    first, second = site.frame(
        f"SELECT {CHANGES}, row_count FROM marts.program_executions"
        f" WHERE dataset_name = '{dataset.replace(chr(39), chr(39) * 2)}' ORDER BY load_id"
    ).rows()
    records = CASES[dataset][0][0].count("\n") - 1
    assert (first[0], first[1], first[5]) == (records, 0, records)
    expected = CASES[dataset][1]
    if dataset == "Odd times":
        # Because one time is text, the data set has no time column. Whole rows are compared.
        expected = (1, 1, None, [], [])
    assert second[:5] == expected


def test_built_anew_it_is_the_same(site: BuiltSite) -> None:
    everything = "FROM marts.program_executions ORDER BY load_id"
    before = site.frame(everything), site.frame("FROM marts.load_days ORDER BY ALL")
    site.dbt("run", *EXECUTIONS, "--full-refresh")
    assert site.frame(everything).equals(before[0])
    assert site.frame("FROM marts.load_days ORDER BY ALL").equals(before[1])
    assert len(before[0]) == 2 * len(CASES) + len(LATE) + 4


def test_an_execution_loaded_late_takes_its_place_in_between(site: BuiltSite) -> None:
    found = site.rows(
        "SELECT day(program_executed_at), day(previous_program_executed_at), rows_changed"
        " FROM marts.program_executions WHERE dataset_name = 'Late' ORDER BY program_executed_at"
    )
    assert found == [(1, None, 0), (4, 1, 0), (9, 4, 1)]


def test_loads_that_are_gone_are_gone_here_too(site: BuiltSite, tmp_path: Path) -> None:
    copied(site.storage.data_dir, tmp_path / "own")
    own = BuiltSite(site.sandbox, tmp_path / "own")
    kept = "dataset_name = 'Kept'"
    with changing(own.storage) as warehouse:
        # Erase subject 1, and compact the superseded load of subject 2.
        gone = warehouse.execute(
            f"SELECT load_id FROM lineage.loads WHERE {kept} AND (subject_id = 1 OR load_id IN"
            " (SELECT load_id FROM lineage.superseded))"
        ).fetchall()
        numbers = ", ".join(str(number) for (number,) in gone)
        for table, column in [('history."Kept"', "_load_id"), ("lineage.loads", "load_id")]:
            warehouse.execute(f"DELETE FROM {table} WHERE {column} IN ({numbers})")
    own.dbt("run", *EXECUTIONS)
    executions = own.rows(
        "SELECT subject_id, rows_changed, previous_load_id IS NULL FROM marts.program_executions"
        f" WHERE {kept}"
    )
    days = own.rows(
        f"SELECT subject_id, date::VARCHAR, row_count FROM marts.load_days WHERE {kept}"
    )
    # The table still has what the execution changed.
    assert executions == [(2, 1, False)]
    assert days == [(2, "2024-03-01", 1)]


def test_programs_executed_again_in_the_sandbox(tmp_path: Path) -> None:
    study = SandboxStudy.synthetic(subjects=2, days=2, seed=3)
    with built_site(study, tmp_path, *BEFORE) as site:
        site.sandbox.execute_again(subject_id=10821)
        (executed,) = site.sandbox.execute_again(10822, "ActivityEpochs10")
        put_file(study, with_column(executed, "HEARTRATE", "61"))
        site.sync()
        site.build("--exclude-resource-type", "unit_test")
        found = site.frame("FROM marts.program_executions WHERE previous_load_id IS NOT NULL")
        # Parameters have several rows with the same time, so the join below cannot compare them.
        timed = found.filter(pl.col("dataset_name") != "ParamsAndSubject (31)")
        for execution in timed.iter_rows(named=True):
            assert execution["rows_changed"] == changed(site, execution), execution
            assert execution["rows_added"] == execution["rows_removed"] == 0
        assert found["subject_id"].value_counts(sort=True)["count"].to_list() == [5, 1]
        added = found.filter(pl.col("subject_id") == 10822)["columns_added"].to_list()
        assert added == [["HEARTRATE"]]
        coverage = site.rows(
            "SELECT executions FROM marts.study_coverage"
            " WHERE dataset_name = 'ActivityDaily8' ORDER BY subject_id"
        )
        assert coverage == [(2,), (1,)]


def changed(site: BuiltSite, execution: dict[str, object]) -> int:
    """The number of rows with the same time but different values, by a join of data frames."""
    of = f'FROM history."{execution["dataset_name"]}" WHERE _load_id ='
    before = site.frame(f"{of} {execution['previous_load_id']}")
    after = site.frame(f"{of} {execution['load_id']}")
    time = "DATE" if "DATE" in before.columns else "TIMESTAMPUTC"
    compared = [c for c in before.columns if c not in {time, "_load_id", "HEARTRATE"}]
    both = before.join(after, on=time, suffix=" after", validate="1:1")
    assert len(both) == len(before) == len(after)
    unlike = [pl.col(c).ne_missing(pl.col(f"{c} after")) for c in compared]
    return both.filter(pl.any_horizontal(unlike)).height


def refresh(site: BuiltSite, dataset: str) -> None:
    """Sync with refresh, which also loads an execution older than the loaded one."""
    access = CentrePointSettings.from_environment(site.sandbox.environment)
    exports = Pipeline(access, site.storage)
    listed = exports.survey(Request.of(None, [dataset], refresh=True))
    with exports.execute(listed) as results:
        list(results)
