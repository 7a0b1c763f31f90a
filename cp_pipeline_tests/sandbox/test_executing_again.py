"""What the sandbox promises about programs that are executed again (docs/api.md, Facts)."""

import csv
import io
from itertools import pairwise
from typing import Any

import pytest
import requests

from cp_pipeline.sandbox import ExportFile, Sandbox, SandboxStudy
from cp_pipeline.sandbox.timestamps import text_of, ticks_of
from cp_pipeline_tests.sandbox.raw_requests import download, items

NAME = "lastSuccessfulProgramExecutionTimeStamp"


def key(item: dict[str, Any]) -> tuple[int, str, str]:
    """What stays when an item is replaced."""
    return item["subjectId"], item["dataSetName"], item["studyProgramId"]


def lines(file: ExportFile) -> list[list[str]]:
    """The CSV of an export file, header first."""
    return list(csv.reader(io.StringIO(file.csv.decode(), newline="")))


def ticks(text: str) -> int:
    """The ticks of a text that is a timestamp."""
    found = ticks_of(text)
    assert found is not None
    return found


def test_executing_again_renews_execution_content_name_and_url(sandbox: Sandbox) -> None:
    old = items(sandbox)
    before = {file.key: file for file in sandbox.study.export_files}
    changed = sandbox.execute_again()
    new = items(sandbox)
    assert len(changed) == len(old) == len(new) == 14
    for was, now in zip(old, new, strict=True):
        assert key(was) == key(now)
        assert ticks(now[NAME]) > ticks(was[NAME])
        assert ticks(now["modifiedDate"]) > ticks(now[NAME])
        assert now["fileName"] != was["fileName"]
        assert download(was).status_code == 404
        assert download(now).status_code == 200
    for file in changed:
        assert file.csv != before[file.key].csv
        assert len(lines(file)) == len(lines(before[file.key]))
        assert lines(file)[0] == lines(before[file.key])[0]


def test_values_change_plausibly(study: SandboxStudy) -> None:
    (before,) = (file for file in study.export_files if file.key[:2] == (10821, "ActivityDaily8"))
    (after,) = study.execute_again(10821, "ActivityDaily8")
    column = lines(before)[0].index("STEPS")
    for was, now in zip(lines(before)[1:], lines(after)[1:], strict=True):
        assert now[:4] == was[:4]
        assert int(now[column]) == pytest.approx(int(was[column]), rel=0.06)


def test_only_what_was_asked_for_is_executed(sandbox: Sandbox) -> None:
    old = items(sandbox)
    one = old[3]
    assert len(sandbox.execute_again(subject_id=10822)) == 5
    assert len(sandbox.execute_again(data_set_name="ActivityEpochs10")) == 3
    assert len(sandbox.execute_again(study_program_id=one["studyProgramId"].upper())) == 3
    assert sandbox.execute_again(subject_id=1) == []
    changed = {
        key(was) for was, now in zip(old, items(sandbox), strict=True) if was[NAME] != now[NAME]
    }
    assert len(changed) == 5 + 2 + 2


def test_programs_executed_together_still_differ_in_the_seventh_digit_alone(
    study: SandboxStudy,
) -> None:
    first, second = study.execute_again(10823, "ParamsAndSubject (31)")
    assert abs(ticks(first.execution) - ticks(second.execution)) == 1
    assert first.file_name == second.file_name
    assert first.container != second.container


def test_each_execution_is_later_and_the_same_in_every_equal_study() -> None:
    def history() -> list[tuple[str, bytes]]:
        study = SandboxStudy.synthetic(subjects=1, days=1, datasets=("ActivityDaily8",))
        files = [study.export_files[0], *(study.execute_again()[0] for _ in range(4))]
        return [(file.execution, file.csv) for file in files]

    executions = history()
    assert all(ticks(one[0]) < ticks(next_one[0]) for one, next_one in pairwise(executions))
    assert len({content for _, content in executions}) == 5
    assert executions == history()


def test_what_was_put_keeps_its_content_under_a_new_execution(study: SandboxStudy) -> None:
    first = study.put(
        subject_id=1, data_set_name="X", csv=b"A\n1\n", execution="2030-06-01T12:00:00.1+02:00"
    )
    (second,) = study.execute_again(subject_id=1)
    assert second.csv == first.csv
    assert ticks(second.execution) > ticks(first.execution)
    assert second.file_name != first.file_name
    study.put(subject_id=1, data_set_name="X", csv=b"A\n1\n", execution="not a date")
    (third,) = study.execute_again(subject_id=1)
    assert ticks(third.execution) > ticks(second.execution) - 10 * 365 * 86_400 * 10_000_000


def test_the_control_endpoint_executes_again_and_says_what(sandbox: Sandbox) -> None:
    url = f"{sandbox.base_url}/sandbox/executions"
    body = {"subjectId": 10821, "dataSetName": "ParamsAndSubject (31)"}
    answer = requests.post(url, json=body, timeout=10)
    assert answer.status_code == 200
    executed = answer.json()["executed"]
    listed = items(sandbox, subjectId=10821, dataSetName="ParamsAndSubject (31)")
    assert executed == [
        {name: item[name] for name in ("subjectId", "dataSetName", "studyProgramId", NAME)}
        for item in listed
    ]
    everything = requests.post(url, timeout=10).json()["executed"]
    assert len(everything) == 14
    assert requests.post(url, json={"subjectId": 1}, timeout=10).json() == {"executed": []}


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"subject": 10821}', b'{"additionalColumns": 1}', b'{"subjectId": "1"}']
)
def test_the_control_endpoint_executes_nothing_that_is_misspelt(
    sandbox: Sandbox, body: bytes
) -> None:
    before = sandbox.study.export_files
    answer = requests.post(f"{sandbox.base_url}/sandbox/executions", data=body, timeout=10)
    assert answer.status_code == 400
    assert sandbox.study.export_files == before
    assert requests.get(f"{sandbox.base_url}/sandbox/executions", timeout=10).status_code == 405


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T10:09:20.5899754+00:00",
        "2024-02-29T10:09:20.58+00:00",
        "2024-02-29T10:09:20+00:00",
    ],
)
def test_timestamps_survive_being_counted(text: str) -> None:
    assert text_of(ticks(text)) == text


def test_what_is_no_timestamp_has_no_ticks() -> None:
    for text in ("", "2024-02-29", "2024-02-30T10:09:20+00:00", "2024-02-29T10:09:20.12345678Z"):
        assert ticks_of(text) is None
    assert ticks("2024-02-29T12:09:20.5+02:00") == ticks("2024-02-29T10:09:20.5Z")
