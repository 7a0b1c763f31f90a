"""Invalid connection settings always raise one of this project's errors."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cp_pipeline.centrepoint import (
    CentrePoint,
    CentrePointError,
    ConnectionSettingsWrong,
    DownloadFailed,
    Filters,
    ServiceError,
    ServiceUnavailable,
)
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.centrepoint.clients import STUDY, Keeper, asked, connect, settings_of
from cp_pipeline_tests.centrepoint.scripted import Said, Scripted
from cp_pipeline_tests.centrepoint.test_secrets import everything_said
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.forked import command_in

PASSWORD = "hunter2"
BAD_PROXIES = [
    "http://",
    "http:///",
    "nonsense://proxy:80",
    f"http://me:{PASSWORD}@",
    f"http://me:{PASSWORD}@[broken",
    f"http://me:{PASSWORD}@proxy:port",
    f"http://me:{PASSWORD}@proxy:99999",
    f"http://me:{PASSWORD}/x@proxy:80",
    f"http://me:{PASSWORD}#x@proxy:80",
    f"http://me:{PASSWORD}?x@proxy:80",
    f"ftp://me:{PASSWORD}@proxy:80",
    "http://" + "a" * 64 + ".example:80",
    "http://a..b:80",
    f"socks5://me:{PASSWORD}@127.0.0.1:1",
    "http://[::1:80",
    f"me:{PASSWORD}@:80",
    "http://*:80",
    "http://.:80",
    "http://\u2603\u0301.\ufffd:80",
]


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.endswith("CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", BAD_PROXIES)
def test_a_proxy_that_is_none_is_one_of_our_errors_and_its_variable_is_named(
    sandbox: FaultySandbox, monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ServiceError) as failure:
        connect(sandbox).check_access()
    assert variable in str(failure.value)
    assert "CP_TOKEN_URL" in str(failure.value)
    assert PASSWORD not in everything_said(failure.value)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_for_https_is_named_too(
    sandbox: FaultySandbox, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://me:{PASSWORD}@127.0.0.1:1")
    settings = settings_of(sandbox, token_url="https://auth.example.invalid/token")
    with pytest.raises(ServiceUnavailable, match=f"{variable} is the right one") as failure:
        CentrePoint(settings).check_access()
    assert "the proxy: [Errno 111] Connection refused" in str(failure.value)
    assert PASSWORD not in everything_said(failure.value)


def test_a_proxy_that_wants_a_password_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(lambda asked: Said(407), token=Said(407)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:{PASSWORD}@{proxy.url[7:]}")
        with FaultySandbox(SandboxStudy.empty(STUDY)) as sandbox:
            settings = settings_of(sandbox, token_url="http://auth.example.invalid/token")
            with pytest.raises(ConnectionSettingsWrong, match=r"407.*into HTTP_PROXY") as failure:
                CentrePoint(settings).check_access()
    assert PASSWORD not in everything_said(failure.value)


def certificates(folder: Path, kind: str) -> Path:
    place = folder / "certificates.pem"
    if kind == "empty":
        place.write_text("")
    elif kind == "no certificates":
        place.write_text("these are no certificates\n")
    elif kind == "binary":
        place.write_bytes(bytes(range(256)))
    return place


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no certificates", "binary"])
def test_certificates_that_cannot_be_read_are_one_of_our_errors_and_their_variable_is_named(
    sandbox: FaultySandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    kind: str,
) -> None:
    place = certificates(tmp_path, kind)
    monkeypatch.setenv(variable, str(place))
    with Scripted(lambda asked: Said()) as service:
        url = service.url.replace("http:", "https:")
        for settings in (
            settings_of(sandbox, token_url=f"{url}/token"),
            settings_of(sandbox, api_url=url),
        ):
            with pytest.raises(ConnectionSettingsWrong, match=f"{variable} names {place}"):
                CentrePoint(settings).list_export_files(STUDY)


BAD_HOSTS = [
    "http://[broken/x", "http://a..b/x", "http://" + "a" * 64 + "/x", "http://host:port/x",
    "http://host:99999/x", "http://*/x", "http://./x", "http:///x", "http://\u2603\u0301\ufffd/x",
    "http://ho st/x", "ftp://host/x", "x", "",
]  # fmt: skip


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"])
@pytest.mark.parametrize("url", BAD_HOSTS)
def test_an_address_that_is_none_is_one_of_our_errors_and_its_variable_is_named(
    sandbox: FaultySandbox, monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None
) -> None:
    centrepoint = connect(sandbox, token_url=url)
    if proxy:
        monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ServiceError, match="CP_TOKEN_URL"):
        centrepoint.check_access()
    monkeypatch.delenv("ALL_PROXY", raising=False)
    if "[" in url:  # the settings refuse it
        return
    with pytest.raises(ServiceError, match=r"CP_API_URL|listing the export files of study"):
        connect(sandbox, api_url=url).list_export_files(STUDY)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("url", [url for url in BAD_HOSTS if url.startswith("http://")])
def test_a_link_that_is_none_fails_its_file_alone(sandbox: FaultySandbox, url: str) -> None:
    centrepoint = connect(sandbox)
    file = replace(centrepoint.list_export_files(STUDY).items[0], url=f"{url}?sig=TopSecret")
    with pytest.raises(DownloadFailed) as failure:
        centrepoint.fetch(file, Keeper())
    assert file.file_name in str(failure.value)
    assert "TopSecret" not in everything_said(failure.value)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("token", ["x\\ny", "x\\r\\nHost: y", "\\u2603", " \\t", "x\\u0000"])
def test_a_token_that_cannot_be_sent_is_one_of_our_errors(
    sandbox: FaultySandbox, token: str
) -> None:
    sandbox.fail("token", 200, body=f'{{"access_token": "{token}"}}', times=3)
    with pytest.raises(CentrePointError):
        connect(sandbox).list_export_files(STUDY)


# Statuses by which proxies refuse a GET with a body; 0 means: close the connection.
@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [403, 400, 405, 411, 413, 415, 501, 502, 0])
def test_where_a_get_with_a_body_is_refused_the_other_dialect_is_named(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.bodies_of_get = status
    with pytest.raises(ServiceError, match=r"proxy .*body.*CP_EXPORT_DIALECT=datasetfiles"):
        connect(sandbox, dialect="datasetexportfiles").list_export_files(STUDY, Filters(10821))
    current = connect(sandbox, dialect="datasetfiles")
    assert len(current.list_export_files(STUDY, Filters(10821)).items) == 5


def test_where_the_body_is_dropped_what_was_not_asked_for_is_left_out_and_that_is_said_once(
    sandbox: FaultySandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.bodies_of_get = 200
    centrepoint = connect(sandbox)
    for subject in (10821, 10822):
        listing = centrepoint.list_export_files(STUDY, Filters(subject))
        assert {item.subject_id for item in listing.items} == {subject}
    assert caplog.text.count("service ignored the filters") == 1
    assert "CP_EXPORT_DIALECT=datasetfiles sends no body" in caplog.text
    assert asked(sandbox, "listing") == [("listing", 200)] * 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem"),
        ("CURL_CA_BUNDLE", "/nowhere/certificates.pem"),
        ("HTTPS_PROXY", f"http://me:{PASSWORD}@[broken"),
        ("ALL_PROXY", "nonsense://proxy"),
        ("CP_TOKEN_URL", "https://a..b/token"),
    ],
)
def test_the_command_ends_with_2_in_words(
    tmp_path: Path, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in os.environ if "PROXY" in each.upper()]:
        monkeypatch.delenv(name)
    environment = {
        "CP_TOKEN_URL": "https://127.0.0.1:1/token",
        "CP_API_URL": "https://127.0.0.1:1",
        "CP_CLIENT_ID": "somebody",
        "CP_CLIENT_SECRET": "a-secret",
        "CP_STUDY_ID": "1",
        "CP_DATA_DIR": str(tmp_path / "data"),
        variable: value,
    }
    done = command_in(tmp_path, "sync", "--dry-run", **environment)
    assert done.returncode == 2, done.stderr
    assert variable in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
