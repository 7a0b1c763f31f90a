"""The models as Dagster assets, and the manifest that they are made of.

What a whole build records is tested with the publication (``cli/test_publish_command.py``).
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cp_pipeline.defs import dbt_project
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests import forked
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.models.building import FAMILIES, MARTS, BuiltSite
from cp_pipeline_tests.small_project import small_project

KEYS = {dg.AssetKey(["staging", name]) for name in FAMILIES} | {
    dg.AssetKey(["marts", name]) for name in MARTS
}
DAYS = dg.AssetKey(["marts", "subject_days"])
DAILY = dg.AssetKey(["staging", "activity_daily"])
EXPORTS = dg.AssetKey("dataset_exports")
LOADS = dg.AssetKey(["marts", "loads"])
TURNED = dg.AssetKey(["marts", "turned"])
UPSTREAM = [
    dg.AssetKey(["marts", name])
    for name in ("chosen_programs", "epoch_days", "measure_columns", "subject_offsets")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltSite]:
    with FaultySandbox(SandboxStudy.synthetic(subjects=2, days=1, epoch_rows=30)) as sandbox:
        built = BuiltSite(sandbox, tmp_path_factory.mktemp("dagster"))
        built.sync()
        yield built


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A person's project of one model: dbt reads it three times as fast as ours."""
    return small_project(tmp_path / "models")


@pytest.fixture
def defs(site: BuiltSite, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setenv("CP_DATA_DIR", str(site.storage.data_dir))
    return dg.Definitions.merge(build_defs(), dbt_project.model_definitions())


def test_each_model_is_an_asset_after_dataset_exports(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    found = {key: graph.get(key) for key in graph.get_all_asset_keys() if len(key.path) == 2}
    assert set(found) == KEYS
    for key, node in found.items():
        assert node.group_name == {"staging": "models", "marts": "marts"}[key.path[0]]
        assert node.owners == ["team:data-management"]
        assert {"dbt", "duckdb"} <= node.kinds
        assert str(node.description).startswith("One row per ")
        assert node.check_keys
        assert node.pools == {"warehouse"}
    for name in FAMILIES:
        assert found[dg.AssetKey(["staging", name])].parent_keys == {EXPORTS}
    assert found[DAYS].parent_keys >= {DAILY, *UPSTREAM}
    assert graph.get(EXPORTS).is_materializable


def test_a_red_model_fails_the_run_with_its_name(
    site: BuiltSite,
    project: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    monkeypatch.setenv("CP_WAREHOUSE", site.storage.warehouse)
    (project / "models" / "wrong.sql").write_text("select 1 as one from nowhere\n")
    # More than sqlglot can read, so only the origins of its columns are not known.
    (project / "models" / "turned.sql").write_text(
        "pivot (select 1 as a, 2 as b) on a using sum(b)"
    )
    defs = dg.Definitions.merge(build_defs(), dbt_project.model_definitions())
    done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(["marts", "wrong"]), LOADS, TURNED],
        raise_on_error=False,
    )
    (failure,) = [event for event in done.all_events if event.is_step_failure]
    assert "wrong" in str(failure.step_failure_data.error)
    made = [event.materialization for event in done.get_asset_materialization_events()]
    has_lineage = {each.asset_key: "dagster/column_lineage" in each.metadata for each in made}
    assert has_lineage == {LOADS: True, TURNED: False}
    said = capfd.readouterr().out
    assert "Running with dbt" in said
    assert "partial parsing" not in said, "dbt did not use the saved parse"
    # The file is closed, so the next load can open it, also in this process.
    duckdb.connect(site.storage.warehouse).close()


def test_the_manifest_is_made_when_it_is_missing_or_the_models_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    storage = StorageSettings.from_environment()
    made = dbt_project.prepared_project(storage)
    first = made.manifest_path.stat().st_mtime_ns
    assert made.manifest_path.is_relative_to(storage.data_dir)
    assert not Path(storage.warehouse).exists()
    dbt_project.prepared_project(storage)
    assert made.manifest_path.stat().st_mtime_ns == first
    added = project / "models" / "more.sql"
    added.write_text("select 1 as one\n")
    dbt_project.prepared_project(storage)
    assert "model.small.more" in made.manifest_path.read_text()
    added.unlink()
    dbt_project.prepared_project(storage)
    assert "model.small.more" not in made.manifest_path.read_text()
    assert not (project / "target").exists()
    assert not (project / "logs").exists()

    added.write_text("{% if %}\n")
    with pytest.raises(PipelineError, match="dbt cannot read the SQL models"):
        dbt_project.prepared_project(storage)


def test_processes_that_come_at_once_make_one_manifest(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    loading = (
        "from cp_pipeline.defs import dbt_project, definitions;"
        "models = dbt_project.model_definitions();"
        "print(len(definitions.build_defs(models=models).resolve_all_asset_specs()))"
    )
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(2) as at_once:
        done = [*at_once.map(partial(forked.program, seconds=120), [loading] * 2)]
    assert [each.returncode for each in done] == [0, 0]
    assert done[0].stdout.split()[-1] == done[1].stdout.split()[-1]
    log = StorageSettings.from_environment().data_dir / "dbt" / "dbt.log"
    assert log.read_text().count("Running with dbt=") == 1


def test_nothing_imports_dbt_before_it_is_asked_for_models() -> None:
    imported = (
        "import sys, cp_pipeline.defs.definitions, cp_pipeline.defs.dbt_project, cp_pipeline.cli;"
        "slow = {name.split('.')[0] for name in sys.modules} & {'dbt', 'dagster_dbt', 'sqlglot'};"
        "sys.exit(', '.join(sorted(slow)) or 0)"
    )
    subprocess.run([sys.executable, "-c", imported], check=True)
