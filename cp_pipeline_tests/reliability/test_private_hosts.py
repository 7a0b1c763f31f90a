"""A listed link to a private address is rejected, unless the settings name the host."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cp_pipeline.centrepoint import CentrePoint, DownloadFailed
from cp_pipeline.centrepoint.hosts import is_private
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline.ingest import PartitionFailed, PartitionLoaded, make_plan
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline_tests.conftest import open_pipeline
from cp_pipeline_tests.reliability.other_host import Elsewhere
from cp_pipeline_tests.study_site import Site

# The sandbox is at 127.0.0.1, the other server at 127.0.0.2.
SPELLINGS = (
    "127.0.0.2", "2130706434", "0x7f000002", "0177.0.0.2", "127.2", "0x7f.2", "127.0.0.2.",
    "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "somebody:secret@127.0.0.2",
)  # fmt: skip
PRIVATE = (
    "localhost", "LOCALHOST", "localhost.", "0.0.0.0", "0", "[::1]", "[::]", "10.0.0.1",
    "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "240.0.0.1", "224.0.0.1",
    "255.255.255.255", "[fe80::1]", "[fd00::1]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:2]",
    "[64:ff9b:1::1]", "[2002:7f00:2::]", "[::ffff:a9fe:a9fe]",
)  # fmt: skip
NAME = "storage.example.com"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


def fetched(item: ExportFile, **environment: str) -> bytes:
    """The content of a file, downloaded by a client with these additional variables."""
    from_environment = open_pipeline().centrepoint.settings
    changed = CentrePointSettings.from_environment(
        {
            "CP_API_URL": from_environment.api_url,
            "CP_TOKEN_URL": from_environment.token_url,
            "CP_CLIENT_ID": from_environment.client_id,
            "CP_CLIENT_SECRET": from_environment.client_secret,
            "CP_STUDY_ID": "4711",
            "CP_ALLOW_INSECURE_HTTP": "1",
        }
        | environment
    )
    return CentrePoint(changed).fetch(item, lambda _, chunks: b"".join(chunks))


@pytest.fixture
def item(here: Site) -> ExportFile:
    """A listed file; the tests replace its link."""
    here.put("N\n1\n")
    return open_pipeline().survey(write=False).items[0]


def link(host: str, server: Elsewhere, scheme: str = "http") -> str:
    return f"{scheme}://{host}:{server.server_port}/x?sig=abc"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", [*SPELLINGS, *PRIVATE])
def test_a_link_to_a_private_host_is_refused_in_words_and_not_even_connected_to(
    item: ExportFile, elsewhere: Elsewhere, host: str, scheme: str
) -> None:
    with pytest.raises(DownloadFailed, match=r"private address.*CP_ALLOW_PRIVATE_HOSTS") as refusal:
        fetched(replace(item, url=link(host, elsewhere, scheme)))
    assert item.file_name in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "sig" not in str(refusal.value)
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("127.0.0.2", "storage.internal, 127.0.0.2"),
        ("[::ffff:127.0.0.2]", "::ffff:7f00:2,[::ffff:127.0.0.2]"),
    ],
)
def test_a_private_host_that_a_person_named_is_followed(
    item: ExportFile, elsewhere: Elsewhere, host: str, allowed: str
) -> None:
    named = replace(item, url=link(host, elsewhere))
    assert fetched(named, CP_ALLOW_PRIVATE_HOSTS=allowed) == b"N\n1\n"


def test_naming_one_private_host_allows_no_other(item: ExportFile, elsewhere: Elsewhere) -> None:
    with pytest.raises(DownloadFailed, match="private"):
        fetched(replace(item, url=link("127.0.0.2", elsewhere)), CP_ALLOW_PRIVATE_HOSTS="127.0.0.3")
    assert elsewhere.came == []


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Make the name server know one more name. Each lookup gets the next answer; the last stays."""
    ask = socket.getaddrinfo
    waiting = list(answers)

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != NAME:
            return ask(host, port, *args, **options)
        addresses = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in addresses]

    monkeypatch.setattr("socket.getaddrinfo", look_up)


@pytest.mark.parametrize("addresses", [["127.0.0.2"], ["20.60.0.1", "127.0.0.2"]])
def test_a_name_of_a_private_host_is_refused(
    item: ExportFile, elsewhere: Elsewhere, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, addresses)
    with pytest.raises(DownloadFailed, match=rf"{NAME}, which is 127\.0\.0\.2"):
        fetched(replace(item, url=link(NAME, elsewhere)))
    assert elsewhere.connections == 0


def test_a_name_that_is_another_address_a_moment_later_is_refused(
    item: ExportFile, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["20.60.0.1"], ["127.0.0.2"])
    with pytest.raises(DownloadFailed, match=rf"{NAME}, which is 127\.0\.0\.2"):
        fetched(replace(item, url=link(NAME, elsewhere)))
    assert elsewhere.came == []


def test_a_name_that_a_person_named_may_be_private(
    item: ExportFile, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.2"])
    named = replace(item, url=link(NAME, elsewhere))
    assert fetched(named, CP_ALLOW_PRIVATE_HOSTS=NAME.upper()) == b"N\n1\n"


@pytest.fixture
def proxy(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """The other server is a proxy for all hosts except the sandbox."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.2:{elsewhere.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return elsewhere


@pytest.mark.parametrize("host", [*SPELLINGS, *PRIVATE])
def test_a_proxy_is_not_asked_for_what_is_written_as_a_private_host(
    item: ExportFile, proxy: Elsewhere, host: str
) -> None:
    with pytest.raises(DownloadFailed, match="private address"):
        fetched(replace(item, url=f"http://{host}:8080/x?sig=abc"))
    assert proxy.came == []


def test_a_proxy_that_is_private_itself_is_used(item: ExportFile, proxy: Elsewhere) -> None:
    assert fetched(replace(item, url=f"http://{NAME}/x?sig=abc")) == b"N\n1\n"
    assert proxy.came[0].startswith(f"http://{NAME}/x?sig=abc ")


def test_only_the_partition_of_a_private_link_fails(here: Site, elsewhere: Elsewhere) -> None:
    for subject in (1, 2):
        here.put("N\n1\n", subject_id=subject)
    exports = open_pipeline()
    listed = exports.survey()
    lured = replace(listed.items[1], url=link("127.0.0.2", elsewhere))
    listed = replace(listed, plan=make_plan((listed.items[0], lured), {}))
    with exports.execute(listed) as results:
        by_subject = {result.partition.subject_id: result for result in results}
    assert isinstance(by_subject[1], PartitionLoaded)
    failed = by_subject[2]
    assert isinstance(failed, PartitionFailed)
    assert (failed.stage, "private address" in failed.error) == ("download", True)


@pytest.mark.parametrize(
    "address", ["20.60.0.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_an_address_of_the_internet_is_not_private(address: str) -> None:
    assert not is_private(address)
