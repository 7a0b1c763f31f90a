"""One export with many columns: our load, compared with DuckDB's own typed ``read_csv``.

Both start from the same gzip CSV on disk and end with committed rows in a new DuckDB file. DuckDB
alone gets every type declared, checks nothing and keeps no lineage. Then the whole pipeline is
measured: a first ``sync``, one with nothing new, one after the program was executed again, and
publishing.

    python benchmarks/wide_export.py [20 200 1500 …] [--rows 3420] [--runs 3]
"""

import argparse
import gzip
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from cp_pipeline.domain.exports import ExportFile, Instant, Partition
from cp_pipeline.landing import Landing, read_csv_text
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import ExportToLoad, Loader, Warehouse, publish_current

COMMAND = Path(sys.executable).with_name("cp-pipeline")
DATASET = "PartFiveSummary"
KINDS = ("DOUBLE", "DOUBLE", "DOUBLE", "BIGINT", "BIGINT", "SPARSE", "VARCHAR", "DATE")


def wide_csv(columns: int, rows: int) -> tuple[bytes, dict[str, str]]:
    """A summary file with decimals in half of its columns, and the type of each column."""
    chance = random.Random(columns)
    kinds = [KINDS[place % len(KINDS)] for place in range(columns - 2)]
    names = ["SUBJECTID", "TIMESTAMPUTC", *(f"{k}_{n}" for n, k in enumerate(kinds))]
    make: dict[str, Callable[[int], str]] = {
        "DOUBLE": lambda _: f"{chance.random() * 1000:.8f}",
        "BIGINT": lambda _: str(chance.randrange(100_000)),
        "SPARSE": lambda _: repr(chance.random()) if chance.random() < 0.5 else "",
        "VARCHAR": lambda _: chance.choice(["wear", "sleep", "non-wear"]),
        "DATE": lambda row: f"2024-02-{1 + row % 28:02}",
    }
    lines = [",".join(names)]
    for row in range(rows):
        begun = f"2024-{1 + row // 840 % 12:02}-{1 + row // 30 % 28:02} {row % 24:02}:00:00"
        lines.append(",".join(["10821", begun, *(make[kind](row) for kind in kinds)]))
    types = ["BIGINT", "TIMESTAMP", *("DOUBLE" if kind == "SPARSE" else kind for kind in kinds)]
    return ("\n".join(lines) + "\n").encode(), dict(zip(names, types, strict=True))


def load_declared(landed: Path, types: dict[str, str], warehouse: Path) -> None:
    """Load the file with DuckDB's typed reader."""
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(
            f"CREATE TABLE wide AS FROM read_csv(?, columns = {types}, auto_detect = false,"
            " header = true, delim = ',', compression = 'gzip')",
            [str(landed)],
        )


def load_lossless(root: Path, export_file: ExportFile, warehouse: Path) -> None:
    """Load the landed file with cp-pipeline."""
    landing = Landing(root)
    landed = landing.find(export_file)
    assert landed is not None
    with landing.scratch_folder() as scratch:
        text = read_csv_text(landing.root / landed.path, scratch)
        batch = {Partition(landed.subject_id, DATASET): [ExportToLoad(landed, text)]}
        Loader(Warehouse(str(warehouse)), landing, scratch).load(batch)


def median_seconds(work: Callable[[Path], None], runs: int, folder: Path) -> float:
    """The median of several runs, each into a new warehouse."""
    seconds = []
    for run in range(runs):
        started = time.perf_counter()
        work(folder / f"{work.__name__}_{run}.duckdb")
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def compare_loads(csv: bytes, types: dict[str, str], runs: int, folder: Path) -> None:
    """Print the times of both loads, and their ratio."""
    instant = Instant.parse("2024-02-29T10:09:20.5899754+00:00")
    export_file = ExportFile(
        1, 10821, "program", DATASET, "wide.csv.gz", "csv", instant, instant, ""
    )
    root = folder / "landing"
    landing = Landing(root)
    with landing.scratch_folder() as scratch:
        landing.keep(export_file, iter([gzip.compress(csv, 6)]), scratch)
    (landed,) = root.rglob("*.export")

    def declared(warehouse: Path) -> None:
        load_declared(landed, types, warehouse)

    def lossless(warehouse: Path) -> None:
        load_lossless(root, export_file, warehouse)

    median_seconds(lossless, 1, folder)
    for file in folder.glob("*.duckdb"):
        file.unlink()
    alone, ours = (median_seconds(work, runs, folder) for work in (declared, lossless))
    print(f"  DuckDB alone {alone:5.2f} s   cp-pipeline {ours:5.2f} s   {ours / alone:.1f} times")


def time_pipeline(csv: bytes, folder: Path) -> None:
    """Print how long each step takes in the whole pipeline."""
    study = SandboxStudy.empty()
    study.put(subject_id=10821, data_set_name=DATASET, csv=csv)
    with Sandbox(study) as sandbox:
        environment = {**os.environ, **sandbox.environment, "CP_DATA_DIR": str(folder)}

        def sync() -> float:
            started = time.perf_counter()
            subprocess.run([str(COMMAND), "sync"], env=environment, check=True, capture_output=True)
            return time.perf_counter() - started

        first, nothing = sync(), sync()
        sandbox.execute_again()
        again = sync()
        started = time.perf_counter()
        storage = StorageSettings.from_environment({"CP_DATA_DIR": str(folder)})
        with Warehouse.of(storage) as warehouse:
            publish_current(warehouse, storage.published)
        published = time.perf_counter() - started
    print(f"  sync {first:.1f} s, nothing new {nothing:.1f} s, executed again {again:.1f} s")
    print(f"  publishing {published:.1f} s")


def main() -> None:
    """Measure each width."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("columns", type=int, nargs="*", default=[20, 200, 1500])
    arguments.add_argument("--rows", type=int, default=3_420)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    for columns in options.columns:
        csv, types = wide_csv(columns, options.rows)
        print(f"{columns:,} columns, {options.rows:,} rows, {len(csv) / 1e6:.1f} MB")
        with tempfile.TemporaryDirectory() as name:
            for part in ("loads", "pipeline"):
                (Path(name) / part).mkdir()
            compare_loads(csv, types, options.runs, Path(name) / "loads")
            time_pipeline(csv, Path(name) / "pipeline")


if __name__ == "__main__":
    main()
