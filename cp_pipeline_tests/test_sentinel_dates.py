"""Sentinel dates for "none" or "never", and dates that Python cannot hold, are ordinary values.

Tested through a whole sync in Dagster, the models with their tests, publishing, and the report.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import duckdb
import pytest

from cp_pipeline.cli.query import print_answer
from cp_pipeline.cli.sync import run_sync
from cp_pipeline.defs import previews
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.ingest import PartitionLoaded
from cp_pipeline.report import write_report
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.defs.conftest import EXPORTS, latest, pair, picture_in
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import BuiltSite
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouses import publish

# These cases are also loaded as families that the models read, by the known name of a time column.
IN_MODELS = ("0000-01-01", "0001-01-01", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59.999999")
# As in Dagster (``dbt_assets``), but in this process.
BUILD = ("build", "--exclude-resource-type", "unit_test")
FAMILIES = {"ActivityEpochs": "TIMESTAMPUTC", "ActivityDaily": "DATE"}


@dataclass(frozen=True)
class Sentinel:
    """``written``: in the file; ``kept``: as DuckDB writes it; ``first``: in lineage."""

    written: str
    type: str
    kept: str
    first: str | None


def text(written: str) -> Sentinel:
    return Sentinel(written, "VARCHAR", written, None)


def moment(written: str, kept: str) -> Sentinel:
    return Sentinel(written, "TIMESTAMP", kept, kept)


CASES = (
    text("0000-01-01"),
    moment("0000-01-01 00:00:00", "0001-01-01 (BC) 00:00:00"),
    Sentinel("0001-01-01", "DATE", "0001-01-01", "0001-01-01 00:00:00"),
    moment("0001-01-01T00:00:00", "0001-01-01 00:00:00"),
    moment("0001-01-01T00:00:00Z", "0001-01-01 00:00:00"),
    moment("0001-01-01T00:00:00+02:00", "0001-12-31 (BC) 22:00:00"),
    moment("0000-02-29T23:59:59.5-14:00", "0001-03-01 (BC) 13:59:59.5"),
    moment("1582-10-10 00:00:00", "1582-10-10 00:00:00"),
    text("1677-01-01 00:00:00.1234567"),
    Sentinel(
        "1677-09-21 00:12:43.1452242", "TIMESTAMP_NS", "1677-09-21 00:12:43.1452242",
        "1677-09-21 00:12:43.145224",
    ),
    text("1677-12-31T23:59:59.1234567+00:00"),
    moment("1899-12-30 00:00:00", "1899-12-30 00:00:00"),
    moment("1900-01-01T00:00:00Z", "1900-01-01 00:00:00"),
    text("2262-04-12 00:00:00.1234567"),
    Sentinel("9999-12-31", "DATE", "9999-12-31", "9999-12-31 00:00:00"),
    moment("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
    moment("9999-12-31T23:59:59.999999", "9999-12-31 23:59:59.999999"),
    text("9999-12-31T23:59:59.9999999+00:00"),
    moment("9999-12-31T23:59:59.999999-12:00", "10000-01-01 11:59:59.999999"),
    text("10000-01-01 00:00:00"),
    text("infinity"),
)  # fmt: skip


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    """Sync twice: each case as the only date of a data set, next to a usual date, and repeated."""
    study = SandboxStudy.empty()
    for number, case in enumerate(CASES, start=1):
        families = FAMILIES if case.written in IN_MODELS else {}
        for family, column in (families | {"Sentinel ": "TIMESTAMP"}).items():
            csv = f"{column},STEPS\n{case.written},1\n{case.written},2\n"
            study.put(subject_id=number, data_set_name=f"{family}{number}", csv=csv.encode())
    with FaultySandbox(study) as sandbox, pytest.MonkeyPatch.context() as here:
        here.delenv("DAGSTER_HOME", raising=False)
        for name, value in sandbox.environment.items():
            here.setenv(name, value)
        here.setenv("CP_DATA_DIR", str(tmp_path_factory.mktemp("sentinel") / "data"))
        assert run_sync() == 0
        sandbox.execute_again()
        assert run_sync() == 0
        storage = StorageSettings.from_environment()
        outcomes = BuiltSite(sandbox, storage.data_dir).dbt(*BUILD)
        assert {"fail", "error", "skipped"}.isdisjoint(outcomes.values()), outcomes
        publish(storage)
        write_report(storage)
        yield storage
        os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture(scope="module")
def instance(synced: StorageSettings) -> Iterator[dg.DagsterInstance]:
    with open_instance(synced) as opened:
        yield opened


def _published(storage: StorageSettings, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(storage.published), read_only=True) as opened:
        return opened.execute(sql).fetchall()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.written)
def test_it_is_kept_counted_and_published(synced: StorageSettings, case: Sentinel) -> None:
    number = CASES.index(case) + 1
    kept = f'SELECT typeof("TIMESTAMP"), "TIMESTAMP"::VARCHAR FROM exports."Sentinel {number}"'
    assert _published(synced, kept) == [(case.type, case.kept)] * 2
    looks = _published(
        synced,
        "SELECT first_timestamp::VARCHAR, last_timestamp::VARCHAR, duplicate_timestamps, row_count"
        f" FROM lineage.loads WHERE dataset_name = 'Sentinel {number}'",
    )
    twice = 1 if case.first else None
    assert looks == [(case.first, case.first, twice, 2)] * 2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.written)
def test_dagster_has_its_record_with_a_picture_where_there_are_times(
    instance: dg.DagsterInstance, case: Sentinel
) -> None:
    number = CASES.index(case) + 1
    metadata = latest(instance, EXPORTS, pair(number, f"Sentinel {number}")).metadata
    assert metadata["rows"].value == 2
    assert "not_drawn" not in metadata
    assert case.written[:4] in str(metadata["first_records"].value)
    if case.first:
        assert case.first.rpartition(":")[0] in picture_in(metadata["curve"])


def test_query_shows_them(synced: StorageSettings, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, len(CASES) + 1):
        print_answer(str(synced.published), f'FROM exports."Sentinel {number}"')
    print_answer(str(synced.published), "SELECT min(first_timestamp) FROM lineage.loads")
    for model in ("marts.study_coverage", "marts.subject_days", "staging.activity_daily"):
        print_answer(str(synced.published), f"FROM {model}")
    assert "9999-12-31" in capsys.readouterr().out


def test_a_usual_time_beside_them_makes_a_span_of_thousands_of_years(site: Site) -> None:
    moments = [case.written for case in CASES if case.type == "TIMESTAMP"]
    for subject, written in enumerate(moments, start=1):
        offset = "Z" if written[19:].lstrip(".0123456789") else ""
        site.put(
            f"TIMESTAMP,STEPS\n{written},1\n2024-03-01 08:00:00{offset},5\n",
            subject_id=subject,
            dataset="With offset" if offset else "Without",
        )
    for result in site.sync():
        assert isinstance(result, PartitionLoaded), result
        look = result.loads[0].look
        assert look is not None
        assert sorted(mean for mean in look.curve if mean is not None) == [1.0, 5.0]
    assert site.loaded_partitions() == len(moments)


def test_what_cannot_be_drawn_fails_no_step_and_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("year 0 is out of range")

    monkeypatch.setattr(previews, "curve", broken)
    load = site.load("TIMESTAMP,STEPS\n2024-03-01 08:00:00,1\n2024-03-01 09:00:00,2\n")
    drawn = previews.preview_metadata([load])
    assert drawn.keys() == {"first_records", "dagster/column_schema", "not_drawn"}
    assert drawn["not_drawn"] == dg.MetadataValue.text("curve: ValueError: year 0 is out of range")
