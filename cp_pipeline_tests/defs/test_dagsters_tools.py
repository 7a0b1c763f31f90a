"""Dagster's own command ``dg`` on this project."""

import contextlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]

from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import rows
from cp_pipeline_tests.faults import FaultySandbox

ROOT = Path(__file__).parents[2]


def dg_(*arguments: str) -> subprocess.CompletedProcess[str]:
    with contextlib.chdir(ROOT):
        code = "from dagster_dg_cli.cli import main; main()"
        return forked.program(code, *arguments, seconds=120)


def test_dg_launches_a_partition_and_says_what_is_wrong_with_one(
    sandbox: FaultySandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise dbt would parse the models first, in the other processes.
    prepared_project(StorageSettings.from_environment())
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("subjects", ["10821"])
        instance.add_dynamic_partitions("datasets", ["ActivityDaily8"])
    launch = ("launch", "--assets", "dataset_exports")
    right, wrong = "ActivityDaily8|10821", "10821|ActivityDaily8"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    # From nothing: an import could warn, too.
    done = subprocess.run(
        [Path(sys.executable).with_name("dg"), *launch, "--partition", right],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "BetaWarning" not in done.stdout + done.stderr
    assert rows("SELECT dataset_name, subject_id FROM lineage.loads") == [("ActivityDaily8", 10821)]
    assert_refused([*launch, "--partition", wrong], words=[wrong, right])
    assert_refused([*launch], words=["--partition", right])
    monkeypatch.delenv("DAGSTER_HOME")
    assert_refused([*launch, "--partition", right], words=["DAGSTER_HOME is not set"])


def assert_refused(arguments: list[str], words: list[str]) -> None:
    refused = dg_(*arguments)
    assert refused.returncode == 1
    assert all(word in refused.stderr for word in words), refused.stderr
    assert "Traceback" not in refused.stderr


def test_dg_lists_what_there_is() -> None:
    prepared_project(StorageSettings.from_environment())
    done = dg_("list", "defs", "--json")
    assert done.returncode == 0, done.stderr
    for name in ("dataset_exports", "published", "new_program_executions", "load_partitions"):
        assert re.search(rf'"{name}"', done.stdout), name


def test_the_workspace_and_dg_load_the_same_definitions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace == {"load_from": [{"python_module": project["code_location_target_module"]}]}
