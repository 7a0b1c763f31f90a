"""After runs with many failures: no secret in any file or output, no file readable by others."""

import gzip
import os
import re
import stat
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.sandbox.access import CLIENT_SECRET
from cp_pipeline_tests.centrepoint.clients import tokens_handed_out
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.reliability.conftest import files_under
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouses import publish

# The command line with the debug log of all libraries.
_AT_DEBUG_LEVEL = """
import logging, os, sys
os.umask(0o022)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
logging.Logger.setLevel = lambda *_: None
from cp_pipeline.cli import main
from cp_pipeline.ingest import Pipeline
# As where there is much to load, in a process of its own; the run of Dagster loads in its own one.
Pipeline.subprocess_from = 0
main()
"""
# A `sitecustomize` module, for all processes: the pauses before a request is sent again are short.
_SHORT_PAUSES = """
import time
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 20)
"""
SIGNATURE = re.compile(rb"(?i)[?&]s(?:ig|v)(?:=|%3D)[^\s\xe2]")


def run_at_debug_level(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", _AT_DEBUG_LEVEL, *arguments],
        capture_output=True, timeout=90, check=False, env=dict(os.environ),
    )  # fmt: skip


def full_of_failures(here: Site) -> None:
    study, sandbox = here.sandbox.study, here.sandbox
    for subject in range(6):
        here.put("N\n1\n", subject_id=subject, dataset="Good")
    here.put("N,N\n1,1\n", dataset="TwoColumnsOfOneName")
    here.put(b"", dataset="Empty")
    study.put(subject_id=1, data_set_name="NoGzip", raw=b"\x1f\x8b\x08 and no more")
    study.put(subject_id=1, data_set_name="Short", raw=b"N\n1\n", headers={"Content-Length": "99"})
    sandbox.fail("token", status=500)
    sandbox.fail("listing", status=401)
    sandbox.fail("file", status=403, times=6)
    sandbox.fail("file", status=302, times=2)
    sandbox.disconnect("file", times=2)
    sandbox.cut_short(times=2)


def content_of(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        with suppress(OSError, EOFError, zlib.error):
            content += gzip.decompress(content)
    return content


def given_away(sandbox: FaultySandbox, content: bytes) -> list[bytes]:
    tokens = tokens_handed_out(sandbox)
    assert tokens
    secrets = [CLIENT_SECRET, quote(CLIENT_SECRET), *tokens]
    return [s.encode() for s in secrets if s.encode() in content] + SIGNATURE.findall(content)


def test_the_search_finds_what_it_searches_for(here: Site) -> None:
    here.put("N\n1\n")
    here.sync()
    token = tokens_handed_out(here.sandbox)[0]
    for leak in (f"x{token}x", CLIENT_SECRET, "https://x/y?sv=1&sig=abc", "%26x?sig%3Dabc"):
        assert given_away(here.sandbox, leak.encode()), leak
    assert not given_away(here.sandbox, b"https://x/y?\xe2\x80\xa6 design=1")


@pytest.fixture
def said(here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """All output of commands and of a Dagster run, with many failures."""
    (tmp_path / "sitecustomize.py").write_text(_SHORT_PAUSES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    full_of_failures(here)
    first = run_at_debug_level("sync")
    assert first.returncode == 1, first.stderr[-2000:]
    assert b"DEBUG:urllib3" in first.stderr
    # A service that repeats the request in its answer, and one that rejects the token request.
    repeated = f"Bearer {tokens_handed_out(here.sandbox)[0]}?"
    # In both dialects.
    here.sandbox.fail("listing", status=400, body=repeated, times=2)
    second = run_at_debug_level("sync")
    here.sandbox.fail("token", status=400, body=f"client_secret={CLIENT_SECRET}&scope=x")
    third = run_at_debug_level("doctor")
    assert (second.returncode, third.returncode) == (2, 2)
    return b"".join(done.stdout + done.stderr for done in (first, second, third))


def test_what_holds_data_is_for_its_owner_alone_and_no_secret_is_in_any_file_or_output(
    here: Site, said: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made = [here.storage.data_dir, *here.storage.data_dir.rglob("*")]
    open_to_others = [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_to_others
    assert {path.name for path in here.storage.data_dir.iterdir()} == {
        "asked", "dagster_home", "landing", "quarantine", "run_locks", "warehouse.duckdb",
    }  # fmt: skip
    assert not given_away(here.sandbox, said)
    monkeypatch.setenv("DAGSTER_HOME", str(here.storage.dagster_home))
    here.sandbox.fail("file", status=403, times=9)
    here.sandbox.execute_again()
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(seconds / 20))
    defs = build_defs()
    with dg.DagsterInstance.get() as instance:
        defs.resolve_job_def("sync").execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "DEBUG"}}}},
        )
        events = [e for run in instance.get_runs() for e in instance.all_logs(run.run_id)]
    assert len(events) > 50
    output = capfd.readouterr()
    assert any(event.get_dagster_event().is_step_failure for event in events if event.dagster_event)
    assert "RUN_FAILURE" in output.err
    snapshot = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert "dataset_exports" in snapshot
    publish(here.storage)
    for text in (output.out, output.err, snapshot, *map(serialize_value, events)):
        assert not given_away(here.sandbox, text.encode())
    searched = files_under(here.storage.data_dir)
    assert {".db", ".duckdb", ".export", ".json", ".yaml"} <= {path.suffix for path in searched}
    leaks = {
        path: found for path in searched if (found := given_away(here.sandbox, content_of(path)))
    }
    assert not leaks


def test_the_published_file_is_for_readers_and_a_persons_own_choice_is_kept(here: Site) -> None:
    here.put("N\n1\n")
    here.sync()
    path = here.storage.published
    before = os.umask(0o077)
    try:
        publish(here.storage)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        path.chmod(0o640)
        publish(here.storage)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)
