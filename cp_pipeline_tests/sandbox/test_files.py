"""What the sandbox promises about signed links and files (docs/api.md, Files)."""

import time
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from cp_pipeline.sandbox import Packing, Sandbox, SandboxStudy
from cp_pipeline_tests.sandbox.raw_requests import (
    CURRENT,
    authorization,
    download,
    items,
    page,
    raw_bytes,
)


def error_code(answer: requests.Response) -> str | None:
    """The code in the XML of a blob storage error."""
    assert answer.headers["Content-Type"] == "application/xml"
    return ET.fromstring(answer.content).findtext("Code")


def test_a_file_comes_whole_with_its_length(sandbox: Sandbox, study: SandboxStudy) -> None:
    for item, file in zip(items(sandbox), study.export_files, strict=True):
        with requests.get(item["fileUrl"], timeout=10, stream=True) as answer:
            body = answer.raw.read(decode_content=False)
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == len(body)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["x-ms-blob-type"] == "BlockBlob"
        assert file.file_name == item["fileName"]


def test_a_link_is_signed_for_about_four_hours(sandbox: Sandbox) -> None:
    item = page(sandbox, CURRENT)["items"][0]
    query = parse_qs(urlsplit(item["fileUrl"]).query)
    assert set(query) == {"sv", "se", "sr", "sp", "sig"}
    assert query["se"][0].endswith("Z")
    left = datetime.fromisoformat(query["se"][0]) - datetime.now(UTC)
    assert timedelta(hours=3, minutes=59) < left <= timedelta(hours=4)
    expires_on = datetime.fromisoformat(item["downloadUrlExpiresOn"])
    assert abs(expires_on - datetime.fromisoformat(query["se"][0])) < timedelta(seconds=1)


def test_an_authorization_header_is_a_400(sandbox: Sandbox) -> None:
    headers = authorization(sandbox)
    answer = requests.get(items(sandbox)[0]["fileUrl"], headers=headers, timeout=10)
    assert (answer.status_code, error_code(answer)) == (400, "InvalidAuthenticationInfo")


@pytest.mark.parametrize("name", ["sig", "se"])
def test_a_changed_or_missing_signature_or_expiry_is_a_403(sandbox: Sandbox, name: str) -> None:
    url = items(sandbox)[0]["fileUrl"]
    value = parse_qs(urlsplit(url).query)[name][0]
    changed = url.replace(quote(value, safe=""), quote("3" + value[1:], safe=""))
    assert changed != url
    for wrong in (changed, url.replace(f"{name}=", f"{name}x="), url.split("?")[0]):
        answer = requests.get(wrong, timeout=10)
        assert (answer.status_code, error_code(answer)) == (403, "AuthenticationFailed")


def test_a_signature_is_good_for_one_path_alone(sandbox: Sandbox) -> None:
    first, second = (item["fileUrl"].split("?") for item in items(sandbox)[:2])
    answer = requests.get(f"{first[0]}?{second[1]}", timeout=10)
    assert (answer.status_code, error_code(answer)) == (403, "AuthenticationFailed")


def test_a_link_dies_and_a_new_listing_brings_a_fresh_one(study: SandboxStudy) -> None:
    with Sandbox(study, link_seconds=0.6) as sandbox:
        item = items(sandbox)[0]
        assert download(item).status_code == 200
        time.sleep(0.65)
        answer = download(item)
        assert (answer.status_code, error_code(answer)) == (403, "AuthenticationFailed")
        fresh = items(sandbox)[0]
        assert fresh["fileName"] == item["fileName"]
        assert download(fresh).status_code == 200


def test_a_replaced_or_withdrawn_file_is_a_404(sandbox: Sandbox, study: SandboxStudy) -> None:
    replaced, withdrawn = items(sandbox)[:2]
    sandbox.execute_again(subject_id=10821, data_set_name=replaced["dataSetName"])
    study.withdraw(subject_id=10821, data_set_name=withdrawn["dataSetName"])
    for item in (replaced, withdrawn):
        answer = download(item)
        assert (answer.status_code, error_code(answer)) == (404, "BlobNotFound")
    assert withdrawn["fileName"] not in {item["fileName"] for item in items(sandbox)}
    with pytest.raises(LookupError):
        study.withdraw(subject_id=10821, data_set_name=withdrawn["dataSetName"])


def test_a_file_is_got_and_nothing_else(sandbox: Sandbox) -> None:
    url = items(sandbox)[0]["fileUrl"]
    assert requests.put(url, data=b"x", timeout=10).status_code == 405
    assert requests.head(url, timeout=10).status_code == 405
    assert requests.get(url, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "file_name", ["a[b] c.csv.gz", "../../etc/passwd", "größe 100%.csv", "a?b#c&d=e+f.csv"]
)
def test_any_file_name_can_be_had(sandbox: Sandbox, study: SandboxStudy, file_name: str) -> None:
    study.put(subject_id=1, data_set_name="X", raw=b"here", file_name=file_name)
    (item,) = items(sandbox, subjectId=1)
    assert item["fileName"] == file_name
    assert download(item).content == b"here"


def test_what_is_put_is_served(sandbox: Sandbox, study: SandboxStudy) -> None:
    file = study.put(
        subject_id=1,
        data_set_name="X",
        csv=b"A,B\n1,2\n",
        packing=Packing.PLAIN,
        study_program_id="0F1E",
        execution="2030-01-01T00:00:00Z",
        modified="2030-01-01T00:00:01+02:00",
        headers={"content-type": "text/csv", "Content-MD5": "x"},
    )
    (item,) = items(sandbox, subjectId=1)
    answer = download(item)
    assert answer.content == b"A,B\n1,2\n" == file.csv
    assert (answer.headers["Content-Type"], answer.headers["Content-MD5"]) == ("text/csv", "x")
    assert item["studyProgramId"] == "0F1E"
    assert item["lastSuccessfulProgramExecutionTimeStamp"] == "2030-01-01T00:00:00Z"
    assert item["modifiedDate"] == "2030-01-01T00:00:01+02:00"
    assert page(sandbox)["totalCount"] == 15


def test_a_second_put_replaces_the_first(sandbox: Sandbox, study: SandboxStudy) -> None:
    first = study.put(subject_id=1, data_set_name="X", raw=b"first")
    (old,) = items(sandbox, subjectId=1)
    second = study.put(subject_id=1, data_set_name="X", raw=b"second")
    (new,) = items(sandbox, subjectId=1)
    assert second.execution > first.execution
    assert download(old).status_code == 404
    assert raw_bytes(new) == b"second"


def test_exactly_one_of_csv_and_raw_is_put(study: SandboxStudy) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        study.put(subject_id=1, data_set_name="X")
    with pytest.raises(ValueError, match="exactly one"):
        study.put(subject_id=1, data_set_name="X", csv=b"", raw=b"")


def test_a_false_length_is_announced_and_the_connection_cut(
    sandbox: Sandbox, study: SandboxStudy
) -> None:
    study.put(subject_id=1, data_set_name="Long", raw=b"12345", headers={"Content-Length": "9"})
    study.put(subject_id=1, data_set_name="Short", raw=b"12345", headers={"Content-Length": "3"})
    long, short = items(sandbox, subjectId=1)
    with requests.get(long["fileUrl"], timeout=10, stream=True) as answer:
        assert answer.headers["Content-Length"] == "9"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            assert answer.content
    assert download(short).content == b"123"
