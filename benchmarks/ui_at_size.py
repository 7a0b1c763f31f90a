"""How long the pages of the Dagster UI take with many materialized partitions, and the memory.

python benchmarks/ui_at_size.py FOLDER [--subjects 5000] [--datasets 40]

FOLDER is a data folder that `sync` filled from a synthetic study of this size; without one, it is
filled first (an hour for 200,000 exports). `dagster dev` runs as a person starts it. Chromium opens
each page twice: the first time is cold.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from cp_pipeline.sandbox import Sandbox, SandboxStudy

REPOSITORY = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
FIRST_SUBJECT = 10821
PATIENCE_SECONDS = 300
PROCESSES = {
    "webserver": "dagster_webserver",
    "daemon": "dagster._daemon",
    "code server": "dagster._grpc",
}


@contextmanager
def served(subjects: int, datasets: int) -> Iterator[dict[str, str]]:
    """Serve the study from another process; the environment of its clients."""
    command = [sys.executable, __file__, "--serve", "--subjects", str(subjects)]
    command += ["--datasets", str(datasets)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield {**os.environ, **json.loads(process.stdout.readline())}
        process.terminate()


def serve(subjects: int, datasets: int) -> None:
    """Serve until standard input closes."""
    study = SandboxStudy.synthetic(subjects=subjects, days=1, data_set_count=datasets, epoch_rows=1)
    with Sandbox(study, requests_per_minute=1_000_000) as sandbox:
        print(json.dumps(sandbox.environment), flush=True)
        sys.stdin.read()


@contextmanager
def dagster_dev(environment: dict[str, str]) -> Iterator[str]:
    """Run ``dagster dev``; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BIN / "dagster"), "dev", "-w", str(REPOSITORY / "workspace.yaml")]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [*command, "-p", str(port)],
            env={**environment, "PYTHONWARNINGS": "ignore"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as server,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(address)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                server.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def wait_for(address: str) -> None:
    """Wait until the webserver answers."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/server_info", timeout=5).close()
            return
        time.sleep(0.5)
    sys.exit("dagster dev did not answer")


def resident_megabytes(name: str) -> list[int]:
    """The resident memory of each process whose command line has this word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if name.encode() in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text().splitlines()
                size = next((line.split()[1] for line in status if line.startswith("VmHWM")), "0")
                found.append(int(size) // 1024)
    return sorted(found, reverse=True)


def opened(page: Page, words: str, path: str, *texts: str) -> None:
    """Print how long a page takes until it shows the texts, twice."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        page.goto(path)
        for text in texts:
            page.get_by_text(text, exact=True).first.wait_for()
        times.append(time.perf_counter() - started)
    print(f"  {words:28} {times[0]:6.1f} s, again {times[1]:6.1f} s", flush=True)


def ticks(address: str) -> list[float]:
    """The seconds of the sensor's last ticks."""
    query = (
        "query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on "
        "Sensor { sensorState { ticks(limit: 20) { timestamp endTimestamp status } } } } }"
    )
    selector = {
        "repositoryLocationName": "cp_pipeline.definitions",
        "repositoryName": "__repository__",
        "sensorName": "new_program_executions",
    }
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query, "variables": {"selector": selector}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        found = json.load(answer)["data"]["sensorOrError"]["sensorState"]["ticks"]
    return [each["endTimestamp"] - each["timestamp"] for each in found if each["endTimestamp"]]


def measure(address: str, environment: dict[str, str], picture: Path | None) -> None:
    """Open the pages, read the ticks, and print the memory."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(base_url=address, viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        opened(page, "asset graph", "/asset-groups", "centrepoint")
        opened(
            page,
            "partitions of dataset_exports",
            "/assets/dataset_exports?view=partitions",
            str(FIRST_SUBJECT),
        )
        if picture is not None:
            page.screenshot(path=picture)
        one = f"ActivityDaily8%7C{FIRST_SUBJECT}"
        path = f"/assets/dataset_exports?view=partitions&partition={one}"
        opened(page, "one partition", path, "program_execution")
        browser.close()
    wait_for_ticks(address)
    print("  ticks: " + ", ".join(f"{seconds:.1f} s" for seconds in ticks(address)))
    for name, word in PROCESSES.items():
        print(f"  memory of the {name}: " + ", ".join(f"{n} MB" for n in resident_megabytes(word)))
    started = time.perf_counter()
    command = [str(BIN / "cp-pipeline"), "sync", "--subject", str(FIRST_SUBJECT)]
    command += ["--dataset", "ActivityDaily8", "--refresh"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(f"  sync of one export: {time.perf_counter() - started:.1f} s, exit {done.returncode}")


def wait_for_ticks(address: str) -> None:
    """Wait for two ticks of the sensor."""
    end = time.monotonic() + PATIENCE_SECONDS
    while len(ticks(address)) < 2 and time.monotonic() < end:
        time.sleep(2)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--subjects", type=int, default=5_000)
    arguments.add_argument("--datasets", type=int, default=40)
    arguments.add_argument("--picture", type=Path, help="where to save a picture of the partitions")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve(options.subjects, options.datasets)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    with served(options.subjects, options.datasets) as service:
        home = folder / "dagster_home"
        own = {"CP_DATA_DIR": str(folder), "DAGSTER_HOME": str(home), "CP_SENSOR_SECONDS": "30"}
        environment = {**service, **own, "CP_REQUESTS_PER_MINUTE": "1000000"}
        if not options.folder:
            subprocess.run([str(BIN / "cp-pipeline"), "sync"], env=environment, check=True)
        print(f"{options.subjects:,} subjects, {options.datasets} data sets")
        size = sum(path.stat().st_size for path in home.rglob("*.db*"))
        print(f"  Dagster's home: {size / 1e6:,.0f} MB", flush=True)
        with dagster_dev(environment) as address:
            measure(address, environment, options.picture)


if __name__ == "__main__":
    main()
