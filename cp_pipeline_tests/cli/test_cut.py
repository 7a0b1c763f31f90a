"""``cp-pipeline cut`` as a command, and the question why, in a real terminal."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.conftest import rows, sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.small_project import small_project
from cp_pipeline_tests.warehouse_contents import run

QUESTION = b"Why?"


def in_terminal(*command: str, answer: bytes, seconds: float = 100) -> tuple[int, str]:
    """Run Python in a terminal, and type the answer to the question; its exit code and output."""
    leader, follower = pty.openpty()
    shown, end = b"", time.monotonic() + seconds
    with subprocess.Popen(
        [sys.executable, *command], stdin=follower, stdout=follower, stderr=follower
    ) as running:
        os.close(follower)
        while time.monotonic() < end:
            if not select.select([leader], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(leader, 4096)
            except OSError:
                # The terminal's last program has ended.
                break
            if QUESTION in shown + chunk and QUESTION not in shown:
                os.write(leader, answer)
            shown += chunk
        os.close(leader)
        if time.monotonic() >= end:
            running.kill()
    return running.returncode, shown.decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project(tmp_path / "models")


def test_a_cut_asks_why_and_freezes_what_is_current_with_its_models(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_DBT_PROJECT", str(project))
    monkeypatch.setenv("CP_ACTOR", "a statistician")
    study = SandboxStudy.synthetic(subjects=2, days=1, epoch_rows=5, datasets=("ActivityDaily8",))
    with FaultySandbox(study) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        sync_all()
    command = ("-m", "cp_pipeline.cli", "cut", "baseline")
    code, shown = in_terminal(*command, answer=b" interim report \n")
    assert code == 0, shown
    assert "Cut baseline: 2 loads, 2 rows" in " ".join(shown.split())
    folder = tmp_path / "data" / "cuts" / "baseline"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["reason"], manifest["actor"]) == ("interim report", "a statistician")
    assert [each["load_id"] for each in manifest["loads"]] == [1, 2]
    assert all(each["file_sha256"] and each["program_execution"] for each in manifest["loads"])
    file = folder / manifest["file"]["name"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    with duckdb.connect(str(file), read_only=True) as frozen:
        assert frozen.execute("FROM marts.loads").fetchall() == [(2,)]
    action = "SELECT command, actor, reason FROM lineage.actions"
    assert rows(action) == [("cut baseline", "a statistician", "interim report")]
    # Nothing is built or asked for a name that cannot be used.
    before = file.read_bytes()
    for name, words in (("baseline", "There is a cut baseline already"), ("a/b", "cannot be")):
        refused = run("cut", name)
        assert refused.returncode == 2
        assert words in refused.stderr
    # A model that fails: no cut.
    (project / "models" / "loads.sql").write_text("SELECT error('no')")
    failed = run("cut", "second", "--reason", "x")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert file.read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["baseline"]
    assert len(rows(action)) == 1


@pytest.mark.parametrize(
    ("answer", "reason"), [(b" as asked \n", "as asked"), (b"\n", None), (b"  \n", None)]
)
def test_the_reason_is_asked_for_where_somebody_types(answer: bytes, reason: str | None) -> None:
    code, shown = in_terminal(
        "-c",
        "from cp_pipeline.cli.reasons import asked_reason as ask\n"
        "print('given', ask('given'), 'not asked', ask(None, ask=False))\n"
        "print('answered', repr(ask(None)))",
        answer=answer,
    )
    assert code == 0, shown
    assert "given given not asked None" in shown
    assert shown.index("not asked") < shown.index("Why? (for lineage.actions)")
    assert f"answered {reason!r}" in shown
