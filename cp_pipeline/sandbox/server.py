"""HTTP/1.1 on one address, with the standard library's server.

Belongs here: connections, and the bytes of a request and an answer. Does not belong: what is
answered (`service.py`).
"""

import contextlib
import socket
import socketserver
import sys
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cp_pipeline.sandbox.answers import Answer, Request, merged, text

_LARGEST_REQUEST_BODY = 1_048_576
_JOINED_BODY = 65_536
_REASONS = {int(status): status.phrase for status in HTTPStatus}


class Server(ThreadingHTTPServer):
    """Serves one function from request to answer, with a thread for each connection."""

    request_queue_size = 256

    def __init__(self, host: str, port: int, respond: Callable[[Request], Answer]) -> None:
        """Listens at once, on a name or address and a port (0: any free one).

        Serves when told to. Several threads call `respond` at the same time.
        """
        self.respond = respond
        self.connections: set[socket.socket] = set()
        super().__init__((host, port), Connection)

    def server_bind(self) -> None:
        """Binds without a look-up of the host's name, which takes seconds on some machines."""
        socketserver.TCPServer.server_bind(self)
        self.server_port = int(self.server_address[1])

    def stop(self) -> None:
        """Stops listening and cuts every connection."""
        self.shutdown()
        self.server_close()
        for connection in self.connections.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: object) -> None:  # noqa: ANN401
        """Says nothing of clients that hang up. Anything else is a defect."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """One connection: requests and answers in turn, until either side ends it."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Otherwise a first line that is no request gets an error page without a status line.
    default_request_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Lets the server know of the connection, which it cuts when it stops."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """The connection ends."""
        self.server.connections.discard(self.connection)
        super().finish()

    def answer(self) -> None:
        """Answers one request of any method."""
        headers = self.headers
        length = headers.get("Content-Length", "0")
        known = length.isdecimal() and "Transfer-Encoding" not in headers
        if headers.defects or not known or int(length) > _LARGEST_REQUEST_BODY:
            self.send_error(400, "Send well-formed headers, and the length of a small body.")
            return
        body = self.rfile.read(int(length))
        # Do not answer half a request: without its end, a filter could ask for everything. To
        # http.server, headers without an end look complete; a POST without a length has lost it.
        if len(body) < int(length) or (self.command == "POST" and "Content-Length" not in headers):
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        self._send(self.server.respond(Request(self.command, path, query, headers, body)))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no request: 400 in plain text, and the end of the connection."""
        self.close_connection = True
        self._send(text(400, message or f"This is not an HTTP/1.1 request ({code}, {explain})."))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Logs nothing: the service keeps its own records."""

    def _send(self, answer: Answer) -> None:
        own_length = any(name.lower() == "content-length" for name in answer.headers)
        if answer.status == 0 or answer.send or own_length:
            self.close_connection = True
        if answer.status == 0:
            return
        usual = {
            "Content-Length": str(len(answer.body)),
            "Date": formatdate(usegmt=True),
            "Server": "cp-pipeline-sandbox",
        }
        if self.close_connection:
            usual["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in merged(usual, answer.headers).items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if self.command == "HEAD" else answer.body
        if answer.send:
            answer.send(self.wfile, head + body)
        elif len(body) > _JOINED_BODY:
            self.wfile.write(head)
            self.wfile.write(body)
        else:
            # One send, which is one packet for a small file.
            self.wfile.write(head + body)
