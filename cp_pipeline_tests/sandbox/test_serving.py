"""What the sandbox promises as a server: where, how many at once, how fast, how it ends."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from cp_pipeline.sandbox import Packing, SandboxStudy
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.sandbox.raw_requests import download, items, page


def exchange(sandbox: FaultySandbox, *pieces: bytes) -> bytes:
    """Sends bytes on one connection and reads until it is closed."""
    port = int(sandbox.base_url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def test_the_environment_points_a_pipeline_at_the_sandbox(sandbox: FaultySandbox) -> None:
    environment = sandbox.environment
    assert environment["CP_API_URL"] == f"{sandbox.base_url}/dataaccess/v3"
    assert environment["CP_TOKEN_URL"] == f"{sandbox.base_url}/connect/token"
    assert environment["CP_STUDY_ID"] == "4711"
    assert environment["CP_ALLOW_INSECURE_HTTP"] == "1"
    assert set(environment) == {
        "CP_API_URL",
        "CP_TOKEN_URL",
        "CP_CLIENT_ID",
        "CP_CLIENT_SECRET",
        "CP_STUDY_ID",
        "CP_ALLOW_INSECURE_HTTP",
        "CP_SENSOR_SECONDS",
    }
    assert sandbox.base_url.startswith("http://127.0.0.1:")


def test_several_sandboxes_serve_at_once() -> None:
    with (
        FaultySandbox(SandboxStudy.synthetic(1, subjects=1)) as one,
        FaultySandbox(SandboxStudy.synthetic(2, subjects=2)) as two,
    ):
        assert one.base_url != two.base_url
        assert [page(one)["totalCount"], page(two)["totalCount"]] == [5, 9]
        page(one)
        assert (len(one.requests), len(two.requests)) == (4, 2)


def test_a_stopped_sandbox_answers_no_more_not_even_on_open_connections(
    study: SandboxStudy,
) -> None:
    sandbox = FaultySandbox(study)
    with sandbox, requests.Session() as session:
        url = sandbox.base_url
        assert session.get(url, timeout=10).status_code == 404
        sandbox.__exit__(None, None, None)
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=10)
    with pytest.raises(RuntimeError, match="not serving"):
        assert sandbox.base_url
    with sandbox:
        assert page(sandbox)["totalCount"] == 14


def test_a_port_can_be_chosen_and_used_again_at_once(study: SandboxStudy) -> None:
    with FaultySandbox(study) as sandbox:
        port = int(sandbox.base_url.rsplit(":", 1)[1])
        page(sandbox)
        with pytest.raises(OSError, match="in use"), FaultySandbox(study, port=port):
            pass
    with FaultySandbox(study, port=port) as sandbox:
        assert sandbox.base_url.endswith(f":{port}")
        assert page(sandbox)["totalCount"] == 14


def test_a_sandbox_refuses_settings_it_does_not_know(study: SandboxStudy) -> None:
    with pytest.raises(ValueError, match="page_order"):
        FaultySandbox(study, page_order="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rar"):
        FaultySandbox(study, packing="rar")
    assert FaultySandbox(study, packing=Packing("zip_csv"))


def test_one_connection_carries_many_requests(sandbox: FaultySandbox) -> None:
    one = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(sandbox, one, one, last).count(b"HTTP/1.1 404 Not Found\r\n") == 3
    assert exchange(sandbox, b"GET / HTTP/1.0\r\n\r\n").count(b"HTTP/1.1 404") == 1


def test_a_body_is_asked_for_where_a_client_waits_to_send_it(sandbox: FaultySandbox) -> None:
    answer = exchange(
        sandbox,
        b"POST /sandbox/executions HTTP/1.1\r\nContent-Length: 15\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\n\r\n",
        b'{"subjectId":1}',
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_400_and_ends_the_connection(
    sandbox: FaultySandbox, request_bytes: bytes
) -> None:
    try:
        assert exchange(sandbox, request_bytes).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    except ConnectionResetError:
        # Closing with something unread resets; then the answer may be lost, as on any server.
        assert len(request_bytes) > 65_536 or b"chunked" in request_bytes
    assert page(sandbox)["totalCount"] == 14


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /sandbox/executions HTTP/1.1",
        b"POST /sandbox/executions HTTP/1.1\r\nHost: x\r\n",
        b"POST /sandbox/executions HTTP/1.1\r\nContent-Length: 15\r\n\r\n",
    ],
)
def test_half_a_request_does_nothing(sandbox: FaultySandbox, request_bytes: bytes) -> None:
    port = int(sandbox.base_url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert sandbox.requests == []


def test_many_threads_get_every_file_while_programs_are_executed(study: SandboxStudy) -> None:
    with FaultySandbox(study) as sandbox, ThreadPoolExecutor(8) as threads:
        listed = items(sandbox) * 10
        statuses = threads.map(lambda item: download(item).status_code, listed)
        for _ in range(5):
            sandbox.execute_again(subject_id=10823)
        assert set(statuses) <= {200, 404}
        assert {download(item).status_code for item in items(sandbox)} == {200}
        assert len([record for record in sandbox.requests if record.kind == "file"]) == 154


def test_a_prepared_sandbox_serves_small_files_quickly() -> None:
    study = SandboxStudy.synthetic(subjects=100, days=14, datasets=("ActivityDaily8",))
    with FaultySandbox(study) as sandbox:
        sandbox.prepare()
        paths = [item["fileUrl"].removeprefix(sandbox.base_url) for item in items(sandbox)]
        pieces = [f"GET {path} HTTP/1.1\r\n\r\n".encode() for path in paths[:-1]]
        last = f"GET {paths[-1]} HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
        start = time.perf_counter()
        assert exchange(sandbox, *pieces, last).count(b"HTTP/1.1 200 OK") == 100
        # Far slower than measured: this notices 40 ms of Nagle a request, not a busy machine.
        assert time.perf_counter() - start < 2
