"""Dagster's own command ``dg`` on this project."""

import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]

from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.conftest import rows
from cp_pipeline_tests.faults import FaultySandbox

ROOT = Path(__file__).parents[2]


def dg_(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("dg"), *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
    done = dg_(*launch, "--partition", right, DAGSTER_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "BetaWarning" not in done.stdout + done.stderr
    assert rows("SELECT dataset_name, subject_id FROM lineage.loads") == [("ActivityDaily8", 10821)]
    known = {"DAGSTER_HOME": str(home)}
    wrongly: list[tuple[list[str], dict[str, str], list[str]]] = [
        (["--partition", wrong], known, [wrong, right]),
        ([], known, ["--partition", right]),
        (["--partition", right], {}, ["DAGSTER_HOME is not set"]),
    ]
    with ThreadPoolExecutor() as at_once:
        all_refused = list(at_once.map(lambda each: dg_(*launch, *each[0], **each[1]), wrongly))
    for refused, (_, _, words) in zip(all_refused, wrongly, strict=True):
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
