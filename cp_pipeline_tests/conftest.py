"""Shared fixtures: a sandbox study as in "Must be shown" of issue 2, and its storage."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from cp_pipeline.ingest import PartitionResult, Pipeline, Request
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.lakes import extensions_verified_once, warehouse_variables
from cp_pipeline_tests.made_once import folder_of_all_workers, made_once
from cp_pipeline_tests.models.trial_files import subject
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouses import publish, reading

if TYPE_CHECKING:
    import dagster as dg

# Whether tests without the mark `both_engines` are tried on the engine of this run, too.
_ALL = "UNMARKED" in os.environ
# Tests that share a fixture which takes many seconds to make: one process runs all of them.
_TOGETHER = (
    "/browser/",
    "/cli/test_erasing",
    "/cli/test_publish_command.py",
    "/defs/test_postgres",
    "/landing/test_object_store.py",
    "/models/test_executions.py",
    "/models/test_fourteen_rows.py",
    "/models/test_independent_calculation.py",
    "/models/test_numbers.py",
    "/models/test_scaffold.py",
    "/reliability/test_killed_at_random.py",
    "/test_malformed.py",
    "/test_publishing.py::test_killed_anywhere",
    "/test_sentinel_dates.py",
    "/test_fidelity.py::test_a_kind_of_value",
    "/test_widening.py::test_a_column_of_exponents",
    "/test_widening.py::test_a_later_export",
    "/test_widening.py::test_row_120_000",
    "/warehouse/test_names_in_sql.py",
    "/warehouse/test_subject_of.py",
)
# Tests that take longest, which begin first: a worker that had one at the end would be alone.
_LONGEST = (
    "/defs/test_postgres_daemon.py",
    "/test_installation.py",
    "/cli/test_publish_command.py",
    "/defs/test_publishing.py",
    "/models/test_in_dagster.py",
    "/models/test_unusual_studies.py",
    "/test_erasing_everything.py",
    "/warehouse/test_names_in_sql.py",
    "/warehouse/test_wide_files.py",
)

# Each of the hundreds of processes that tests start would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class SharedFixtureScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Runs tests that share an expensive fixture in one process, and all others one by one.

    xdist's own groups do not work: version 3.8 sets its marks where pytest 9.2 does not read them.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((each for each in _TOGETHER if each in f"/{nodeid}"), nodeid)


@pytest.hookimpl
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(each in f"/{item.nodeid}" for each in _LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Producer
) -> SharedFixtureScheduling | None:
    return SharedFixtureScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_all_workers(request.config, tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def dbt_is_shared(shared_folder: Path) -> Iterator[None]:
    # Not imported above: the process that only hands out the tests needs no dbt.
    from cp_pipeline_tests.models.shared_dbt import shared_dbt

    with shared_dbt(shared_folder):
        yield


@pytest.fixture(scope="session", autouse=True)
def lakes_are_fast() -> Iterator[None]:
    with extensions_verified_once():
        yield


@pytest.fixture(autouse=True)
def no_settings_of_the_person(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("CP_") or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CP_DATA_DIR", str(tmp_path / "data"))
    if request.node.get_closest_marker("both_engines") or _ALL:
        for name, value in warehouse_variables(tmp_path / "data").items():
            monkeypatch.setenv(name, value)
    yield
    # Otherwise a command that runs in this process sets the absolute paths of the next one.
    for name in ("CP_WAREHOUSE", "CP_PUBLISHED", "DAGSTER_HOME"):
        os.environ.pop(name, None)


def usual_study() -> SandboxStudy:
    """Serve 12 subjects and 4 data sets, one from two programs: 59 exports, 47 partitions."""
    return SandboxStudy.synthetic(study_id=4711, subjects=12, days=1, seed=1, epoch_rows=60)


@pytest.fixture
def study() -> SandboxStudy:
    return usual_study()


@pytest.fixture
def sandbox(study: SandboxStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySandbox]:
    with FaultySandbox(study) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serve a study without exports, to which a test adds some."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        yield Site(service, tmp_path / "data")


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An empty study; the environment of this process and its children points to it."""
    for name, value in site.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CP_DATA_DIR", str(site.storage.data_dir))
    return site


@pytest.fixture(scope="session")
def published_study(shared_folder: Path) -> Path:
    """A data folder with a published study and its models; one program was executed again."""
    return made_once(shared_folder / "published", _publish_study)


def _publish_study(folder: Path) -> None:
    from cp_pipeline_tests.models.building import BuiltSite

    study = SandboxStudy.synthetic(study_id=4711, subjects=12, days=3, seed=1, epoch_rows=240)
    with FaultySandbox(study) as sandbox:
        site = BuiltSite(sandbox, folder)
        site.sync()
        sandbox.execute_again(subject_id=10821, data_set_name="ActivityDaily8")
        site.sync()
        site.storage.visits.write_text(
            "subject_identifier,visit,start,end\n10821,Baseline,2024-02-05,2024-02-07\n"
        )
        subject(site.storage, 10821, None, "0042", "101")
        site.build("--resource-type", "model")
        publish(site.storage)


@pytest.fixture(scope="session")
def empty_home(shared_folder: Path) -> Path:
    """A home of Dagster without a run: making its tables takes longer than copying them."""
    return made_once(shared_folder / "empty_home", _make_home)


def _make_home(folder: Path) -> None:
    from cp_pipeline_tests.dagster_homes import instance_in

    with instance_in(folder) as instance:
        assert instance.get_runs() == []
        assert instance.get_dynamic_partitions("subjects") == []
        assert instance.all_instigator_state() == []


@pytest.fixture
def instance(empty_home: Path, tmp_path: Path) -> Iterator["dg.DagsterInstance"]:
    from cp_pipeline_tests.dagster_homes import instance_in

    home = shutil.copytree(empty_home, tmp_path / "home_of_test")
    with instance_in(home) as instance:
        yield instance


def open_pipeline() -> Pipeline:
    """Open the exports of the environment's settings."""
    return Pipeline(CentrePointSettings.from_environment(), StorageSettings.from_environment())


def sync_all(exports: Pipeline | None = None, *, refresh: bool = False) -> list[PartitionResult]:
    """Do what ``cp-pipeline sync`` does, without Dagster."""
    exports = exports or open_pipeline()
    with exports.execute(exports.survey(Request.of(refresh=refresh))) as results:
        return list(results)


def rows(sql: str) -> list[tuple[object, ...]]:
    """Query the warehouse file as an analyst does."""
    with reading(StorageSettings.from_environment()) as connection:
        return connection.execute(sql).fetchall()


def one(sql: str) -> object:
    """Return the single value of a query."""
    return rows(sql)[0][0]


def files_fetched(sandbox: Sandbox) -> int:
    return sum(record.kind == "file" for record in sandbox.requests)
