"""One export of five million rows: time and peak memory, compared with DuckDB's own typed read.

The comparison is a process that reads the same gzip CSV from disk into a new DuckDB file, with
every type declared. Ours also downloads and stores the file, validates it, and proves every value.

    python benchmarks/large_export.py [--rows 5000000] [--runs 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_exports import COMMAND
from served import served

HERE = Path(__file__).parent
PEER = """
import sys, duckdb
from pathlib import Path
sys.path.insert(0, {contenders!r})
from floor import TYPES
file = next(Path({landing!r}).rglob("*.export"))
with duckdb.connect({warehouse!r}) as connection:
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        f"CREATE TABLE epochs AS FROM read_csv('{{file}}', columns = {{TYPES['ActivityEpochs10']}},"
        " auto_detect = false, header = true, delim = ',', compression = 'gzip')"
    )
"""


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure in turn, and print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=5_000_000)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    results: dict[str, list[tuple[float, float]]] = {"sync": [], "ingest": [], "DuckDB": []}
    root = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    try:
        with served(1, 1, options.rows, "ActivityEpochs10") as study:
            for turn in range(options.runs):
                for name, command in {
                    "sync": [str(COMMAND), "sync"],
                    "ingest": [sys.executable, str(HERE / "contenders" / "ingest_alone.py")],
                    "DuckDB": [
                        sys.executable,
                        "-c",
                        PEER.format(
                            contenders=str(HERE / "contenders"),
                            landing=str(root / f"{turn}_ingest" / "landing"),
                            warehouse=str(root / f"{turn}.duckdb"),
                        ),
                    ],
                }.items():
                    environment = {**study.environment, "CP_DATA_DIR": str(root / f"{turn}_{name}")}
                    results[name].append(measured(command, environment))
    finally:
        shutil.rmtree(root)
    print(f"{options.rows:,} rows in one export, median of {options.runs}")
    medians = {name: statistics.median(s for s, _ in found) for name, found in results.items()}
    for name, found in results.items():
        peak = max(memory for _, memory in found)
        ratio = medians[name] / medians["DuckDB"]
        print(
            f"  {name:8} {medians[name]:6.2f} s  {ratio:5.2f} times DuckDB   peak {peak:6,.0f} MiB"
        )


if __name__ == "__main__":
    main()
