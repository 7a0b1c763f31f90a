"""The client reads subjects, study programs and data sets.

Docs/api.md, "The study around the exports".
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cp_pipeline.centrepoint import (
    AnswerNotUnderstood,
    CentrePoint,
    ResourceMissing,
    ServiceError,
    ServiceUnavailable,
    StudyRefused,
    SubjectsPage,
    TokenRefused,
)
from cp_pipeline.domain.executions import (
    ProgramDataset,
    StudyProgram,
    SubjectExecution,
    SubjectItem,
)
from cp_pipeline.domain.exports import Instant
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.centrepoint.clients import STUDY, asked, connect, forget_tokens
from cp_pipeline_tests.centrepoint.scripted import TOKEN, Asked, Said, Scripted, page_of
from cp_pipeline_tests.faults import FaultySandbox

PROGRAM = "5e65f4e3-6996-41fe-a5aa-c79210285f7e"
OTHER = "aaaaaaaa-6996-41fe-a5aa-c79210285f7e"
MOMENT = "2024-02-29T10:09:20.5899754+00:00"
RAN = "lastSuccessfulProgramExecutionTimeStamp"
EXECUTION = {"studyProgramId": PROGRAM, "studyProgramName": "Activity (30)", RAN: MOMENT}
SUBJECT: dict[str, Any] = {
    "studyId": STUDY,
    "subjectId": 7,
    "lastRawUploadedTimeStamp": MOMENT,
    "studyProgramExecutions": [EXECUTION],
}
UNDERSTOOD = SubjectExecution(STUDY, 7, PROGRAM, "Activity (30)", Instant.parse(MOMENT))


def page_with(sandbox: FaultySandbox, *items: object) -> SubjectsPage:
    sandbox.fail("subjects", 200, body=json.dumps({"items": items, "totalCount": len(items)}))
    return connect(sandbox).subjects_page(STUDY)


def every_page(centrepoint: CentrePoint) -> Iterator[SubjectsPage]:
    offset: int | None = 0
    while offset is not None:
        page = centrepoint.subjects_page(STUDY, offset)
        yield page
        offset = page.next_offset


def test_the_subjects_are_those_of_the_service(sandbox: FaultySandbox) -> None:
    sandbox.study.enrol(5)
    sandbox.study.enrol(6, None)
    page = connect(sandbox).subjects_page(STUDY)
    assert (page.invalid, page.total, page.next_offset) == (0, 5, None)
    by_id = {subject.subject_id: subject for subject in page.subjects}
    assert list(by_id) == [10821, 10822, 10823, 5, 6]
    for file in sandbox.study.export_files:
        (run,) = [
            each
            for each in by_id[file.subject_id].executions
            if each.study_program_id == file.study_program_id
        ]
        assert str(run.execution) == file.execution
        assert (run.study_id, run.subject_id) == (STUDY, file.subject_id)
    for never in (5, 6):
        assert by_id[never].last_upload is None
        assert {each.execution for each in by_id[never].executions} == {None}
        assert len(by_id[never].executions) == 5
    assert by_id[10821].last_upload is not None


def test_programs_and_their_data_sets_are_those_of_the_service(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    programs = centrepoint.programs(STUDY)
    assert programs == tuple(
        StudyProgram(STUDY, each.study_program_id, each.name) for each in sandbox.study.programs
    )
    assert len({each.name for each in programs}) == 3
    for program in programs:
        (dataset,) = centrepoint.program_datasets(STUDY, program.study_program_id.upper())
        assert dataset == ProgramDataset(STUDY, program.study_program_id, dataset.dataset_name)
        assert [dataset.dataset_name] == [*sandbox.study.index.data_sets[program.study_program_id]]


def test_one_request_reads_a_hundred_subjects() -> None:
    study = SandboxStudy(STUDY)
    for number in range(250):
        study.enrol(number)
    with FaultySandbox(study) as sandbox:
        pages = list(every_page(connect(sandbox)))
        assert [len(page.subjects) for page in pages] == [100, 100, 50]
        assert {page.total for page in pages} == {250}
        assert asked(sandbox, "subjects") == [("subjects", 200)] * 3
    found = [subject.subject_id for page in pages for subject in page.subjects]
    assert found == list(range(250))


def test_more_than_a_page_of_programs_and_data_sets_is_read() -> None:
    study = SandboxStudy(STUDY)
    for number in range(130):
        study.put(subject_id=1, data_set_name=f"D{number}", csv=b"N\n1\n", study_program_id=PROGRAM)
        study.put(subject_id=1, data_set_name=f"E{number}", csv=b"N\n1\n")
    with FaultySandbox(study) as sandbox:
        centrepoint = connect(sandbox)
        assert len(centrepoint.programs(STUDY)) == 131
        assert len(centrepoint.program_datasets(STUDY, PROGRAM)) == 130
        assert asked(sandbox, "programs", "datasets") == [
            ("programs", 200), ("programs", 200), ("datasets", 200), ("datasets", 200),
        ]  # fmt: skip


@pytest.mark.parametrize("cap", [1, 7, 40])
def test_smaller_pages_than_asked_for_are_read_to_the_end(cap: int) -> None:
    def answer(asked: Asked) -> Said:
        offset = int(asked.query["offset"][0])
        numbers = range(offset, min(offset + cap, 45))
        return page_of(*({**SUBJECT, "subjectId": number} for number in numbers), total=45)

    with Scripted(answer) as service:
        pages = list(every_page(CentrePoint(service.settings)))
        assert all(asked.headers["Authorization"] == f"Bearer {TOKEN}"
                   for asked in service.asked if asked.path != "/token")  # fmt: skip
    found = [subject.subject_id for page in pages for subject in page.subjects]
    assert found == list(range(45))


def test_an_empty_page_in_the_middle_ends_nothing() -> None:
    def answer(asked: Asked) -> Said:
        offset = int(asked.query["offset"][0])
        items = [] if offset == 100 else [{**SUBJECT, "subjectId": offset}] * 100
        return page_of(*items, total=300)

    with Scripted(answer) as service:
        pages = list(every_page(CentrePoint(service.settings)))
    assert [len(page.subjects) for page in pages] == [100, 0, 100]


def test_a_service_that_ignores_the_offset_is_not_asked_for_ever() -> None:
    program = {"studyId": STUDY, "studyProgramId": PROGRAM, "studyProgramName": "A"}
    with Scripted(lambda asked: page_of(program, total=10**6)) as service:
        assert len(CentrePoint(service.settings).programs(STUDY)) == 1
        assert len(service.asked) < 20


@pytest.mark.parametrize("kind", ["subjects", "programs", "datasets"])
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, ResourceMissing, "no list of the .* of study 4711"),
        (405, ResourceMissing, "no list of the .* of study 4711"),
        (403, StudyRefused, "no access to study 4711.*CP_STUDY_ID"),
        (401, TokenRefused, "refused a new access token while listing the"),
        (400, AnswerNotUnderstood, "refused the request while listing the"),
        (503, ServiceUnavailable, "failed while listing the .* of study 4711"),
    ],
)
@pytest.mark.usefixtures("no_backoff")
def test_a_refusal_is_told_in_words(
    sandbox: FaultySandbox, kind: Any, status: int, error: type[ServiceError], words: str
) -> None:
    centrepoint = connect(sandbox)
    sandbox.fail(kind, status, times=20, body="<p>No.</p>")
    calls: dict[str, Callable[[], object]] = {
        "subjects": lambda: centrepoint.subjects_page(STUDY),
        "programs": lambda: centrepoint.programs(STUDY),
        "datasets": lambda: centrepoint.program_datasets(STUDY, PROGRAM),
    }
    with pytest.raises(error, match=words):
        calls[kind]()


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_without_the_lists_still_lists_its_exports(
    sandbox: FaultySandbox, status: int
) -> None:
    sandbox.lack("subjects", "programs", "datasets", status=status)
    centrepoint = connect(sandbox)
    with pytest.raises(ResourceMissing):
        centrepoint.subjects_page(STUDY)
    assert len(centrepoint.list_export_files(STUDY).items) == 14


def test_an_expired_token_is_replaced_once(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    centrepoint.subjects_page(STUDY)
    forget_tokens(sandbox)
    assert len(centrepoint.subjects_page(STUDY).subjects) == 3
    assert asked(sandbox) == [
        ("token", 200), ("subjects", 200), ("subjects", 401), ("token", 200), ("subjects", 200),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "answer", ["<html>", "", "[]", "null", '{"items": []}', '{"items": 1, "totalCount": 1}']
)
def test_what_is_no_page_is_not_understood(sandbox: FaultySandbox, answer: str) -> None:
    centrepoint = connect(sandbox)
    for kind in ("subjects", "programs", "datasets"):
        sandbox.fail(kind, 200, body=answer)
    with pytest.raises(AnswerNotUnderstood, match="listing the subjects of study 4711"):
        centrepoint.subjects_page(STUDY)
    with pytest.raises(AnswerNotUnderstood, match="listing the study programs of study 4711"):
        centrepoint.programs(STUDY)
    with pytest.raises(AnswerNotUnderstood, match="listing the data sets of study program"):
        centrepoint.program_datasets(STUDY, PROGRAM)


@pytest.mark.parametrize(
    "item",
    [
        None,
        1,
        "subject",
        [],
        {},
        {**SUBJECT, "studyId": STUDY + 1},
        {**SUBJECT, "studyId": str(STUDY)},
        {**SUBJECT, "studyId": None},
        {**SUBJECT, "subjectId": "7"},
        {**SUBJECT, "subjectId": 7.0},
        {**SUBJECT, "subjectId": True},
        {**SUBJECT, "subjectId": None},
        {**SUBJECT, "subjectId": 2**63},
        {name: SUBJECT[name] for name in SUBJECT if name != "subjectId"},
    ],
    ids=str,
)
def test_an_invalid_subject_is_left_out_and_counted(sandbox: FaultySandbox, item: object) -> None:
    page = page_with(sandbox, item, SUBJECT)
    assert page.subjects == (SubjectItem(STUDY, 7, Instant.parse(MOMENT), (UNDERSTOOD,)),)
    assert (page.invalid, page.total) == (1, 2)


@pytest.mark.parametrize(
    "execution",
    [
        None,
        7,
        [],
        {},
        {**EXECUTION, "studyProgramId": None},
        {**EXECUTION, "studyProgramId": ""},
        {**EXECUTION, "studyProgramId": 5},
        {**EXECUTION, "studyProgramId": "\ud800"},
        {**EXECUTION, RAN: "yesterday"},
        {**EXECUTION, RAN: 5},
        {**EXECUTION, RAN: "2024-02-29T10:09:20"},
        {**EXECUTION, RAN: "9999-12-31T00:00:00Z"},
    ],
    ids=repr,
)
def test_a_half_understood_subject_keeps_its_valid_executions(
    sandbox: FaultySandbox, execution: object
) -> None:
    other = {**EXECUTION, "studyProgramId": OTHER}
    page = page_with(sandbox, {**SUBJECT, "studyProgramExecutions": [execution, other]})
    (subject,) = page.subjects
    assert [each.study_program_id for each in subject.executions] == [OTHER]
    assert page.invalid == 1


@pytest.mark.parametrize(
    ("changes", "last_upload", "executions", "invalid"),
    [
        ({"lastRawUploadedTimeStamp": None}, None, 1, 0),
        ({"lastRawUploadedTimeStamp": "0001-01-01T00:00:00+00:00"}, None, 1, 0),
        ({"lastRawUploadedTimeStamp": "soon"}, None, 1, 1),
        ({"studyProgramExecutions": None}, MOMENT, 0, 0),
        ({"studyProgramExecutions": []}, MOMENT, 0, 0),
        ({"studyProgramExecutions": "none"}, MOMENT, 0, 1),
        ({"studyProgramExecutions": {"a": 1}}, MOMENT, 0, 1),
        ({"siteId": 5}, MOMENT, 1, 0),
    ],
)
def test_a_subject_is_read_as_far_as_it_can_be(
    sandbox: FaultySandbox, changes: Any, last_upload: str | None, executions: int, invalid: int
) -> None:
    page = page_with(sandbox, {**SUBJECT, **changes})
    (subject,) = page.subjects
    assert subject.last_upload == (None if last_upload is None else Instant.parse(last_upload))
    assert (len(subject.executions), page.invalid) == (executions, invalid)


@pytest.mark.parametrize("never", [None, "0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00Z"])
def test_year_one_and_null_are_never(sandbox: FaultySandbox, never: str | None) -> None:
    item = {**SUBJECT, "studyProgramExecutions": [{**EXECUTION, RAN: never}]}
    ((subject,), invalid) = (page := page_with(sandbox, item)).subjects, page.invalid
    assert [each.execution for each in subject.executions] == [None]
    assert invalid == 0


def test_a_program_in_capitals_is_the_same_and_its_newest_execution_counts(
    sandbox: FaultySandbox,
) -> None:
    newer = {**EXECUTION, "studyProgramId": PROGRAM.upper(), RAN: "2024-03-01T00:00:00Z"}
    never = {**EXECUTION, "studyProgramName": 5, RAN: None}
    for listed in ([never, newer, EXECUTION], [EXECUTION, never, newer]):
        (subject,) = page_with(sandbox, {**SUBJECT, "studyProgramExecutions": listed}).subjects
        (run,) = subject.executions
        assert (run.study_program_id, str(run.execution)) == (PROGRAM, newer[RAN])


@pytest.mark.parametrize("name", [None, 5, "", "\ud800"])
def test_an_execution_needs_no_name_of_its_program(sandbox: FaultySandbox, name: object) -> None:
    item = {**SUBJECT, "studyProgramExecutions": [{**EXECUTION, "studyProgramName": name}]}
    page = page_with(sandbox, item)
    assert [each.program_name for each in page.subjects[0].executions] == [None]
    assert page.invalid == 0


def test_invalid_programs_and_data_sets_are_left_out(sandbox: FaultySandbox) -> None:
    program = {"studyId": STUDY, "studyProgramId": PROGRAM, "studyProgramName": "Activity (30)"}
    wrong = [None, 5, {}, {**program, "studyId": 9}, {**program, "studyProgramName": None}]
    body = json.dumps({"items": [*wrong, program, program], "totalCount": 7})
    sandbox.fail("programs", 200, body=body)
    assert connect(sandbox).programs(STUDY) == (StudyProgram(STUDY, PROGRAM, "Activity (30)"),)
    dataset = {"studyProgramId": PROGRAM.upper(), "dataSetName": "Steps"}
    wrong = [5, None, {**dataset, "studyProgramId": OTHER}, {**dataset, "dataSetName": 8}]
    body = json.dumps({"items": [*wrong, dataset], "totalCount": 5})
    sandbox.fail("datasets", 200, body=body)
    assert connect(sandbox).program_datasets(STUDY, PROGRAM) == (
        ProgramDataset(STUDY, PROGRAM, "Steps"),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([MOMENT, PROGRAM, STUDY, 7, 2**64, "0001-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "studyId": JSON,
        "subjectId": JSON,
        "lastRawUploadedTimeStamp": JSON,
        "studyProgramId": JSON,
        "studyProgramName": JSON,
        "dataSetName": JSON,
        "studyProgramExecutions": JSON
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"studyProgramId": JSON, "studyProgramName": JSON, RAN: JSON}
            )
        ),
    },
)


@pytest.fixture(scope="module")
def shared() -> Iterator[FaultySandbox]:
    with FaultySandbox(SandboxStudy.empty(), requests_per_minute=10**6) as sandbox:
        yield sandbox


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields=JSON | FIELDS, around=st.booleans())
def test_whatever_an_item_is_no_exception_comes(
    shared: FaultySandbox, fields: Any, around: bool
) -> None:
    item = {**SUBJECT, **fields} if around and isinstance(fields, dict) else fields
    centrepoint = connect(shared, requests_per_minute=10**6)
    body = json.dumps({"items": [item, SUBJECT], "totalCount": 2})
    for kind in ("subjects", "programs", "datasets"):
        shared.fail(kind, 200, body=body)
    page = centrepoint.subjects_page(STUDY)
    assert page.subjects[-1].subject_id == 7
    assert page.invalid + sum(len(each.executions) for each in page.subjects) >= 1
    assert len(page.subjects) + page.invalid >= 2
    centrepoint.programs(STUDY)
    centrepoint.program_datasets(STUDY, PROGRAM)
