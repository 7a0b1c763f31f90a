"""Downloads over HTTPS, as in production, with a certificate made for the test."""

import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from cp_pipeline.centrepoint import DownloadFailed
from cp_pipeline.domain.exports import ExportFile
from cp_pipeline_tests.centrepoint.clients import Keeper
from cp_pipeline_tests.certificates import certificate_in
from cp_pipeline_tests.conftest import open_pipeline
from cp_pipeline_tests.study_site import Site

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
CONTENT = bytes(range(256)) * 20_000


class Storage(BaseHTTPRequestHandler):
    """Serves a file over a persistent connection; at ``/slow``, one byte at a time."""

    protocol_version = "HTTP/1.1"
    # A client that closes the connection is no error.
    server: "Quiet"

    def do_GET(self) -> None:
        self.server.came.append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path.startswith("/slow"):
            for place in range(1_000):
                self.wfile.write(CONTENT[place : place + 1])
                time.sleep(0.05)
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None: ...


class Quiet(ThreadingHTTPServer):
    came: list[int]

    def handle_error(self, *_: object) -> None: ...


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quiet]:
    """A server at https://localhost; this process trusts its certificate."""
    certificate, key = certificate_in(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Quiet(("127.0.0.1", 0), Storage) as server:
        server.came = []
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def item(here: Site, storage: Quiet) -> ExportFile:
    here.put("N\n1\n")
    (listed,) = open_pipeline().survey().items
    return replace(listed, url=f"https://localhost:{storage.server_port}/x?sig=abc")


def test_files_arrive_whole_over_one_connection(
    item: ExportFile, storage: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_ALLOW_PRIVATE_HOSTS", "localhost")
    centrepoint = open_pipeline().centrepoint
    for _ in range(3):
        assert centrepoint.fetch(item, Keeper()) == CONTENT
    assert len(storage.came) == 3
    assert len(set(storage.came)) == 1


def test_a_private_host_is_refused(item: ExportFile, storage: Quiet) -> None:
    with pytest.raises(DownloadFailed, match=r"localhost, which is 127\.0\.0\.1"):
        open_pipeline().centrepoint.fetch(item, Keeper())
    assert storage.came == []


def test_a_trickle_is_given_up(
    item: ExportFile, storage: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CP_ALLOW_PRIVATE_HOSTS", "localhost")
    monkeypatch.setattr("cp_pipeline.centrepoint.minimum_throughput.SLOW_SECONDS", 0.3)
    without_sleep = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("cp_pipeline.centrepoint.downloads.time", without_sleep)
    slow = replace(item, url=item.url.replace("/x", "/slow"))
    with pytest.raises(DownloadFailed, match=r"fewer than 150 bytes arrived in 0\.3 s"):
        open_pipeline().centrepoint.fetch(slow, Keeper())
    assert len(storage.came) == 4
