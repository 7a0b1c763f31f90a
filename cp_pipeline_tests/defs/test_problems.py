"""People are told once of each new problem: alerts caught by a local webhook and a mail server."""

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest

from cp_pipeline.alerts import AlertNotDelivered, Problem, send_alert
from cp_pipeline.defs.answer_check import evaluate_answers
from cp_pipeline.defs.definitions import build_defs
from cp_pipeline.defs.resources import PipelineResource
from cp_pipeline.notify_settings import NotifySettings
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import SettingsError
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.defs.conftest import run_job
from cp_pipeline_tests.defs.test_sensor import BAD_FILE, Sensor
from cp_pipeline_tests.faults import FaultySandbox

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
        self.sensor = build_defs(models=dg.Definitions()).resolve_sensor_def("problems")

    def tick(self) -> str:
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={"source": PipelineResource()}
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


def test_an_alert_that_was_not_taken_is_sent_again(
    sandbox: FaultySandbox, instance: dg.DagsterInstance, webhook: Webhook, study: SandboxStudy
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=BAD_FILE, file_name="bad.csv.gz")
    run_job(instance, "sync", raise_on_error=False)
    watching = Watching(instance)
    webhook.status = 500
    words = watching.tick()
    assert "HTTP 500" in words
    assert "T0KEN" not in words
    webhook.status = 200
    webhook.caught.clear()
    watching.tick()
    assert len(webhook.texts()) == 1


def test_any_json_can_be_sent_and_no_address_is_shown(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_NOTIFY_WEBHOOK_JSON", '{"body": [{"say": "<$text>", "n": 1}]}')
    problems = [Problem(str(number), f'"{number}"\n') for number in range(50)]
    send_alert(NotifySettings.from_environment(), problems)
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
            send_alert(settings, problems)
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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_a_failed_run_is_told_by_email_with_the_partition(
    sandbox: FaultySandbox,
    study: SandboxStudy,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study.put(subject_id=1, data_set_name="X", raw=BAD_FILE, file_name="bad.csv.gz")
    result = run_job(instance, "sync", raise_on_error=False)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with _MailServer(certificate, key) as server:
        for name, value in {
            "CP_NOTIFY_EMAIL_TO": "a@example.org",
            "CP_NOTIFY_SMTP_HOST": "localhost",
            "CP_NOTIFY_SMTP_PORT": str(server.port),
            "CP_NOTIFY_SMTP_PASSWORD": "hush",
            "CP_NOTIFY_UI_URL": "https://dagster.example.org",
            "SSL_CERT_FILE": str(certificate),
        }.items():
            monkeypatch.setenv(name, value)
        sensor = build_defs(models=dg.Definitions()).resolve_sensor_def("email_on_failed_run")
        context = dg.build_run_status_sensor_context(
            sensor_name="email_on_failed_run",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()
        list(sensor(context) or ())
    message = server.message()
    for words in ("run of sync failed", "bad.csv.gz", "subject 1, data set X", result.run_id):
        assert words in message
    assert "hush" not in message


class _MailServer:
    """Takes one e-mail over TLS."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._socket = socket.create_server(("localhost", 0))
        self.port = self._socket.getsockname()[1]
        self._lines: list[str] = []
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "_MailServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()

    def message(self) -> str:
        return "\n".join(self._lines)

    def _serve(self) -> None:
        plain, _ = self._socket.accept()
        with self._context.wrap_socket(plain, server_side=True) as opened:
            stream = opened.makefile("rw", newline="\r\n")

            def say(words: str) -> None:
                stream.write(f"{words}\n")
                stream.flush()

            say("220 localhost")
            for line in stream:
                command = line[:4].upper().strip()
                if command == "EHLO":
                    say("250-localhost\n250 AUTH PLAIN")
                elif command == "AUTH":
                    say("235 in")
                elif command == "DATA":
                    say("354 go on")
                    for part in stream:
                        if part.strip() == ".":
                            break
                        self._lines.append(part.rstrip())
                    say("250 taken")
                elif command == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 yes")
