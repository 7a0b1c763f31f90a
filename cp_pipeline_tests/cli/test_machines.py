"""What the commands tell programs: JSON by its schema, exit codes, formats, log lines."""

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import ANSWERED, Purpose, note, quiet_connections
from cp_pipeline_tests.cli.test_commands import all_output, run as start
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.forked import command_in

PACKAGE = Path(__file__).parents[2] / "cp_pipeline"
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
COMMANDS = sorted(path.name.partition(".")[0] for path in SCHEMAS.glob("*.schema.json"))


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return command_in(folder, *arguments, **variables)


def said(command: str, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one document on stdout, which must be by the schema and tell the exit code."""
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    (line,) = done.stdout.splitlines()
    document: dict[str, Any] = json.loads(line)
    Draft202012Validator(schema).validate(document)
    assert document["exit_code"] == done.returncode, all_output(done)
    return document


@pytest.mark.parametrize("command", COMMANDS)
def test_a_schema_describes_each_field(command: str) -> None:
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert all(each.get("description") for each in schema["properties"].values())


def test_commands_say_what_they_did_as_json(
    sandbox: FaultySandbox, study: SandboxStudy, tmp_path: Path
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=b"\x1f\x8bnot gzip", file_name="bad.csv.gz")
    nothing = said("status", run("status", "--waiting", "--json", folder=tmp_path))
    assert (nothing["processing"], nothing["request"]) == ([], None)
    planned = said("sync", run("sync", "--json", "--dry-run", folder=tmp_path))
    assert len(planned["planned"]) == 60
    assert said("status", run("status", "--json", "--check", folder=tmp_path))["problems"] == [
        "CentrePoint was never asked. Run cp-pipeline sync."
    ]

    done = run("sync", "--json", folder=tmp_path)
    synced = said("sync", done)
    assert synced["exit_code"] == 1
    assert synced["loaded"]["partitions"] == 47
    ((failed),) = synced["failed"]
    assert (failed["subject_id"], failed["dataset_name"], failed["file_name"]) == (
        1, "X", "bad.csv.gz",
    )  # fmt: skip
    assert "bad.csv.gz" in done.stderr

    status = said("status", run("status", "--json", "--check", folder=tmp_path))
    assert status["problems"] == ["Data set X: 1 failed."]
    assert {each["dataset_name"]: each["loaded"] for each in status["datasets"]}["X"] == 0
    assert [(each["study_id"], each["outcome"]) for each in status["asked"]] == [(4711, ANSWERED)]
    doctor = said("doctor", run("doctor", "--json", folder=tmp_path))
    assert "study 4711" in [each["name"] for each in doctor["checks"] if each["passed"]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("variable", ["CP_CLIENT_SECRET", "CP_WAREHOUSE"])
def test_a_fault_is_in_the_document(command: str, variable: str, tmp_path: Path) -> None:
    # The first is needed by some commands only; the second stops every one before it begins.
    wrong = {"CP_CLIENT_SECRET": "", "CP_WAREHOUSE": "what?.duckdb"}[variable]
    document = said(command, run(command, "--json", folder=tmp_path, **{variable: wrong}))
    if command == "doctor" and variable == "CP_CLIENT_SECRET":
        assert [each["passed"] for each in document["checks"]] == [False, True]
    elif command != "status" or variable == "CP_WAREHOUSE":
        assert document["exit_code"] == 2
        assert document["error"]["what"]
        assert document["error"]["remedy"]


@pytest.mark.parametrize(
    ("ago", "outcome", "hours", "code"),
    [
        (1, ANSWERED, "26", 0),
        (27, ANSWERED, "26", 1),
        (27, ANSWERED, "28", 0),
        (1, "CP_CLIENT_SECRET is refused.", "26", 1),
    ],
)
def test_a_check_fails_if_centrepoint_last_answered_too_long_ago(
    tmp_path: Path, ago: int, outcome: str, hours: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = datetime.now(UTC) - timedelta(hours=ago)
    monkeypatch.setattr("cp_pipeline.warehouse.asked.datetime", _Then(then))
    note(tmp_path / "data", [4711], Purpose.LOOK, then, outcome)
    done = run("status", "--check", "--older-than", hours, folder=tmp_path, CP_STUDY_ID="4711")
    assert done.returncode == code, all_output(done)
    assert (f"{then:%F %R}" in done.stderr) is (code == 1)
    assert run("status", folder=tmp_path).returncode == 0


class _Then:
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self, _: object) -> datetime:
        return self._moment

    def isoformat(self, moment: datetime) -> str:
        return moment.isoformat()


QUERY = """SELECT range AS n, repeat('x', 100) AS long, [1, 2] AS two,
    '2024-02-08 10:19:45.5111701'::TIMESTAMP_NS AS at FROM range(300)"""


def test_query_formats_have_all_rows_with_nothing_cut(published_study: Path) -> None:
    answers = {}
    for name in ("csv", "json", "parquet"):
        done = subprocess.run(
            [sys.executable, "-m", "cp_pipeline.cli", "query", "--quiet", QUERY, "--format", name],
            env={**os.environ, "CP_DATA_DIR": str(published_study)},
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        answers[name] = done.stdout
    table = list(csv.DictReader(StringIO(answers["csv"].decode())))
    assert (len(table), table[299]["n"], table[299]["long"]) == (300, "299", "x" * 100)
    assert table[0]["at"] == "2024-02-08 10:19:45.5111701"
    document = json.loads(answers["json"])
    assert (len(document), document[299]["two"]) == (300, [1, 2])
    frame = pl.read_parquet(BytesIO(answers["parquet"]))
    assert (frame.height, frame["n"].to_list()) == (300, list(range(300)))
    shown = run("query", QUERY, "--rows", "5", folder=published_study.parent)
    assert shown.returncode == 2, "there is no file"


def test_a_wrong_query_writes_nothing_to_stdout(published_study: Path, tmp_path: Path) -> None:
    wrong = run("query", "SELECT error('no') FROM range(9)", "--format", "csv", folder=tmp_path,
                CP_DATA_DIR=str(published_study))  # fmt: skip
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_quiet_says_nothing_and_verbose_says_each_request(
    sandbox: FaultySandbox, tmp_path: Path
) -> None:
    loud = run("sync", "--verbose", "--dry-run", folder=tmp_path)
    assert "HTTP 200" in loud.stderr
    quiet = run("sync", "--quiet", folder=tmp_path)
    assert (quiet.returncode, all_output(quiet)) == (0, "")


def test_a_retry_is_said_in_our_words(sandbox: FaultySandbox, tmp_path: Path) -> None:
    sandbox.fail(kind="listing", status=503)
    done = run("sync", "--dry-run", folder=tmp_path)
    assert done.returncode == 0
    assert "127.0.0.1 answered HTTP 503; trying again" in done.stderr
    assert "Retry(" not in done.stderr


def test_no_color_means_no_colour(tmp_path: Path) -> None:
    wrong = {"CP_WAREHOUSE": "what?.duckdb", "FORCE_COLOR": "1"}
    assert "\x1b[31m" in start("status", folder=tmp_path, **wrong).stderr
    assert "\x1b[31m" not in start("status", folder=tmp_path, **wrong, NO_COLOR="1").stderr


@pytest.mark.parametrize(
    ("kind", "seconds", "pause"),
    [
        ("listing", 0.5, 0.08),
        ("file", 0.5, 0.08),
        ("file", 6.0, 0.08),
        ("file", 6.0, 50.0),
    ],
    ids=["listing", "Dagster starts", "loading", "silent file"],
)
def test_ctrl_c_exits_with_130_and_the_next_sync_goes_on(
    sandbox: FaultySandbox, tmp_path: Path, kind: Any, seconds: float, pause: float
) -> None:
    sandbox.trickle(kind=kind, pause_seconds=pause)
    sandbox.forget_requests()
    command = [sys.executable, "-m", "cp_pipeline.cli", "sync"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as syncing:
        while not any(record.kind == kind for record in sandbox.requests):
            assert syncing.poll() is None
            signal.sigtimedwait([], 0.05)
        signal.sigtimedwait([], seconds)
        syncing.send_signal(signal.SIGINT)
        try:
            # Five seconds to clean up; this machine may be slow.
            _, stderr = syncing.communicate(timeout=20)
        finally:
            syncing.kill()
    assert syncing.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert len(sync_all()) > 0


def test_ctrl_c_does_not_wait_for_threads_that_do_not_end(tmp_path: Path) -> None:
    waiting = (
        "from threading import Event\n"
        "from cp_pipeline.cli.interruption import leave_soon_after_ctrl_c\n"
        "leave_soon_after_ctrl_c()\n"
        "try:\n    print('waiting', flush=True)\n    Event().wait()\n"
        "finally:\n    Event().wait()\n"
    )
    command = [sys.executable, "-c", waiting]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == "waiting\n"
        held.send_signal(signal.SIGINT)
        try:
            _, stderr = held.communicate(timeout=20)
        finally:
            held.kill()
    assert held.returncode == 130
    assert "Interrupted" in stderr


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    asked = {"_CP_PIPELINE_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    script = str(Path(sys.executable).with_name("cp-pipeline"))
    for words, completed in (("cp-pipeline st", "plain,status"), ("cp-pipeline", "plain,sync")):
        done = subprocess.run(
            [script], env={**os.environ, **asked, "COMP_WORDS": words}, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0
        assert completed in done.stdout.splitlines()


def _long_query(connection: duckdb.DuckDBPyConnection) -> None:
    # DuckDB's own limit is two seconds.
    connection.execute("SET progress_bar_time = 1")
    connection.execute("SELECT count(*) FROM (SELECT DISTINCT hash(range) FROM range(5000000))")
    connection.fetchall()


def test_a_long_query_draws_nothing_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(quiet_connections.connect()) as connection:
        _long_query(connection)
    assert capfd.readouterr().out == ""
    with closing(duckdb.connect()) as connection:
        _long_query(connection)
    assert "%" in capfd.readouterr().out


def test_duckdb_is_opened_in_one_place() -> None:
    opening = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if "duckdb.connect(" in path.read_text(encoding="utf-8")
    }
    assert opening == {"quiet_connections.py"}
