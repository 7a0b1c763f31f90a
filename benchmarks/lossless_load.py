"""The cost of a lossless load: our load, compared with a load with declared types.

All loads start from the same gzip CSVs on disk (100 epoch files by default) and end with committed
rows in a new DuckDB file.

- DuckDB alone gets every type declared, checks nothing and keeps no lineage.
- Our load with declared types checks the checksum during decompression, validates the CSV, counts
  records and writes lineage. But DuckDB reads the declared types directly, so no value is proved.
- Our normal load also finds each type and proves each value. This is the only difference from the
  load before, so the ratio of the two is the cost of losslessness.

    python benchmarks/lossless_load.py [--files 100] [--rows 14400] [--runs 3]
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from cp_pipeline.domain.exports import ExportFile, Instant, Partition
from cp_pipeline.landing import Landing, read_csv_text
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import ExportToLoad, Loader, Warehouse, staging
from cp_pipeline.warehouse.column_types import Column, Kind, text_name, value_name

TYPES = {
    "SUBJECTID": "BIGINT",
    "TIMESTAMPUTC": "TIMESTAMP",
    "STEPS": "BIGINT",
    "MET": "DOUBLE",
    "CALORIES": "DOUBLE",
}
DATASET = "ActivityEpochs10"
BATCH_FILES = 100


def land_files(
    root: Path, files: int, rows: int, executed: str = "2024-02-29T10:09:20.5899754+00:00"
) -> list[ExportFile]:
    """The export files of a synthetic study, stored in a landing."""
    study = SandboxStudy.synthetic(
        study_id=1, subjects=files, days=1, seed=1, epoch_rows=rows, datasets=(DATASET,)
    )
    instant = Instant.parse(executed)
    landing = Landing(root)
    kept = []
    with landing.scratch_folder() as scratch:
        for item in study.export_files:
            export_file = ExportFile(
                1, item.subject_id, "program", DATASET, "e.csv.gz", "csv", instant, instant, ""
            )
            landing.keep(export_file, iter([gzip.compress(item.csv, 6)]), scratch)
            kept.append(export_file)
    return kept


def load_declared(paths: list[Path], warehouse: Path) -> None:
    """Load all files with DuckDB's typed reader, in one statement."""
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("SET preserve_insertion_order = false")
        columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
        connection.execute(f"CREATE TABLE epochs ({columns})")
        connection.execute(
            f"INSERT INTO epochs FROM read_csv(?, columns = {TYPES}, auto_detect = false,"
            " header = true, delim = ',', compression = 'gzip')",
            [[str(path) for path in paths]],
        )


def load_lossless(root: Path, export_files: list[ExportFile], warehouse: Path) -> None:
    """Load the landed files with cp-pipeline."""
    landing = Landing(root)
    landed = [landing.find(export_file) for export_file in export_files]
    with landing.scratch_folder() as scratch, ThreadPoolExecutor(2) as threads:
        loader = Loader(Warehouse(str(warehouse)), landing, scratch)
        for start in range(0, len(landed), BATCH_FILES):
            some = [each for each in landed[start : start + BATCH_FILES] if each is not None]
            texts = threads.map(lambda each: read_csv_text(landing.root / each.path, scratch), some)
            loader.load(
                {
                    Partition(each.subject_id, DATASET): [ExportToLoad(each, text)]
                    for each, text in zip(some, texts, strict=True)
                }
            )


@contextmanager
def values_unproved() -> Iterator[None]:
    """Make our load use DuckDB's reader with declared types, instead of text and proofs."""

    def declared(_: object, __: object, columns: Sequence[Column]) -> list[Column]:
        return [Column(column.name, Kind(TYPES[column.name].lower())) for column in columns]

    def read_typed(
        connection: duckdb.DuckDBPyConnection,
        table: str,
        source: Any,  # noqa: ANN401  (a class of that module alone)
        columns: Sequence[Column],
    ) -> bool:
        expression, names = source.expression, []
        for place, column in enumerate(columns):
            text = f"'{text_name(place)}': 'VARCHAR'"
            assert text in expression
            expression = expression.replace(text, text.replace("VARCHAR", column.kind.sql_type))
            names.append(f"{text_name(place)} AS {value_name(place)}")
        connection.execute(
            f"CREATE TABLE memory.{table} AS SELECT {', '.join(names)}, _load_id FROM {expression}"
        )
        return True

    with (
        mock.patch.object(staging, "guess", declared),
        mock.patch.object(staging, "_typed", read_typed),
    ):
        yield


def median_seconds(work: Callable[[Path], None], runs: int, folder: Path) -> float:
    """The median of several runs, each into a new warehouse."""
    seconds = []
    folder.mkdir(exist_ok=True)
    for run in range(runs):
        started = time.perf_counter()
        work(folder / f"{work.__name__}_{run}_{os.getpid()}.duckdb")
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Measure all loads, and print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=100)
    arguments.add_argument("--rows", type=int, default=14_400)
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "landing"
        export_files = land_files(root, options.files, options.rows)
        paths = sorted(root.rglob("*.export"))

        def declared(warehouse: Path) -> None:
            load_declared(paths, warehouse)

        def lossless(warehouse: Path) -> None:
            load_lossless(root, export_files, warehouse)

        def unproved(warehouse: Path) -> None:
            with values_unproved():
                load_lossless(root, export_files, warehouse)

        median_seconds(lossless, 1, Path(name) / "warm")
        alone = median_seconds(declared, options.runs, Path(name))
        typed = median_seconds(unproved, options.runs, Path(name))
        ours = median_seconds(lossless, options.runs, Path(name))
    rows = options.files * options.rows
    print(f"{options.files} files, {rows:,} rows, median of {options.runs}")
    for title, seconds in (
        ("DuckDB alone, declared types", alone),
        ("cp-pipeline, declared types", typed),
        ("cp-pipeline, lossless", ours),
    ):
        print(f"{title:30} {seconds:6.2f} s  {rows / seconds / 1e6:5.2f} M rows/s")
    print(f"cost of losslessness           {ours / typed:6.2f} times the load with declared types")
    print(f"total cost                     {ours / alone:6.2f} times DuckDB alone")


if __name__ == "__main__":
    main()
