"""How long it takes to find and load what is new in a study of 5,000 subjects with 40 data sets.

python benchmarks/trial_size.py [--subjects 5000] [--datasets 40] [--daemon]

The service answers the API after 250 ms and limits it to 500 requests a minute; files come at once.
Ticks of the sensor are evaluated as the daemon does it, and each run that they request is executed
in this process, one after another. With ``--daemon``, `dagster dev` does it, and only the time
until the first load is measured.
"""

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import dagster as dg
from ui_at_size import dagster_dev, ticks

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.sandbox.answers import Answer, Request, RequestKind
from cp_pipeline.sandbox.service import Handler, Service
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, WarehouseError, query

API_SECONDS = 0.25
_FIRST_SUBJECT = 10821


class SlowApi(Service):
    """The API takes its time; the storage of the files does not."""

    def respond(self, kind: RequestKind, request: Request, handler: Handler) -> Answer:
        """Answer after a pause, unless a file is asked for."""
        if kind != "file":
            time.sleep(API_SECONDS)
        return handler(request)


class SlowSandbox(Sandbox):
    """A sandbox with a slow API."""

    _service_type = SlowApi


class Trial:
    """The service in another process, and the sensor's memory here."""

    def __init__(self, instance: dg.DagsterInstance, questions: IO[str], answers: IO[str]) -> None:
        """Take what the trial talks to."""
        self._instance = instance
        self._questions, self._answers = questions, answers
        self._memory = Memory()

    def ask(self, question: str) -> str:
        """Ask the service's process."""
        self._questions.write(f"{question}\n")
        self._questions.flush()
        return self._answers.readline().strip()

    def tick(self, words: str) -> list[dg.RunRequest]:
        """Evaluate one tick, and print what it took."""
        self.ask("requests")
        self._memory.not_before = 0.0
        started = time.perf_counter()
        result = tick(self._instance, PipelineResource(), self._memory, 300)
        seconds = time.perf_counter() - started
        self._memory = Memory.read(result.cursor)
        runs = list(result.run_requests or [])
        said = result.skip_reason.skip_message if result.skip_reason else ""
        jobs = ", ".join(str(run.job_name) for run in runs) or "no run"
        print(f"  {words:34} {seconds:6.1f} s, {self.ask('requests'):>5} requests: {jobs} {said}")
        return runs

    def run(self, request: dg.RunRequest) -> float:
        """Execute what a tick requests; the seconds."""
        started = time.perf_counter()
        build_defs().resolve_job_def(str(request.job_name)).execute_in_process(
            instance=self._instance,
            run_config={
                **request.run_config,
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        return time.perf_counter() - started

    def settle(self, words: str) -> None:
        """Tick and run until nothing is requested; print the time until the first load, and all."""
        started, runs, first = time.time(), 0, 0.0
        before = loads()
        while requested := self.tick(f"{words}, tick {runs + 1}"):
            self.run(requested[0])
            runs += 1
            first = first or first_load(before) - started
        seconds = time.time() - started
        number = loads() - before
        print(
            f"  {words}: {number:,} loads in {runs} runs and {seconds:,.0f} s, the first after"
            f" {first:.0f} s; peak memory {peak_megabytes():,.0f} MB"
        )


def loads() -> int:
    """How many loads there are."""
    warehouse = Warehouse.of(StorageSettings.from_environment())
    if not warehouse.exists():
        return 0
    return int(query(warehouse, "SELECT count(*) FROM lineage.loads").item())


def first_load(after: int) -> float:
    """When the first load after so many was made, in seconds since 1970."""
    warehouse = Warehouse.of(StorageSettings.from_environment())
    sql = f"SELECT epoch(min(loaded_at)) FROM lineage.loads WHERE load_id > {after}"
    return float(query(warehouse, sql).item() or time.time())


def peak_megabytes() -> float:
    """The most memory that this process and its subprocesses had at once, each by itself."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


@contextmanager
def served(subjects: int, datasets: int) -> Iterator["subprocess.Popen[str]"]:
    """Serve the study from another process."""
    command = [sys.executable, __file__, "--serve", "--subjects", str(subjects)]
    command += ["--datasets", str(datasets)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.terminate()


def serve(subjects: int, datasets: int) -> None:
    """Serve until standard input closes; print answers on standard output."""
    study = SandboxStudy.synthetic(subjects=subjects, days=1, data_set_count=datasets, epoch_rows=1)
    with SlowSandbox(study) as sandbox:
        print(json.dumps(sandbox.environment), flush=True)
        for question in map(str.strip, sys.stdin):
            if question == "requests":
                print(sum(request.kind != "file" for request in sandbox.requests), flush=True)
                sandbox.forget_requests()
            else:
                subject = {} if question == "all" else {"subject_id": int(question)}
                print(len(sandbox.execute_again(**subject)), flush=True)


def measure(trial: Trial) -> None:
    """All phases, one after another."""
    trial.settle("from nothing")
    trial.tick("nothing new")
    trial.ask(str(_FIRST_SUBJECT + 1))
    trial.settle("one subject executed again")
    trial.ask("all")
    trial.tick("all programs executed again")


def measure_daemon(folder: Path) -> None:
    """Print when the first load is made, from an empty home, with a real daemon."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "CP_SENSOR_SECONDS": "30",
    }
    with open_instance(StorageSettings.from_environment()):
        pass
    started = time.time()
    with dagster_dev(environment) as address:
        print(f"  dagster dev answers after {time.time() - started:.0f} s", flush=True)
        ready = time.time()
        while not (number := loads_if_free()):
            time.sleep(2)
        print(f"  first load after {time.time() - ready:.0f} s more ({number:,} loads by then)")
        print("  ticks: " + ", ".join(f"{seconds:.1f} s" for seconds in ticks(address)))


def loads_if_free() -> int:
    """How many loads there are; 0 while another process writes to the warehouse."""
    try:
        return loads()
    except WarehouseError:
        return 0


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--subjects", type=int, default=5_000)
    arguments.add_argument("--datasets", type=int, default=40)
    arguments.add_argument("--daemon", action="store_true")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve(options.subjects, options.datasets)
        return
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    try:
        with served(options.subjects, options.datasets) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            os.environ.update(json.loads(process.stdout.readline()), CP_DATA_DIR=str(folder))
            print(f"{options.subjects:,} subjects, {options.datasets} data sets")
            if options.daemon:
                measure_daemon(folder)
                return
            with open_instance(StorageSettings.from_environment()) as instance:
                measure(Trial(instance, process.stdin, process.stdout))
            home = sum(path.stat().st_size for path in (folder / "dagster_home").rglob("*.db*"))
            print(f"  Dagster's home: {home / 1e6:,.0f} MB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
