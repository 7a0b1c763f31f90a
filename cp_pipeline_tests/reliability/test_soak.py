"""Random studies with many unusual properties at once: all partitions counted, all cells correct.

Random are: names of data sets and columns, values, compression, broken files, versions (executed
again, written again, pending), the case of GUIDs, the shape of pages, and faults of the service.
After each sync, planned = loaded + failed + pending must hold, and each loaded cell must equal what
Python's ``csv`` wrote.

``SOAK=500 SOAK_SEED=1 pytest cp_pipeline_tests/reliability/test_soak.py`` runs 500 studies.
"""

import csv
import io
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cp_pipeline.domain.exports import ExportKey, Partition
from cp_pipeline.ingest import Account, PartitionFailed, PartitionLoaded, Pipeline
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline_tests.cells import value_of
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.lakes import ENGINE, warehouse_variables
from cp_pipeline_tests.warehouses import reading

pytestmark = pytest.mark.both_engines

# A lake takes ten times as long.
STUDIES = int(os.environ.get("SOAK", "10" if ENGINE == "file" else "2"))
SEED = int(os.environ.get("SOAK_SEED", "20261125"))
ROUNDS = 3

_DATASETS = (
    "ActivityDaily8", "ActivityEpochs10", "Data Set", "a|b", "x'\"; --", "loads", "select", "100%",
    "[ab]", "Schlafqualität 💤", "..", "rows",
)  # fmt: skip
_COLUMNS = (
    "TIMESTAMPUTC", "DATE", "STEPS", "MET", "ENDED", "BEGUN", "STARTED", "RUN", "rows", "loads",
    "select", "from", "value_0", "text_0", "cast_0", "number", "stretch", "rest", "steps2", "load",
    "subject_id", "dataset_name", "instant", "dataset", "chosen", "gone", "a b", "ä", "x'", 'q"',
    "order", "group", "TIME", "START", "12.5kHz", "_x", "memory", "history",
)  # fmt: skip
_VALUES: tuple[Callable[[random.Random], str], ...] = (
    lambda r: str(r.randint(-(10**6), 10**6)),
    lambda r: str(r.randint(-(2**66), 2**66)),
    lambda r: f"{r.random() * 1000:.3f}",
    lambda r: repr(r.uniform(-1, 1) * 10 ** r.randint(-30, 30)),
    lambda r: f"{r.randint(1, 99)}E{r.randint(0, 9)}",
    lambda r: f"2024-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
    lambda r: f"2024-02-{r.randint(1, 28):02} {r.randint(0, 23):02}:{r.randint(0, 59):02}:00",
    lambda r: f"2024-02-{r.randint(1, 28):02}T10:09:20.{r.randint(0, 9_999_999):07}",
    lambda r: f"2024-02-{r.randint(1, 28):02}T10:09:20+02:00",
    lambda r: r.choice(["0001-01-01 00:00:00", "9999-12-31 23:59:59", "1969-12-31 23:59:59"]),
    lambda r: r.choice(["NA", "true", "007", " 1 ", "a,b", 'say "hi"', "two\nlines", "💤", "-0"]),
    lambda r: "".join(r.choices('",;\r\nab1. \t', k=r.randint(0, 8))),
    lambda _: "",
)
_BROKEN = (
    b"N,M\n1\n",
    b"N,M\n1,2,3\n",
    b"N,N\n1,2\n",
    b'N,M\n1,"2\n',
    b"",
    b"<html>busy</html>",
    b"N,M\n\xff,1\n",
    b"_load_id,M\n1,2\n",
)


@dataclass
class _Export:
    """The listed properties of an export, and the records of its file (None for a broken file)."""

    subject_id: int
    dataset: str
    program: str
    kinds: list[tuple[str, Callable[[random.Random], str]]]
    header: list[str] = field(default_factory=list)
    records: list[list[str]] | None = None
    execution: int = 0
    written: int = 0
    pending: bool = False

    @property
    def key(self) -> ExportKey:
        return ExportKey(4711, self.subject_id, self.program, self.dataset)

    @property
    def partition(self) -> Partition:
        return Partition(self.subject_id, self.dataset)


class _Study:
    """A random study that changes at random between syncs."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance = chance
        self.packing = chance.choice(list(Packing))
        self.sandbox = FaultySandbox(
            SandboxStudy.empty(), packing=self.packing, requests_per_minute=10**6
        )
        data = folder / "data"
        self.storage = StorageSettings.from_environment(
            {"CP_DATA_DIR": str(data), **warehouse_variables(data)}
        )
        self.exports: list[_Export] = []
        # One fault per sync, each at most once. All of them may hit one file, and a file is
        # requested at most four times.
        faults = ["503", "cut", "hang up", "corrupt", "", ""]
        if self.packing in {Packing.PLAIN, Packing.MIXED}:
            # An uncompressed file has no checksum, so its damage cannot be detected.
            faults.remove("corrupt")
        self.file_faults = chance.sample(faults, ROUNDS)
        for dataset in chance.sample(_DATASETS, chance.randint(1, 4)):
            names = chance.sample(_COLUMNS, chance.randint(1, 6))
            kinds = [(name, chance.choice(_VALUES)) for name in names]
            programs = chance.sample([f"{n}a0b0c0d-0000-4000-8000-00000000000{n}" for n in "1234"],
                                     1 + (chance.random() < 0.2))  # fmt: skip
            for subject in range(1, chance.randint(2, 5)):
                for program in programs:
                    export = _Export(subject, dataset, program, kinds)
                    self.exports.append(export)
                    self.write(export)

    def write(self, export: _Export) -> None:
        """Write a new file for the same execution."""
        export.written += 1
        export.pending = False
        export.header = [name for name, _ in export.kinds]
        if self.chance.random() < 0.2:
            # A column has other values from now on.
            place = self.chance.randrange(len(export.kinds))
            name = export.kinds[place][0]
            export.kinds[place] = (name, self.chance.choice(_VALUES))
        values = [value for _, value in export.kinds]
        count = self.chance.choice([0, 1, 3, 20])
        export.records = [[value(self.chance) for value in values] for _ in range(count)]
        if self.chance.random() < 0.08:
            export.records = None
        self.put(export)

    def put(self, export: _Export) -> None:
        day = f"2024-02-{10 + export.execution:02}"
        modified = f"{day}T10:{10 + export.written:02}:00.1234567+00:00"
        if export.pending:
            modified = f"2024-02-{9 + export.execution:02}T10:10:00+00:00"
        self.sandbox.study.put(
            subject_id=export.subject_id,
            data_set_name=export.dataset,
            study_program_id=export.program,
            csv=self.chance.choice(_BROKEN) if export.records is None else _csv(export),
            execution=f"{day}T10:05:08.0000001+00:00",
            modified=modified,
            file_name="one-name-for-all.csv.gz",
        )

    def change(self) -> None:
        """Change the study, as CentrePoint does between two syncs."""
        for export in self.exports:
            event = self.chance.random()
            if event < 0.2:
                export.execution += 1
                export.written = 0
                self.write(export)
            elif event < 0.3:
                self.write(export)
            elif event < 0.4:
                # Executed again, but the link still points to the old file.
                export.execution += 1
                export.written = 0
                export.pending = True
                self.put(export)
            elif export.pending and event < 0.7:
                self.write(export)

    def trouble(self) -> None:
        """Set the faults of the service during the next sync."""
        service = self.chance.choice(["listing", "token"])
        for event in [service, *self.file_faults[:1]]:
            match event:
                case "listing" | "token":
                    self.sandbox.fail(event, 503, times=1, retry_after=0)
                case "503":
                    self.sandbox.fail("file", 503, times=1, retry_after=0)
                case "cut":
                    self.sandbox.cut_short()
                case "corrupt":
                    self.sandbox.corrupt()
                case "hang up":
                    self.sandbox.disconnect("file")
        del self.file_faults[:1]
        capitals, short = (self.chance.random() < 0.3 for _ in range(2))
        limit = self.chance.randint(1, 5)

        def rewrite(page: dict[str, Any]) -> dict[str, Any]:
            items = page["items"]
            if capitals:
                items = [
                    each | {"studyProgramId": each["studyProgramId"].upper()} for each in items
                ]
            if short:
                # The service returns fewer items per page than requested, and says so.
                items = items[:limit]
                page = page | {"limit": limit}
            return page | {"items": items}

        self.sandbox.rewrite_page = rewrite


def _csv(export: _Export) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(export.header)
    writer.writerows(export.records or [])
    return written.getvalue().encode()


_Table = tuple[list[str], list[list[str]]]


def _check_cells(study: _Study, loaded: dict[ExportKey, _Table]) -> None:
    """Check that each loaded cell equals what Python's csv wrote."""
    if not loaded:
        return
    with reading(study.storage) as opened:
        for key, (header, records) in loaded.items():
            dataset = key.dataset_name
            described = opened.execute(f"DESCRIBE exports.{quoted(dataset)}").fetchall()
            types = {name.casefold(): kind for name, kind, *_ in described}
            selected = ", ".join(
                f"epoch_ns({quoted(name)})"
                if types[name.casefold()] == "TIMESTAMP_NS"
                else quoted(name)
                for name in header
            )
            found = opened.execute(
                f"SELECT {selected} FROM exports.{quoted(dataset)}"
                " WHERE _subject_id = ? AND _study_program_id = ?",
                [key.subject_id, key.study_program_id],
            ).fetchall()
            expected = [
                tuple(
                    value_of(text, types[name.casefold()], quoted=len(header) == 1)
                    for name, text in zip(header, record, strict=True)
                )
                for record in records
            ]
            assert Counter(found) == Counter(expected), key


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    retry = "cp_pipeline.centrepoint.transport._BudgetedRetry"
    monkeypatch.setattr(f"{retry}.get_backoff_time", lambda self: 0.0)
    without_sleep = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("cp_pipeline.centrepoint.downloads.time", without_sleep)


@pytest.mark.parametrize("number", range(STUDIES))
def test_a_random_study_ends_in_a_full_account_and_right_cells(number: int, tmp_path: Path) -> None:
    study = _Study(random.Random(SEED * 100_000 + number), tmp_path)
    loaded: dict[ExportKey, _Table] = {}
    with study.sandbox:
        access = CentrePointSettings.from_environment(study.sandbox.environment)
        for place in range(ROUNDS):
            if place:
                study.change()
            study.trouble()
            exports = Pipeline(access, study.storage)
            listed = exports.survey()
            assert len(listed.items) == len(study.exports)
            plan = listed.plan
            account = Account(plan)
            with exports.execute(listed) as results:
                done = list(results)
            for result in done:
                account.saw(result)
            account.close()
            pending = {each.partition for each in study.exports if each.pending}
            assert set(plan.pending) == pending
            failed = {each.partition for each in done if isinstance(each, PartitionFailed)}
            broken = {
                each.partition
                for each in study.exports
                if each.records is None and not each.pending
            }
            # All broken exports fail, and no others.
            why = "\n".join(str(each) for each in done if isinstance(each, PartitionFailed))
            assert failed == broken & set(plan.to_load), why
            listed_now = {each.key: each for each in study.exports}
            for result in done:
                for load in result.loads if isinstance(result, PartitionLoaded) else ():
                    export = listed_now[load.landed.key]
                    assert export.records is not None
                    loaded[export.key] = (export.header, export.records)
            states = {each.partition: each.state for each in exports.states()}
            assert all(states[partition] == "failed" for partition in failed)
            _check_cells(study, loaded)
