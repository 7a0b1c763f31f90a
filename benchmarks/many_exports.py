"""A first load of many exports: cp-pipeline, dlt and the floor compared, each in its own process.

    python benchmarks/many_exports.py [2000 | 200 | 20000 …] [--runs 3] [--dlt .venv-dlt/bin/python]

Each run has a new folder, and the folders are removed only at the end. A file system that has just
removed thousands of files creates new files slowly, and this would distort the measurement.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from served import Served, served

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("cp-pipeline")
HELD = re.compile(r"warehouse held ([\d.]+) s, at most ([\d.]+) s at once")


@dataclass(frozen=True)
class Shape:
    """A study: each subject has a daily file of ``days`` rows and one of ``epoch_rows`` rows."""

    subjects: int
    days: int
    epoch_rows: int

    def __str__(self) -> str:
        return (
            f"{2 * self.subjects:,} exports: {self.subjects:,} subjects with ({self.days} days, "
            f"{self.epoch_rows:,} epochs)"
        )


SHAPES = {2000: Shape(1000, 14, 1440), 200: Shape(100, 14, 10_080), 20_000: Shape(10_000, 14, 1440)}


@dataclass
class Measured:
    """The seconds of one contender's runs, and the last run's output and folder."""

    seconds: list[float] = field(default_factory=list)
    words: str = ""
    folder: Path = Path()

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def run(command: list[str], study: Served, folder: Path, measured: Measured) -> None:
    """Run one contender once."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [word.replace("{}", str(folder)) for word in command]
    # With this variable, Python would compile our package at each start, but no installed one.
    environment = {
        name: value
        for name, value in study.environment.items()
        if name != "PYTHONDONTWRITEBYTECODE"
    }
    started = time.perf_counter()
    done = subprocess.run(
        words,
        env={**environment, "CP_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    measured.seconds.append(time.perf_counter() - started)
    if done.returncode:
        sys.exit(f"{words} failed:\n{done.stdout}\n{done.stderr}")
    measured.words, measured.folder = done.stdout, folder


def compare(shape: Shape, contenders: dict[str, list[str]], runs: int, root: Path) -> None:
    """Run all contenders in turn, then sync again with nothing new."""
    results = {name: Measured() for name in contenders}
    with served(shape.subjects, shape.days, shape.epoch_rows) as study:
        for turn in range(runs):
            for name, command in contenders.items():
                study.listing_requests()
                run(command, study, root / f"{shape.subjects}_{turn}_{name}", results[name])
                if name == "sync":
                    asked = study.listing_requests()
        again = Measured()
        for _ in range(runs):
            run(contenders["sync"], study, results["sync"].folder, again)
    report(shape, results, again, asked)


def report(shape: Shape, results: dict[str, Measured], again: Measured, asked: int) -> None:
    """Print the medians, and the ratios that the goals name."""
    pages = -(-2 * shape.subjects // 100)
    print(f"\n{shape}")
    for name, measured in results.items():
        each = measured.median / (2 * shape.subjects) * 1000
        print(f"  {name:10} {measured.median:8.2f} s   {each:6.2f} ms per export")
    print(f"  nothing new{again.median:7.2f} s")
    if "dlt" in results:
        print(f"  sync / dlt            {results['sync'].median / results['dlt'].median:5.2f}")
    if "floor" in results:
        print(f"  ingest / floor        {results['ingest'].median / results['floor'].median:5.2f}")
    held = HELD.search(results["sync"].words)
    if held is not None:
        share = float(held[1]) / results["sync"].seconds[-1]
        print(f"  warehouse held        {share:5.0%} of the wall time, at most {held[2]} s at once")
    print(f"  listing requests      {asked} for {pages} pages")
    print("  " + results["sync"].words.strip().splitlines()[-1])


def main() -> None:
    """Measure the requested shapes."""
    arguments = argparse.ArgumentParser(description=__doc__)
    default = [2000, 200]
    # argparse looks for the default, too, among the choices.
    choices = (*SHAPES, default)
    arguments.add_argument("exports", type=int, nargs="*", default=default, choices=choices)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--dlt", type=Path, help="a Python that has dlt")
    options = arguments.parse_args()
    contenders = {
        "sync": [str(COMMAND), "sync"],
        "ingest": [sys.executable, str(HERE / "contenders" / "ingest_alone.py")],
        "floor": [sys.executable, str(HERE / "contenders" / "floor.py"), "{}"],
    }
    if options.dlt:
        contenders["dlt"] = [str(options.dlt), str(HERE / "contenders" / "with_dlt.py"), "{}"]
    root = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    try:
        for exports in options.exports:
            compare(SHAPES[exports], contenders, options.runs, root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
