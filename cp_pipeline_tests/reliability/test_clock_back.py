"""The clock is set back by an hour, or by years, in the middle of a study."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import dagster as dg
import pytest

from cp_pipeline.defs.instance.dagster_home import open_instance
from cp_pipeline.defs.missing_events import compare_events
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import ExportFile, Instant
from cp_pipeline.ingest import ATTEMPTS, PartitionFailed, make_plan, pause_after
from cp_pipeline.ingest.retry_schedule import retry_schedule
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import FailedAttempts
from cp_pipeline_tests import forked
from cp_pipeline_tests.conftest import one, open_pipeline, rows
from cp_pipeline_tests.study_site import Site

HOUR = timedelta(hours=1)
YEARS = timedelta(days=3_000)

# Every Python process with this file on its path has a clock that is behind.
SITE_CUSTOMIZE = """
import datetime, os, time

behind = float(os.environ["SECONDS_BEHIND"])
seconds, nanoseconds, true = time.time, time.time_ns, datetime.datetime
time.time = lambda: seconds() - behind
time.time_ns = lambda: nanoseconds() - int(behind * 1e9)

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, true)

class Behind(true, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return true.now(tz) - datetime.timedelta(seconds=behind)
    @classmethod
    def utcnow(cls):
        return true.utcnow() - datetime.timedelta(seconds=behind)

# Dagster generates code from the names of types.
Behind.__name__ = Behind.__qualname__ = "datetime"
datetime.datetime = Behind
"""


@pytest.fixture
def clock_back(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a process whose clock is an hour behind."""
    (tmp_path / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "SECONDS_BEHIND": str(HOUR.total_seconds())}


def command(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of a command, which must succeed."""
    if environment is None:
        done = forked.command(*arguments, seconds=120)
    else:
        done = subprocess.run(
            [sys.executable, "-m", "cp_pipeline.cli", *arguments],
            capture_output=True, text=True, timeout=120, check=False, env=environment,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.both_engines
def test_what_is_current_is_decided_by_executions_though_the_clock_goes_back(
    here: Site, clock_back: Mapping[str, str]
) -> None:
    for subject in (1, 2):
        here.put("N\n1\n", subject_id=subject)
    command("sync")
    before = one("SELECT max(loaded_at) FROM lineage.loads")
    (executed,) = here.sandbox.execute_again(subject_id=1)
    here.put("N\n3\n", subject_id=3)
    assert "2 partitions loaded" in command("sync", environment=clock_back)
    # The clock was behind, as loaded_at shows. The load ids still increase.
    assert rows(
        f"SELECT subject_id, loaded_at < '{before}'::TIMESTAMP FROM lineage.loads"
        " WHERE load_id > 2 ORDER BY ALL"
    ) == [(1, True), (3, True)]
    assert rows(
        "SELECT old.subject_id, new.subject_id, new.program_execution FROM lineage.superseded"
        " JOIN lineage.loads AS old USING (load_id)"
        " JOIN lineage.loads AS new ON new.load_id = superseded_by"
    ) == [(1, 1, executed.execution)]
    assert rows("SELECT DISTINCT state FROM lineage.partition_status") == [("current",)]
    assert one('SELECT count(*) FROM exports."Kinds"') == 3
    # With the correct clock again, nothing is left to load, and Dagster's events are correct.
    exports = open_pipeline()
    assert not exports.survey().plan.to_load
    with open_instance(StorageSettings.from_environment()) as instance:
        assert not compare_events(exports, instance).differing


def test_what_is_listed_anew_is_published_though_the_clock_goes_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject in (1, 2):
        here.put("N\n1\n", subject_id=subject)
    here.sync()
    source = PipelineResource()
    before, _ = source.states_to_publish(5.0)
    here.sandbox.execute_again(subject_id=1)
    behind = datetime.now(UTC) - HOUR
    monkeypatch.setattr(
        "cp_pipeline.warehouse.lineage.datetime", type("", (), {"now": lambda zone: behind})
    )
    exports = open_pipeline()
    assert exports.survey()
    after, _ = source.states_to_publish(5.0)
    assert after != before


def test_a_token_lives_as_long_as_it_should_though_the_clock_goes_back(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.put("N\n1\n")
    here.sandbox._service._tokens.lifetime = 1.0
    exports = open_pipeline()
    exports.survey()
    behind = time.time() - HOUR.total_seconds()
    monkeypatch.setattr("time.time", lambda: behind)
    exports.survey()
    time.sleep(1.0)
    exports.survey()
    asked = [(each.kind, each.status) for each in here.sandbox.requests]
    assert asked.count(("token", 200)) == 2
    assert asked.count(("listing", 200)) == 3
    assert len(asked) == 5


def test_a_retry_after_that_lies_an_hour_ahead_of_our_clock_is_not_waited_for(here: Site) -> None:
    waits: list[float] = []
    ahead = formatdate(time.time() + 10 + HOUR.total_seconds(), usegmt=True)
    here.sandbox.fail("listing", status=429, times=100, retry_after=ahead)
    with pytest.MonkeyPatch.context() as quickly:
        quickly.setattr("urllib3.util.retry.time.sleep", waits.append)
        with pytest.raises(PipelineError, match="HTTP 429"):
            here.sync()
    assert set(waits) == {300.0}


@pytest.mark.parametrize("back", [HOUR, YEARS])
def test_the_sensor_looks_again_though_it_had_meant_to_wait_until_what_is_now_the_future(
    here: Site, back: timedelta
) -> None:
    here.put("N\n1\n")
    here.sandbox.fail("token", status=400, times=3)
    moment = datetime.now(UTC)
    memory = Memory()
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(3):
            result = tick(instance, PipelineResource(), memory, 3600, moment)
            memory = Memory.read(result.cursor)
            moment += HOUR + timedelta(seconds=1)
        assert memory.not_before > moment.timestamp() - HOUR.total_seconds()
        result = tick(instance, PipelineResource(), memory, 3600, moment - back - HOUR)
    assert result.run_requests, result.skip_reason


def _failed(number: int, last: datetime) -> tuple[ExportFile, FailedAttempts]:
    execution = Instant.parse("2024-02-29T10:09:20.5899754+00:00")
    item = ExportFile(1, 2, "program", "Steps", "x.csv.gz", "csv", execution, execution, "")
    return item, FailedAttempts(number, last, "it was no good")


@pytest.mark.parametrize("number", range(1, ATTEMPTS))
@pytest.mark.parametrize("back", [HOUR, YEARS])
def test_what_failed_rests_no_longer_than_twice_its_pause_when_the_clock_goes_back(
    number: int, back: timedelta
) -> None:
    failed_at = datetime.now(UTC)
    item, attempts = _failed(number, failed_at)
    plan = make_plan([item], {})
    known = {(item.key, item.version): attempts}
    now = failed_at - back
    rests = retry_schedule(plan, known, now)
    until = rests.waiting.get(item.partition, now)
    assert until - now <= 2 * pause_after(number)
    assert retry_schedule(plan, known, until).due.keys() == {item.partition}


def test_a_file_that_fails_for_ever_is_given_up_though_the_clock_goes_back(here: Site) -> None:
    here.put("A,B\n1\n")
    for _ in range(ATTEMPTS):
        (result,) = here.sync()
        assert isinstance(result, PartitionFailed)
    exports = open_pipeline()
    plan = exports.survey().plan
    assert exports.retry_schedule(plan, datetime.now(UTC) - YEARS).given_up.keys() == {
        result.partition
    }
