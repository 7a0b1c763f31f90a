"""Reading what a service answered: its JSON, its errors in words, how long to wait.

Belongs here: what holds for any answer, of the API, the token service or the storage.
Does not belong: sending (``transport``), what an answer means (``tokens``, ``items``, ``storage``).
"""

import html
import json
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests

from cp_pipeline.centrepoint.redaction import redact

# A service that is right asks for a minute (docs/api.md, "Limits"). One whose Retry-After is a date
# is read by our clock, which may be an hour behind.
LONGEST_RETRY_AFTER_SECONDS = 300.0
_SHOWN = 200
_LOOKED_AT = 4_000
_SECONDS = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*")
_CODE = re.compile(r"<Code>([\w.-]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<\n]*)")
_HIDDEN = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?-->")
_TAG = re.compile(r"(?s)<[^>]*>")


def json_of(response: requests.Response) -> Any:  # noqa: ANN401  (JSON is anything)
    """The JSON of an answer; a byte order mark before it means nothing.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        # From bytes, where the mark tells which Unicode it is; the header's charset may be wrong.
        return json.loads(response.content)
    except UnicodeDecodeError:
        return json.loads(response.text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def retry_after(header: str | None) -> float | None:
    """How many seconds a ``Retry-After`` asks for; None where it cannot be read.

    It is whole seconds or a date (RFC 9110, 10.2.3); decimals have been seen, and mean seconds. At
    most ``LONGEST_RETRY_AFTER_SECONDS``; 0 for a date that is past.
    """
    if header is None:
        return None
    if number := _SECONDS.fullmatch(header):
        return min(float(number[1]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        date = parsedate_to_datetime(header)
        # A date that names no zone is UTC, as all of HTTP's are.
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(moment - time.time(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def obey(retry_after_seconds: float) -> None:
    """Wait as long as an answer asks for."""
    time.sleep(retry_after_seconds)


def announced_length(response: requests.Response) -> str | None:
    """The length that an answer announces, as written; None where something else tells its end."""
    # Chunks count, whatever length is said beside them (RFC 9112, 6.3).
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    written = response.headers.get("Content-Length")
    if written is None:
        return None
    # The same length twice is that length (RFC 9110, 8.6).
    lengths = {each.strip() for each in written.split(",")}
    return lengths.pop() if len(lengths) == 1 else written


def body_of(response: requests.Response) -> str:
    """The beginning of an error's body; empty where even that breaks off."""
    try:
        beginning = response.content[:_LOOKED_AT]
    except requests.RequestException:
        return ""
    return beginning.decode("utf-8-sig", "replace")


def error_code(body: str) -> str:
    """The code of an error of Azure's storage (docs/api.md, "Files"); empty where there is none."""
    code = _CODE.search(body)
    return code[1] if code else ""


def describe(response: requests.Response) -> str:
    """``HTTP 503 (Service Unavailable): …``: status and a small error body, in words."""
    try:
        phrase = HTTPStatus(response.status_code).phrase
    except ValueError:
        phrase = "unknown"
    words = _words(body_of(response))
    return f"HTTP {response.status_code} ({phrase})" + (f": {words}" if words else "")


def _words(body: str) -> str:
    """What a body says to people: an Azure error's code and message, or the text of a page."""
    body = redact(body)
    if code := error_code(body):
        message = _MESSAGE.search(body)
        body = f"{code}: {message[1]}" if message and message[1].strip() else code
    elif "<" in body:
        body = html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", body)))
    return redact(" ".join(body.split()))[:_SHOWN].strip().rstrip(".")
