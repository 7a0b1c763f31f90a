"""HTTP/1.1 over TCP on the loopback interface: reads requests, writes answers, keeps alive.

Belongs here: sockets and the wire format. Does not: what is answered (`service.py`).
Not built on http.server, whose reading of headers takes four times as long as the one here.
"""

import contextlib
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from io import BufferedIOBase

from cp_pipeline.sandbox.answers import Answer, Request, Trickle, text

_LONGEST_LINE = 65_536
_MOST_HEADERS = 200
_LARGEST_REQUEST_BODY = 1_048_576
_JOINED_BODY = 65_536

Accepted = socket.socket | tuple[bytes, socket.socket]

_REASONS = {int(status): status.phrase for status in HTTPStatus}


class MalformedError(Exception):
    """What arrived is not an HTTP/1.x request; the text says why."""


class Server(socketserver.ThreadingTCPServer):
    """Serves one function from request to answer, a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, respond: Callable[[Request], Answer]) -> None:
        """Listens at once, serves once `serve_forever` runs.

        Args:
            port: on 127.0.0.1; 0 takes any free one.
            respond: makes the answer; called from several threads at once.

        Raises:
            OSError: the port is taken.
        """
        self.respond = respond
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Connection)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.socket.getsockname()[1])

    def opened(self, connection: socket.socket) -> None:
        """Remembers a connection, to cut it when the server stops."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forgets a connection."""
        with self._lock:
            self._connections.discard(connection)

    def stop(self) -> None:
        """Stops listening and cuts every connection."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Accepted, client_address: object) -> None:
        """Says nothing of clients that hang up; anything else is a defect and stays loud."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Connection(socketserver.StreamRequestHandler):
    """One connection: requests and answers in turn, until either side ends it."""

    server: Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Announces the connection to the server."""
        super().setup()
        self.server.opened(self.request)

    def finish(self) -> None:
        """Takes leave of the server."""
        self.server.closed(self.request)
        super().finish()

    def handle(self) -> None:
        """Answers requests until the connection ends."""
        try:
            while self._answer_one():
                pass
        except MalformedError as error:
            self._send("GET", text(400, str(error)), keep_alive=False)

    def _answer_one(self) -> bool:
        """Answers one request, and says whether another may follow."""
        line = _line(self.rfile)
        if not line:
            return False
        method, target, version = _request_line(line)
        headers = _headers(self.rfile)
        if headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        path, _, query = target.partition("?")
        request = Request(method, path, query, headers, _body(self.rfile, headers))
        answer = self.server.respond(request)
        if answer.status == 0:
            return False
        keep_alive = (
            version == "HTTP/1.1"
            and headers.get("connection", "").lower() != "close"
            and answer.declared_length is None
            and answer.sent_length is None
        )
        self._send(method, answer, keep_alive)
        return keep_alive

    def _send(self, method: str, answer: Answer, keep_alive: bool) -> None:
        declared = answer.declared_length
        lines = [
            f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}",
            f"Content-Length: {len(answer.body) if declared is None else declared}",
            f"Date: {formatdate(time.time(), usegmt=True)}",
            "Server: cp-pipeline-sandbox",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        if answer.chunked:
            lines.append("Transfer-Encoding: chunked")
        if not keep_alive:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if method == "HEAD" else answer.body[: answer.sent_length]
        if answer.chunked:
            # A body that is cut short has no last chunk.
            body = _in_chunks(body) + (b"0\r\n\r\n" if answer.sent_length is None else b"")
        if answer.trickle is not None:
            self._trickle(head, body, answer.trickle)
        elif len(body) <= _JOINED_BODY:
            self.request.sendall(head + body)
        else:
            self.request.sendall(head)
            self.request.sendall(body)

    def _trickle(self, head: bytes, body: bytes, how: Trickle) -> None:
        """Sends a byte now and then, until all is sent or the client has had enough."""
        at_once, slowly = (b"", head + body) if how.head else (head, body)
        self.request.sendall(at_once)
        for place in range(len(slowly)):
            time.sleep(how.pause_seconds)
            self.request.sendall(slowly[place : place + 1])


def _in_chunks(body: bytes) -> bytes:
    size = max(1, len(body) // 3)
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def _line(stream: BufferedIOBase) -> str | None:
    """The next line without its end; None where the stream ends."""
    line = stream.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise MalformedError("A line of the request is too long.")
    return line.decode("latin-1").rstrip("\r\n") if line.endswith(b"\n") else None


def _request_line(line: str) -> tuple[str, str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1") or not target.startswith("/"):
        raise MalformedError("The first line is not that of an HTTP/1.1 request.")
    return method, target, version


def _headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    while line := _line(stream):
        name, colon, value = line.partition(":")
        if not colon or len(headers) == _MOST_HEADERS:
            raise MalformedError("The headers are not those of an HTTP request.")
        headers[name.strip().lower()] = value.strip()
    if line is None:
        raise ConnectionAbortedError("The client left before its headers were through.")
    return headers


def _body(stream: BufferedIOBase, headers: dict[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise MalformedError("Send a Content-Length: chunked requests are not understood.")
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > _LARGEST_REQUEST_BODY:
        raise MalformedError("The Content-Length is no number, or too large.")
    body = stream.read(int(announced))
    # Half a body must not be answered: without its end, a filter could ask for everything.
    if len(body) < int(announced):
        raise ConnectionAbortedError("The client left before its body was through.")
    return body
