"""What the sandbox promises about trouble on demand, and about its journal."""

import time
import xml.etree.ElementTree as ET

import pytest
import requests

from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.sandbox.raw_requests import (
    ask_for_page,
    ask_for_token,
    authorization,
    download,
    items,
    listing_url,
)


def test_the_next_requests_of_a_kind_fail_and_then_no_more(sandbox: FaultySandbox) -> None:
    headers, item = authorization(sandbox), items(sandbox)[0]
    sandbox.fail("listing", status=502, times=2)
    sandbox.fail("file", retry_after=7)
    sandbox.fail(kind="token", status=500, body="out of order")
    pages = [ask_for_page(sandbox, headers=headers) for _ in range(3)]
    assert [page.status_code for page in pages] == [502, 502, 200]
    assert pages[0].headers["Content-Type"].startswith("text/plain")
    busy = download(item)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "7")
    assert ET.fromstring(busy.content).findtext("Code") == "ServerBusy"
    assert download(item).status_code == 200
    failed = ask_for_token(sandbox)
    assert (failed.status_code, failed.text) == (500, "out of order")
    assert "Retry-After" not in failed.headers
    assert ask_for_token(sandbox).status_code == 200


def test_faults_of_one_kind_happen_in_the_order_asked_for(sandbox: FaultySandbox) -> None:
    item = items(sandbox)[0]
    sandbox.fail("file", status=500)
    sandbox.disconnect("file")
    sandbox.fail("file", status=403)
    assert download(item).status_code == 500
    with pytest.raises(requests.ConnectionError):
        download(item)
    assert download(item).status_code == 403


def test_a_disconnected_request_gets_no_answer(sandbox: FaultySandbox) -> None:
    headers = authorization(sandbox)
    sandbox.disconnect("listing", times=2)
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            ask_for_page(sandbox, headers=headers)
    assert ask_for_page(sandbox, headers=headers).status_code == 200


def test_a_file_cut_short_announces_its_whole_length(sandbox: FaultySandbox) -> None:
    item = items(sandbox)[0]
    whole = download(item).content
    sandbox.cut_short(times=2)
    for _ in range(2):
        with requests.get(item["fileUrl"], timeout=10, stream=True) as answer:
            assert int(answer.headers["Content-Length"]) == len(whole)
            received: list[bytes] = []
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                received.extend(answer.iter_content(1))
            assert b"".join(received) == whole[: len(whole) // 2]
    assert download(item).content == whole


def test_a_cut_waits_for_a_good_answer(sandbox: FaultySandbox) -> None:
    item = items(sandbox)[0]
    sandbox.cut_short()
    assert requests.get(item["fileUrl"].split("?")[0], timeout=10).status_code == 403
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        download(item)


def test_a_corrupted_file_has_its_length_and_one_other_byte(sandbox: FaultySandbox) -> None:
    item = items(sandbox)[0]
    whole = download(item).content
    sandbox.corrupt()
    damaged = download(item).content
    assert len(damaged) == len(whole)
    assert sum(one != other for one, other in zip(damaged, whole, strict=True)) == 1
    assert download(item).content == whole


@pytest.mark.parametrize("head", [False, True], ids=["body", "head"])
def test_a_trickle_arrives_whole_and_takes_a_pause_for_each_byte(
    sandbox: FaultySandbox, head: bool
) -> None:
    item = items(sandbox)[0]
    whole = download(item).content
    sandbox.trickle("file", pause_seconds=0.0005, head=head)
    before = time.monotonic()
    assert download(item).content == whole
    assert time.monotonic() - before >= 0.0005 * len(whole)


def test_a_fault_of_an_unknown_kind_is_refused(sandbox: FaultySandbox) -> None:
    with pytest.raises(ValueError, match="kind is one of"):
        sandbox.fail("files")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind is one of"):
        sandbox.trickle("files")  # type: ignore[arg-type]


def test_the_journal_holds_every_request_until_it_is_forgotten(sandbox: FaultySandbox) -> None:
    item = items(sandbox)[0]
    download(item)
    requests.get(f"{sandbox.base_url}/nowhere?x=1", timeout=10)
    requests.post(f"{sandbox.base_url}/sandbox/executions", json={"subjectId": 1}, timeout=10)
    requests.get(listing_url(sandbox), timeout=10)
    sandbox.disconnect("file")
    with pytest.raises(requests.ConnectionError):
        download(item)
    records = sandbox.requests
    assert [(record.kind, record.method, record.status) for record in records] == [
        ("token", "POST", 200),
        ("listing", "GET", 200),
        ("file", "GET", 200),
        ("unknown", "GET", 404),
        ("control", "POST", 200),
        ("listing", "GET", 401),
        ("file", "GET", 0),
    ]
    assert records[0].path == "/connect/token"
    assert records[3].path == "/nowhere"
    times = [record.at for record in records]
    assert times == sorted(times)
    sandbox.forget_requests()
    assert sandbox.requests == []
    assert len(records) == 7
