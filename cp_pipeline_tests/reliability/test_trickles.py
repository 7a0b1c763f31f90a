"""A server that sends only a few bytes at a time: the request is retried, then it fails."""

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cp_pipeline.centrepoint import DownloadFailed, ServiceUnavailable
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded, make_plan
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.conftest import open_pipeline
from cp_pipeline_tests.faults import FaultKind, FaultySandbox
from cp_pipeline_tests.study_site import Site

WORDS = r"fewer than 10 bytes arrived in 0\.2 s"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use 0.2 s instead of a minute, with ten bytes as the minimum; do not wait between retries."""
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOW_SECONDS", 0.2)
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOWEST_BYTES_PER_SECOND", 50)
    retry = "cp_pipeline.centrepoint.transport._BudgetedRetry"
    monkeypatch.setattr(f"{retry}.get_backoff_time", lambda self: 0.0)
    time_without_sleep = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("cp_pipeline.centrepoint.downloads.time", time_without_sleep)


def all_of(export_file: ExportFile, chunks: Iterator[bytes]) -> bytes:
    return b"".join(chunks)


@pytest.mark.parametrize("head", [False, True], ids=["body", "head"])
@pytest.mark.parametrize("kind", ["token", "listing", "file"])
def test_an_answer_that_trickles_once_is_asked_for_again(
    here: Site, kind: FaultKind, head: bool
) -> None:
    here.put("N\n1\n")
    here.sandbox.trickle(kind, head=head)
    (result,) = here.sync()
    assert isinstance(result, PartitionLoaded)
    assert [each.kind for each in here.sandbox.requests].count(kind) == 2


@pytest.mark.parametrize("head", [False, True], ids=["body", "head"])
@pytest.mark.parametrize("kind", ["token", "listing"])
def test_a_service_that_only_trickles_is_unavailable_in_words(
    here: Site, kind: FaultKind, head: bool
) -> None:
    here.sandbox.trickle(kind, times=1_000, head=head)
    with pytest.raises(ServiceUnavailable, match=f"{WORDS} of waiting. Check the network"):
        here.sync()
    assert [each.kind for each in here.sandbox.requests].count(kind) <= 5


@pytest.mark.parametrize("head", [False, True], ids=["body", "head"])
def test_a_file_that_only_trickles_is_given_up_naming_it_and_only_its_partition_fails(
    here: Site, head: bool
) -> None:
    for subject in (1, 2):
        here.put("N\n1\n", subject_id=subject)
    exports = open_pipeline()
    listed = exports.survey()
    slow = SandboxStudy.empty()
    slow.put(subject_id=2, data_set_name="Kinds", csv=b"N\n2\n")
    with FaultySandbox(slow) as storage:
        storage.trickle("file", times=1_000, head=head)
        link = _link_of(storage)
        items = (listed.items[0], replace(listed.items[1], url=link))
        listed = replace(listed, plan=make_plan(items, {}))
        with exports.execute(listed) as results:
            by_subject = {result.partition.subject_id: result for result in results}
        assert [each.kind for each in storage.requests].count("file") <= 4 * 5
    assert isinstance(by_subject[1], PartitionLoaded)
    failed = by_subject[2]
    assert isinstance(failed, PartitionFailed)
    assert failed.stage == "download"
    assert "fewer than 10 bytes arrived in 0.2 s" in failed.error
    assert listed.items[1].file_name in failed.error


def _link_of(storage: FaultySandbox) -> str:
    """The link to the only file of another sandbox."""
    with pytest.MonkeyPatch.context() as there:
        for name, value in storage.environment.items():
            there.setenv(name, value)
        return open_pipeline().survey().items[0].url


def test_a_slow_answer_that_is_fast_enough_is_waited_for(here: Site) -> None:
    here.put("N\n" + "1\n" * 100)
    item = open_pipeline().survey().items[0]
    here.sandbox.forget_requests()
    here.sandbox.trickle("file", pause_seconds=0.004, head=True)
    began = time.monotonic()
    assert open_pipeline().centrepoint.fetch(item, all_of)
    # It took more than two of the test's minutes, and each had enough bytes.
    assert time.monotonic() - began > 2 * 0.2
    assert len(here.sandbox.requests) == 1


def test_the_time_that_we_take_ourselves_is_not_counted(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOW_SECONDS", 1.0)
    monkeypatch.setattr(
        "cp_pipeline.centrepoint.minimum_throughput.SLOWEST_BYTES_PER_SECOND", 100 << 20
    )
    large = bytes(range(256)) * 30_000
    here.sandbox.study.put(subject_id=1, data_set_name="Kinds", raw=large)
    exports = open_pipeline()
    (item,) = exports.survey().items

    def at_leisure(export_file: ExportFile, chunks: Iterator[bytes]) -> bytes:
        kept = b""
        for chunk in chunks:
            kept += chunk
            time.sleep(0.25)
        return kept

    assert exports.centrepoint.fetch(item, at_leisure) == large
    assert [each.kind for each in here.sandbox.requests].count("file") == 1


def test_an_answer_may_begin_after_any_wait_that_the_timeout_allows(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cp_pipeline.centrepoint.minimum_throughput.SLOWEST_BYTES_PER_SECOND", 100 << 20
    )
    here.put("N\n1\n")
    here.sandbox._service._latency_seconds = 0.3
    (result,) = here.sync()
    assert isinstance(result, PartitionLoaded)
    assert [each.kind for each in here.sandbox.requests] == ["token", "listing", "file"]


def test_a_retry_after_of_a_day_is_not_waited_for(here: Site) -> None:
    waits: list[float] = []
    here.sandbox.fail("listing", status=503, times=100, retry_after=86_400)
    with pytest.MonkeyPatch.context() as quickly:
        quickly.setattr("urllib3.util.retry.time.sleep", waits.append)
        with pytest.raises(PipelineError, match="HTTP 503"):
            here.sync()
    assert set(waits) == {300.0}


def test_what_is_too_slow_is_no_fault_of_the_service_as_a_whole(here: Site) -> None:
    here.put("N\n1\n")
    exports = open_pipeline()
    (item,) = exports.survey().items
    here.sandbox.trickle("file", times=100)
    with pytest.raises(DownloadFailed, match=WORDS) as failure:
        exports.centrepoint.fetch(item, all_of)
    assert "sig=" not in str(failure.value)
