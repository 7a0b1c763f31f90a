"""The effect of the number of download threads on `cp-pipeline sync` of 2,000 exports, by latency.

python benchmarks/download_threads.py [--latency 0 0.04] [--threads 2 4 8 16 32]
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from many_exports import COMMAND, SHAPES, Measured, run
from served import Served, served


def main() -> None:
    """Measure each pair of latency and threads, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--latency", type=float, nargs="*", default=[0.0, 0.04])
    arguments.add_argument("--threads", type=int, nargs="*", default=[2, 4, 8, 16, 32])
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    shape = SHAPES[2000]
    root = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    try:
        for latency in options.latency:
            measured = {threads: Measured() for threads in options.threads}
            with served(
                shape.subjects, shape.days, shape.epoch_rows, latency_seconds=latency
            ) as study:
                for turn in range(options.runs):
                    for threads, results in measured.items():
                        variables = {**study.environment, "CP_DOWNLOAD_THREADS": str(threads)}
                        folder = root / f"{latency}_{threads}_{turn}"
                        asked = Served(variables, study.questions, study.answers)
                        run([str(COMMAND), "sync"], asked, folder, results)
            for threads, results in measured.items():
                print(f"latency {latency * 1000:4.0f} ms, {threads:2} threads: ", end="")
                print(f"{results.median:6.2f} s", flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
