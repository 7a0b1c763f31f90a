"""Processes with the same data folder share the request limit per minute, through a file."""

import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest

from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline_tests.conftest import open_pipeline
from cp_pipeline_tests.study_site import Site

WINDOW = 0.5
SPENDER = f"""
import sys, time
from pathlib import Path
from cp_pipeline.centrepoint import budget
budget.WINDOW_SECONDS = {WINDOW}
mine = budget.RequestBudget(5, Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(7):
    mine.spend()
    print(time.monotonic(), flush=True)
"""


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.budget.WINDOW_SECONDS", WINDOW)


def moments_of(process: "subprocess.Popen[str]") -> list[float]:
    said, _ = process.communicate(timeout=30)
    return [float(line) for line in said.split()]


def test_three_processes_together_ask_no_more_than_one_may(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path / "ledger")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    spent = sorted(moment for process in processes for moment in moments_of(process))
    assert len(spent) == 21
    # The time is measured after the request is counted, and a process may be delayed in between.
    assert all(spent[place + 5] - spent[place] > WINDOW - 0.2 for place in range(16))
    assert spent[-1] - spent[0] > 4 * WINDOW - 0.2


def test_a_second_client_of_the_same_folder_finds_what_the_first_one_spent(here: Site) -> None:
    here.put("N\n1\n")
    here.sync()
    ledger = here.storage.landing / ".requests"
    open_pipeline().survey()
    # One token and one page. The first sync found no folder yet, so it counted only for itself.
    assert len(array("d", ledger.read_bytes())) == 2
    open_pipeline().survey()
    assert len(array("d", ledger.read_bytes())) == 4
    assert ledger.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("short_window")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"torn",
        b"\xff" * 23,
        array("d", [1e18] * 5).tobytes(),
        array("d", [-1.0] * 50).tobytes(),
    ],
    ids=["empty", "torn", "no numbers", "of before a restart", "of long ago"],
)
def test_a_ledger_that_says_nothing_of_the_last_minute_holds_nobody_up(
    tmp_path: Path, content: bytes
) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_bytes(content)
    budget = RequestBudget(5, ledger)
    began = time.monotonic()
    for _ in range(5):
        budget.spend()
    assert time.monotonic() - began < WINDOW
    assert len(array("d", ledger.read_bytes())) == 5


@pytest.mark.usefixtures("short_window")
@pytest.mark.parametrize("place", ["missing/ledger", "folder"])
def test_without_a_ledger_a_process_counts_alone(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    budget = RequestBudget(2, tmp_path / place)
    began = time.monotonic()
    for _ in range(3):
        budget.spend()
    assert time.monotonic() - began >= WINDOW - 0.01
    assert not (tmp_path / "missing").exists()


@pytest.mark.usefixtures("short_window")
def test_a_ledger_that_is_deleted_meanwhile_forgets_nothing_of_ones_own(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    budget = RequestBudget(2, ledger)
    began = time.monotonic()
    for _ in range(3):
        budget.spend()
        ledger.unlink()
    assert time.monotonic() - began >= WINDOW - 0.01
