"""The client retries after network and service errors, and obeys the service's limits."""

import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import pairwise

import pytest

from cp_pipeline.centrepoint import CentrePoint, ServiceUnavailable
from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline_tests.centrepoint.clients import STUDY, Keeper, asked, connect, settings_of
from cp_pipeline_tests.faults import FaultySandbox

WINDOW = 0.5


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten a minute to half a second."""
    monkeypatch.setattr("cp_pipeline.centrepoint.budget.WINDOW_SECONDS", WINDOW)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_that_fails_for_a_moment_is_asked_again(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.fail("listing", status=status, times=3)
    assert len(connect(sandbox).list_export_files(STUDY).items) == 14
    assert asked(sandbox, "listing") == [("listing", status)] * 3 + [("listing", 200)]


@pytest.mark.usefixtures("no_backoff")
def test_a_connection_that_breaks_for_a_moment_is_made_again(sandbox: FaultySandbox) -> None:
    sandbox.disconnect("listing", times=2)
    assert len(connect(sandbox).list_export_files(STUDY).items) == 14
    assert asked(sandbox, "listing") == [("listing", 0), ("listing", 0), ("listing", 200)]


def test_between_attempts_there_is_a_growing_wait(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", status=503, times=2)
    connect(sandbox).count_export_files(STUDY)
    first, second = (after.at - before.at for before, after in pairwise(sandbox.requests[1:]))
    assert first < second
    assert 0.9 < second < 3


@pytest.mark.usefixtures("no_backoff")
def test_a_service_that_keeps_failing_is_unavailable_in_words(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", status=503, times=100)
    with pytest.raises(ServiceUnavailable, match=r"of study 4711: HTTP 503 .*told to.*later"):
        connect(sandbox).list_export_files(STUDY)
    assert len(asked(sandbox, "listing")) < 10


@pytest.mark.usefixtures("no_backoff")
def test_a_service_that_keeps_hanging_up_is_unavailable_in_words(sandbox: FaultySandbox) -> None:
    sandbox.disconnect("listing", times=100)
    with pytest.raises(ServiceUnavailable, match="Check the network") as refusal:
        connect(sandbox).list_export_files(STUDY)
    assert ": Remote end closed connection without response. Check" in str(refusal.value)


@pytest.mark.usefixtures("no_backoff")
def test_a_service_that_is_down_is_unavailable_in_words(sandbox: FaultySandbox) -> None:
    settings = settings_of(sandbox)
    sandbox.__exit__(None, None, None)
    with pytest.raises(ServiceUnavailable, match="Check the network") as refusal:
        CentrePoint(settings).check_access()
    assert "requesting an access token (CP_TOKEN_URL)" in str(refusal.value)
    assert "Connection refused" in str(refusal.value)
    assert "Pool" not in str(refusal.value)


@pytest.mark.usefixtures("no_backoff")
def test_a_host_that_does_not_exist_is_unavailable_in_words(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox, api_url="http://api.example.invalid/dataaccess/v3")
    with pytest.raises(ServiceUnavailable, match="listing the export files of study 4711"):
        centrepoint.list_export_files(STUDY)


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", ["token", "listing"])
def test_retry_after_is_obeyed(sandbox: FaultySandbox, kind: str, status: int) -> None:
    sandbox.fail(kind, status=status, retry_after=1)  # type: ignore[arg-type]
    assert connect(sandbox).count_export_files(STUDY) == 14
    failed, repeated = [each for each in sandbox.requests if each.kind == kind]
    assert (failed.status, repeated.status) == (status, 200)
    assert 1 <= repeated.at - failed.at < 3


@pytest.mark.usefixtures("no_backoff")
def test_retry_after_is_obeyed_by_downloads_and_as_a_date(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = centrepoint.list_export_files(STUDY).items[0]
    sandbox.fail("file", status=503, retry_after=formatdate(time.time() + 2, usegmt=True))
    assert centrepoint.fetch(file, Keeper())
    failed, repeated = [each for each in sandbox.requests if each.kind == "file"]
    assert 0.9 < repeated.at - failed.at < 4


@pytest.mark.usefixtures("short_window")
def test_threads_share_one_budget_of_requests(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox, requests_per_minute=4)
    with ThreadPoolExecutor(6) as threads:
        counts = list(threads.map(centrepoint.count_export_files, [STUDY] * 12))
    assert counts == [14] * 12
    times = [each.at for each in sandbox.requests]
    assert len(times) == 13
    # The test measures the arrival of requests; a thread may be delayed before it sends one.
    assert all(times[place + 4] - times[place] > WINDOW - 0.2 for place in range(9))
    assert times[-1] - times[0] > 3 * WINDOW - 0.1


@pytest.mark.usefixtures("no_backoff", "short_window")
def test_retries_are_taken_from_the_budget_too(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", status=503, times=3)
    sandbox.disconnect("listing", times=1)
    connect(sandbox, requests_per_minute=2).count_export_files(STUDY)
    times = [each.at for each in sandbox.requests]
    assert len(times) == 6
    assert times[-1] - times[0] > 2 * WINDOW - 0.1


@pytest.mark.usefixtures("short_window")
def test_downloads_are_not_taken_from_the_budget(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox, requests_per_minute=2)
    file = centrepoint.list_export_files(STUDY).items[0]
    start = time.monotonic()
    for _ in range(6):
        centrepoint.fetch(file, Keeper())
    assert time.monotonic() - start < WINDOW


@pytest.mark.usefixtures("short_window")
def test_any_window_holds_no_more_than_the_budget() -> None:
    budget = RequestBudget(5)
    spent: list[float] = []

    def spend(_: int) -> None:
        budget.spend()
        spent.append(time.monotonic())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(spend, range(17)))
    spent.sort()
    assert spent[4] - spent[0] < WINDOW
    assert all(spent[place + 5] - spent[place] > WINDOW - 0.1 for place in range(12))
    assert 3 * WINDOW - 0.1 < spent[-1] - spent[0] < 6 * WINDOW
