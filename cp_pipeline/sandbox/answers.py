"""Requests and answers as values, and the wording of the answers that are errors.

Belongs here: what the three services (tokens, API, blob storage) say and how. Does not: when
they say it (`service.py`), or how it goes over the wire (`server.py`).
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus

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
    """One HTTP request.

    Attributes:
        method: upper case.
        path: as sent, percent-encoded, without the query.
        query: as sent, without the question mark.
        headers: by name, in any case.
        body: empty if there is none.
    """

    method: str
    path: str
    query: str
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, or the lack of one.

    Attributes:
        status: HTTP status; 0 cuts the connection without a word.
        body: the whole body.
        headers: all but Content-Length, Date, Server and Connection.
        declared_length: the Content-Length to announce where it is not the body's; the
            connection is cut after what is sent.
        sent_length: how many bytes of the body to send before the connection is cut.
        trickle: send the body, or all of it, a byte at a time.
        chunked: send the body in chunks, although a Content-Length is announced, too.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    declared_length: int | None = None
    sent_length: int | None = None
    trickle: "Trickle | None" = None
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Trickle:
    """How slowly an answer is sent.

    Attributes:
        pause_seconds: between one byte and the next.
        head: whether the status line and the headers trickle, too.
    """

    pause_seconds: float
    head: bool = False


def text(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error of the API, which are text/plain (docs/api.md, Limits)."""
    kind = {"Content-Type": "text/plain; charset=utf-8"}
    return Answer(status, message.encode(), {**kind, **(headers or {})})


def document(status: int, content: object) -> Answer:
    """A JSON answer."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(content).encode(), headers)


def blob_error(status: int) -> Answer:
    """An error of the blob storage: a small XML body, with the byte order mark Azure puts there."""
    code, message = _BLOB_ERRORS.get(status, (_phrase(status), f"{_phrase(status)}."))
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


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        return "Unknown"
