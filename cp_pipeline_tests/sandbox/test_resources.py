"""What the sandbox promises about subjects, study programs and their data sets.

Docs/api.md, "The study around the exports".
"""

import time
from typing import Any

import pytest
import requests

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.sandbox.roster import YEAR_ONE
from cp_pipeline.sandbox.timestamps import TICKS_PER_SECOND, ticks_of
from cp_pipeline_tests.executions import execute_before_writing, execute_without_file, put_file
from cp_pipeline_tests.faults import FaultySandbox, Resource
from cp_pipeline_tests.sandbox.raw_requests import CURRENT, SEED, ask_for_page, authorization, items

EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
HOUR = 3_600 * TICKS_PER_SECOND
NEW_PROGRAM = "11111111-2222-4333-8444-555555555555"


def ask(sandbox: FaultySandbox, path: str, **query: int) -> requests.Response:
    url = f"{sandbox.environment['CP_API_URL']}/studies/4711/{path}"
    return requests.get(url, headers=authorization(sandbox), params=query, timeout=10)


def got(sandbox: FaultySandbox, path: str, **query: int) -> Any:
    answer = ask(sandbox, path, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def executions(sandbox: FaultySandbox, subject_id: int) -> dict[str, str | None]:
    subject = got(sandbox, f"subjects/{subject_id}")
    return {each["studyProgramId"]: each[EXECUTION] for each in subject["studyProgramExecutions"]}


def test_a_subject_has_the_execution_of_each_program(sandbox: FaultySandbox) -> None:
    page = got(sandbox, "subjects")
    assert set(page) == {"items", "links", "totalCount", "limit", "offset"}
    assert [each["subjectId"] for each in page["items"]] == [10821, 10822, 10823]
    listed = {(each["subjectId"], each["studyProgramId"]): each for each in items(sandbox)}
    for subject in page["items"]:
        assert subject == got(sandbox, f"subjects/{subject['subjectId']}")
        assert subject["studyId"] == 4711
        newest = max(
            ticks_of(each[EXECUTION]) or 0 for each in subject["studyProgramExecutions"]
        )  # fmt: skip
        assert 2 * HOUR <= newest - (ticks_of(subject["lastRawUploadedTimeStamp"]) or 0) < 11 * HOUR
        for each in subject["studyProgramExecutions"]:
            item = listed.pop((subject["subjectId"], each["studyProgramId"]), {EXECUTION: YEAR_ONE})
            assert each[EXECUTION] == item[EXECUTION]
    # The last subject has no barometer, whose program therefore was never executed for it.
    assert listed == {}


def test_two_programs_may_share_a_name(sandbox: FaultySandbox) -> None:
    programs = got(sandbox, "programs")["items"]
    names = [each["studyProgramName"] for each in programs]
    assert names == [
        "Activity (30)", "Activity (30)", "Leap (12)", "ParamsAndSubject (31)",
        "ParamsAndSubject (31)",
    ]  # fmt: skip
    assert len({each["studyProgramId"] for each in programs}) == 5
    for program in programs:
        identifier = program["studyProgramId"]
        assert program == got(sandbox, f"programs/{identifier.upper()}")
        (data_set,) = got(sandbox, f"programs/{identifier}/datasets")["items"]
        assert data_set["studyProgramId"] == identifier
        assert {data_set["dataSetName"]} == {
            each["dataSetName"] for each in items(sandbox, studyProgramId=identifier)
        }


@pytest.mark.parametrize("path", ["subjects", "programs", "PROGRAMS/{program}/DataSets"])
def test_all_lists_are_paged_like_the_listing(path: str) -> None:
    study = SandboxStudy.synthetic(subjects=5, days=1, data_set_count=17, epoch_rows=5)
    program = study.programs[-1].study_program_id
    path = path.format(program=program)
    with FaultySandbox(study) as sandbox:
        whole = got(sandbox, path)
        count = whole["totalCount"]
        assert count == len(whole["items"]) > 0
        single = [got(sandbox, path, limit=1, offset=place)["items"] for place in range(count)]
        assert [item for page in single for item in page] == whole["items"]
        assert got(sandbox, path, offset=count)["items"] == []
        for wrong in ({"limit": 0}, {"limit": 101}, {"offset": -1}):
            assert ask(sandbox, path, **wrong).status_code == 400


def test_several_data_sets_of_one_program_have_one_execution() -> None:
    study = SandboxStudy.synthetic(subjects=2, days=1, data_set_count=9, epoch_rows=5)
    program = study.programs[-1].study_program_id
    assert len(study.index.data_sets[program]) == 5
    for _ in range(2):
        executed = study.execute_again(10821, study_program_id=program)
        assert len({file.execution for file in executed}) == 1
        assert len({file.data_set_name for file in executed}) == 5


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("subjects/1", 404),
        ("subjects/x", 400),
        ("programs/nothing", 404),
        ("programs/nothing/datasets", 404),
        ("subjects/10821/more", 404),
        ("subject", 404),
        ("datasetfiles/1", 404),
    ],
)
def test_what_is_not_there_is_refused(sandbox: FaultySandbox, path: str, status: int) -> None:
    answer = ask(sandbox, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_token_and_the_right_study_are_needed(sandbox: FaultySandbox) -> None:
    url = f"{sandbox.environment['CP_API_URL']}/studies/4711/subjects"
    assert requests.get(url, timeout=10).status_code == 401
    another, headers = url.replace("4711", "4712"), authorization(sandbox)
    assert requests.get(another, headers=headers, timeout=10).status_code == 403
    assert requests.post(url, headers=headers, timeout=10).status_code == 405
    assert [each.kind for each in sandbox.requests if each.method == "GET"] == ["subjects"] * 2


def test_the_rate_limit_counts_every_list(study: SandboxStudy) -> None:
    with FaultySandbox(study, requests_per_minute=4) as sandbox:
        headers, base = authorization(sandbox), f"{sandbox.environment['CP_API_URL']}/studies/4711/"
        program = study.programs[0].study_program_id
        paths = ["subjects", "programs", f"programs/{program}/datasets", "subjects"]
        answers = [requests.get(base + path, headers=headers, timeout=10) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [each.kind for each in sandbox.requests] == [
            "token", "subjects", "programs", "datasets", "subjects",
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["subjects", "programs", "datasets"])
def test_each_list_fails_on_demand(sandbox: FaultySandbox, kind: Any) -> None:
    program = sandbox.study.programs[0].study_program_id
    path = f"programs/{program}/datasets" if kind == "datasets" else kind
    sandbox.fail(kind, 404)
    sandbox.fail(kind, 500, body="out of order")
    assert [ask(sandbox, path).status_code for _ in range(3)] == [404, 500, 200]


@pytest.mark.parametrize("resource", ["subjects", "programs", "datasets", SEED, CURRENT])
@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_service_may_lack_a_resource_for_good(
    sandbox: FaultySandbox, resource: Resource, status: int
) -> None:
    program = sandbox.study.programs[0].study_program_id
    sandbox.lack(resource, status=status)
    for each in ("subjects", "programs", f"programs/{program}/datasets", SEED, CURRENT):
        lacking = each.rpartition("/")[2] == resource
        assert ask(sandbox, each).status_code == (status if lacking else 200)
    sandbox.lack_nothing()
    assert ask_for_page(sandbox, resource if resource in (SEED, CURRENT) else SEED).ok
    with pytest.raises(ValueError, match="No such resource"):
        sandbox.lack("files")  # type: ignore[arg-type]


@pytest.mark.parametrize("never", [YEAR_ONE, None])
def test_an_enrolled_subject_has_no_export_and_was_never_executed(
    sandbox: FaultySandbox, never: str | None
) -> None:
    sandbox.study.enrol(99, never)
    subject = got(sandbox, "subjects/99")
    assert subject["lastRawUploadedTimeStamp"] == never
    assert set(executions(sandbox, 99).values()) == {never}
    assert len(executions(sandbox, 99)) == 5
    assert items(sandbox, subjectId=99) == []
    assert got(sandbox, "subjects")["totalCount"] == 4


def test_a_program_may_be_executed_without_a_file(sandbox: FaultySandbox) -> None:
    study = sandbox.study
    known = study.programs[0].study_program_id
    execute_without_file(study, 10821, known, "2030-01-01T00:00:00Z")
    assert executions(sandbox, 10821)[known] == "2030-01-01T00:00:00Z"
    execute_without_file(study, 10821, known, "2029-01-01T00:00:00Z")
    assert executions(sandbox, 10821)[known] == "2030-01-01T00:00:00Z"
    execute_without_file(study, 7, NEW_PROGRAM, "2031-01-01T00:00:00Z")
    assert executions(sandbox, 7)[NEW_PROGRAM] == "2031-01-01T00:00:00Z"
    assert got(sandbox, f"programs/{NEW_PROGRAM}")["studyProgramName"] == "Unlisted"
    assert got(sandbox, f"programs/{NEW_PROGRAM}/datasets")["totalCount"] == 0
    assert executions(sandbox, 10821)[NEW_PROGRAM] == YEAR_ONE
    assert len(items(sandbox)) == 14
    execute_without_file(study, 8, NEW_PROGRAM)
    assert str(executions(sandbox, 8)[NEW_PROGRAM]) > YEAR_ONE


def test_an_execution_may_come_before_its_file(sandbox: FaultySandbox) -> None:
    study = sandbox.study
    (old,) = items(sandbox, subjectId=10821, dataSetName="ActivityDaily8")
    old_bytes = requests.get(old["fileUrl"], timeout=10).content
    (executed,) = execute_before_writing(study, 10821, "ActivityDaily8")
    (pending,) = items(sandbox, subjectId=10821, dataSetName="ActivityDaily8")
    assert (ticks_of(pending["modifiedDate"]) or 0) < (ticks_of(pending[EXECUTION]) or 0)
    assert executions(sandbox, 10821)[old["studyProgramId"]] == pending[EXECUTION]
    assert pending[EXECUTION] == executed.execution
    for field in ("fileName", "modifiedDate"):
        assert pending[field] == old[field]
    assert requests.get(pending["fileUrl"], timeout=10).content == old_bytes
    put_file(study, executed)
    (written,) = items(sandbox, subjectId=10821, dataSetName="ActivityDaily8")
    assert written[EXECUTION] == pending[EXECUTION]
    assert (ticks_of(written["modifiedDate"]) or 0) > (ticks_of(written[EXECUTION]) or 0)
    assert written["fileName"] != old["fileName"]
    assert requests.get(written["fileUrl"], timeout=10).content != old_bytes
    assert requests.get(old["fileUrl"], timeout=10).status_code == 404


def test_a_withdrawn_export_leaves_the_execution(sandbox: FaultySandbox) -> None:
    before = executions(sandbox, 10821)
    sandbox.study.withdraw(subject_id=10821, data_set_name="ActivityDaily8")
    assert executions(sandbox, 10821) == before


def test_the_newest_export_of_a_pair_says_when_it_was_executed(sandbox: FaultySandbox) -> None:
    for name, moment in (("A", "2024-02-01T00:00:00.3Z"), ("B", "2024-02-01T01:00:00.2+01:00")):
        sandbox.study.put(
            subject_id=5, data_set_name=name, csv=b"N\n1\n", study_program_id=NEW_PROGRAM,
            execution=moment, study_program_name="Both (2)",
        )  # fmt: skip
    assert executions(sandbox, 5)[NEW_PROGRAM] == "2024-02-01T00:00:00.3Z"
    assert got(sandbox, f"programs/{NEW_PROGRAM}")["studyProgramName"] == "Both (2)"


def test_pages_of_a_large_study_come_fast() -> None:
    study = SandboxStudy.synthetic(subjects=1_000, days=1, data_set_count=20, epoch_rows=5)
    with FaultySandbox(study) as sandbox:
        headers = authorization(sandbox)
        base = f"{sandbox.environment['CP_API_URL']}/studies/4711"
        with requests.Session() as session:
            for path in (f"{CURRENT}?offset=20000", "subjects?offset=500", "programs"):
                seconds = []
                for _ in range(5):
                    before = time.perf_counter()
                    answer = session.get(f"{base}/{path}", headers=headers, timeout=10)
                    assert answer.json()["items"]
                    seconds.append(time.perf_counter() - before)
                # Usually 3 ms; machines that are busy take longer.
                assert min(seconds) < 0.1
