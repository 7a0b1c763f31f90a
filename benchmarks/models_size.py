"""The models of a large trial: how long a build takes, and how much memory it needs.

    python benchmarks/models_size.py [--subjects 500] [--days 30] [--megabytes 1000] [--first-only]

Makes a warehouse with a minute file for each subject, without loading it (synthetic rows, one load
a subject), and builds the models with ``dbt run`` three times in processes of their own: the first
build, a build with nothing new, and a build after one subject's program was executed again. A trial
of 5,000 subjects and 90 days has 648 million rows.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.schema import create_tables

PROJECT = Path(__file__).parents[1] / "dbt_style_sql"
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Los_Angeles"]
EPOCHS = """
CREATE TABLE history."ActivityEpochs10" AS
SELECT TIMESTAMP '2024-03-01' + to_minutes(minute.number) AS TIMESTAMPUTC,
    (hash(subject.number, minute.number) % 90)::BIGINT AS STEPS,
    0.9 + (hash(minute.number, subject.number) % 700) / 100 AS MET,
    1 + (hash(minute.number) % 500) / 100 AS CALORIES,
    (minute.number % 1440 BETWEEN 360 AND 1380)::BIGINT AS WEAR,
    subject.number AS _load_id
FROM range(1, {subjects} + 1) AS subject(number), range({minutes}) AS minute(number);
CREATE VIEW exports."ActivityEpochs10" AS
SELECT rows.* EXCLUDE (_load_id), loads.study_id AS _study_id, loads.subject_id AS _subject_id,
    loads.study_program_id AS _study_program_id, loads.program_execution AS _program_execution,
    loads.program_executed_at AS _program_executed_at, rows._load_id
FROM history."ActivityEpochs10" AS rows
INNER JOIN lineage.current_loads AS loads ON loads.load_id = rows._load_id;
"""
LOADS = """
INSERT INTO lineage.loads BY NAME
SELECT number AS load_id, 4711 AS study_id, 10000 + number AS subject_id,
    'ActivityEpochs10' AS dataset_name, 'p' AS study_program_id, 'x' AS program_execution,
    TIMESTAMP_NS '2024-06-01' AS program_executed_at, {minutes} AS row_count,
    TIMESTAMP '2024-06-02' AS loaded_at, 'TIMESTAMPUTC' AS time_column,
    TIMESTAMP '2024-03-01' AS first_timestamp, 0 AS duplicate_timestamps,
    TIMESTAMP '2024-03-01' + to_minutes({minutes} - 1) AS last_timestamp
FROM range(1, {subjects} + 1) AS subject(number);
INSERT INTO study.subjects_history BY NAME
SELECT 10000 + number AS id, 4711 AS study_id, {zones}[1 + number % 4] AS timezone,
    TIMESTAMP '2024-01-01' AS valid_from
FROM range(1, {subjects} + 1) AS subject(number);
INSERT INTO lineage.column_types BY NAME
SELECT 'ActivityEpochs10' AS dataset_name, unnest(['TIMESTAMPUTC', 'STEPS', 'MET']) AS column_name,
    1 AS revision, unnest(['timestamp', 'bigint', 'double']) AS kind;
"""
AGAIN = """
INSERT INTO lineage.loads SELECT * REPLACE ({new} AS load_id,
    TIMESTAMP_NS '2024-07-01' AS program_executed_at, 'y' AS program_execution)
FROM lineage.loads WHERE load_id = 1;
INSERT INTO lineage.superseded VALUES (1, {new}, TIMESTAMP '2024-07-02');
INSERT INTO history."ActivityEpochs10" SELECT * REPLACE ({new} AS _load_id)
FROM history."ActivityEpochs10" WHERE _load_id = 1;
"""


def main() -> None:
    """Make the warehouse, build three times, and print time and memory of each build."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--subjects", type=int, default=500)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--megabytes", type=int, default=4_000, help="memory_megabytes of dbt")
    options.add_argument("--first-only", action="store_true", help="not the two builds after it")
    asked = options.parse_args()
    minutes = asked.days * 1440
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Path(folder) / "warehouse.duckdb"
        values = {"subjects": asked.subjects, "minutes": minutes, "zones": ZONES}
        with duckdb.connect(str(warehouse)) as opened:
            create_tables(opened)
            opened.execute((LOADS + EPOCHS).format(**values))
        print(f"{asked.subjects * minutes:,} epochs, {warehouse.stat().st_size / 1e9:.1f} GB")
        os.environ["MEGABYTES"] = str(asked.megabytes)
        report("first build", folder)
        if asked.first_only:
            return
        report("nothing new", folder)
        with duckdb.connect(str(warehouse)) as opened:
            opened.execute(AGAIN.format(new=asked.subjects + 1))
        report("one subject executed again", folder)
        with duckdb.connect(str(warehouse), read_only=True) as opened:
            print(
                opened.sql("SELECT count(*) AS days, count(is_valid_day) FROM marts.subject_days")
            )


def report(name: str, folder: str) -> None:
    """Build the models in a process of their own; print its seconds and its peak memory."""
    began = time.monotonic()
    subprocess.run([sys.executable, Path(__file__).absolute(), "--build", folder], check=True)
    print(f"{name}: {time.monotonic() - began:.1f} s")


def build(folder: str) -> None:
    """Run dbt in this process, and print the peak memory of the process."""
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  (slow, and only here)

    os.environ |= {"CP_WAREHOUSE": f"{folder}/warehouse.duckdb", "CP_DATA_DIR": folder}
    where = ["--project-dir", PROJECT, "--profiles-dir", PROJECT]
    targets = ["--target-path", f"{folder}/dbt", "--log-path", f"{folder}/dbt"]
    memory = ["--vars", f"{{memory_megabytes: {os.environ['MEGABYTES']}}}"]
    done = dbtRunner().invoke(["run", *map(str, where), *targets, *memory, "--quiet"])
    assert done.success, done.exception
    for each in done.result:
        if each.execution_time > 1:
            print(f"  {each.node.name}: {each.execution_time:.1f} s")
    # Not ru_maxrss: a process inherits that of the one that starts it, which made the rows.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(f"  peak memory {peak / 1e6:.2f} GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        build(sys.argv[2])
    else:
        main()
