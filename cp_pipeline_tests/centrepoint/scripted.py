"""A service that sends any answer a test needs, also answers that the sandbox never sends."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from cp_pipeline.settings import CentrePointSettings

TOKEN = "a-token-that-must-not-travel"
SECRET = "a-secret-that-nobody-may-read"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as received."""

    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: str | None = None


class Scripted:
    """Serves one function on 127.0.0.1, issues tokens, and records the requests."""

    def __init__(self, answer: Callable[[Asked], Said], token: Said | None = None) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._token = token or Said(body=json.dumps({"access_token": TOKEN}).encode())
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script._serve(self)

            def do_POST(self) -> None:
                script._serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def settings(self) -> CentrePointSettings:
        """Return the settings for a client of this service."""
        return CentrePointSettings(
            api_url=self.url,
            token_url=f"{self.url}/token",
            client_id="somebody",
            client_secret=SECRET,
            study_ids=(4711,),
            allow_insecure_http=True,
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        asked = Asked(parts.path, parse_qs(parts.query), dict(handler.headers.items()), body)
        self.asked.append(asked)
        said = self._token if parts.path == "/token" else self._answer(asked)
        handler.send_response(said.status)
        announced = str(len(said.body)) if said.announced is None else said.announced
        for name, value in {**said.headers, "Content-Length": announced}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(said.body)


def page_of(*items: object, total: int | None = None) -> Said:
    """Return a page with these items."""
    count = len(items) if total is None else total
    page = {"items": items, "links": {}, "totalCount": count, "limit": 100, "offset": 0}
    return Said(body=json.dumps(page).encode())
