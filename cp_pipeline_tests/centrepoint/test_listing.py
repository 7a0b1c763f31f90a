"""The client lists all export files of a study (docs/api.md, "A page")."""

import json
import time
from typing import Any

import pytest

from cp_pipeline.centrepoint import (
    AnswerNotUnderstood,
    CentrePoint,
    Filters,
    ServiceUnavailable,
    StudyRefused,
)
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline_tests.centrepoint.clients import (
    CURRENT,
    SEED,
    STUDY,
    asked,
    connect,
    settings_of,
    small_study,
)
from cp_pipeline_tests.centrepoint.scripted import TOKEN, Asked, Said, Scripted, page_of
from cp_pipeline_tests.faults import FaultySandbox

DIALECTS = pytest.mark.parametrize("dialect", [SEED, CURRENT])
PARAMETERS = "ParamsAndSubject (31)"


@DIALECTS
def test_every_item_is_listed_as_the_service_has_it(sandbox: FaultySandbox, dialect: str) -> None:
    listed = connect(sandbox, dialect=dialect).list_export_files(STUDY).items
    assert [
        (
            file.study_id,
            file.subject_id,
            file.study_program_id,
            file.dataset_name,
            file.file_name,
            str(file.execution),
            str(file.modified),
        )
        for file in listed
    ] == [
        (
            file.study_id,
            file.subject_id,
            file.study_program_id,
            file.data_set_name,
            file.file_name,
            file.execution,
            file.modified,
        )
        for file in sandbox.study.export_files
    ]
    assert {file.file_format for file in listed} == {"csv"}
    assert all(file.url.startswith(f"{sandbox.base_url}/blobs/") for file in listed)


def test_both_dialects_list_the_same_whatever_is_asked_for(sandbox: FaultySandbox) -> None:
    program = sandbox.study.export_files[0].study_program_id
    seed, current = connect(sandbox, dialect=SEED), connect(sandbox, dialect=CURRENT)
    for filters, count in [
        (Filters(), 14),
        (Filters(subject_id=10822), 5),
        (Filters(dataset_name=PARAMETERS), 6),
        (Filters(study_program_id=program.upper()), 3),
        (Filters(10821, program, sandbox.study.export_files[0].data_set_name), 1),
        (Filters(subject_id=1), 0),
    ]:
        listed = seed.list_export_files(STUDY, filters).items
        assert listed == current.list_export_files(STUDY, filters).items
        assert len(listed) == count
    assert seed.count_export_files(STUDY) == current.count_export_files(STUDY) == 14


@DIALECTS
def test_filters_reach_the_service_so_that_one_page_is_enough(dialect: str) -> None:
    with FaultySandbox(small_study(250)) as sandbox:
        (only,) = connect(sandbox, dialect=dialect).list_export_files(STUDY, Filters(207)).items
        assert only.subject_id == 207
        assert asked(sandbox, "listing") == [("listing", 200)]


def test_the_seeds_filters_are_members_of_a_json_body() -> None:
    with Scripted(lambda asked: page_of()) as service:
        CentrePoint(service.settings).list_export_files(STUDY, Filters(7, "guid", "Steps"))
        request = service.asked[-1]
    assert request.path == "/studies/4711/datasetexportfiles"
    assert request.query == {"limit": ["100"], "offset": ["0"]}
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "subjectId": 7,
        "studyProgramId": "guid",
        "dataSetName": "Steps",
    }


def test_the_current_dialects_filters_are_query_parameters_without_a_body() -> None:
    with Scripted(lambda asked: page_of()) as service:
        settings = CentrePointSettings(
            **{name: getattr(service.settings, name) for name in CentrePointSettings.__slots__}
            | {"dialect": CURRENT}
        )
        CentrePoint(settings).list_export_files(STUDY, Filters(7, None, PARAMETERS))
        request = service.asked[-1]
    assert request.path == "/studies/4711/datasetfiles"
    assert request.body == b""
    assert request.query == {
        "limit": ["100"],
        "offset": ["0"],
        "subjectId": ["7"],
        "dataSetName": [PARAMETERS],
    }


@DIALECTS
def test_pages_are_read_by_offset_and_links_to_the_next_are_never_followed(dialect: str) -> None:
    with FaultySandbox(small_study(250)) as sandbox:
        listed = connect(sandbox, dialect=dialect).list_export_files(STUDY).items
        assert [file.subject_id for file in listed] == list(range(1, 251))
        assert asked(sandbox, "listing") == [("listing", 200)] * 3


def test_a_server_with_smaller_pages_than_asked_for_is_read_to_the_end() -> None:
    def answer(asked: Asked) -> Said:
        offset = int(asked.query["offset"][0])
        return page_of(*ITEMS[offset : offset + 2], total=5)

    with Scripted(answer) as service:
        listed = CentrePoint(service.settings).list_export_files(STUDY).items
        assert [file.subject_id for file in listed] == [1, 2, 3, 4, 5]


ITEMS: list[dict[str, Any]] = [
    {
        "studyId": STUDY,
        "subjectId": number,
        "studyProgramId": "5e65f4e3-6996-41fe-a5aa-c79210285f7e",
        "dataSetName": "Steps",
        "fileName": "x.csv.gz",
        "fileFormat": "csv",
        "modifiedDate": "2024-02-29T10:09:20.5899754+00:00",
        "lastSuccessfulProgramExecutionTimeStamp": "2024-02-29T10:09:20.58+00:00",
        "fileUrl": "https://blobs.example.invalid/x.csv.gz?sig=abc",
    }
    for number in range(1, 6)
]


@DIALECTS
def test_a_study_without_exports_is_an_empty_list_and_no_error(dialect: str) -> None:
    with FaultySandbox(SandboxStudy.empty(STUDY)) as sandbox:
        centrepoint = connect(sandbox, dialect=dialect)
        assert centrepoint.list_export_files(STUDY).items == ()
        assert centrepoint.count_export_files(STUDY) == 0
        assert asked(sandbox, "listing") == [("listing", 200)] * 2


@DIALECTS
def test_what_was_not_asked_for_is_left_out_where_filters_are_ignored(
    sandbox: FaultySandbox, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.ignore_filters = True
    centrepoint = connect(sandbox, dialect=dialect)
    program = sandbox.study.export_files[0].study_program_id
    assert {
        each.subject_id for each in centrepoint.list_export_files(STUDY, Filters(10822)).items
    } == {10822}
    by_name = centrepoint.list_export_files(STUDY, Filters(dataset_name=PARAMETERS)).items
    assert {file.dataset_name for file in by_name} == {PARAMETERS}
    by_program = centrepoint.list_export_files(
        STUDY, Filters(study_program_id=program.upper())
    ).items
    assert {file.study_program_id for file in by_program} == {program}
    assert [len(by_name), len(by_program)] == [6, 3]
    assert "left out 9 listed files that were not requested" in caplog.text


def test_items_of_another_study_are_never_returned(study: SandboxStudy) -> None:
    study.study_id = 9
    study.put(subject_id=1, data_set_name="Steps", csv=b"STEPS\n1\n")
    study.study_id = STUDY
    with FaultySandbox(study) as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        assert len(listed) == 14
        assert {file.study_id for file in listed} == {STUDY}


def test_a_study_the_client_may_not_see_is_refused_naming_the_variable(
    sandbox: FaultySandbox,
) -> None:
    with pytest.raises(StudyRefused, match=r"study 9 .*CP_STUDY_ID"):
        connect(sandbox).list_export_files(9)
    with pytest.raises(StudyRefused, match=r"study 9 .*CP_STUDY_ID"):
        connect(sandbox).count_export_files(9)


def test_a_study_the_service_does_not_know_is_refused_naming_the_variables(
    sandbox: FaultySandbox,
) -> None:
    settings = settings_of(sandbox, api_url=f"{sandbox.base_url}/elsewhere")
    with pytest.raises(StudyRefused, match="CP_STUDY_ID, CP_API_URL and CP_EXPORT_DIALECT"):
        CentrePoint(settings).list_export_files(STUDY)


def test_a_refused_request_is_shown_with_its_words(sandbox: FaultySandbox) -> None:
    with pytest.raises(AnswerNotUnderstood, match="studyProgramId must be a GUID"):
        connect(sandbox, dialect=SEED).list_export_files(
            STUDY, Filters(study_program_id="nonsense")
        )
    assert len(asked(sandbox, "listing")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "<html><body>Sign in</body></html>",
        "",
        "{",
        "[]",
        "null",
        '{"items": []}',
        '{"totalCount": 0}',
        '{"items": null, "totalCount": 0}',
        '{"items": [], "totalCount": "many"}',
        '{"items": [], "totalCount": null}',
        '{"items": [], "totalCount": -1}',
        '{"items": [], "totalCount": 1e999}',
        '{"items": {"a": 1}, "totalCount": 1}',
        '{"items": "none", "totalCount": 4}',
        "[" * 100_000,
    ],
)
def test_an_answer_that_is_no_page_is_not_understood(sandbox: FaultySandbox, answer: str) -> None:
    sandbox.fail("listing", status=200, body=answer)
    with pytest.raises(AnswerNotUnderstood):
        connect(sandbox).list_export_files(STUDY)


def test_an_html_answer_is_shown_by_its_beginning_alone(sandbox: FaultySandbox) -> None:
    sandbox.fail("listing", status=200, body="<html>Sign in</html>" + "x" * 10_000)
    with pytest.raises(AnswerNotUnderstood, match=r"Sign in.*CP_API_URL") as refusal:
        connect(sandbox).list_export_files(STUDY)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_no_token_travels(status: int) -> None:
    with Scripted(lambda asked: page_of()) as elsewhere:
        location = f"{elsewhere.url}/studies/4711/datasetexportfiles"
        with Scripted(lambda asked: Said(status, headers={"Location": location})) as service:
            with pytest.raises(AnswerNotUnderstood, match=r"redirect .*CP_API_URL"):
                CentrePoint(service.settings).list_export_files(STUDY)
            assert service.asked[-1].headers["Authorization"] == f"Bearer {TOKEN}"
        assert elsewhere.asked == []


def test_a_page_cut_short_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = page_of(*ITEMS)
    cut = Said(body=whole.body[:-100], announced=str(len(whole.body)))
    with Scripted(lambda asked: cut) as service:
        start = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="listing the export files of study 4711"):
            CentrePoint(service.settings).list_export_files(STUDY)
        assert time.monotonic() - start < 30
