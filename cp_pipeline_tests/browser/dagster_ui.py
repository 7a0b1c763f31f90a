"""``dagster dev`` with a sandbox: start it, query it over GraphQL, and stop it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
import pytest

import cp_pipeline
from cp_pipeline.defs.dbt_project import prepared_project
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.sandbox import Sandbox
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.postgres_servers import PASSWORD, PostgresServer, dagster_yaml

REPOSITORY = Path(cp_pipeline.__file__).parent.parent
# Where Dagster's storage is: `sqlite`, or `postgres`, a real one on loopback. Read here, because no
# test has variables of the person who runs it.
DAGSTER_STORAGE = os.environ.get("TEST_DAGSTER", "sqlite")
SENSOR_SECONDS = 5
# docs/hosts.md says what it does.
ONE_PLANNED_EVENT = "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS"
# A long limit, because other processes may use the processors. No test waits longer than needed.
PATIENCE = 300.0
Answer = TypeVar("Answer")
# The second is Dagster's job name for a run started by a click on "Materialize".
LOADING_JOBS = {"load_partitions", "__ASSET_JOB"}
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class Run(NamedTuple):
    """A run, as GraphQL returns it."""

    job_name: str
    status: str
    tags: dict[str, str]


class Record(NamedTuple):
    """A materialization of a partition."""

    run_id: str
    data_version: str


def until(what: str, look: Callable[[], Answer | None], seconds: float = PATIENCE) -> Answer:
    """Call ``look`` until it returns a truthy answer, and return that.

    Raises:
        AssertionError: no answer in time; the message names ``what``.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = look()
        if answer:
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


class DagsterUi:
    """``dagster dev`` with a sandbox, and its answers over GraphQL."""

    def __init__(self, sandbox: Sandbox, storage: StorageSettings, url: str) -> None:
        self.sandbox = sandbox
        self.storage = storage
        self.url = url

    def ask(self, query: str, **variables: object) -> Any:
        """The answer to a GraphQL query, sent as the pages of the UI send it."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            said = json.load(answer)
        assert "errors" not in said, said["errors"]
        return said["data"]

    def exports(self, fields: str, **variables: str) -> Any:
        """Fields of the asset ``dataset_exports``, queried with these variables."""
        declared = ", ".join(f"${name}: String!" for name in variables)
        return self.ask(
            f"query{f'({declared})' if declared else ''} {{"
            ' assetNodeOrError(assetKey: {path: ["dataset_exports"]}) {'
            f" ... on AssetNode {{ {fields} }} }} }}",
            **variables,
        )["assetNodeOrError"]

    def runs(self) -> dict[str, Run]:
        """All runs by id, newest first."""
        found = self.ask(
            "{ runsOrError { ... on Runs { results { runId jobName status"
            " tags { key value } } } } }"
        )["runsOrError"]["results"]
        return {
            run["runId"]: Run(
                run["jobName"],
                run["status"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in found
        }

    def loads(self) -> dict[str, Run]:
        """The runs that load, without those that build models and publish."""
        return {run_id: run for run_id, run in self.runs().items() if run.job_name in LOADING_JOBS}

    def when_loaded(self) -> dict[str, Run]:
        """All runs that load, as soon as none is active."""

        def look() -> dict[str, Run] | None:
            runs = self.loads()
            return runs if all(run.status in ENDED for run in runs.values()) else None

        return until("the end of all runs that load", look)

    def listed(self) -> dict[str, str]:
        """The listed program execution of each partition key."""
        return {
            f"{file.data_set_name}|{file.subject_id}": file.execution
            for file in self.sandbox.study.export_files
        }

    def records(self) -> dict[str, list[Record]]:
        """The materializations of each partition, newest first."""
        found = self.exports(
            "assetMaterializations(limit: 1000) { partition runId timestamp tags { key value } }"
        )["assetMaterializations"]
        records: dict[str, list[Record]] = {}
        for each in sorted(found, key=lambda each: float(each["timestamp"]), reverse=True):
            tags = {tag["key"]: tag["value"] for tag in each["tags"]}
            records.setdefault(each["partition"], []).append(
                Record(each["runId"], tags["dagster/data_version"])
            )
        return records

    def versions(self) -> dict[str, str]:
        """The data version of each partition's newest materialization."""
        return {partition: each[0].data_version for partition, each in self.records().items()}

    def sensor_state(self, name: str, fields: str) -> Any:
        """Fields of a sensor's state."""
        return self.ask(
            "query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {"
            f" ... on Sensor {{ sensorState {{ {fields} }} }} }} }}",
            selector=_sensor(name),
        )["sensorOrError"]["sensorState"]

    def skip_reasons(self) -> list[str]:
        """The skip reasons of the sensor's last ticks, newest first."""
        found = self.sensor_state("new_program_executions", "ticks(limit: 500) { skipReason }")
        return [tick["skipReason"] for tick in found["ticks"] if tick["skipReason"]]

    def start_sensor(self, name: str) -> None:
        """Do what a click on the sensor's switch does."""
        started = self.ask(
            "mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {"
            " ... on Sensor { sensorState { status } } } }",
            selector=_sensor(name),
        )["startSensor"]
        assert started == {"sensorState": {"status": "RUNNING"}}

    def stop_sensor(self, name: str) -> None:
        """Do what another click on the sensor's switch does."""
        stopped = self.ask(
            "mutation($id: String!) { stopSensor(id: $id) {"
            " ... on StopSensorMutationResult { instigationState { status } } } }",
            id=self.sensor_state(name, "id")["id"],
        )["stopSensor"]
        assert stopped == {"instigationState": {"status": "STOPPED"}}

    def load_range(self, partitions: Sequence[str]) -> str:
        """Do what a click on "Launch backfill" does; return the id of the backfill."""
        launched = self.ask(
            "mutation($params: LaunchBackfillParams!) {"
            " launchPartitionBackfill(backfillParams: $params) {"
            " ... on LaunchBackfillSuccess { backfillId } } }",
            params={
                "assetSelection": [{"path": ["dataset_exports"]}],
                "partitionNames": list(partitions),
            },
        )["launchPartitionBackfill"]
        return str(launched["backfillId"])

    def publications(self) -> list[str]:
        """The status of each run that builds the models and publishes, newest first."""
        return [run.status for run in self.runs().values() if run.job_name == "publish"]

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """The result of an SQL query in the warehouse, as soon as no process writes to it."""

        def look() -> list[list[tuple[object, ...]]] | None:
            with (
                suppress(duckdb.IOException),
                duckdb.connect(self.storage.warehouse, read_only=True) as warehouse,
            ):
                return [warehouse.execute(sql).fetchall()]
            return None

        return until("the warehouse to be free", look)[0]


def _sensor(name: str) -> dict[str, str]:
    return {
        "repositoryLocationName": "cp_pipeline.definitions",
        "repositoryName": "__repository__",
        "sensorName": name,
    }


def free_port() -> int:
    """A free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def dagster_dev(
    sandbox: Sandbox, folder: Path, postgres: PostgresServer | None = None
) -> Iterator[DagsterUi]:
    """Run only ``dg dev``, with an empty home; stop all its processes.

    Not in the checkout: Dagster would let a ``.env`` there overrule the sandbox. With ``postgres``,
    a new database there is Dagster's storage, with the configuration of docs/hosts.md.
    """
    home, dagster_home = folder / "home", folder / "data" / "dagster_home"
    home.mkdir()
    (home / "pyproject.toml").symlink_to(REPOSITORY / "pyproject.toml")
    # dg only looks whether they are there. Python finds the package through PYTHONPATH.
    (home / "cp_pipeline" / "defs").mkdir(parents=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CP_", "DAGSTER_"))
    }
    variables = {
        **kept,
        **sandbox.environment,
        "CP_DATA_DIR": str(folder / "data"),
        "CP_SENSOR_SECONDS": str(SENSOR_SECONDS),
        "DAGSTER_HOME": str(dagster_home),
        "HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONWARNINGS": "ignore",
    }
    if postgres is not None:
        variables |= {"DAGSTER_PG_PASSWORD": PASSWORD, ONE_PLANNED_EVENT: "true"}
        dagster_home.mkdir(parents=True)
        documented = dagster_yaml(postgres, postgres.new_database())
        often = documented.replace("run_monitoring:", "run_monitoring:\n  poll_interval_seconds: 2")
        (dagster_home / "dagster.yaml").write_text(often)
    storage = StorageSettings.from_environment(variables)
    with pytest.MonkeyPatch.context() as environment:
        for name in ("DAGSTER_HOME", "DAGSTER_PG_PASSWORD"):
            environment.setenv(name, variables.get(name, ""))
        open_instance(storage).dispose()
    # Otherwise dbt would parse the models first.
    prepared_project(storage)
    port = free_port()
    command = [str(Path(sys.executable).with_name("dg")), "dev", "--port", str(port)]
    log = folder / "dagster_dev.log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            command,
            cwd=home,
            env=variables,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ui = DagsterUi(sandbox, storage, f"http://127.0.0.1:{port}")
        _wait_for_answer(ui, server, log)
        yield ui
    finally:
        _end(server)


def _wait_for_answer(ui: DagsterUi, server: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        assert server.poll() is None, f"dg dev ended:\n{log.read_text()[-3000:]}"
        with suppress(OSError):
            return bool(ui.ask("{ version }"))
        return False

    until("an answer of dg dev", answers)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Stop the whole process group as Ctrl-C does; kill the processes that remain after a while."""
    for how, seconds in ((signal.SIGINT, 5), (signal.SIGKILL, 30)):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with suppress(AssertionError):
            until("the end of dg dev", lambda: _ended(server), seconds)
            return
    raise AssertionError("a process of dg dev is left")


def _ended(server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is None:
        return False
    try:
        os.killpg(server.pid, 0)
    except ProcessLookupError:
        return True
    return False
