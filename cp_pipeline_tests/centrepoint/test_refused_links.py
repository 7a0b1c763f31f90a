"""The client handles links that the storage refuses (docs/api.md, "Files")."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from types import SimpleNamespace

import pytest
import requests

from cp_pipeline.centrepoint import CentrePoint, DownloadFailed
from cp_pipeline.centrepoint.storage import LinkState, StorageState, state_of_link
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.sandbox.answers import Answer
from cp_pipeline_tests.centrepoint.clients import STUDY, Keeper, asked, connect, small_study
from cp_pipeline_tests.faults import FaultySandbox, in_chunks

FIREWALL = "<html><head><title>Web filter</title></head><body>Blocked by policy 7</body></html>"
NOT_AUTHORIZED = (
    '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthorizationFailure</Code>'
    "<Message>This request is not authorized to perform this operation.\nRequestId:1</Message>"
    "</Error>"
)
FAILED = (
    "<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate.</Message>"
    "<AuthenticationErrorDetail>{}</AuthenticationErrorDetail></Error>"
)
FRAME = "Signature not valid in the specified time frame: Start [{}] - Expiry [{}] - Current [{}]"


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten a minute to a second."""
    monkeypatch.setattr("cp_pipeline.centrepoint.storage.PAUSES_SECONDS", (0.2, 0.8))


def http_date(seconds_from_now: float) -> str:
    return formatdate(1_709_200_000 + seconds_from_now, usegmt=True)


def refusal(status: int, body: str = "", **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def link(expiry: str) -> str:
    return f"https://blobs.example.com/x?sv=1&se={expiry.replace(':', '%3A')}&sig=abc"


# 1,709,200,000 is 2024-02-29T09:46:40Z.
@pytest.mark.parametrize(
    ("status", "body", "expiry", "state"),
    [
        (403, FAILED.format(""), "2024-02-29T09:46:00Z", LinkState.DIED),
        (403, FAILED.format(""), "2024-02-29T09:46:41Z", LinkState.DIED),
        (403, FAILED.format(""), "2024-02-29T09:46:00.123Z", LinkState.DIED),
        (403, FAILED.format(""), "2024-02-29", LinkState.DIED),
        (403, FIREWALL, "2024-02-29T09:46:00Z", LinkState.DIED),
        (403, FAILED.format(""), "2024-02-29T13:46:00Z", LinkState.MAYBE_TOO_EARLY),
        (403, FAILED.format(""), "nonsense", LinkState.MAYBE_TOO_EARLY),
        (403, FAILED.format(""), "", LinkState.MAYBE_TOO_EARLY),
        (403, "", "2024-02-29T13:46:00Z", LinkState.MAYBE_TOO_EARLY),
        (
            403,
            FAILED.format(FRAME.format(http_date(9), http_date(9_000), http_date(0))),
            "2024-02-29T13:46:00Z",
            LinkState.MAYBE_TOO_EARLY,
        ),
        (
            403,
            FAILED.format(FRAME.format(http_date(-9_000), http_date(-9), http_date(0))),
            "2024-02-29T13:46:00Z",
            LinkState.DIED,
        ),
        (
            403,
            FAILED.format("Signature did not match. String to sign used was r"),
            "2024-02-29T13:46:00Z",
            LinkState.REFUSED,
        ),
        (403, NOT_AUTHORIZED, "2024-02-29T13:46:00Z", LinkState.REFUSED),
        (403, FIREWALL, "2024-02-29T13:46:00Z", LinkState.REFUSED),
        (403, "Forbidden", "2024-02-29T13:46:00Z", LinkState.REFUSED),
        (404, "", "2024-02-29T13:46:00Z", LinkState.DIED),
        (410, "", "2024-02-29T13:46:00Z", LinkState.DIED),
        (401, FIREWALL, "2024-02-29T13:46:00Z", LinkState.DIED),
        (400, FAILED.format(""), "2024-02-29T09:46:00Z", None),
        (503, "", "2024-02-29T09:46:00Z", None),
        (500, FIREWALL, "2024-02-29T09:46:00Z", None),
    ],
)
def test_kinds_of_refusals_are_told_apart_by_evidence(
    status: int, body: str, expiry: str, state: LinkState | None
) -> None:
    # The storage's own header; a firewall may send it together with its own page.
    response = refusal(status, body, Date=http_date(0), x_ms_error_code="AuthenticationFailed")
    assert state_of_link(response, link(expiry)) is state


def test_without_a_date_our_own_clock_tells_what_has_expired() -> None:
    response = refusal(403, FAILED.format(""), Date="soon")
    assert state_of_link(response, link("2024-02-29T09:46:00Z")) is LinkState.DIED
    assert state_of_link(response, link("2124-02-29T09:46:00Z")) is LinkState.MAYBE_TOO_EARLY


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("early", [0.15, 0.6, 0.9])
def test_a_link_that_is_too_early_is_tried_again_and_no_new_one_asked_for(early: float) -> None:
    with FaultySandbox(small_study(1), link_valid_after_seconds=early) as sandbox:
        centrepoint = connect(sandbox)
        (file,) = centrepoint.list_export_files(STUDY).items
        sandbox.forget_requests()
        keeper = Keeper()
        assert centrepoint.fetch(file, keeper)
        assert keeper.called_with[-1] == file
        assert asked(sandbox, "listing") == []
        assert len(asked(sandbox, "file")) <= 3


@pytest.mark.usefixtures("short_pauses")
def test_links_that_are_too_early_are_waited_for_together() -> None:
    with FaultySandbox(small_study(40), link_valid_after_seconds=0.6) as sandbox:
        centrepoint = connect(sandbox)
        files = centrepoint.list_export_files(STUDY).items
        sandbox.forget_requests()
        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda file: centrepoint.fetch(file, Keeper()), files))
        assert time.monotonic() - began < 3
        assert asked(sandbox, "listing") == []


def test_one_minute_in_ten_is_waited_in_all_however_many_files_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1_000.0]
    without_sleep = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr("cp_pipeline.centrepoint.storage.time", without_sleep)
    storage = StorageState()
    waited = 0.0
    for _ in range(50):
        for number in range(9):
            pause = storage.pause(number)
            if pause is None:
                break
            waited += pause
            clock[0] += pause
    assert 59 < waited <= 60
    clock[0] += 601
    assert storage.pause(0) == 6.0
    storage.refused_a_fresh_link()
    assert storage.pause(0) is None


@pytest.mark.usefixtures("no_backoff")
def test_a_replaced_link_that_is_taken_for_too_early_is_asked_for_anew_within_four_requests(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    spoilt = replace(file, url=file.url.replace("sig=", "sig=A"))
    sandbox.forget_requests()
    assert centrepoint.fetch(spoilt, Keeper())
    assert asked(sandbox) == [("file", 403)] * 3 + [("listing", 200), ("file", 200)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (FIREWALL, r"HTTP 403 \(Forbidden\): Web filter Blocked by policy 7 \("),
        (NOT_AUTHORIZED, "AuthorizationFailure: This request is not authorized to perform this"),
        ("", r"HTTP 403 \(Forbidden\) \("),
    ],
    ids=["firewall", "storage", "nothing"],
)
def test_a_file_that_is_refused_costs_one_new_link_and_no_long_wait(
    sandbox: FaultySandbox, body: str, said: str
) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    sandbox.forget_requests()
    sandbox.fail("file", 403, times=100, body=body)
    began = time.monotonic()
    with pytest.raises(DownloadFailed, match=said) as failure:
        centrepoint.fetch(file, Keeper())
    assert file.file_name in str(failure.value)
    assert time.monotonic() - began < 2
    assert asked(sandbox) == [("file", 403), ("listing", 200), ("file", 403)]


@pytest.mark.parametrize("threads", [1, 16])
@pytest.mark.parametrize(
    ("status", "body"),
    [(403, FIREWALL), (403, NOT_AUTHORIZED), (403, None), (404, None), (401, FIREWALL)],
    ids=["firewall", "storage", "not authenticated", "not found", "login"],
)
def test_a_storage_that_refuses_all_is_soon_asked_for_each_file_once_and_for_no_link(
    monkeypatch: pytest.MonkeyPatch, threads: int, status: int, body: str | None
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.storage.PAUSES_SECONDS", (0.1, 0.3))
    count = 100
    with FaultySandbox(small_study(count)) as sandbox:
        centrepoint = connect(sandbox)
        files = centrepoint.list_export_files(STUDY).items
        sandbox.forget_requests()
        sandbox.fail("file", status, times=4 * count, body=body)
        began = time.monotonic()
        with ThreadPoolExecutor(threads) as at_once:
            said = list(at_once.map(lambda file: _failure(centrepoint, file), files))
        assert time.monotonic() - began < 20
        assert len(asked(sandbox, "listing")) <= 3 + threads
        assert len(asked(sandbox, "file")) <= count + 3 * (3 + threads)
    assert sum("refuses one file after another" in each for each in said) >= count - 3 - threads
    assert all(f"HTTP {status}" in each for each in said)
    assert all(file.file_name in words for file, words in zip(files, said, strict=True))


def _failure(centrepoint: CentrePoint, file: ExportFile) -> str:
    with pytest.raises(DownloadFailed) as failure:
        centrepoint.fetch(file, Keeper())
    return str(failure.value)


def test_a_file_that_comes_lets_new_links_be_asked_for_again() -> None:
    with FaultySandbox(small_study(8)) as sandbox:
        centrepoint = connect(sandbox)
        files = centrepoint.list_export_files(STUDY).items
        sandbox.fail("file", 403, times=7, body=FIREWALL)
        for file in files[:4]:
            _failure(centrepoint, file)
        assert centrepoint.fetch(files[4], Keeper())
        sandbox.forget_requests()
        sandbox.fail("file", 403, body=FIREWALL)
        assert centrepoint.fetch(files[5], Keeper())
        assert asked(sandbox) == [("file", 403), ("listing", 200), ("file", 200)]


def test_a_fresh_item_of_the_same_version_is_loaded_as_the_planned_execution(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    planned = centrepoint.list_export_files(STUDY).items[0]
    later = "2124-02-29T10:09:20.5899754+00:00"
    sandbox.rewrite_page = lambda page: {
        **page,
        "items": [
            {**item, "lastSuccessfulProgramExecutionTimeStamp": later} for item in page["items"]
        ],
    }
    sandbox.fail("file", 404)
    keeper = Keeper()
    assert centrepoint.fetch(planned, keeper)
    assert keeper.called_with == [planned, planned]


def test_a_file_that_is_being_written_anew_is_left_to_the_next_sync(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    planned = centrepoint.list_export_files(STUDY).items[0]
    sandbox.execute_again()
    sandbox.rewrite_page = lambda page: {
        **page,
        "items": [
            {**item, "modifiedDate": "2020-02-29T10:09:20.5899754+00:00"} for item in page["items"]
        ],
    }
    keeper = Keeper()
    with pytest.raises(DownloadFailed, match=r"still writing.*next sync will load it"):
        centrepoint.fetch(planned, keeper)
    assert keeper.called_with == [planned]


def test_an_export_that_a_short_listing_lacks_is_not_called_withdrawn(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    planned = centrepoint.list_export_files(STUDY).items[0]
    sandbox.execute_again()
    sandbox.rewrite_page = lambda page: {**page, "items": []}
    with pytest.raises(DownloadFailed, match="listed fewer items than it counts"):
        centrepoint.fetch(planned, Keeper())


def test_chunks_count_whatever_length_is_said_beside_them(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    whole = centrepoint.fetch(file, Keeper())
    for length in ("0", "7", str(len(whole)), str(10 * len(whole)), "nonsense"):
        sandbox.forget_requests()
        sandbox.faults.add("file", _chunked(whole, length))
        assert centrepoint.fetch(file, Keeper()) == whole
        assert asked(sandbox, "file") == [("file", 200)]
    sandbox.chunk()
    assert centrepoint.fetch(file, Keeper()) == whole


def _chunked(body: bytes, length: str) -> Answer:
    headers = {"Transfer-Encoding": "chunked", "Content-Length": length}
    return Answer(200, in_chunks(body) + b"0\r\n\r\n", headers)


@pytest.mark.usefixtures("no_backoff")
def test_chunks_that_are_cut_short_are_not_taken_for_the_file(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    whole = centrepoint.fetch(file, Keeper())
    sandbox.forget_requests()
    sandbox.chunk(2)
    sandbox.cut_short(2)
    assert centrepoint.fetch(file, Keeper()) == whole
    assert asked(sandbox, "file") == [("file", 200)] * 3
    sandbox.chunk(4)
    sandbox.cut_short(4)
    with pytest.raises(DownloadFailed, match=r"of an unknown number of announced bytes arrived"):
        centrepoint.fetch(file, Keeper())


def test_an_error_page_is_said_in_words_and_not_in_tags() -> None:
    def pages() -> Iterator[str]:
        yield "<html><script>var a = '<p>';</script><p>Access&nbsp;denied &amp; logged</p></html>"
        yield "<!-- hidden --><b>Access\n\n denied</b> &amp; logged"

    from cp_pipeline.centrepoint.answers import describe

    for page in pages():
        assert describe(refusal(403, page)) == "HTTP 403 (Forbidden): Access denied & logged"
