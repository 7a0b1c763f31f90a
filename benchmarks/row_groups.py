"""Row groups of a warehouse: the memory of merging them, and the time of writing and reading.

python benchmarks/row_groups.py [ROWS]

Each commit of 4,000 rows like those of ``lineage.loads`` is made by a process of its own, as a
sync does, until there are ROWS of them (by default 400,000). Then a table of 20 million epochs is
written in 100 commits, and read.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.attaching import ROW_GROUP_ROWS

SIZES = (122_880, ROW_GROUP_ROWS)
LOADS = """
    SELECT range AS load_id, 4711 AS study_id, range % 5000 AS subject_id,
        'ActivityDaily' || range % 40 AS dataset_name, uuid()::VARCHAR AS study_program_id,
        '2024-02-06T10:26:04.9080854+00:00' AS program_execution,
        range || '_' || uuid() || '.csv.gz' AS file_name, sha256(range::VARCHAR) AS file_sha256,
        [upper(left(md5(name::VARCHAR), 11)) FOR name IN range(12)] AS column_names,
        uuid()::VARCHAR AS dagster_run_id, repeat(md5(range::VARCHAR), 4) AS landing_path
    FROM range({first}, {first} + 4000)
"""
EPOCHS = """
    SELECT {batch} * 20 + range // 10000 AS _load_id, range % 10000 AS _row,
        TIMESTAMP '2024-01-01' + INTERVAL (range % 10000) MINUTE AS t,
        (random() * 50)::BIGINT AS steps, round(random() * 5, 1) AS met
    FROM range(200_000)
"""
QUESTIONS = (
    "SELECT sum(steps) FROM epochs",
    "SELECT _load_id, count(*) FROM epochs GROUP BY ALL",
    "SELECT hour(t), avg(met) FROM epochs GROUP BY ALL",
)


def opened(file: Path, size: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"ATTACH '{file}' AS w (ROW_GROUP_SIZE {size})")
    connection.execute("USE w")
    return connection


def commit(file: Path, size: int, first: int) -> None:
    """Add 4,000 loads, and print the most memory that this process had, in MB."""
    connection = opened(file, size)
    rows = LOADS.format(first=first)
    connection.execute(f"CREATE TABLE IF NOT EXISTS loads AS FROM ({rows}) LIMIT 0")
    connection.execute(f"INSERT INTO loads {rows}")
    connection.execute("USE memory")
    connection.execute("DETACH w")
    print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1000)


def merge(folder: Path, size: int, rows: int) -> None:
    peak = 0
    for first in range(0, rows, 4000):
        command = [
            sys.executable,
            __file__,
            "--commit",
            str(folder / "loads"),
            str(size),
            str(first),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peak = max(peak, int(done.stdout))
        if (first + 4000) % 100_000 == 0:
            print(f"  {first + 4000:,} loads: at most {peak} MB so far", flush=True)


def write_and_read(file: Path, size: int) -> None:
    spent = 0.0
    for batch in range(100):
        with opened(file, size) as connection:
            rows = EPOCHS.format(batch=batch)
            connection.execute(f"CREATE TABLE IF NOT EXISTS epochs AS FROM ({rows}) LIMIT 0")
            connection.execute(f"CREATE TEMP TABLE staged AS {rows}")
            began = time.perf_counter()
            connection.execute("INSERT INTO epochs FROM staged")
            connection.execute("USE memory")
            connection.execute("DETACH w")
            spent += time.perf_counter() - began
    print(f"  20 million epochs: {spent:.1f} s, {file.stat().st_size / 1e6:.0f} MB")
    with opened(file, size) as connection:
        for question in QUESTIONS:
            best = min(_seconds(connection, question) for _ in range(5))
            print(f"  {best * 1000:.0f} ms: {question}")


def _seconds(connection: duckdb.DuckDBPyConnection, question: str) -> float:
    began = time.perf_counter()
    connection.execute(question).fetchall()
    return time.perf_counter() - began


if __name__ == "__main__":
    if sys.argv[1:2] == ["--commit"]:
        commit(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=400_000)
    total = parser.parse_args().rows
    for each in SIZES:
        print(f"row groups of {each:,} rows", flush=True)
        with tempfile.TemporaryDirectory() as made:
            merge(Path(made), each, total)
            write_and_read(Path(made) / "epochs", each)
