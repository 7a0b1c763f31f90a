"""`cp-pipeline sync` of a whole study from nothing: time, and the memory of its two processes.

python benchmarks/from_nothing.py [SUBJECTS ...]

By default 50, 500 and 5,000 subjects with 40 data sets of one row each: 2,049, 20,499 and 204,999
exports. The sandbox lets all requests through: at its usual 500 a minute, a listing of 2,050
requests would wait for minutes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVE = """
import json, sys
from cp_pipeline.sandbox import Sandbox, SandboxStudy
study = SandboxStudy.synthetic(
    subjects=int(sys.argv[1]), days=1, data_set_count=40, epoch_rows=1
)
with Sandbox(study, requests_per_minute=1_000_000) as service:
    print(json.dumps(service.environment), flush=True)
    sys.stdin.read()
"""
COMMAND = Path(sys.executable).with_name("cp-pipeline")


def peak_megabytes(process: int) -> float:
    """The most memory that a process has had; 0 if it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3 if "VmHWM:" in status else 0.0


def children(process: int) -> list[int]:
    try:
        return [
            int(each)
            for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except OSError:
        return []


def measure(subjects: int, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(subjects)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as serving:  # fmt: skip
        assert serving.stdout is not None
        served = json.loads(serving.stdout.readline())
        variables = {**os.environ, **served, "CP_DATA_DIR": str(folder / "data")}
        variables["CP_REQUESTS_PER_MINUTE"] = "100000"
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        own = loading = 0.0
        with (
            (folder / "output").open("w") as output,
            subprocess.Popen(
                [COMMAND, "sync"], env=variables, stdout=output, stderr=subprocess.STDOUT
            ) as syncing,
        ):
            while syncing.poll() is None:
                own = max(own, peak_megabytes(syncing.pid))
                loading = max([loading, *map(peak_megabytes, children(syncing.pid))])
                time.sleep(0.1)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        serving.communicate()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    home = sum(each.stat().st_size for each in folder.rglob("dagster_home/**/*.db*"))
    print((folder / "output").read_text())
    print(
        f"{subjects:,} subjects: exit {syncing.returncode}, {seconds:.1f} s, processor time "
        f"{processor:.0f} s; at most {own:.0f} MB, the loading process {loading:.0f} MB; "
        f"Dagster's home {home / 1e6:,.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", type=int, nargs="*", default=[50, 500, 5000])
    for number in parser.parse_args().subjects:
        with tempfile.TemporaryDirectory() as made:
            measure(number, Path(made))
