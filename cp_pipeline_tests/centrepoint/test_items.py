"""What the client promises about one item of a listing (API.md, An item)."""

import json
from typing import Any

import pytest

from cp_pipeline.centrepoint.items import read_item
from cp_pipeline.exports import ExportFile, StudyListing
from cp_pipeline.sandbox import Sandbox
from cp_pipeline_tests.centrepoint.asking import STUDY, connect

EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
ITEM: dict[str, Any] = {
    "studyId": STUDY,
    "subjectId": 10821,
    "studyProgramId": "5e65f4e3-6996-41fe-a5aa-c79210285f7e",
    "dataSetName": "ActivityDaily8",
    "fileName": "10821_5e65f4e3.csv.gz",
    "fileFormat": "csv",
    "modifiedDate": "2024-02-29T10:09:20.5899754+00:00",
    EXECUTION: "2024-02-29T10:09:20.58+00:00",
    "fileUrl": "https://blobs.example.invalid/x.csv.gz?sv=1&sig=TopSecret",
}


MAY_BE_MISSING = {"fileFormat", "modifiedDate", EXECUTION}


def listing_of(sandbox: Sandbox, *items: object) -> StudyListing:
    """The listing that a page with these items makes."""
    sandbox.fail("listing", 200, body=json.dumps({"items": items, "totalCount": len(items)}))
    return connect(sandbox).list_export_files(STUDY)


def refusal_of(sandbox: Sandbox, item: object) -> str:
    """What is said of an item that is listed beside a good one."""
    listing = listing_of(sandbox, {**ITEM, "dataSetName": "Another"}, item)
    assert [each.dataset_name for each in listing.items] == ["Another"]
    (unusable,) = listing.unusable
    assert unusable.study_id == STUDY
    return str(unusable)


def test_an_item_is_read_with_its_timestamps_to_the_letter() -> None:
    file = read_item(ITEM)
    assert isinstance(file, ExportFile)
    assert (str(file.modified), str(file.execution)) == (ITEM["modifiedDate"], ITEM[EXECUTION])
    assert file.url == ITEM["fileUrl"]
    assert file.partition == (10821, "ActivityDaily8")


def test_unknown_fields_are_no_hindrance_and_the_format_may_be_missing() -> None:
    known = {name: value for name, value in ITEM.items() if name != "fileFormat"}
    assert read_item({**known, "studyVersion": 3, "new": [1]}) == read_item(ITEM)


@pytest.mark.parametrize("field", [name for name in ITEM if name not in MAY_BE_MISSING])
def test_a_missing_field_is_named_together_with_what_the_item_has(
    sandbox: Sandbox, field: str
) -> None:
    said = refusal_of(sandbox, {name: ITEM[name] for name in ITEM if name != field})
    assert f"the field '{field}' is missing" in said
    for shown in {"subjectId", "dataSetName", "fileName"} - {field}:
        assert str(ITEM[shown]) in said
    assert "TopSecret" not in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subjectId", "10821"),
        ("subjectId", 10821.0),
        ("subjectId", True),
        ("subjectId", None),
        ("studyId", "4711"),
        ("dataSetName", 8),
        ("dataSetName", ""),
        ("studyProgramId", None),
        ("fileUrl", None),
        ("fileUrl", ["https://blobs.example.invalid/x.csv.gz?sv=1&sig=TopSecret"]),
        ("fileName", {}),
        (EXECUTION, 1709201360),
        (EXECUTION, "2024-02-29T10:09:20.5899754"),
        (EXECUTION, "2024-02-30T10:09:20+00:00"),
        ("modifiedDate", "yesterday"),
        ("modifiedDate", "2024-02-29T10:09:20.58997541+00:00"),
    ],
)
def test_a_field_of_another_kind_is_shown_together_with_what_the_item_has(
    sandbox: Sandbox, field: str, value: object
) -> None:
    said = refusal_of(sandbox, {**ITEM, field: value})
    assert ITEM["fileName"] in said or field == "fileName"
    assert "10821" in said
    assert "TopSecret" not in said
    if not isinstance(value, list):
        assert repr(value) in said


@pytest.mark.parametrize("item", [None, 3, "text", []])
def test_what_is_no_item_at_all_breaks_the_contract(sandbox: Sandbox, item: object) -> None:
    assert "subject (none), data set (none)" in refusal_of(sandbox, item)
