"""The client downloads a file completely, or fails with a clear error (docs/api.md, "Files")."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cp_pipeline.centrepoint import (
    CentrePoint,
    DownloadFailed,
    ExportWithdrawn,
    Filters,
    ServiceUnavailable,
)
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline.sandbox.packing import pack
from cp_pipeline_tests.centrepoint.clients import STUDY, Keeper, asked, connect
from cp_pipeline_tests.centrepoint.scripted import Asked, Said, Scripted
from cp_pipeline_tests.faults import FaultySandbox

FILTERS = Filters(10821, None, "ActivityDaily8")


def first_file(centrepoint: CentrePoint) -> ExportFile:
    """Return the file that most tests download."""
    (file,) = centrepoint.list_export_files(STUDY, FILTERS).items
    return file


def stored(study: SandboxStudy, packing: Packing = Packing.GZIP) -> bytes:
    """Return the bytes of that file that the storage holds now."""
    (file,) = (each for each in study.export_files if each.key[:2] == (10821, "ActivityDaily8"))
    return pack(file.csv, packing, file.file_name)


def names_the_file(error: Exception, file: ExportFile) -> bool:
    """Whether an error names its file."""
    said = str(error)
    return (
        f"subject {file.subject_id}" in said
        and f"data set {file.dataset_name}" in said
        and file.file_name in said
    )


@pytest.mark.parametrize("packing", [each for each in Packing if each is not Packing.MIXED])
def test_the_bytes_arrive_exactly_as_stored(study: SandboxStudy, packing: Packing) -> None:
    with FaultySandbox(study, packing=packing) as sandbox:
        centrepoint = connect(sandbox)
        keeper = Keeper()
        file = first_file(centrepoint)
        assert centrepoint.fetch(file, keeper) == stored(study, packing)
        assert keeper.called_with == [file]


def test_a_large_file_arrives_in_pieces_and_an_empty_one_in_none() -> None:
    study = SandboxStudy(STUDY)
    large = bytes(range(256)) * 20_000
    study.put(subject_id=1, data_set_name="Large", raw=large)
    study.put(subject_id=2, data_set_name="Empty", raw=b"")
    with FaultySandbox(study) as sandbox:
        centrepoint = connect(sandbox)
        pieces = [
            centrepoint.fetch(file, lambda _, chunks: list(chunks))
            for file in centrepoint.list_export_files(STUDY).items
        ]
    assert b"".join(pieces[0]) == large
    assert max(map(len, pieces[0])) < len(large) / 2
    assert pieces[1] == []


def test_no_authorization_goes_to_the_storage_not_even_one_from_a_netrc(
    sandbox: FaultySandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    centrepoint = connect(sandbox)
    assert centrepoint.fetch(first_file(centrepoint), Keeper()) == stored(sandbox.study)
    assert asked(sandbox, "file") == [("file", 200)]


def test_a_link_that_holds_a_name_and_password_sends_no_authorization(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    url = file.url.replace("http://", "http://somebody:something@")
    assert centrepoint.fetch(replace(file, url=url), Keeper()) == stored(sandbox.study)


def test_an_expired_link_is_listed_again(study: SandboxStudy) -> None:
    with FaultySandbox(study, link_seconds=1) as sandbox:
        centrepoint = connect(sandbox)
        file = first_file(centrepoint)
        sandbox.forget_requests()
        time.sleep(1.05)
        keeper = Keeper()
        assert centrepoint.fetch(file, keeper) == stored(study)
        assert asked(sandbox) == [("file", 403), ("listing", 200), ("file", 200)]
        assert keeper.called_with == [file, file]


@pytest.mark.usefixtures("no_backoff")
def test_a_link_that_is_always_dead_is_given_up_naming_the_file(study: SandboxStudy) -> None:
    with FaultySandbox(study, link_seconds=0) as sandbox:
        centrepoint = connect(sandbox)
        file = first_file(centrepoint)
        with pytest.raises(DownloadFailed, match="AuthenticationFailed") as failure:
            centrepoint.fetch(file, Keeper())
        assert names_the_file(failure.value, file)
        assert asked(sandbox, "file") == [("file", 403)] * 2
        assert len(asked(sandbox, "listing")) == 2


def test_a_file_replaced_since_the_listing_is_fetched_as_the_new_execution(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    old = first_file(centrepoint)
    (executed,) = sandbox.execute_again(10821, "ActivityDaily8")
    keeper = Keeper()
    assert centrepoint.fetch(old, keeper) == stored(sandbox.study)
    new = keeper.called_with[-1]
    assert (new.file_name, str(new.execution)) == (executed.file_name, executed.execution)
    assert new.execution > old.execution
    assert keeper.called_with == [old, new]


def test_of_two_programs_with_one_file_name_the_right_one_is_listed_again(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    filters = Filters(10822, None, "ParamsAndSubject (31)")
    files = centrepoint.list_export_files(STUDY, filters).items
    assert len({file.file_name for file in files}) == 1
    sandbox.execute_again(10822)
    for file in files:
        keeper = Keeper()
        centrepoint.fetch(file, keeper)
        assert keeper.called_with[-1].key == file.key
        assert keeper.called_with[-1].execution > file.execution


def test_a_withdrawn_file_is_told_from_one_that_fails(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    sandbox.study.withdraw(subject_id=10821, data_set_name="ActivityDaily8")
    with pytest.raises(ExportWithdrawn) as failure:
        centrepoint.fetch(file, Keeper())
    assert names_the_file(failure.value, file)
    assert asked(sandbox, "file") == [("file", 404)]


def test_a_download_cut_short_is_whole_at_the_second_attempt(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    sandbox.cut_short()
    keeper = Keeper()
    assert centrepoint.fetch(file, keeper) == stored(sandbox.study)
    assert keeper.called_with == [file, file]
    assert asked(sandbox, "file") == [("file", 200)] * 2


def test_what_a_cut_short_attempt_delivered_is_not_delivered_as_whole(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    ended: list[str] = []

    def receive(_: ExportFile, chunks: Iterator[bytes]) -> bytes:
        try:
            content = b"".join(chunks)
        except Exception:
            ended.append("broken off")
            raise
        ended.append("whole")
        return content

    sandbox.cut_short(2)
    assert centrepoint.fetch(file, receive) == stored(sandbox.study)
    assert ended == ["broken off", "broken off", "whole"]


@pytest.mark.usefixtures("no_backoff")
def test_a_length_that_is_always_wrong_is_given_up_naming_the_file() -> None:
    study = SandboxStudy(STUDY)
    study.put(
        subject_id=7, data_set_name="Steps", raw=b"STEPS\n1\n", headers={"Content-Length": "100"}
    )
    with FaultySandbox(study) as sandbox:
        centrepoint = connect(sandbox)
        (file,) = centrepoint.list_export_files(STUDY).items
        with pytest.raises(DownloadFailed, match=r"8 of 100 announced bytes arrived") as failure:
            centrepoint.fetch(file, Keeper())
        assert names_the_file(failure.value, file)
        assert asked(sandbox, "file") == [("file", 200)] * 4


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("announced", ["nonsense", "-1", "8, 9"])
def test_a_length_that_is_no_length_is_given_up_naming_the_file(
    sandbox: FaultySandbox, announced: str
) -> None:
    centrepoint = connect(sandbox)
    with Scripted(lambda asked: Said(body=b"STEPS\n1\n", announced=announced)) as storage:
        file = replace(first_file(centrepoint), url=f"{storage.url}/x?sig=abc")
        with pytest.raises(DownloadFailed) as failure:
            centrepoint.fetch(file, Keeper())
        assert names_the_file(failure.value, file)


@pytest.mark.usefixtures("no_backoff")
def test_a_storage_that_is_busy_for_a_moment_is_asked_again(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    sandbox.fail("file", status=503, times=2)
    sandbox.disconnect("file")
    keeper = Keeper()
    assert centrepoint.fetch(file, keeper) == stored(sandbox.study)
    assert asked(sandbox, "file") == [("file", 503), ("file", 503), ("file", 0), ("file", 200)]


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [400, 500, 503])
def test_a_storage_that_keeps_failing_is_given_up_naming_the_file(
    sandbox: FaultySandbox, status: int
) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    sandbox.fail("file", status=status, times=100)
    with pytest.raises(DownloadFailed, match=f"HTTP {status}") as failure:
        centrepoint.fetch(file, Keeper())
    assert names_the_file(failure.value, file)


@pytest.mark.usefixtures("no_backoff")
def test_a_storage_that_is_down_is_the_files_failure_and_not_the_services(
    sandbox: FaultySandbox,
) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    with Scripted(lambda asked: Said()) as storage:
        gone = replace(file, url=f"{storage.url}/x?sig=abc")
    with pytest.raises(DownloadFailed, match="Connection refused") as failure:
        centrepoint.fetch(gone, Keeper())
    assert names_the_file(failure.value, file)


@pytest.mark.usefixtures("no_backoff")
def test_an_error_whose_body_breaks_off_is_still_that_error(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    broken_off = Said(404, body=b"<?xml", announced="500")
    with Scripted(lambda asked: broken_off) as storage:
        elsewhere = replace(file, url=f"{storage.url}/x?sig=abc")
        keeper = Keeper()
        assert centrepoint.fetch(elsewhere, keeper) == stored(sandbox.study)
        assert len(storage.asked) == 1


def test_a_service_that_fails_to_list_again_is_the_services_failure(
    sandbox: FaultySandbox, no_backoff: None
) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    sandbox.execute_again()
    sandbox.fail("listing", times=100)
    with pytest.raises(ServiceUnavailable, match="study 4711"):
        centrepoint.fetch(file, Keeper())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(sandbox: FaultySandbox, status: int) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)
    with Scripted(lambda asked: Said(body=b"STEPS\n1\n")) as elsewhere:

        def redirect(asked: Asked) -> Said:
            return Said(status, headers={"Location": f"{elsewhere.url}/file"})

        with Scripted(redirect) as storage:
            lured = replace(file, url=f"{storage.url}/x?sig=abc")
            with pytest.raises(DownloadFailed, match=rf"redirect \(HTTP {status}\)") as failure:
                centrepoint.fetch(lured, Keeper())
            assert names_the_file(failure.value, file)
            assert len(storage.asked) == 1
            assert "Authorization" not in storage.asked[0].headers
        assert elsewhere.asked == []


def test_a_link_over_http_is_refused_unless_allowed(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox, allow_insecure_http=False)
    file = first_file(centrepoint)
    with pytest.raises(DownloadFailed, match="CP_ALLOW_INSECURE_HTTP") as failure:
        centrepoint.fetch(file, Keeper())
    assert names_the_file(failure.value, file)
    assert asked(sandbox, "file") == []


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/blobs/x", "x", "https://[broken/x"]
)
def test_a_link_that_is_no_web_address_is_refused_even_where_http_is_allowed(
    sandbox: FaultySandbox, url: str
) -> None:
    centrepoint = connect(sandbox)
    file = replace(first_file(centrepoint), url=f"{url}?sig=abc")
    with pytest.raises(DownloadFailed, match=re.escape(file.file_name)) as failure:
        centrepoint.fetch(file, Keeper())
    assert names_the_file(failure.value, file)


def test_an_error_of_the_receiver_is_passed_on_and_not_tried_again(sandbox: FaultySandbox) -> None:
    centrepoint = connect(sandbox)
    file = first_file(centrepoint)

    def receive(_: ExportFile, chunks: Iterator[bytes]) -> bytes:
        next(chunks)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        centrepoint.fetch(file, receive)
    assert asked(sandbox, "file") == [("file", 200)]
