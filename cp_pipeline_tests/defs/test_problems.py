"""People are told once of each new problem: alerts caught by a local webhook and a mail server."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from cp_pipeline.alerts import AlertNotDelivered, Problem, post_alert
from cp_pipeline.defs.answer_check import evaluate_answers
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import SettingsError
from cp_pipeline.settings.notifications import NotifySettings
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.defs.conftest import run_job
from cp_pipeline_tests.defs.test_sensor import BAD_FILE, Sensor
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.mail_server import MailServer, mail_server

__all__ = ["mail_server"]

ANSWERS = dg.AssetCheckKey(dg.AssetKey("export_files"), "centrepoint_answers")


class Webhook(ThreadingHTTPServer):
    """Catches what is posted; answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Catching)
        self.status = 200
        self.caught: list[Any] = []

    def texts(self) -> list[str]:
        texts = [str(each["text"]) for each in self.caught]
        self.caught.clear()
        return texts


class _Catching(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.caught.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CP_NOTIFY_WEBHOOK", f"http://127.0.0.1:{server.server_port}/T0KEN")
        monkeypatch.setenv("CP_NOTIFY_UI_URL", "https://dagster.example.org/")
        yield server
        server.shutdown()


class Watching:
    """A sequence of ticks of the sensor ``problems``."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None
        # Without the models: dbt takes seconds to read them.
        self.definitions = build_defs(models=dg.Definitions())
        self.sensor = self.definitions.resolve_sensor_def("problems")

    def tick(self) -> str:
        context = dg.build_sensor_context(
            self.instance,
            cursor=self.cursor,
            resources={"source": PipelineResource()},
            definitions=self.definitions,
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data.skip_message or ""

    def is_green(self) -> bool | None:
        newest = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([ANSWERS])
        record = newest.get(ANSWERS)
        if record is None or record.event is None or record.event.dagster_event is None:
            return None
        return record.event.dagster_event.asset_check_evaluation_data.passed


def test_a_failed_partition_is_told_once_with_its_file_reason_and_run(
    sandbox: FaultySandbox, study: SandboxStudy, instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=BAD_FILE, file_name="bad.csv.gz")
    study.put(subject_id=2, data_set_name="X", raw=BAD_FILE, file_name="worse.csv.gz")
    result = run_job(instance, "sync", raise_on_error=False)
    watching = Watching(instance)
    assert "told" in watching.tick()
    (text,) = webhook.texts()
    for words in (
        "Study 4711, subject 1, data set X, file bad.csv.gz: ",
        "worse.csv.gz",
        f"https://dagster.example.org/runs/{result.run_id}",
        "Check listed_execution_is_loaded of dataset_exports is red: 2 of 49",
        "https://dagster.example.org/assets/dataset_exports?view=checks",
    ):
        assert words in text
    watching.tick()
    assert webhook.texts() == []

    study.put(subject_id=3, data_set_name="X", raw=BAD_FILE, file_name="third.csv.gz")
    run_job(instance, "sync", raise_on_error=False)
    watching.tick()
    (text,) = webhook.texts()
    assert "third.csv.gz" in text
    assert "bad.csv.gz" not in text


def test_a_secret_that_is_revoked_turns_the_check_red_and_is_told(
    sandbox: FaultySandbox,
    instance: dg.DagsterInstance,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync_all()
    sensor, watching = Sensor(instance), Watching(instance)
    watching.tick()
    assert watching.is_green()
    monkeypatch.setenv("CP_CLIENT_SECRET", "revoked")
    for troubles in (1, 2):
        sensor.reason(timedelta(hours=troubles))
        watching.tick()
        assert watching.is_green()
    sensor.reason(timedelta(hours=3))
    watching.tick()
    assert watching.is_green() is False
    (text,) = webhook.texts()
    assert "centrepoint_answers" in text
    assert "3 questions in a row without an answer" in text
    assert "CP_CLIENT_SECRET" in text
    for secret in ("revoked", sandbox.environment["CP_CLIENT_SECRET"], "T0KEN"):
        assert secret not in text
    monkeypatch.setenv("CP_CLIENT_SECRET", sandbox.environment["CP_CLIENT_SECRET"])
    sensor.tick(timedelta(hours=9))
    watching.tick()
    assert watching.is_green()
    assert webhook.texts() == []


def test_a_long_silence_turns_the_check_red(
    sandbox: FaultySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_all()
    for hours, age, passed in (("26", 25, True), ("26", 27, False), ("30", 27, True)):
        monkeypatch.setenv("CP_ANSWER_HOURS", hours)
        later = datetime.now(UTC) + timedelta(hours=age)
        found = evaluate_answers(PipelineResource(), NotifySettings.from_environment(), later)
        assert found.passed is passed
    monkeypatch.setenv("CP_STUDY_ID", "")
    found = evaluate_answers(PipelineResource(), NotifySettings.from_environment())
    assert not found.passed
    assert "CP_STUDY_ID" in str(found.description)


def test_an_alert_that_one_channel_did_not_take_is_sent_again_by_that_one(
    sandbox: FaultySandbox,
    instance: dg.DagsterInstance,
    webhook: Webhook,
    mail_server: MailServer,
    study: SandboxStudy,
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=BAD_FILE, file_name="bad.csv.gz")
    # As a command does it: Dagster's own sensor for e-mail does not see its run.
    run_job(instance, "sync", raise_on_error=False)
    watching = Watching(instance)
    webhook.status = 500
    words = watching.tick()
    assert "HTTP 500" in words
    assert "told by e-mail" in words
    assert "T0KEN" not in words
    (message,) = mail_server.messages()
    assert "Study 4711, subject 1, data set X, file bad.csv.gz: " in message
    webhook.status = 200
    webhook.caught.clear()
    watching.tick()
    assert len(webhook.texts()) == 1
    assert mail_server.messages() == []


def test_any_json_can_be_sent_and_no_address_is_shown(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_NOTIFY_WEBHOOK_JSON", '{"body": [{"say": "<$text>", "n": 1}]}')
    problems = [Problem(str(number), f'"{number}"\n') for number in range(50)]
    post_alert(NotifySettings.from_environment(), problems)
    (caught,) = webhook.caught
    assert caught["body"][0]["n"] == 1
    assert caught["body"][0]["say"].startswith("<cp-pipeline: 50 new problems")
    assert "and 30 more" in caught["body"][0]["say"]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/T0KEN"
        monkeypatch.setenv("CP_NOTIFY_WEBHOOK", address)
        settings = NotifySettings.from_environment()
        with pytest.raises(AlertNotDelivered) as refused:
            post_alert(settings, problems)
    assert "T0KEN" not in f"{refused.value} {settings!r} {refused.value.__context__}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CP_NOTIFY_WEBHOOK", "http://hooks.example.org/T0KEN"),
        ("CP_NOTIFY_WEBHOOK_JSON", "{"),
        ("CP_NOTIFY_SMTP_TYPE", "PLAIN"),
        ("CP_NOTIFY_SMTP_PORT", "x"),
        ("CP_ANSWER_HOURS", "0"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        NotifySettings.from_environment({name: value})
    assert "T0KEN" not in str(refused.value)


def test_a_failed_run_is_told_by_email_with_the_partition(
    sandbox: FaultySandbox,
    study: SandboxStudy,
    instance: dg.DagsterInstance,
    mail_server: MailServer,
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=BAD_FILE, file_name="bad.csv.gz")
    result = run_job(instance, "sync", raise_on_error=False)
    sensor = build_defs(models=dg.Definitions()).resolve_sensor_def("email_on_failed_run")
    context = dg.build_run_status_sensor_context(
        sensor_name="email_on_failed_run",
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    list(sensor(context) or ())
    (message,) = mail_server.messages()
    for words in ("run of sync failed", "bad.csv.gz", "subject 1, data set X", result.run_id):
        assert words in message
    assert "hush" not in message


def test_silence_is_told_by_email_once(
    sandbox: FaultySandbox,
    instance: dg.DagsterInstance,
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sync_all()
    watching = Watching(instance)
    watching.tick()
    assert mail_server.messages() == []
    monkeypatch.setenv("CP_ANSWER_HOURS", "0.000001")
    # The server is there again at the third tick.
    mail_server.refuses = True
    words = watching.tick()
    assert "SMTPDataError 550" in words
    assert "hush" not in words
    mail_server.refuses, mail_server.starttls = False, True
    monkeypatch.setenv("CP_NOTIFY_SMTP_TYPE", "STARTTLS")
    assert "told by e-mail" in watching.tick()
    watching.tick()
    (message,) = mail_server.messages()
    subject, text = message.split("\n", 1)
    assert subject.startswith("cp-pipeline: Check centrepoint_answers of export_files is red")
    assert "Study 4711: CentrePoint last answered: " in text
    assert "https://dagster.example.org/assets/export_files?view=checks" in text
    for secret in ("hush", sandbox.environment["CP_CLIENT_SECRET"]):
        assert secret not in message
    assert len(mail_server.logins) == 2


def test_a_failing_sensor_and_a_stale_asset_are_told(
    sandbox: FaultySandbox, instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    sync_all()
    watching = Watching(instance)
    store_ticks(instance, "new_program_executions", TickStatus.FAILURE, 2)
    watching.tick()
    assert webhook.texts() == []
    store_ticks(instance, "new_program_executions", TickStatus.FAILURE, 1)
    store_ticks(instance, "of_somebody_else", TickStatus.FAILURE, 3)
    becomes_stale(instance, dg.AssetKey("published"))
    watching.tick()
    (text,) = webhook.texts()
    assert "2 new problems" in text
    assert "The sensor new_program_executions failed 3 times in a row: ValueError: odd" in text
    assert "The asset published is stale" in text
    store_ticks(instance, "new_program_executions", TickStatus.SKIPPED, 1)
    assert watching.tick() == "1 problem"
    assert webhook.texts() == []


def store_ticks(instance: dg.DagsterInstance, name: str, status: TickStatus, times: int) -> None:
    """Store ticks of a sensor as Dagster's daemon does."""
    location = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="cp_pipeline.definitions"),
        location_name="cp_pipeline.definitions",
    )
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        instance.add_instigator_state(state)
    cause = SerializableErrorInfo("ValueError: odd\n", [], "ValueError")
    error = SerializableErrorInfo("SensorExecutionError: …", [], "SensorExecutionError", cause)
    for _ in range(times):
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=name,
                instigator_type=InstigatorType.SENSOR,
                status=status,
                timestamp=time.time(),
                error=error if status is TickStatus.FAILURE else None,
                selector_id=state.selector_id,
            )
        )


def becomes_stale(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Store the verdict of Dagster's daemon."""
    instance.report_runless_asset_event(
        FreshnessStateChange(
            key=key,
            new_state=FreshnessState.FAIL,
            previous_state=FreshnessState.PASS,
            state_change_timestamp=time.time(),
        )
    )
