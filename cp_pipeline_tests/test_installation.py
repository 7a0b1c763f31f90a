"""cp-pipeline installed from its wheel, in an environment that never saw the checkout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
import zipfile
from email.parser import Parser
from pathlib import Path

import duckdb
import pytest

from cp_pipeline_tests.browser.dagster_ui import free_port
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.made_once import made_once
from cp_pipeline_tests.small_project import small_project

ROOT = Path(__file__).parents[1]
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="session")
def installation(shared_folder: Path) -> Path:
    """An environment with the wheel, and with the dependencies of this one, but not the checkout.

    The dependencies are on its path as a folder. So Python does not follow their ``.pth`` files, of
    which one leads to the checkout.
    """
    return made_once(shared_folder / "installation", _install)


def _install(folder: Path) -> None:
    checkout = folder / "checkout"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout / name)
    build = [sys.executable, "-c", _BUILD, str(folder)]
    subprocess.run(build, cwd=checkout, capture_output=True, check=True)
    shutil.rmtree(checkout)
    (wheel,) = folder.glob("*.whl")
    env = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    python = env / "bin" / "python"
    (site,) = (env / "lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    # Where the environment is in the end, for the scripts.
    final = folder.with_name(folder.name.removesuffix(".unfinished")) / "env" / "bin"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--no-index", wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    dbt = env / "bin" / "dbt"
    dbt.write_text(f"#!{final / 'python'}\nfrom dbt.cli.main import cli\ncli()\n")
    dbt.chmod(0o755)
    ours = env / "bin" / "cp-pipeline"
    ours.write_text(ours.read_text().replace(str(python), str(final / "python")))


def clean_environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": "/usr/bin:/bin", **variables}


def run(
    installation: Path, *arguments: str, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installation / "env" / "bin" / "cp-pipeline", *arguments],
        cwd=folder,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


_OWN_COLUMNS = """
ActivityDaily:
  measures:
    wear_minutes:
      - {column: TRAGEZEIT, unit: hours, known_from: our study}
    steps:
      - {column: SCHRITTE, unit: steps, known_from: our study}
"""


def test_the_wheel_has_all_that_it_needs_and_nothing_else(installation: Path) -> None:
    (path,) = installation.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        metadata = Parser().parsestr(
            wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        )
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "cp_pipeline", "dbt_style_sql",
    }  # fmt: skip
    tracked = subprocess.run(
        ["git", "ls-files", "dbt_style_sql", "cp_pipeline"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert set(tracked) <= names
    assert "cp_pipeline/py.typed" in names
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    for field in ("Summary", "License-Expression", "Keywords", "Description-Content-Type"):
        assert metadata[field]


def test_the_demo_runs_without_the_checkout(installation: Path, tmp_path: Path) -> None:
    # Our own models are published by the next test: dbt reads one model three times as fast.
    models = {"CP_DBT_PROJECT": str(small_project(tmp_path / "models"))}
    shown = run(installation, "demo", "--subjects", "2", "--days", "1", folder=tmp_path, **models)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "hours_asleep" in shown.stdout
    assert re.search(r"\| before +\|.*\n\| now +\|", shown.stdout)
    with duckdb.connect(str(tmp_path / "data" / "warehouse.duckdb"), read_only=True) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM lineage.loads").fetchall() == [(10,)]
    where = subprocess.run(
        [installation / "env" / "bin" / "python", "-c", "import cp_pipeline; print(cp_pipeline)"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(installation) in where.stdout


def test_a_project_of_ones_own_is_published_together_with_our_models(
    installation: Path, tmp_path: Path, sandbox: FaultySandbox
) -> None:
    mine = tmp_path / "mine"
    made = run(installation, "init", str(mine), folder=tmp_path)
    assert made.returncode == 0, made.stderr
    again = run(installation, "init", str(mine), folder=tmp_path)
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    settings = mine / ".env"
    lines = [f"{name}={value}\n" for name, value in sandbox.environment.items()]
    own = [line for line in settings.read_text().splitlines(keepends=True) if "DBT_" in line]
    settings.write_text("".join([*own, *lines]))
    # A data set with the study's own names of columns: no SQL is touched.
    sandbox.study.put(
        subject_id=30_000,
        data_set_name="ActivityDaily8",
        csv=b"DATE,TRAGEZEIT,SCHRITTE\n2024-02-05,16.5,4321\n",
    )
    with (mine / "models" / "columns.yml").open("a") as columns:
        columns.write(_OWN_COLUMNS)
    for command in ("sync", "publish"):
        done = run(installation, command, folder=mine)
        assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(mine / "data" / "centrepoint.duckdb"), read_only=True) as published:
        assert published.execute("FROM marts.subjects_with_enough_days").fetchall() == [
            (4711, 13, 0)
        ]
        assert published.execute("SELECT count(*) FROM marts.study_coverage").fetchall() == [(48,)]
        days = "SELECT wear_minutes, steps, is_valid_wear_24h FROM marts.subject_days WHERE"
        assert published.execute(f"{days} subject_id = 30000").fetchall() == [(990.0, 4321.0, True)]
        # The names that cp-pipeline knows are still read.
        ours = published.execute(f"{days} subject_id = 10821").fetchall()
        assert ours
        assert None not in ours[0]
        mapped = published.execute(
            "SELECT column_name, known_from FROM marts.measure_columns WHERE dataset_name ="
            " 'ActivityDaily8' AND measure IN ('steps', 'wear_minutes') ORDER BY measure"
        ).fetchall()
        assert mapped == [("SCHRITTE", "our study"), ("TRAGEZEIT", "our study")]


def test_the_ui_shows_this_installation_without_a_workspace(
    installation: Path, tmp_path: Path, sandbox: FaultySandbox
) -> None:
    port = free_port()
    with subprocess.Popen(
        [installation / "env" / "bin" / "cp-pipeline", "ui", "--port", str(port)],
        cwd=tmp_path,
        env=clean_environment(
            **sandbox.environment, CP_DBT_PROJECT=str(small_project(tmp_path / "models"))
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as serving:
        try:
            location = _loaded_location(port)
        finally:
            serving.send_signal(signal.SIGINT)
            try:
                output, _ = serving.communicate(timeout=60)
            finally:
                if serving.poll() is None:
                    os.killpg(serving.pid, signal.SIGKILL)
    assert location == "cp_pipeline.definitions", output
    assert "BetaWarning" not in output


def _loaded_location(port: int) -> str:
    """The code location that the webserver shows, as soon as it does."""
    query = "{workspaceOrError {... on Workspace {locationEntries {name loadStatus}}}}"
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    for _ in range(90):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
        except OSError:
            time.sleep(1)
            continue
        return str(entries[0]["name"])
    return "no answer"
