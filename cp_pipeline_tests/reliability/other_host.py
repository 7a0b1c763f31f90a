"""A server on another address of this machine, which records its connections and requests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Elsewhere(ThreadingHTTPServer):
    """Answers every request with a CSV; records connections, requests and their headers."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.connections = 0
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                came.append(f"{self.path} {self.headers}")
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"N\n1\n")

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.2", 0), Handler)

    def verify_request(self, *_: object) -> bool:
        """Record each connection, also one without a request."""
        self.connections += 1
        return True

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self.server_close()
