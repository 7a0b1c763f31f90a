"""Analysts' queries of ``exports."…"``, with a quarter of the loads superseded.

The comparison is a plain table of the same rows: no lineage columns, no superseded loads.

    python benchmarks/current_rows.py [--files 400] [--rows 14400] [--runs 5]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import duckdb
from lossless_load import DATASET, land_files, load_lossless

QUESTIONS = {
    "sum": "SELECT sum(STEPS), avg(MET) FROM {}",
    "by hour": "SELECT hour(TIMESTAMPUTC), sum(STEPS), avg(MET) FROM {} GROUP BY ALL",
    "by subject and day": "SELECT SUBJECTID, TIMESTAMPUTC::DATE, sum(STEPS) FROM {} GROUP BY ALL",
    "one subject": "SELECT sum(STEPS) FROM {} WHERE SUBJECTID = 10900",
}


def main() -> None:
    """Build both, query both, and print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=400)
    arguments.add_argument("--rows", type=int, default=14_400)
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        warehouse = root / "warehouse.duckdb"
        for files, executed in (
            (options.files, "2024-02-29T10:09:20+00:00"),
            (options.files // 4, "2024-03-01T10:09:20+00:00"),
        ):
            export_files = land_files(root / "landing", files, options.rows, executed)
            load_lossless(root / "landing", export_files, warehouse)
        view = f'exports."{DATASET}"'
        with duckdb.connect(str(root / "plain.duckdb")) as plain:
            plain.execute(f"ATTACH '{warehouse}' AS warehouse (READ_ONLY)")
            columns = "SUBJECTID, TIMESTAMPUTC, STEPS, MET, CALORIES"
            plain.execute(f"CREATE TABLE plain AS SELECT {columns} FROM warehouse.{view}")
        print(f"{options.files * options.rows:,} current rows, a quarter of the loads superseded")
        for title, question in QUESTIONS.items():
            ours = ask(warehouse, question.format(view), options.runs)
            peer = ask(root / "plain.duckdb", question.format("plain"), options.runs)
            print(f"  {title:20} {ours * 1000:7.1f} ms  plain {peer * 1000:7.1f} ms", end="")
            print(f"  {ours / peer:5.2f} times")


def ask(file: Path, question: str, runs: int) -> float:
    """The median seconds of a query, after one run to warm up."""
    with duckdb.connect(str(file), read_only=True) as connection:
        seconds = []
        for _ in range(runs + 1):
            started = time.perf_counter()
            connection.execute(question).fetchall()
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
