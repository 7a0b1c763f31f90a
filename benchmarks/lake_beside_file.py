"""A DuckLake (catalog in PostgreSQL, data files in a folder) beside a DuckDB file.

    make .venv-lake/installed
    PYTHONPATH=. .venv-lake/bin/python benchmarks/lake_beside_file.py [200 2000] [--runs 3]
        [--writers 1 2 4] [--no-questions] [--other .venv/bin/python] [--syncs 1000]

Both engines run on the DuckDB of .venv-lake; ``--other`` names a Python with another DuckDB, for
one more column of the file. PostgreSQL is a real one on loopback and waits for the disk. A writer
is a process with a data folder of its own; each loads its share of the subjects, without Dagster. A
DuckDB file has one writer, because one process at a time can open it. ``--syncs N`` makes N small
syncs, each of which loads the exports of one subject, and then compacts; ``--syncs 0`` leaves this
out, and without numbers of exports nothing else is measured.
"""

import argparse
import json
import logging
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from lake_server import Server, compacted, files, show_compaction
from many_exports import SHAPES, Shape
from served import Served, served

from cp_pipeline.ingest import PartitionFailed, Pipeline, Request
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Warehouse
from cp_pipeline_tests.postgres_servers import PostgresServer

FIRST_SUBJECT = 10821
# Of the small syncs.
SUBJECTS = 20
QUERIES = Path(__file__).parents[1] / "queries" / "README.md"
BLOCK = re.compile(r"^## (\d+)\.|^```sql(?: warehouse)?\n(.*?)```", re.MULTILINE | re.DOTALL)
AGAIN = 5


@dataclass
class Contender:
    """An engine with a number of writers; what its runs took."""

    name: str
    python: str
    writers: int = 1
    lake: bool = False
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    postgres: list[float] = field(default_factory=list)
    folder: Path = Path()
    variables: Mapping[str, str] = field(default_factory=dict)

    def load(self, shape: Shape, study: Served, server: Server, folder: Path) -> None:
        """Load the study into a new warehouse, with all writers at once."""
        folder.mkdir(parents=True)
        own = server.lake(folder) if self.lake else {"CP_WAREHOUSE": f"{folder}/warehouse.duckdb"}
        self.folder, self.variables = folder, {**study.environment, **own}
        share = -(-shape.subjects // self.writers)
        started, before = time.perf_counter(), own_children()
        of_server = server.processor_seconds()
        running = [
            subprocess.Popen(
                [self.python, __file__, "--write", str(first), str(first + share)],
                env={**self.variables, "CP_DATA_DIR": str(folder / f"host_{first}")},
                # DuckDB's progress bar.
                stdout=subprocess.DEVNULL,
            )
            for first in range(FIRST_SUBJECT, FIRST_SUBJECT + shape.subjects, share)
        ]
        codes = [process.wait() for process in running]
        if any(codes):
            sys.exit(f"{self.name} failed.")
        self.seconds.append(time.perf_counter() - started)
        self.processor.append(own_children() - before)
        self.postgres.append(server.processor_seconds() - of_server)

    def storage(self) -> StorageSettings:
        """Return the settings of the last run's warehouse."""
        variables = {**self.variables, "CP_DATA_DIR": str(self.folder / f"host_{FIRST_SUBJECT}")}
        return StorageSettings.from_environment(variables)

    def command(self, *words: str) -> float:
        """Run a command on the last run's warehouse; the seconds."""
        started = time.perf_counter()
        done = subprocess.run(
            words,
            env={**self.variables, "CP_DATA_DIR": str(self.folder / f"host_{FIRST_SUBJECT}")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{words} failed:\n{done.stdout}\n{done.stderr}")
        return time.perf_counter() - started

    def report(self) -> None:
        """Print the medians of all runs so far."""
        print(
            f"  {self.name:24} {statistics.median(self.seconds):7.2f} s wall,"
            f" {statistics.median(self.processor):7.2f} s processor"
            + (f", PostgreSQL {statistics.median(self.postgres):5.2f} s" if self.lake else ""),
            flush=True,
        )


def own_children() -> float:
    """Return the processor time of all processes that this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write(first: int, stop: int) -> None:
    """Load some subjects, as a host of its own."""
    pipeline = Pipeline(CentrePointSettings.from_environment(), StorageSettings.from_environment())
    for request in Request.of(range(first, stop)).parts():
        with pipeline.execute(pipeline.survey(request)) as results:
            failed = [result for result in results if isinstance(result, PartitionFailed)]
        if failed:
            sys.exit(f"{len(failed)} partitions failed, the first: {failed[0]}")


def questions() -> Iterator[tuple[str, str]]:
    """Yield the SQL of queries/README.md, each with a name."""
    question, seen = "", 0
    for number, sql in BLOCK.findall(QUERIES.read_text()):
        question, seen = (number, 0) if number else (question, seen + 1)
        if sql:
            yield question + ("" if seen == 1 else "bcd"[seen - 2]), sql


def ask() -> None:
    """Print, as JSON, the milliseconds of each question: the first time, and of the others."""
    ids = "SELECT 10821 + range AS subject_id, range % 2 AS arm, 30 AS age FROM range(2000)"
    found: dict[str, tuple[float, float] | str] = {}
    with (
        Warehouse.of(StorageSettings.from_environment()) as warehouse,
        tempfile.TemporaryDirectory() as folder,
    ):
        os.chdir(folder)
        for kind in ("csv", "parquet"):
            warehouse.connection.execute(f"COPY ({ids}) TO 'demographics.{kind}'")
        for name, sql in questions():
            taken = []
            try:
                for _ in range(1 + AGAIN):
                    started = time.perf_counter()
                    with warehouse.reading() as connection:
                        connection.execute(sql).fetchall()
                    taken.append((time.perf_counter() - started) * 1000)
            except Exception as error:  # noqa: BLE001  (it is an answer, too)
                found[name] = str(error).splitlines()[0]
            else:
                found[name] = taken[0], statistics.median(taken[1:])
    print(json.dumps(found))


def compare_questions(contenders: list[Contender]) -> None:
    """Build the models on each engine, and print what each question takes there."""
    answers = []
    for each in contenders:
        seconds = each.command(str(Path(each.python).with_name("cp-pipeline")), "publish")
        print(f"  publish, {each.name}: {seconds:.1f} s", flush=True)
    for each in contenders:
        done = subprocess.run(
            [each.python, __file__, "--ask"],
            env={**each.variables, "CP_DATA_DIR": str(each.folder / f"host_{FIRST_SUBJECT}")},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    print(
        "  question: ms the first time / again, of " + "; ".join(each.name for each in contenders)
    )
    for name in answers[0]:
        told = (
            answer[name]
            if isinstance(answer[name], str)
            else "{:.1f} / {:.1f}".format(*answer[name])
            for answer in answers
        )
        print(f"    {name:4} " + "; ".join(told), flush=True)


def compare(exports: int, server: Server, root: Path, options: argparse.Namespace) -> None:
    """Load with all contenders in turn, ask, and compact."""
    shape, runs = SHAPES[exports], options.runs if exports == 200 else 1
    contenders = [Contender("file, 1 writer", sys.executable)]
    if options.other is not None:
        contenders.append(Contender("file, other DuckDB", str(options.other)))
    contenders += [
        Contender(f"lake, {n} writer{'s' * (n > 1)}", sys.executable, n, lake=True)
        for n in options.writers
    ]
    print(f"\n{shape}; medians of {runs}", flush=True)
    with served(shape.subjects, shape.days, shape.epoch_rows) as study:
        for run in range(runs):
            for place, each in enumerate(contenders):
                each.load(shape, study, server, root / f"{run}_{place}")
                if run == runs - 1:
                    each.report()
        lakes = [each for each in contenders if each.lake]
        if options.questions:
            compare_questions([each for each in contenders if each not in lakes[1:]])
        for each in lakes:
            print(f"  {each.name}", flush=True)
            show_compaction(each.storage(), server, each.folder)


def small_syncs(study: Served, variables: Mapping[str, str], first: int, number: int) -> None:
    """Execute one subject's programs again and sync, so many times, and print what it took."""
    storage = StorageSettings.from_environment(variables)
    pipeline = Pipeline(CentrePointSettings.from_environment(variables), storage)
    taken, processor = [], time.process_time()
    for subject in islice(cycle(range(FIRST_SUBJECT, FIRST_SUBJECT + SUBJECTS)), number):
        exports = study.execute_subject_again(subject)
        started = time.perf_counter()
        with pipeline.execute(pipeline.survey()) as results:
            loaded = [each for each in results if not isinstance(each, PartitionFailed)]
        taken.append(time.perf_counter() - started)
        if len(loaded) != exports:
            sys.exit(f"{len(loaded)} of {exports} exports were loaded.")
    processor = (time.process_time() - processor) / number
    pipeline.warehouse.close()
    print(
        f"  syncs {first + 1:,} to {first + number:,}: median {statistics.median(taken):.2f} s,"
        f" processor {processor:.2f} s each",
        flush=True,
    )


def grow(number: int, server: Server, root: Path) -> None:
    """Print what many small syncs take, and what they leave, on a lake; the first on a file."""
    with served(SUBJECTS, 14, 60) as study:
        for lake in (False, True):
            folder = root / f"syncs_{lake}"
            folder.mkdir()
            own = server.lake(folder) if lake else {}
            variables = {**study.environment, **own, "CP_DATA_DIR": str(folder / "data")}
            storage = StorageSettings.from_environment(variables)
            first = Pipeline(CentrePointSettings.from_environment(variables), storage)
            with first.execute(first.survey()) as results:
                print(f"\n{'Lake' if lake else 'File'}: {len(list(results))} exports, and then")
            first.warehouse.close()
            if not lake:
                small_syncs(study, variables, 0, max(1, number // 10))
                size = Path(storage.warehouse).stat().st_size / 1e6
                seconds = compacted(storage)
                after = Path(storage.warehouse).stat().st_size / 1e6
                print(f"    {size:.1f} MB, after compact ({seconds:.1f} s) {after:.1f} MB")
                continue
            print(f"    at first                 {files(storage, folder)}", flush=True)
            step = max(1, number // 10)
            for done in range(0, number, step):
                small_syncs(study, variables, done, min(number - done, step))
                print(f"    {files(storage, folder)}", flush=True)
            show_compaction(storage, server, folder)
            small_syncs(study, variables, number, step)
            show_compaction(storage, server, folder)


def main() -> None:
    """Measure what is asked for."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # argparse looks for an empty list, too, among the choices.
    arguments.add_argument("exports", type=int, nargs="*", choices=(*SHAPES, []), metavar="EXPORTS")
    arguments.add_argument("--runs", type=int, default=3, help="of 200 exports; one of more")
    arguments.add_argument("--other", type=Path, help="a Python with another DuckDB")
    arguments.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4], help="of the lake")
    arguments.add_argument(
        "--no-questions", dest="questions", action="store_false", help="do not build the models"
    )
    arguments.add_argument("--syncs", type=int, default=1000)
    arguments.add_argument("--write", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    logging.disable(logging.WARNING)
    if options.write:
        write(*options.write)
        return
    if options.ask:
        ask()
        return
    # With it, Python would compile our package at each start, but no installed one.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    root = Path(tempfile.mkdtemp(prefix="cp-pipeline-benchmark-"))
    server = PostgresServer(durable=True)
    root.chmod(0o755)
    try:
        for exports in options.exports:
            compare(exports, Server(server), root / str(exports), options)
        if options.syncs:
            grow(options.syncs, Server(server), root)
    finally:
        server.stop()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
