"""One load attempt requests a file at most four times, for any kind of failure."""

import random
from itertools import product
from types import SimpleNamespace

import pytest
from urllib3.connection import HTTPConnection

from cp_pipeline.centrepoint import REQUESTS_FOR_A_FILE
from cp_pipeline.ingest import PartitionFailed, Pipeline
from cp_pipeline.ingest.fetching import Fetched, Fetching
from cp_pipeline.sandbox.answers import Answer, blob_error
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline_tests.conftest import sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.reliability.other_host import Elsewhere
from cp_pipeline_tests.study_site import Site

FAULTS = (
    "busy", "fails", "refused", "gone", "hangs up", "cut short", "damaged", "not a file",
    "wrong length", "trickles", "good",
)  # fmt: skip


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between retries, and detect a slow answer at once."""
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOW_SECONDS", 0.05)
    monkeypatch.setattr(
        "cp_pipeline.centrepoint.minimum_throughput.SLOWEST_BYTES_PER_SECOND", 10_000
    )
    without_sleep = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("cp_pipeline.centrepoint.downloads.time", without_sleep)


def fault(sandbox: FaultySandbox, kind: str, content: bytes) -> None:
    """Set the fault of the next request for a file."""
    answers = {
        "busy": blob_error(503),
        "fails": blob_error(500),
        "refused": blob_error(403),
        "gone": blob_error(404),
        "hangs up": Answer(0),
        "cut short": Answer(
            200, content[: len(content) // 2], {"Content-Length": str(len(content))}
        ),
        "damaged": Answer(200, content[:-8] + bytes(8)),
        "not a file": Answer(200, b"<html>Sign in</html>"),
        "wrong length": Answer(200, content, {"Content-Length": str(len(content) + 5)}),
        "good": Answer(200, content),
    }
    if kind == "trickles":
        sandbox.trickle("file", pause_seconds=0.02)
    else:
        sandbox.faults.add("file", answers[kind])


def files_asked_for(site: Site) -> int:
    return sum(each.kind == "file" for each in site.sandbox.requests)


def content_of(site: Site) -> bytes:
    (file,) = site.sandbox.study.export_files
    return site.sandbox._service._packed(file)[1]


def fetch(site: Site) -> Fetched:
    """What a sync fetches of the only partition, before it would load it."""
    exports = Pipeline(CentrePointSettings.from_environment(site.sandbox.environment), site.storage)
    ((partition, planned),) = exports.survey(write=False).plan.to_load.items()
    with exports.landing.scratch_folder() as scratch:
        return Fetching(exports.rooms, scratch).partition(partition, planned)


@pytest.mark.parametrize("kind", [each for each in FAULTS if each not in ("good", "trickles")])
def test_a_file_that_always_fails_is_asked_for_four_times_at_most(here: Site, kind: str) -> None:
    here.put("N\n1\n")
    content = content_of(here)
    for _ in range(40):
        fault(here.sandbox, kind, content)
    (result,) = here.sync()
    assert isinstance(result, PartitionFailed)
    assert result.stage == ("decode" if kind in {"damaged", "not a file"} else "download")
    assert 2 <= files_asked_for(here) <= REQUESTS_FOR_A_FILE


@pytest.mark.parametrize(
    "kinds", random.Random(7).sample([*product(FAULTS, repeat=4)], 60), ids=" then ".join
)
def test_whatever_happens_to_it_a_file_is_asked_for_four_times_at_most(
    here: Site, kinds: tuple[str, ...]
) -> None:
    here.put("N\n1\n")
    content = content_of(here)
    for kind in kinds:
        fault(here.sandbox, kind, content)
    here.sandbox.faults.add("file", blob_error(503), 40)
    fetched = fetch(here)
    assert files_asked_for(here) <= REQUESTS_FOR_A_FILE
    assert sum(each.kind == "listing" for each in here.sandbox.requests) <= 2
    if kinds[0] == "good":
        assert not isinstance(fetched, PartitionFailed)
        assert files_asked_for(here) == 1


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_the_second_copy_of_a_damaged_file_is_one_of_the_four(here: Site, before: int) -> None:
    here.put("N\n1\n")
    content = content_of(here)
    for _ in range(before):
        fault(here.sandbox, "busy", content)
    fault(here.sandbox, "damaged", content)
    fetched = fetch(here)
    # After three failed requests, none is left for a second download.
    assert isinstance(fetched, PartitionFailed) is (before == 3)
    assert files_asked_for(here) == min(before + 2, REQUESTS_FOR_A_FILE)
    if before == 3:
        assert "damaged" in getattr(fetched, "error", "")


def test_a_storage_that_takes_no_connection_is_tried_four_times(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.put("N\n1\n")
    with Elsewhere() as storage:
        gone = f"http://127.0.0.2:{storage.server_port}/x?sig=abc"
    monkeypatch.setenv("CP_ALLOW_PRIVATE_HOSTS", "127.0.0.2")
    tries: list[str] = []
    connect = HTTPConnection.connect

    def counted(connection: HTTPConnection) -> None:
        tries.extend([connection.host] * (connection.host == "127.0.0.2"))
        connect(connection)

    monkeypatch.setattr(HTTPConnection, "connect", counted)
    here.sandbox.rewrite_page = lambda page: {
        **page, "items": [{**item, "fileUrl": gone} for item in page["items"]]
    }  # fmt: skip
    (result,) = sync_all()
    assert isinstance(result, PartitionFailed)
    assert "Connection refused" in result.error
    assert len(tries) == REQUESTS_FOR_A_FILE
