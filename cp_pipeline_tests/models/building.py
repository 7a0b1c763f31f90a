"""Run dbt in this process, on a site's warehouse, for tests of the models."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Warehouse, query
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.shared_dbt import shared_manifest
from cp_pipeline_tests.study_site import Site

PROJECT = Path(__file__).parents[2] / "dbt_style_sql"
FAMILIES = ("activity_daily", "activity_epochs", "barometer", "parameters_and_subject")
MARTS = (
    "chosen_programs",
    "epoch_days",
    "load_days",
    "measure_columns",
    "program_executions",
    "study_coverage",
    "subject_days",
    "subject_offsets",
    "subject_processing",
    "subject_summary",
    "subject_visits",
)
# A build before the one that counts: of what the next one adds to. All else is made anew.
BEFORE = ("--select", "+config.materialized:incremental", "--resource-type", "model")


class BuiltSite(Site):
    """A site whose models can be built and read."""

    def __init__(self, sandbox: FaultySandbox, data_dir: Path, project: Path = PROJECT) -> None:
        super().__init__(sandbox, data_dir)
        self.project = project
        self.outcomes: dict[str, str] = {}

    def dbt(self, *arguments: str) -> dict[str, str]:
        """Run dbt, and return the outcome of each model and test by name."""
        settings = {
            "CP_DATA_DIR": str(self.storage.data_dir),
            "CP_DUCKDB_SECRETS": str(self.storage.duckdb_secrets or ""),
            "CP_WAREHOUSE": self.storage.warehouse,
            "CP_VISITS": str(self.storage.visits),
            "CP_TIMEZONE": self.storage.timezone,
        }
        target = self.storage.data_dir / "dbt"
        target.mkdir(parents=True, exist_ok=True)
        where = ["--project-dir", self.project, "--profiles-dir", self.project]
        folders = ["--target-path", target, "--log-path", target]
        with contextlib.chdir(target), _environment(settings):
            # No test reads the artifacts of a build, and writing them takes a third of a second.
            options = [*map(str, [*where, *folders]), "--quiet", "--no-write-json"]
            is_ours = self.project == PROJECT
            manifest = shared_manifest(lambda: _parse(options)) if is_ours else None
            done = dbtRunner(manifest).invoke([*arguments, *options])
            # dbt expects to end with its process, so it leaves the file open.
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        if done.exception is not None:
            raise done.exception
        outcomes = {}
        for each in getattr(done.result, "results", []):
            # Not what runs before the models (`on-run-start`).
            if each.node.resource_type != "operation":
                outcomes[each.node.name] = str(each.status)
        return outcomes

    def build(self, *arguments: str) -> dict[str, str]:
        """Run ``dbt build``; no model or test may fail, warn or be skipped."""
        outcomes = self.dbt("build", *arguments)
        assert outcomes
        unlike = {k: v for k, v in outcomes.items() if v not in {"success", "pass"}}
        assert not unlike
        return outcomes

    def frame(self, sql: str) -> pl.DataFrame:
        with Warehouse.of(self.storage) as warehouse:
            return query(warehouse, sql)


@contextlib.contextmanager
def built_site(study: SandboxStudy, data_dir: Path, *arguments: str) -> Iterator[BuiltSite]:
    """A study that is served and synced, with its models built."""
    with FaultySandbox(study) as sandbox:
        site = BuiltSite(sandbox, data_dir)
        site.sync()
        site.build(*arguments)
        yield site


def _parse(options: list[str]) -> Manifest:
    done = dbtRunner().invoke(["parse", *options])
    assert isinstance(done.result, Manifest), done.exception
    return done.result


def copied_project(folder: Path) -> Path:
    """A copy of the dbt project that a test may change."""
    unread = shutil.ignore_patterns("target", "logs")
    return Path(shutil.copytree(PROJECT, folder / "dbt_style_sql", ignore=unread))


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
