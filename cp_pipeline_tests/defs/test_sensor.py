"""The sensor: exactly what is new, once, in one run; and words where there is nothing to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.defs.sensors import Memory, tick
from cp_pipeline.ingest import ATTEMPTS, pause_after
from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline_tests.conftest import files_fetched, one
from cp_pipeline_tests.defs.conftest import DAILY, EXPORTS, FILES, LISTED, latest, pair, picture_in

SECONDS = 60
BAD_FILE = b"not the bytes of a gzip, nor a record\nmore,than,one\n"


class Sensor:
    """The sensor's ticks, each with what the one before remembered."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.memory = Memory()
        self.started = datetime.now(UTC)

    def tick(self, after: timedelta = timedelta(0)) -> dg.SensorResult:
        result = tick(self.instance, PipelineResource(), self.memory, SECONDS, self.started + after)
        self.memory = Memory.read(result.cursor)
        return result

    def asked(self, after: timedelta = timedelta(0)) -> dict[str, list[int]]:
        """The partitions of the one run that the tick asks for."""
        result = self.tick(after)
        assert result.run_requests, result.skip_reason
        (request,) = result.run_requests
        config: Any = request.run_config["ops"]["load_chosen_partitions"]["config"]
        assert config["refresh"] is False
        return dict(config["partitions"])

    def reason(self, after: timedelta = timedelta(0)) -> str:
        """Why the tick asks for nothing."""
        result = self.tick(after)
        assert not result.run_requests
        assert result.skip_reason
        return str(result.skip_reason.skip_message)

    def run(self, partitions: dict[str, list[int]], *, raise_on_error: bool = True) -> None:
        """What the daemon does with what was asked for."""
        config = {"partitions": partitions, "refresh": False}
        build_defs().resolve_job_def("load_partitions").execute_in_process(
            instance=self.instance,
            run_config={"ops": {"load_chosen_partitions": {"config": config}}},
            raise_on_error=raise_on_error,
        )


@pytest.fixture
def sensor(sandbox: Sandbox, instance: dg.DagsterInstance) -> Sensor:
    return Sensor(instance)


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


def test_the_first_tick_asks_for_everything_in_one_run_and_registers_it(sensor: Sensor) -> None:
    asked = sensor.asked()
    assert sum(map(len, asked.values())) == 47
    assert len(sensor.instance.get_dynamic_partitions("subjects")) == 12
    assert len(sensor.instance.get_dynamic_partitions("datasets")) == 4
    sensor.run(asked)
    assert len(sensor.instance.get_materialized_partitions(EXPORTS)) == 47
    assert sensor.reason() == "all 59 listed exports are loaded"


def test_it_asks_for_exactly_what_was_executed_again(sensor: Sensor, sandbox: Sandbox) -> None:
    sensor.run(sensor.asked())
    for subject in (10822, 10825):
        sandbox.execute_again(subject_id=subject, data_set_name=DAILY)
    sandbox.forget_requests()
    asked = sensor.asked()
    assert asked == {DAILY: [10822, 10825]}
    assert files_fetched(sandbox) == 0
    assert sum(record.kind == "listing" for record in sandbox.requests) == 1
    sensor.run(asked)
    assert files_fetched(sandbox) == 2
    assert "all 59" in sensor.reason()


@pytest.mark.parametrize("job", ["load_partitions", "sync", "materialized by hand"])
def test_it_never_asks_twice_while_a_run_is_going(sensor: Sensor, job: str) -> None:
    asked = sensor.asked()
    config = {"load_chosen_partitions": {"config": {"partitions": asked, "refresh": False}}}
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


def test_a_run_for_one_partition_does_not_keep_it_from_the_others(sensor: Sensor) -> None:
    sensor.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id="a" * 36,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({EXPORTS}),
            tags={"dagster/partition": pair(10821, DAILY)},
        )
    )
    asked = sensor.asked()
    assert sum(map(len, asked.values())) == 46
    assert 10821 not in asked[DAILY]


def test_a_run_that_changed_nothing_is_not_asked_for_again_at_once(sensor: Sensor) -> None:
    first = sensor.tick().run_requests
    # The run came to nothing: nothing is loaded, and no failure recorded.
    second = sensor.tick(timedelta(seconds=SECONDS)).run_requests
    assert first
    assert second
    assert first[0].run_key != second[0].run_key
    assert "the next listing is at" in sensor.reason(timedelta(seconds=SECONDS + 1))
    third = sensor.tick(timedelta(seconds=3 * SECONDS)).run_requests
    assert third
    assert "the next listing is at" in sensor.reason(timedelta(seconds=6 * SECONDS))


def test_a_service_that_is_down_is_said_and_asked_with_growing_pauses(
    sensor: Sensor, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_TOKEN_URL", "http://127.0.0.1:9/token")
    # The pauses between the requests of one listing, which are not those of the sensor.
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    assert "CP_TOKEN_URL" in sensor.reason()
    assert "the next listing is at" in sensor.reason(timedelta(seconds=SECONDS / 2))
    sensor.reason(timedelta(seconds=SECONDS))
    assert sensor.memory.troubles == 2
    pause = sensor.memory.not_before - (sensor.started + timedelta(seconds=SECONDS)).timestamp()
    assert pause == pytest.approx(2 * SECONDS)
    monkeypatch.setenv("CP_TOKEN_URL", sandbox.environment["CP_TOKEN_URL"])
    assert sensor.asked(timedelta(seconds=4 * SECONDS))
    assert sensor.memory.troubles == 0


def test_missing_settings_are_said_in_words(
    sensor: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CP_STUDY_ID")
    assert "CP_STUDY_ID is not set" in sensor.reason()


def test_an_empty_listing_is_no_error(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(SandboxStudy.empty()) as empty:
        for name, value in empty.environment.items():
            monkeypatch.setenv(name, value)
        assert "lists no exports. This is not an error" in Sensor(instance).reason()


def test_a_failed_partition_rests_longer_each_time_and_then_waits_for_a_person(
    sensor: Sensor, study: SandboxStudy
) -> None:
    sensor.run(sensor.asked())
    study.put(subject_id=10822, data_set_name="Broken", csv=BAD_FILE)
    after = timedelta(0)
    for attempt in range(1, ATTEMPTS + 1):
        assert sensor.asked(after) == {"Broken": [10822]}
        sensor.run({"Broken": [10822]}, raise_on_error=False)
        assert one("SELECT count(*) FROM lineage.failures") == attempt
        if attempt < ATTEMPTS:
            due = datetime.now(UTC) - sensor.started + pause_after(attempt)
            almost = due - timedelta(minutes=1)
            assert "1 partition failed and waiting, the first until" in sensor.reason(almost)
            after = due + timedelta(minutes=1)
    reason = sensor.reason(timedelta(days=300))
    assert "1 partition failed too often, waiting for a person (subject 10822" in reason


def test_a_new_execution_of_what_failed_is_tried_at_once(
    sensor: Sensor, study: SandboxStudy
) -> None:
    sensor.run(sensor.asked())
    study.put(subject_id=10822, data_set_name="Broken", csv=BAD_FILE)
    sensor.run(sensor.asked(), raise_on_error=False)
    assert "failed and waiting" in sensor.reason()
    study.put(subject_id=10822, data_set_name="Broken", csv=b"A,B\n1,2\n")
    assert sensor.asked(timedelta(minutes=1)) == {"Broken": [10822]}


def test_what_waits_for_its_run_is_observed_as_executed_again(
    sensor: Sensor, sandbox: Sandbox
) -> None:
    sensor.run(sensor.asked())
    (executed,) = sandbox.execute_again(subject_id=10822, data_set_name=DAILY)
    sensor.asked()
    key = pair(10822, DAILY)
    wanted = dg.AssetRecordsFilter(asset_key=LISTED, asset_partitions=[key])
    (record,) = sensor.instance.fetch_observations(wanted, limit=5).records
    assert record.asset_observation is not None
    version = (record.asset_observation.tags or {})["dagster/data_version"]
    assert version == executed.execution


def test_a_withdrawn_export_is_seen_on_the_coverage_map_without_a_run(
    sensor: Sensor, study: SandboxStudy
) -> None:
    sensor.run(sensor.asked())
    study.withdraw(subject_id=10822, data_set_name=DAILY)
    assert "all 58 listed exports are loaded" in sensor.reason()
    assert "all 58 listed exports are loaded" in sensor.reason()
    assert "withdrawn 1" in picture_in(latest(sensor.instance, FILES).metadata["coverage"])
    assert one(f'SELECT count(*) FROM exports."{DAILY}" WHERE _subject_id = 10822') == 1


def test_listing_takes_a_quarter_of_the_requests_at_most(
    sensor: Sensor, study: SandboxStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_REQUESTS_PER_MINUTE", "4")
    for subject in range(1, 60):
        study.put(subject_id=subject, data_set_name="Small", csv=b"A\n1\n")
    sensor.asked()
    assert "the next listing is at" in sensor.reason(timedelta(seconds=59))


def test_another_versions_cursor_is_forgotten() -> None:
    assert Memory.read("12345") == Memory()
    assert Memory.read('{"unheard_of": 1}') == Memory()
    assert Memory.read(Memory(1.5, 2, "x", 3).write()) == Memory(1.5, 2, "x", 3)
