"""The client reads one item of a listing, or says why it is invalid (docs/api.md, "An item")."""

import json
from typing import Any

import pytest

from cp_pipeline.centrepoint.items import Filters, LeftOut, read_item
from cp_pipeline.domain.exports import ExportFile, InvalidItem, StudyListing
from cp_pipeline_tests.centrepoint.clients import STUDY, connect
from cp_pipeline_tests.faults import FaultySandbox

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


def listing_of(sandbox: FaultySandbox, *items: object) -> StudyListing:
    """Return the listing of one page with these items."""
    sandbox.fail("listing", 200, body=json.dumps({"items": items, "totalCount": len(items)}))
    return connect(sandbox).list_export_files(STUDY)


def refusal_of(sandbox: FaultySandbox, item: object) -> str:
    """Return the message about an invalid item that is listed beside a valid one."""
    listing = listing_of(sandbox, {**ITEM, "dataSetName": "Another"}, item)
    assert [each.dataset_name for each in listing.items] == ["Another"]
    (invalid,) = listing.invalid
    assert invalid.study_id == STUDY
    return str(invalid)


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
    sandbox: FaultySandbox, field: str
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
    sandbox: FaultySandbox, field: str, value: object
) -> None:
    said = refusal_of(sandbox, {**ITEM, field: value})
    assert ITEM["fileName"] in said or field == "fileName"
    assert "10821" in said
    assert "TopSecret" not in said
    if not isinstance(value, list):
        assert repr(value) in said


@pytest.mark.parametrize("item", [None, 3, "text", []])
def test_what_is_no_item_at_all_breaks_the_contract(sandbox: FaultySandbox, item: object) -> None:
    assert "subject (none), data set (none)" in refusal_of(sandbox, item)


@pytest.mark.parametrize(
    "never",
    [
        None,
        "missing",
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00.0000000+00:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00",
        "0001-01-01",
        "0001-01-01T00:00:00+02:00",
        "0001-01-01T05:00:00-05:00",
    ],
)
def test_both_words_for_never_break_no_contract(never: str | None) -> None:
    changed = {**ITEM, "modifiedDate": never}
    unexecuted = {**ITEM, EXECUTION: never, "fileName": None, "fileUrl": None}
    if never == "missing":
        del changed["modifiedDate"], unexecuted[EXECUTION]
    file = read_item(changed)
    assert isinstance(file, ExportFile)
    assert file.modified is None
    assert not file.is_pending
    assert read_item(unexecuted) == LeftOut(file.key, None)


@pytest.mark.parametrize("field", ["modifiedDate", EXECUTION])
@pytest.mark.parametrize("value", ["", "never", 0, False, [], "0001", "0002-01-01T00:00:00+00:00"])
def test_what_is_no_word_for_never_breaks_the_contract(field: str, value: object) -> None:
    assert isinstance(read_item({**ITEM, field: value}), InvalidItem)


GUID = ITEM["studyProgramId"]


@pytest.mark.parametrize("spelt", [GUID, GUID.upper(), GUID.title(), GUID[:9].upper() + GUID[9:]])
def test_a_study_program_is_one_whatever_the_case_of_its_guid(spelt: str) -> None:
    item = read_item({**ITEM, "studyProgramId": spelt})
    broken = read_item({**ITEM, "studyProgramId": spelt, "fileUrl": None})
    left_out = read_item({**ITEM, "studyProgramId": spelt, "fileFormat": "avro"})
    assert isinstance(item, ExportFile)
    assert isinstance(broken, InvalidItem)
    assert isinstance(left_out, LeftOut)
    assert item.key == broken.key == left_out.key
    assert item.study_program_id == GUID
    for asked in (GUID, GUID.upper()):
        filters = Filters(study_program_id=asked)
        assert filters.as_parameters() == {"studyProgramId": GUID}
        assert filters.accept(item)
        assert filters.accept(broken)
        assert filters.accept(left_out.key)
    assert not Filters(study_program_id=GUID.replace("5", "6")).accept(item)


def test_names_that_are_no_guid_keep_their_case() -> None:
    program = read_item({**ITEM, "studyProgramId": "Program A"})
    assert program.study_program_id == "Program A"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "written",
    [
        None, "", "  ", "csv", "CSV", "Csv", " csv ", ".csv", ".CSV", "text/csv", "TEXT/CSV",
        "text/csv; charset=utf-8", "application/csv", "csv.gz", ".csv.gz", "csv.gzip", "CSV (gzip)",
        "csv+gzip", "gzip csv", "application/x-csv", "csv file",
    ],
)  # fmt: skip
def test_a_csv_is_one_however_that_is_written(written: str | None) -> None:
    file = read_item({**ITEM, "fileFormat": written})
    assert isinstance(file, ExportFile)
    assert file.file_format == ((written or "").strip() or "csv")


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("avro", "avro"),
        ("AVRO", "avro"),
        ("parquet", "parquet"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("json", "json"),
        ("agd", "agd"),
        ("csvw", "csvw"),
        ("csv-avro", "csv-avro"),
        ("gz", "gz"),
        ("text", "text"),
        ("x" * 500, "x" * 40),
        ("avro https://x/y?sv=1&sig=TopSecret", "avro https://x/y?…"),
    ],
)
def test_another_format_is_left_out_by_its_name(written: str, named: str) -> None:
    item = read_item({**ITEM, "fileFormat": written})
    assert isinstance(item, LeftOut)
    assert item.other_format == named


@pytest.mark.parametrize("written", [5, True, ["csv"], {}])
def test_a_format_that_is_no_text_breaks_the_contract(written: object) -> None:
    assert isinstance(read_item({**ITEM, "fileFormat": written}), InvalidItem)
