"""A network and a service that fail one request in ten, and answers that point to other hosts."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cp_pipeline.centrepoint import CentrePoint
from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded, Pipeline, Request
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.sandbox.access import RateLimit
from cp_pipeline.sandbox.answers import Answer, RequestKind
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline_tests.conftest import one, open_pipeline, sync_all
from cp_pipeline_tests.faults import Faults, FaultySandbox, Trickle
from cp_pipeline_tests.reliability.other_host import Elsewhere
from cp_pipeline_tests.study_site import Site

FAULTS = ("500", "503", "disconnect", "cut short", "corrupted", "trickle")
OF_FILES_ALONE = ("cut short", "corrupted")


class OneInTen(Faults):
    """In turn: an error, a busy service, no answer, half an answer, a damaged one, a slow one."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0
        self.tried = dict.fromkeys(FAULTS, 0)

    def take(self, kind: RequestKind) -> Answer | None:
        with self._lock:
            self._seen += 1
            if self._seen % 10 != 5:
                return None
            fault = FAULTS[self._seen // 10 % len(FAULTS)]
            if fault in OF_FILES_ALONE and kind != "file":
                fault = "disconnect"
            self.tried[fault] += 1
            if fault == "cut short":
                self.add_damage("cut")
            elif fault == "corrupted":
                self.add_damage("corrupt")
            elif fault == "trickle":
                self.add_trickle(kind, Trickle(0.02))  # type: ignore[arg-type]
            else:
                return Answer(0 if fault == "disconnect" else int(fault), b"fails")
        return None


def test_one_request_in_ten_fails_and_all_arrives_without_a_storm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = SandboxStudy.synthetic(study_id=4711, subjects=45, days=1, seed=1, epoch_rows=5)
    exports = len(study.export_files)
    # Detect a slow answer of 50 bytes per second in less than a second, instead of a minute.
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOW_SECONDS", 0.5)
    # A subprocess would not know of that, and would wait for each byte.
    monkeypatch.setattr(Pipeline, "subprocess_from", exports + 1)
    with FaultySandbox(study, token_seconds=3) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        faults = sandbox.faults = OneInTen()
        results = sync_all()
        assert {type(result) for result in results} == {PartitionLoaded}
        assert one("SELECT count(*) FROM lineage.loads") == exports
        asked = len(sandbox.requests)
    assert min(faults.tried.values()) >= 3, faults.tried
    # One more request for each failed one, plus the listing and its tokens.
    assert asked <= exports + sum(faults.tried.values()) + 10


def test_no_more_than_the_allowed_requests_in_any_minute(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is fake, and sleeping advances it: six readings of the listing without waiting."""
    clock = [0.0]
    monkeypatch.setattr("cp_pipeline.centrepoint.budget.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "cp_pipeline.centrepoint.budget.time.sleep", lambda s: clock.__setitem__(0, clock[0] + s)
    )
    sent = []
    for subject in range(350):
        here.put("N\n1\n", subject_id=subject)
    settings = CentrePointSettings.from_environment(
        here.sandbox.environment | {"CP_REQUESTS_PER_MINUTE": "30"}
    )
    centrepoint = CentrePoint(settings)
    for _ in range(20):
        assert len(centrepoint.list_export_files(4711).items) == 350
        sent.append((clock[0], len(here.sandbox.requests)))
    assert len(here.sandbox.requests) == 81
    for since, before in sent:
        within = max(number for moment, number in sent if moment < since + 60)
        assert within - before <= 30


@pytest.mark.parametrize("thought_to_be_allowed", [30, 450])
def test_at_thirty_requests_a_minute_all_arrives_and_nobody_storms(
    here: Site, monkeypatch: pytest.MonkeyPatch, thought_to_be_allowed: int
) -> None:
    """The service allows 30 requests a minute, for any pipeline setting; the clock is fake."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    monkeypatch.setenv("CP_REQUESTS_PER_MINUTE", str(thought_to_be_allowed))
    here.sandbox._service._rate = RateLimit(30, lambda: clock[0])
    for subject in range(350):
        here.put("N\n1\n", subject_id=subject)
    exports = open_pipeline()
    assert {type(result) for result in sync_all(exports)} == {PartitionLoaded}
    for subject in range(12):
        here.sandbox.execute_again(subject_id=subject)
        (result,) = sync_all(exports)
        assert isinstance(result, PartitionLoaded)
    assert one("SELECT count(*) FROM lineage.loads") == 362
    statuses = [each.status for each in here.sandbox.requests if each.kind != "file"]
    # One token, and four pages for each of 13 listings. So at least one minute must pass.
    assert statuses.count(200) == 53
    assert statuses.count(429) == len(statuses) - 53
    assert statuses.count(429) <= (0 if thought_to_be_allowed == 30 else 2)
    assert 60 <= clock[0] < 130


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


PLACES = ("http://127.0.0.2:{port}/x", "file:///etc/passwd", "http://169.254.169.254/latest",
          "http://10.0.0.1/x", "//127.0.0.2:{port}/x", "ftp://127.0.0.2/x")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["token", "listing", "file"])
def test_a_redirect_is_never_followed(
    here: Site, elsewhere: Elsewhere, kind: str, place: str
) -> None:
    here.put("N\n1\n")
    headers = {"Location": place.format(port=elsewhere.server_port)}
    here.sandbox.faults.add(kind, Answer(302, b"", headers), 9)  # type: ignore[arg-type]
    if kind == "file":
        (result,) = here.sync()
        assert isinstance(result, PartitionFailed)
        assert "redirect" in result.error
    else:
        with pytest.raises(PipelineError, match="redirect"):
            here.sync()
    assert elsewhere.came == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://x/y", "ftp://x/y", "/etc/passwd", "x"]
)
def test_a_link_that_is_not_https_is_refused_where_nobody_allowed_it(here: Site, url: str) -> None:
    here.put("N\n1\n")
    access = CentrePointSettings.from_environment(here.sandbox.environment)
    exports = Pipeline(access, StorageSettings.from_environment())
    (item,) = exports.survey().items
    exports.centrepoint._downloads._allow_insecure_http = False
    with pytest.raises(PipelineError, match="not HTTPS"):
        exports.centrepoint.fetch(replace(item, url=url), lambda _, chunks: b"".join(chunks))


def test_items_of_another_study_or_subject_are_left_out(here: Site) -> None:
    here.put("N\n1\n", subject_id=1)
    here.put("N\n2\n", subject_id=2)
    here.sandbox.ignore_filters = True
    exports = open_pipeline()
    listed = exports.survey(Request.of([1], ["Kinds"]))
    assert [item.subject_id for item in listed.items] == [1]
    (item, _) = exports.survey().items
    of_another = {
        "studyId": 9, "subjectId": 1, "studyProgramId": item.study_program_id,
        "dataSetName": "Kinds", "fileName": "x.csv.gz", "fileFormat": "csv", "fileUrl": item.url,
        "modifiedDate": str(item.modified),
        "lastSuccessfulProgramExecutionTimeStamp": item.execution.verbatim,
    }  # fmt: skip
    page = {"items": [of_another], "totalCount": 1, "links": {}}
    here.sandbox.fail("listing", status=200, body=json.dumps(page))
    assert exports.survey().items == ()
