"""The sensor requests one run for exactly what is new, or gives the reason for no run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensor_memory import Memory
from cp_pipeline.defs.sensor_requests import divided
from cp_pipeline.defs.sensors import tick
from cp_pipeline.ingest import ATTEMPTS, pause_after
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.conftest import files_fetched, one, usual_study
from cp_pipeline_tests.defs.conftest import (
    DAILY,
    EXPORTS,
    FILES,
    LISTED,
    copied_study,
    latest,
    make_study,
    pair,
    picture_in,
    run_job,
)
from cp_pipeline_tests.made_once import made_once

SECONDS = 60
BAD_FILE = b"not the bytes of a gzip, nor a record\nmore,than,one\n"


class Sensor:
    """A sequence of ticks; each gets the cursor of the tick before."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.memory = Memory()
        self.started = datetime.now(UTC)

    def tick(self, after: timedelta = timedelta(0)) -> dg.SensorResult:
        result = tick(self.instance, PipelineResource(), self.memory, SECONDS, self.started + after)
        self.memory = Memory.read(result.cursor)
        return result

    def requested(self, after: timedelta = timedelta(0)) -> dict[str, list[int]]:
        """Return the partitions of the run that a tick requests."""
        result = self.tick(after)
        assert result.run_requests, result.skip_reason
        (request,) = result.run_requests
        config: Any = request.run_config["ops"]["load_chosen_partitions"]["config"]
        assert config["refresh"] is False
        return dict(config["partitions"])

    def reason(self, after: timedelta = timedelta(0)) -> str:
        """Return the reason of a tick that requests no run."""
        result = self.tick(after)
        assert not result.run_requests
        assert result.skip_reason
        return str(result.skip_reason.skip_message)

    def run(self, partitions: dict[str, list[int]], *, raise_on_error: bool = True) -> None:
        """Execute the run that was requested, as Dagster's daemon does."""
        config = {"partitions": partitions, "refresh": False}
        build_defs().resolve_job_def("load_partitions").execute_in_process(
            instance=self.instance,
            run_config={"ops": {"load_chosen_partitions": {"config": config}}},
            raise_on_error=raise_on_error,
        )


@pytest.fixture
def sensor(sandbox: Sandbox, instance: dg.DagsterInstance) -> Sensor:
    return Sensor(instance)


def _load(instance: dg.DagsterInstance, _: Sandbox) -> Memory:
    sensor = Sensor(instance)
    sensor.run(sensor.requested())
    return sensor.memory


@pytest.fixture(scope="session")
def loaded_study(shared_folder: Path, empty_home: Path) -> Path:
    """The usual study after the run that the first tick requests."""
    return made_once(
        shared_folder / "loaded_study",
        lambda folder: make_study(folder, empty_home, usual_study(), _load),
    )


@pytest.fixture
def loaded(loaded_study: Path, sandbox: Sandbox, tmp_path: Path) -> Iterator[Sensor]:
    """A sensor after the run for everything."""
    with copied_study(loaded_study, tmp_path) as (instance, memory):
        sensor = Sensor(instance)
        sensor.memory = memory
        yield sensor


def test_it_runs_by_default_and_its_interval_is_an_option() -> None:
    (sensor,) = build_defs(sensor_seconds=45).sensors or ()
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 45


def test_dagster_can_evaluate_it(sandbox: Sandbox, instance: dg.DagsterInstance) -> None:
    (sensor,) = build_defs().sensors or ()
    assert isinstance(sensor, dg.SensorDefinition)
    context = dg.build_sensor_context(instance, resources={"source": PipelineResource()})
    data = sensor.evaluate_tick(context)
    assert data.run_requests is not None
    assert len(data.run_requests) == 1
    assert data.run_requests[0].tags["cp_pipeline/study"] == "4711"


def test_the_first_tick_requests_one_run_for_everything_and_registers_partitions(
    sensor: Sensor,
) -> None:
    requested = sensor.requested()
    assert sum(map(len, requested.values())) == 47
    assert len(sensor.instance.get_dynamic_partitions("subjects")) == 12
    assert len(sensor.instance.get_dynamic_partitions("datasets")) == 4
    sensor.run(requested)
    assert len(sensor.instance.get_materialized_partitions(EXPORTS)) == 47
    assert sensor.reason() == "all 59 listed exports are loaded"


def test_it_requests_exactly_what_was_executed_again(loaded: Sensor, sandbox: Sandbox) -> None:
    for subject in (10822, 10825):
        sandbox.execute_again(subject_id=subject, data_set_name=DAILY)
    sandbox.forget_requests()
    requested = loaded.requested()
    assert requested == {DAILY: [10822, 10825]}
    assert files_fetched(sandbox) == 0
    assert sum(record.kind == "listing" for record in sandbox.requests) == 1
    loaded.run(requested)
    assert files_fetched(sandbox) == 2
    assert "all 59" in loaded.reason()


@pytest.mark.parametrize("job", ["load_partitions", "sync", "load_assets", "materialized by hand"])
def test_it_requests_no_partition_of_an_active_run(sensor: Sensor, job: str) -> None:
    requested = sensor.requested()
    config = {"load_chosen_partitions": {"config": {"partitions": requested, "refresh": False}}}
    sensor.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB" if job == "materialized by hand" else job,
            run_id="a" * 36,
            status=dg.DagsterRunStatus.STARTED,
            run_config={"ops": config} if job == "load_partitions" else {},
            asset_selection=frozenset({EXPORTS}) if job == "materialized by hand" else None,
        )
    )
    assert "47 partitions being loaded (run " in sensor.reason()


def test_a_run_for_one_partition_does_not_hold_up_the_others(sensor: Sensor) -> None:
    sensor.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id="a" * 36,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({EXPORTS}),
            tags={"dagster/partition": pair(10821, DAILY)},
        )
    )
    requested = sensor.requested()
    assert sum(map(len, requested.values())) == 46
    assert 10821 not in requested[DAILY]


def test_a_run_that_changed_nothing_is_requested_again_after_a_pause(sensor: Sensor) -> None:
    first = sensor.tick().run_requests
    # The run did nothing: no partition is loaded, and no failure is recorded.
    second = sensor.tick(timedelta(seconds=SECONDS)).run_requests
    assert first
    assert second
    assert first[0].run_key != second[0].run_key
    assert "the next look is at" in sensor.reason(timedelta(seconds=SECONDS + 1))
    third = sensor.tick(timedelta(seconds=3 * SECONDS)).run_requests
    assert third
    assert "the next look is at" in sensor.reason(timedelta(seconds=6 * SECONDS))


def test_a_service_that_is_down_is_named_and_tried_again_with_backoff(
    sensor: Sensor, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_TOKEN_URL", "http://127.0.0.1:9/token")
    # The pauses between the requests of one listing, which are not those of the sensor.
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    assert "CP_TOKEN_URL" in sensor.reason()
    assert "the next look is at" in sensor.reason(timedelta(seconds=SECONDS / 2))
    sensor.reason(timedelta(seconds=SECONDS))
    assert sensor.memory.troubles == 2
    pause = sensor.memory.not_before - (sensor.started + timedelta(seconds=SECONDS)).timestamp()
    assert pause == pytest.approx(2 * SECONDS)
    monkeypatch.setenv("CP_TOKEN_URL", sandbox.environment["CP_TOKEN_URL"])
    assert sensor.requested(timedelta(seconds=4 * SECONDS))
    assert sensor.memory.troubles == 0


def test_missing_settings_are_named(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CP_STUDY_ID")
    assert "CP_STUDY_ID is not set" in sensor.reason()


def test_a_failed_partition_is_retried_by_the_schedule_and_then_waits_for_a_person(
    loaded: Sensor, study: SandboxStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.put(subject_id=10822, data_set_name="Broken", csv=BAD_FILE)
    after = timedelta(0)
    for attempt in range(1, ATTEMPTS + 1):
        assert loaded.requested(after) == {"Broken": [10822]}
        loaded.run({"Broken": [10822]}, raise_on_error=False)
        assert one("SELECT count(*) FROM lineage.failures") == attempt
        if attempt < ATTEMPTS:
            due = datetime.now(UTC) - loaded.started + pause_after(attempt)
            almost = due - timedelta(minutes=1)
            assert "1 partition failed and waiting, the first until" in loaded.reason(almost)
            after = due + timedelta(minutes=1)
    monkeypatch.setenv("CP_WHOLE_LISTING_HOURS", "100000")
    reason = loaded.reason(timedelta(days=300))
    assert "1 partition failed too often, waiting for a person (subject 10822" in reason


def test_a_new_execution_of_what_failed_is_tried_at_once(
    loaded: Sensor, study: SandboxStudy
) -> None:
    study.put(subject_id=10822, data_set_name="Broken", csv=BAD_FILE)
    loaded.run(loaded.requested(), raise_on_error=False)
    assert "failed and waiting" in loaded.reason()
    study.put(subject_id=10822, data_set_name="Broken", csv=b"A,B\n1,2\n")
    assert loaded.requested(timedelta(minutes=1)) == {"Broken": [10822]}


def test_an_execution_is_observed_while_its_partition_waits_for_its_run(
    loaded: Sensor, sandbox: Sandbox
) -> None:
    (executed,) = sandbox.execute_again(subject_id=10822, data_set_name=DAILY)
    loaded.requested()
    key = pair(10822, DAILY)
    of_partition = dg.AssetRecordsFilter(asset_key=LISTED, asset_partitions=[key])
    (record,) = loaded.instance.fetch_observations(of_partition, limit=5).records
    assert record.asset_observation is not None
    version = (record.asset_observation.tags or {})["dagster/data_version"]
    assert version == executed.execution


def test_a_withdrawn_export_is_seen_by_two_whole_listings_and_on_the_coverage_map(
    loaded: Sensor, study: SandboxStudy
) -> None:
    study.withdraw(subject_id=10822, data_set_name=DAILY)
    for day in (1, 2):
        (request,) = loaded.tick(timedelta(days=day, hours=1)).run_requests or ()
        assert request.job_name == "sync"
        run_job(loaded.instance, "sync")
    assert "withdrawn 1" in picture_in(latest(loaded.instance, FILES).metadata["coverage"])
    assert one(f'SELECT count(*) FROM exports."{DAILY}" WHERE _subject_id = 10822') == 1


def test_the_daily_listing_leaves_partitions_alone_that_failed_and_wait(
    loaded: Sensor, study: SandboxStudy
) -> None:
    study.put(subject_id=10822, data_set_name="Broken", csv=BAD_FILE)
    loaded.run(loaded.requested(), raise_on_error=False)
    assert one("SELECT count(*) FROM lineage.failures") == 1
    run_job(loaded.instance, "sync", {"only_due": True})
    assert one("SELECT count(*) FROM lineage.failures") == 1
    run_job(loaded.instance, "sync", raise_on_error=False)
    assert one("SELECT count(*) FROM lineage.failures") == 2


def test_looks_take_a_quarter_of_the_requests_at_most(
    loaded: Sensor, study: SandboxStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_REQUESTS_PER_MINUTE", "40")
    for subject in range(1, 500):
        study.enrol(subject)
    assert "all 59" in loaded.reason()
    # Six pages of subjects, at ten requests a minute.
    assert "the next look is at" in loaded.reason(timedelta(seconds=15))


def test_a_cursor_of_another_version_is_ignored() -> None:
    assert Memory.read("12345") == Memory()
    assert Memory.read('{"unheard_of": 1}') == Memory()
    assert Memory.read(Memory(1.5, 2, "x", 3).write()) == Memory(1.5, 2, "x", 3)


@pytest.mark.parametrize(
    ("number", "slots", "sizes"),
    [
        (0, 4, [0]),
        (150, 4, [150]),
        (200, 4, [200]),
        (500, 4, [200, 200, 100]),
        (2000, 4, [500] * 4),
        (2001, 4, [501, 501, 501, 498]),
        (2000, 1, [2000]),
    ],
)
def test_a_burst_is_divided_among_as_many_runs_as_may_write(
    number: int, slots: int, sizes: list[int]
) -> None:
    parts = divided(range(number), slots)
    assert [len(part) for part in parts] == sizes
    assert [subject for part in parts for subject in part] == list(range(number))
