"""What the sandbox promises about the listing, in both dialects (docs/api.md, A page, An item)."""

import re
from typing import Any

import pytest
import requests

from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.sandbox.timestamps import TICKS_PER_SECOND, ticks_of
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.sandbox.raw_requests import (
    CURRENT,
    SEED,
    ask_for_page,
    authorization,
    items,
    listing_url,
    page,
)

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SEED_FIELDS = {
    "studyId",
    "subjectId",
    "studyProgramId",
    "dataSetName",
    "fileName",
    "fileFormat",
    "modifiedDate",
    "lastSuccessfulProgramExecutionTimeStamp",
    "fileUrl",
}
BOTH = pytest.mark.parametrize("dialect", [SEED, CURRENT])


@BOTH
def test_a_page_has_items_links_and_counts(sandbox: FaultySandbox, dialect: str) -> None:
    content = page(sandbox, dialect)
    assert set(content) == {"items", "links", "totalCount", "limit", "offset"}
    assert (content["totalCount"], content["limit"], content["offset"]) == (14, 100, 0)
    assert len(content["items"]) == 14


def test_an_item_has_the_fields_of_its_dialect(sandbox: FaultySandbox) -> None:
    assert set(page(sandbox, SEED)["items"][0]) == SEED_FIELDS
    item = page(sandbox, CURRENT)["items"][0]
    assert set(item) == SEED_FIELDS | {"studyVersion", "downloadUrlExpiresOn"}
    assert type(item["studyVersion"]) is int
    assert ticks_of(item["downloadUrlExpiresOn"]) is not None


def test_the_fields_are_of_the_documented_kinds(sandbox: FaultySandbox) -> None:
    for item in items(sandbox):
        assert item["studyId"] == 4711
        assert item["subjectId"] in (10821, 10822, 10823)
        assert GUID.fullmatch(item["studyProgramId"])
        assert re.fullmatch(rf"{item['subjectId']}_{GUID.pattern}\.csv\.gz", item["fileName"])
        assert item["fileFormat"] == "csv"
        execution = ticks_of(item["lastSuccessfulProgramExecutionTimeStamp"])
        modified = ticks_of(item["modifiedDate"])
        assert execution is not None
        assert modified is not None
        assert 0 < modified - execution < 10 * TICKS_PER_SECOND


def test_fractions_have_seven_digits_and_sometimes_fewer(sandbox: FaultySandbox) -> None:
    executions = [item["lastSuccessfulProgramExecutionTimeStamp"] for item in items(sandbox)]
    assert all(text.endswith("+00:00") for text in executions)
    digits = {len(text.split(".")[1].removesuffix("+00:00")) for text in executions}
    assert {5, 7} <= digits


def test_two_programs_yield_one_data_set_with_one_file_name_at_two_urls(
    sandbox: FaultySandbox,
) -> None:
    first, second = items(sandbox, subjectId=10822, dataSetName="ParamsAndSubject (31)")
    assert first["studyProgramId"] != second["studyProgramId"]
    assert first["fileName"] == second["fileName"]
    assert first["fileUrl"].split("?")[0] != second["fileUrl"].split("?")[0]
    name = "lastSuccessfulProgramExecutionTimeStamp"
    assert len(first[name]) == len(second[name]) == len("2024-02-29T10:09:20.5899754+00:00")
    different = [place for place in range(27) if first[name][place] != second[name][place]]
    assert different == [26]


@BOTH
def test_pages_together_hold_every_item_once(sandbox: FaultySandbox, dialect: str) -> None:
    seen = []
    for offset in range(0, 20, 5):
        content = page(sandbox, dialect, params={"limit": 5, "offset": offset})
        assert (content["limit"], content["offset"], content["totalCount"]) == (5, offset, 14)
        seen += [item["fileUrl"].split("?")[0] for item in content["items"]]
    assert len(seen) == len(set(seen)) == 14


def test_a_page_beyond_the_end_is_empty(sandbox: FaultySandbox) -> None:
    content = page(sandbox, params={"offset": 14})
    assert (content["items"], content["totalCount"]) == ([], 14)


def test_links_name_another_host_which_leads_nowhere(sandbox: FaultySandbox) -> None:
    links = page(sandbox, params={"limit": 5, "offset": 5})["links"]
    assert set(links) == {"next", "prev"}
    assert all(link.startswith("https://study-admin.example.invalid/") for link in links.values())
    assert set(page(sandbox, params={"limit": 5})["links"]) == {"next"}
    assert page(sandbox)["links"] == {}


@BOTH
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=ten", "limit=", "limit=1_0", "offset=-1", "offset=x"]
)
def test_wrong_paging_is_a_400_in_plain_text(
    sandbox: FaultySandbox, dialect: str, query: str
) -> None:
    answer = ask_for_page(sandbox, dialect, params=query)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_each_filter_works_in_its_own_place(sandbox: FaultySandbox) -> None:
    program = items(sandbox)[-1]["studyProgramId"]
    for filters, count in [
        ({}, 14),
        ({"subjectId": 10821}, 5),
        ({"subjectId": 1}, 0),
        ({"dataSetName": "LeapAvgBarometer"}, 2),
        ({"dataSetName": "leapavgbarometer"}, 0),
        ({"dataSetName": "Leap"}, 0),
        ({"studyProgramId": program}, 3),
        ({"studyProgramId": program.upper()}, 3),
        ({"subjectId": 10821, "dataSetName": "ParamsAndSubject (31)"}, 2),
        ({"subjectId": 10821, "studyProgramId": program}, 1),
    ]:
        assert page(sandbox, SEED, json=filters)["totalCount"] == count
        assert page(sandbox, CURRENT, params=filters)["totalCount"] == count


def test_filters_in_the_other_dialects_place_are_ignored(sandbox: FaultySandbox) -> None:
    assert page(sandbox, SEED, params={"subjectId": 10821})["totalCount"] == 14
    assert page(sandbox, CURRENT, json={"subjectId": 10821})["totalCount"] == 14
    assert page(sandbox, SEED, params={"subjectId": "no number"})["totalCount"] == 14
    assert page(sandbox, CURRENT, data=b"no JSON")["totalCount"] == 14


@pytest.mark.parametrize(
    "body",
    [
        b"subjectId=10821",
        b"[]",
        b"7",
        b'{"subjectId": "10821"}',
        b'{"subjectId": 10821.0}',
        b'{"subjectId": true}',
        b'{"dataSetName": 31}',
        b'{"studyProgramId": "ParamsAndSubject (31)"}',
        b'{"studyProgramId": 4}',
    ],
)
def test_a_wrong_body_is_a_400_in_plain_text(sandbox: FaultySandbox, body: bytes) -> None:
    answer = ask_for_page(sandbox, SEED, data=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("query", ["subjectId=x", "subjectId=", "studyProgramId=4"])
def test_a_wrong_filter_in_the_query_is_a_400_in_plain_text(
    sandbox: FaultySandbox, query: str
) -> None:
    answer = ask_for_page(sandbox, CURRENT, params=query)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_sandbox_told_to_ignores_filters(sandbox: FaultySandbox) -> None:
    sandbox.ignore_filters = True
    assert page(sandbox, SEED, json={"subjectId": 10821})["totalCount"] == 14
    assert page(sandbox, CURRENT, params={"subjectId": 10821})["totalCount"] == 14
    sandbox.ignore_filters = False
    assert page(sandbox, SEED, json={"subjectId": 10821})["totalCount"] == 5


def test_paths_are_case_insensitive(sandbox: FaultySandbox) -> None:
    url = listing_url(sandbox).replace("/dataaccess/v3/studies", "/DataAccess/V3/Studies")
    url = url.replace("datasetexportfiles", "DataSetExportFiles")
    answer = requests.get(url, headers=authorization(sandbox), timeout=10)
    assert answer.status_code == 200


def test_another_study_is_a_403_and_another_path_a_404_in_plain_text(
    sandbox: FaultySandbox,
) -> None:
    url, headers = listing_url(sandbox), authorization(sandbox)
    another = requests.get(url.replace("/4711/", "/4712/"), headers=headers, timeout=10)
    unknown = requests.get(url + "s", headers=headers, timeout=10)
    root = requests.get(sandbox.base_url, timeout=10)
    assert (another.status_code, unknown.status_code, root.status_code) == (403, 404, 404)
    for answer in (another, unknown, root):
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_listing_is_got_and_nothing_else(sandbox: FaultySandbox) -> None:
    answer = requests.post(listing_url(sandbox), headers=authorization(sandbox), timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@BOTH
def test_an_empty_study_is_an_empty_page(dialect: str) -> None:
    with FaultySandbox(SandboxStudy.empty(99)) as sandbox:
        assert sandbox.environment["CP_STUDY_ID"] == "99"
        expected = {"items": [], "links": {}, "totalCount": 0, "limit": 100, "offset": 0}
        assert page(sandbox, dialect) == expected


def test_a_listing_can_shift_under_its_reader(study: SandboxStudy) -> None:
    def first_of(sandbox: FaultySandbox) -> dict[str, Any]:
        item: dict[str, Any] = page(sandbox, params={"limit": 1})["items"][0]
        return item

    for order, moves_to in (("stable", 3), ("newest_first", 0), ("newest_last", 13)):
        with FaultySandbox(study, page_order=order) as sandbox:  # type: ignore[arg-type]
            key = ("subjectId", "studyProgramId")
            place = page(sandbox)["items"][3]
            sandbox.execute_again(place["subjectId"], study_program_id=place["studyProgramId"])
            listed = page(sandbox)["items"]
            assert [item[name] for item in (listed[moves_to],) for name in key] == [
                place[name] for name in key
            ]
            assert first_of(sandbox)["fileName"] == listed[0]["fileName"]
