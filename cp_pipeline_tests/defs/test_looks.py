"""What a look finds, lists and leaves: every trap of the subjects' executions."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs import load_steps, sensors
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensors import tick
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.conftest import one, rows
from cp_pipeline_tests.defs.conftest import DAILY, copied_study, make_study
from cp_pipeline_tests.executions import execute_before_writing, execute_without_file, put_file
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.made_once import made_once

SECONDS = 300
SUBJECTS = 130
FIRST = 10821
DAY = timedelta(days=1)
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
UNLISTED = "aaaaaaaa-0000-4000-8000-000000000001"


class Night:
    """Ticks of the sensor and the runs that they request, at moments of a test's choice."""

    def __init__(self, instance: dg.DagsterInstance, service: FaultySandbox) -> None:
        self.instance = instance
        self.service = service
        self.memory = Memory()
        self.now = datetime.now(UTC)

    def tick(self) -> dg.SensorResult:
        self.memory.not_before = 0.0
        result = tick(self.instance, PipelineResource(), self.memory, SECONDS, self.now)
        self.memory = Memory.read(result.cursor)
        return result

    def requested(self) -> dg.RunRequest:
        result = self.tick()
        assert result.run_requests, result.skip_reason
        (request,) = result.run_requests
        return request

    def reason(self) -> str:
        result = self.tick()
        assert not result.run_requests, result.run_requests
        assert result.skip_reason
        return str(result.skip_reason.skip_message)

    def run(self, request: dg.RunRequest) -> None:
        assert request.job_name is not None
        job = build_defs().resolve_job_def(request.job_name)
        job.execute_in_process(
            instance=self.instance, run_config={**request.run_config, "loggers": QUIET}
        )

    def settle(self) -> list[str]:
        """Run whatever is requested until nothing is; the names of the jobs."""
        jobs: list[str] = []
        while requests := self.tick().run_requests:
            assert len(jobs) < 10, jobs
            self.run(requests[0])
            jobs.append(str(requests[0].job_name))
        return jobs

    def kinds(self) -> dict[str, int]:
        """How many requests of each kind the service got since the last call."""
        found: dict[str, int] = {}
        for record in self.service.requests:
            if record.kind != "token":
                found[record.kind] = found.get(record.kind, 0) + 1
        self.service.forget_requests()
        return found


def one_day_study(subjects: int = SUBJECTS) -> SandboxStudy:
    study = SandboxStudy(4711, seed=1)
    for subject_id in range(FIRST, FIRST + subjects):
        study.put(
            subject_id=subject_id,
            data_set_name=DAILY,
            csv=b"SUBJECTID,STEPS\n1,2\n",
            study_program_name="Activity (30)",
        )
    return study


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySandbox]:
    with FaultySandbox(one_day_study()) as serving:
        for name, value in serving.environment.items():
            monkeypatch.setenv(name, value)
        yield serving


@pytest.fixture
def night(instance: dg.DagsterInstance, service: FaultySandbox) -> Night:
    return Night(instance, service)


def _settle(instance: dg.DagsterInstance, service: FaultySandbox) -> Memory:
    night = Night(instance, service)
    night.settle()
    assert one("SELECT count(*) FROM lineage.loads") == SUBJECTS
    return night.memory


@pytest.fixture(scope="session")
def settled_study(shared_folder: Path, empty_home: Path) -> Path:
    """A study of which everything is loaded."""
    return made_once(
        shared_folder / "settled_study",
        lambda folder: make_study(folder, empty_home, one_day_study(), _settle),
    )


@pytest.fixture
def settled(settled_study: Path, service: FaultySandbox, tmp_path: Path) -> Iterator[Night]:
    """A study of which everything is loaded."""
    with copied_study(settled_study, tmp_path) as (instance, memory):
        night = Night(instance, service)
        night.memory = memory
        yield night


def states() -> dict[object, object]:
    """How many executions there are in each state of their files."""
    sql = "SELECT files_state, count(*) FROM study.executions WHERE program_execution IS NOT NULL"
    return {row[0]: row[1] for row in rows(f"{sql} GROUP BY ALL")}


def test_nothing_new_takes_a_request_for_100_subjects_and_lists_no_file(settled: Night) -> None:
    assert settled.reason() == f"all {SUBJECTS} listed exports are loaded"
    assert settled.kinds() == {"subjects": 2}


def test_one_execution_takes_one_listing_more_and_only_its_subject_is_loaded(
    settled: Night,
) -> None:
    settled.service.study.execute_again(subject_id=FIRST + 7, data_set_name=DAILY)
    request = settled.requested()
    found = settled.kinds()
    assert found["listing"] == 1
    assert found["subjects"] == 2
    assert request.job_name == "load_partitions"
    config: Any = request.run_config
    chosen = config["ops"]["load_chosen_partitions"]["config"]["partitions"]
    assert chosen == {DAILY: [FIRST + 7]}
    settled.run(request)
    assert settled.reason() == f"all {SUBJECTS} listed exports are loaded"


def test_a_burst_over_all_subjects_is_one_run_and_one_tick_lists_no_file(
    settled: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.ingest.survey.SUBJECTS_AT_ONCE", 70)
    monkeypatch.setattr("cp_pipeline.ingest.look_survey.REQUESTS_AT_MOST", 1)
    settled.service.study.execute_again(data_set_name=DAILY)
    request = settled.requested()
    assert request.job_name == "sync"
    assert "listing" not in {record.kind for record in settled.service.requests[:3]}
    settled.run(request)
    assert one("SELECT count(*) FROM lineage.loads") == 2 * SUBJECTS
    ran = f"SELECT count(DISTINCT dagster_run_id) FROM lineage.loads WHERE load_id > {SUBJECTS}"
    assert one(ran) == 1
    # The first subjects are loaded before the last ones are listed.
    kinds = [record.kind for record in settled.service.requests]
    assert "listing" in kinds[kinds.index("file") :]
    # The burst grows while it is loaded: taken up next.
    settled.service.study.execute_again(subject_id=FIRST, data_set_name=DAILY)
    assert set(settled.settle()) <= {"sync", "load_partitions"}
    assert one("SELECT count(*) FROM lineage.loads") == 2 * SUBJECTS + 1
    assert states() == {"listed": SUBJECTS}


def test_while_a_run_loads_a_burst_nothing_is_requested_twice(settled: Night) -> None:
    settled.service.study.execute_again(data_set_name=DAILY)
    settled.instance.add_run(
        dg.DagsterRun(job_name="sync", run_id="a" * 36, status=dg.DagsterRunStatus.STARTED)
    )
    assert "being loaded (run aaaaaaaa)" in settled.reason()


def test_files_that_come_minutes_after_the_execution_are_loaded_when_they_are_written(
    settled: Night,
) -> None:
    executed = execute_before_writing(settled.service.study, FIRST)
    assert "pending" in settled.reason()
    assert states() == {"listed": SUBJECTS - 1, None: 1}
    settled.kinds()
    # Not at each tick again: the pause grows.
    assert "pending" in settled.reason()
    assert settled.kinds() == {"subjects": 2}
    for file in executed:
        put_file(settled.service.study, file)
    settled.now += timedelta(minutes=10)
    request = settled.requested()
    settled.run(request)
    assert states() == {"listed": SUBJECTS}
    assert one("SELECT count(*) FROM lineage.loads") == SUBJECTS + 1


def test_an_execution_without_a_file_is_settled_after_a_day_and_said(
    settled: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_WHOLE_LISTING_HOURS", "100")
    execute_without_file(settled.service.study, FIRST, UNLISTED)
    settled.reason()
    assert states() == {"listed": SUBJECTS, None: 1}
    settled.now += DAY + timedelta(minutes=1)
    settled.reason()
    assert states() == {"listed": SUBJECTS, "none": 1}
    assert "1 program execution yielded no file" in settled.reason()
    settled.kinds()
    # Long after any pause, too, nothing is listed for it.
    settled.now += DAY
    settled.reason()
    assert settled.kinds() == {"subjects": 2}


@pytest.mark.parametrize("never", ["0001-01-01T00:00:00+00:00", None])
def test_a_program_that_never_ran_is_null_and_lists_nothing(
    settled: Night, never: str | None
) -> None:
    settled.service.study.enrol(99, never)
    settled.reason()
    assert settled.kinds() == {"subjects": 2}
    assert rows(
        "SELECT program_execution, program_executed_at, files_state FROM study.executions"
        " WHERE subject_id = 99"
    ) == [(None, None, None)]


def test_a_look_whose_file_listing_failed_is_not_taken_for_seen(settled: Night) -> None:
    settled.service.study.execute_again(subject_id=FIRST, data_set_name=DAILY)
    settled.service.fail("listing", 400)
    settled.service.fail("listing", 400)
    assert "400" in settled.reason()
    assert settled.requested().job_name == "load_partitions"


def test_an_execution_between_the_look_and_the_listing_is_loaded_as_the_newer_one(
    settled: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = settled.service.study
    study.execute_again(subject_id=FIRST, data_set_name=DAILY)
    respond: Any = settled.service._service.respond
    to_execute = [FIRST]

    def executed_meanwhile(kind: Any, *arguments: Any) -> Any:
        if kind == "listing" and to_execute:
            study.execute_again(subject_id=to_execute.pop(), data_set_name=DAILY)
        return respond(kind, *arguments)

    monkeypatch.setattr(settled.service._service, "respond", executed_meanwhile)
    settled.run(settled.requested())
    settled.now += timedelta(minutes=5)
    settled.settle()
    (newest,) = {file.execution for file in study.export_files if file.subject_id == FIRST}
    sql = f"SELECT program_execution FROM lineage.current_loads WHERE subject_id = {FIRST}"
    assert one(sql) == newest
    assert states() == {"listed": SUBJECTS}


def test_a_service_that_does_not_list_subjects_is_listed_whole_by_runs_and_this_is_said(
    night: Night,
) -> None:
    night.service.fail("subjects", 404, times=100)
    request = night.requested()
    assert request.job_name == "sync"
    night.run(request)
    assert one("SELECT count(*) FROM lineage.loads") == SUBJECTS
    night.now += timedelta(minutes=5)
    assert "does not list subjects" in night.reason()
    night.now += timedelta(hours=2)
    assert night.requested().job_name == "sync"


def test_the_whole_study_is_listed_once_a_day_in_a_run(settled: Night) -> None:
    study = settled.service.study
    study.withdraw(subject_id=FIRST, data_set_name=DAILY)
    settled.now += timedelta(hours=23)
    settled.reason()
    settled.now += timedelta(hours=2)
    request = settled.requested()
    assert request.job_name == "sync"
    config: Any = request.run_config
    assert config["ops"]["sync_exports"]["config"]["subject_ids"] == []


def test_a_slow_service_is_looked_at_in_parts_and_a_tick_ends_in_time(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "LOOK_SECONDS", 1.0)
    respond: Any = night.service._service.respond

    def slowly(kind: Any, *arguments: Any) -> Any:
        if kind == "subjects":
            time.sleep(0.7)
        return respond(kind, *arguments)

    monkeypatch.setattr(night.service._service, "respond", slowly)
    started = time.monotonic()
    night.tick()
    assert night.memory.offset == 100
    assert time.monotonic() - started < 10
    night.tick()
    assert night.memory.offset == 0
    assert one("SELECT count(*) FROM study.executions") == SUBJECTS


def test_a_service_that_never_answers_is_trouble_with_growing_pauses(
    settled: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "LOOK_SECONDS", 0.3)
    wake = threading.Event()
    respond: Any = settled.service._service.respond

    def never(kind: Any, *arguments: Any) -> Any:
        wake.wait(20)
        return respond(kind, *arguments)

    monkeypatch.setattr(settled.service._service, "respond", never)
    started = time.monotonic()
    assert "did not answer within" in settled.reason()
    assert settled.memory.troubles == 1
    assert time.monotonic() - started < 10
    wake.set()


def test_programs_have_names_and_their_data_sets(settled: Night) -> None:
    assert rows("SELECT DISTINCT study_program_name FROM study.programs") == [("Activity (30)",)]
    assert rows(
        "SELECT DISTINCT dataset_name FROM study.program_datasets"
        " JOIN study.programs USING (study_id, study_program_id)"
    ) == [(DAILY,)]


def test_a_long_listing_shows_its_progress_in_the_run_and_is_not_listed_again_by_a_look(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_steps, "_SECONDS_TO_LOG", 0.0)
    job = build_defs().resolve_job_def("sync")
    done = job.execute_in_process(instance=night.instance, run_config={"loggers": QUIET})
    messages = [entry.user_message for entry in night.instance.all_logs(done.run_id)]
    assert f"100 of {SUBJECTS} items are listed" in messages
    night.kinds()
    assert night.reason() == f"all {SUBJECTS} listed exports are loaded"
    assert {kind: number for kind, number in night.kinds().items() if kind != "datasets"} == {
        "subjects": 2
    }
    assert states() == {"listed": SUBJECTS}
