"""The commands as a person runs them: each in its own process, with its output and exit code."""

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.domain.texts import NO_EXPORTS
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import files_fetched, one, rows
from cp_pipeline_tests.faults import FaultySandbox

DAILY = "ActivityDaily8"


def start(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a Python that starts from nothing, which takes two seconds longer."""
    return subprocess.run(
        [sys.executable, "-m", "cp_pipeline.cli", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return forked.command_in(folder, *arguments, **variables)


def all_output(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_sync_loads_all_then_nothing_then_what_was_executed_again(
    sandbox: FaultySandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start("sync", folder=tmp_path)
    assert first.returncode == 0, all_output(first)
    assert "59 exports in 47 partitions to load" in first.stdout
    assert one("SELECT count(*) FROM lineage.loads") == 59

    sandbox.forget_requests()
    second = run("sync", folder=tmp_path)
    assert second.returncode == 0
    assert "0 exports" in second.stdout
    assert files_fetched(sandbox) == 0

    sandbox.execute_again(subject_id=10821, data_set_name=DAILY)
    planned = run("sync", "--dry-run", folder=tmp_path)
    assert planned.returncode == 0
    assert "its program was executed again" in planned.stdout
    assert files_fetched(sandbox) == 0
    third = run("sync", "--subject", "10821", "--dataset", DAILY, folder=tmp_path)
    assert third.returncode == 0
    assert files_fetched(sandbox) == 1

    home = tmp_path / "data" / "dagster_home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("dataset_exports"))) == 47
        assert [run.job_name for run in instance.get_runs()] == ["sync", "sync"]
    recorded = {str(row[0]) for row in rows("SELECT DISTINCT dagster_run_id FROM lineage.loads")}
    assert len(recorded) == 2

    shown = run("status", folder=tmp_path)
    assert shown.returncode == 0
    assert re.search(rf"{DAILY}\s+12\s+12\s+0\s+0\s+0\s+0\s+0\s+12", shown.stdout)


def test_sync_exits_1_and_names_the_partition_that_failed(
    sandbox: FaultySandbox, study: SandboxStudy, tmp_path: Path
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=b"\x1f\x8bnot gzip", file_name="bad.csv.gz")
    done = run("sync", folder=tmp_path)
    assert done.returncode == 1
    for words in ("subject 1,", "data set X", "bad.csv.gz", "gzip"):
        assert words in done.stderr
    assert "Traceback" not in all_output(done)
    assert one("SELECT count(*) FROM lineage.loads") == 59
    assert re.search(r"X\s+1\s+0\s+0\s+0\s+1\s+0\s+0", run("status", folder=tmp_path).stdout)


@pytest.mark.parametrize("command", ["sync", "doctor"])
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"CP_CLIENT_SECRET": "wrong"}, ["CP_CLIENT_SECRET"]),
        ({"CP_STUDY_ID": "99"}, ["study 99", "CP_STUDY_ID"]),
        ({"CP_STUDY_ID": "", "CP_CLIENT_ID": ""}, ["CP_STUDY_ID", "CP_CLIENT_ID"]),
        ({"CP_ALLOW_INSECURE_HTTP": "0"}, ["CP_API_URL", "CP_TOKEN_URL", "HTTPS"]),
    ],
    ids=["wrong secret", "study not allowed", "two settings missing", "not HTTPS"],
)
def test_a_wrong_setting_is_said_with_its_name(
    sandbox: FaultySandbox,
    tmp_path: Path,
    command: str,
    variables: dict[str, str],
    words: list[str],
) -> None:
    done = run(command, folder=tmp_path, **variables)
    assert done.returncode == 2
    for word in words:
        assert word in all_output(done)
    assert "Traceback" not in all_output(done)
    assert sandbox.environment["CP_CLIENT_SECRET"] not in all_output(done)


@pytest.mark.parametrize("command", ["sync", "doctor"])
def test_a_scope_that_is_not_granted_is_said(
    sandbox: FaultySandbox, tmp_path: Path, command: str
) -> None:
    sandbox.fail(kind="token", status=400, times=9, body=b'{"error": "invalid_scope"}')
    done = run(command, folder=tmp_path)
    assert done.returncode == 2
    assert "DataAccess" in all_output(done)
    assert "Traceback" not in all_output(done)


def test_a_service_that_is_down_is_said(
    sandbox: FaultySandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as unused, ThreadPoolExecutor() as both:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("CP_API_URL", address)
        monkeypatch.setenv("CP_TOKEN_URL", f"{address}/token")
        # At once, because each tries for seconds.
        for done in both.map(forked.command, ["sync", "doctor"]):
            assert done.returncode == 2, done.args
            assert "No answer" in all_output(done)
            assert "Traceback" not in all_output(done)


@pytest.mark.parametrize("command", ["sync", "doctor"])
def test_an_empty_listing_is_no_error_and_is_explained(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultySandbox(SandboxStudy.empty(4711)) as service:
        done = run(command, folder=tmp_path, **service.environment)
    assert done.returncode == 0, all_output(done)
    assert NO_EXPORTS in done.stdout


def test_doctor_and_status_are_content_before_the_first_sync(
    sandbox: FaultySandbox, tmp_path: Path
) -> None:
    doctor = run("doctor", folder=tmp_path)
    assert doctor.returncode == 0, all_output(doctor)
    assert "✓ study 4711: 59 exports listed (dialect datasetexportfiles)" in doctor.stdout
    assert "duckdb" in doctor.stdout
    status = run("status", folder=tmp_path)
    assert status.returncode == 0
    assert "cp-pipeline sync" in status.stdout


@pytest.mark.parametrize("name", [".env", "models/profiles.yml"])
def test_init_overwrites_no_file_and_then_writes_none(name: str, tmp_path: Path) -> None:
    theirs = tmp_path / "mine" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    done = run("init", "mine", folder=tmp_path)
    assert done.returncode == 2
    assert f"{theirs} already exists" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "theirs"


def test_the_sandbox_prints_variables_serves_and_executes_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cp_pipeline.cli", "sandbox", "--subjects", "2", "--port"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with subprocess.Popen([*command, port], stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            lines = [serving.stdout.readline() for _ in range(6)]
            exported = dict(re.findall(r"^export (\w+)=(.*)$", "".join(lines), re.MULTILINE))
            assert exported["CP_API_URL"].endswith(f":{port}/dataaccess/v3")
            assert run("sync", folder=tmp_path, **exported).returncode == 0
            again = run(
                "sandbox", "--execute-again", "--port", port, "--subject", "10821",
                "--dataset", DAILY, folder=tmp_path,
            )  # fmt: skip
            assert "1 export executed again" in again.stdout
            assert (
                "1 export in 1 partition to load"
                in run("sync", "--dry-run", folder=tmp_path, **exported).stdout
            )
        finally:
            serving.send_signal(signal.SIGINT)
        try:
            assert serving.wait(timeout=10) == 0
        finally:
            serving.kill()
