"""Requests and answers as values, and the wording of errors.

Belongs here: what the services for tokens, listings and files say. Does not belong: when they say
it (`service.py`), and how it is sent (`server.py`).
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase
from typing import Literal
from urllib.parse import parse_qsl

RequestKind = Literal[
    "token", "listing", "subjects", "programs", "datasets", "details", "file", "control", "unknown"
]

_BLOB_ERRORS = {
    400: ("InvalidAuthenticationInfo", "Authentication information is not in the correct format."),
    403: ("AuthenticationFailed", "Server failed to authenticate the request."),
    404: ("BlobNotFound", "The specified blob does not exist."),
    405: ("UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb."),
    500: ("InternalError", "The server encountered an internal error."),
    503: ("ServerBusy", "The server is currently unable to receive requests."),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: the path as sent, percent-encoded, and its query apart from it."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query."""
        return pairs(self.query)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that reached the sandbox, in seconds since 1970; status 0 means no answer."""

    kind: RequestKind
    method: str
    path: str
    status: int
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: HTTP status; 0 ends the connection without an answer.
        body: what follows the headers.
        headers: in addition to Content-Length, Date, Server and Connection, or in place of them.
            With a Content-Length of its own, the answer is the last on its connection.
        send: sends all the bytes in place of the server, which then ends the connection.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    send: Callable[[BufferedIOBase, bytes], None] | None = None

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        """The answer with these headers in place of its own of the same names."""
        return replace(self, headers=merged(self.headers, headers))


def merged(headers: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """The headers, with others in place of those of the same name, in upper or lower case."""
    replaced = {name.lower() for name in others}
    kept = {name: value for name, value in headers.items() if name.lower() not in replaced}
    return {**kept, **others}


def pairs(encoded: str) -> dict[str, str]:
    """What a query or a form says, by name."""
    return dict(parse_qsl(encoded, keep_blank_values=True))


def text(status: int, message: str) -> Answer:
    """An error of the API: they are text/plain (docs/api.md, Limits)."""
    return Answer(status, message.encode(), {"Content-Type": "text/plain; charset=utf-8"})


def document(status: int, content: object) -> Answer:
    """A JSON answer."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(content).encode(), headers)


def blob_error(status: int) -> Answer:
    """An error of the blob storage: a small XML body, with the byte order mark Azure puts there."""
    phrase = HTTPStatus(status).phrase.replace(" ", "")
    code, message = _BLOB_ERRORS.get(status, (phrase, f"{phrase}."))
    request_id = str(uuid.uuid4())
    body = (
        '\ufeff<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{code}</Code><Message>{message}\nRequestId:{request_id}</Message></Error>"
    )
    headers = {
        "Content-Type": "application/xml",
        "x-ms-request-id": request_id,
        "x-ms-error-code": code,
    }
    return Answer(status, body.encode(), headers)
