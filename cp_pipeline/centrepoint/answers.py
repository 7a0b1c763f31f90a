"""Read HTTP answers: the JSON, a description of an error, the time to wait.

Belongs here: what applies to every answer of the API, the token service and the storage.
Does not belong: sending (``transport``), what an answer means (``tokens``, ``items``, ``storage``).
"""

import html
import json
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests

from cp_pipeline.centrepoint.redaction import redact

# A correct service asks for a minute (docs/api.md, "Limits"). If Retry-After is a date, we compare
# it with our clock, which may be an hour slow.
LONGEST_RETRY_AFTER_SECONDS = 300.0
_SHOWN = 200
_LOOKED_AT = 4_000
_SECONDS = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*")
_CODE = re.compile(r"<Code>([\w.-]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<\n]*)")
_HIDDEN = re.compile(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?-->")
_TAG = re.compile(r"(?s)<[^>]*>")


def json_of(response: requests.Response) -> Any:  # noqa: ANN401  (JSON is anything)
    """Return the JSON of an answer; ignore a byte order mark before it.

    Raises:
        ValueError: the answer is not JSON.
    """
    try:
        # Read the bytes: the mark names the Unicode encoding; the header's charset may be wrong.
        return json.loads(response.content)
    except UnicodeDecodeError:
        return json.loads(response.text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; None if it cannot be read.

    The header holds whole seconds or a date (RFC 9110, 10.2.3). Some services send decimals, which
    mean seconds too. The result is at most ``LONGEST_RETRY_AFTER_SECONDS``, and 0 for a past date.
    """
    if header is None:
        return None
    if number := _SECONDS.fullmatch(header):
        return min(float(number[1]), LONGEST_RETRY_AFTER_SECONDS)
    if (date := date_of(header)) is None:
        return None
    return min(max(date.timestamp() - time.time(), 0.0), LONGEST_RETRY_AFTER_SECONDS)


def date_of(written: str | None) -> datetime | None:
    """Return a date of HTTP; None if it cannot be read. Without a time zone it is UTC."""
    try:
        date = parsedate_to_datetime(written or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def obey(retry_after_seconds: float) -> None:
    """Wait for the time that an answer asks for."""
    time.sleep(retry_after_seconds)


def announced_length(response: requests.Response) -> str | None:
    """Return the length that an answer announces, as written; None if it announces none."""
    # With chunked transfer, a length in the header does not apply (RFC 9112, 6.3).
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    written = response.headers.get("Content-Length")
    if written is None:
        return None
    # The header may repeat the same length (RFC 9110, 8.6).
    lengths = {each.strip() for each in written.split(",")}
    return lengths.pop() if len(lengths) == 1 else written


def body_of(response: requests.Response) -> str:
    """Return the beginning of an error's body; empty if the connection breaks while reading it."""
    try:
        beginning = response.content[:_LOOKED_AT]
    except requests.RequestException:
        return ""
    return beginning.decode("utf-8-sig", "replace")


def error_code(body: str) -> str:
    """Return the error code of Azure's storage (docs/api.md, "Files"); empty if there is none."""
    code = _CODE.search(body)
    return code[1] if code else ""


def describe(response: requests.Response) -> str:
    """Describe an answer by status and error text: ``HTTP 503 (Service Unavailable): …``."""
    try:
        phrase = HTTPStatus(response.status_code).phrase
    except ValueError:
        phrase = "unknown"
    words = _words(body_of(response))
    return f"HTTP {response.status_code} ({phrase})" + (f": {words}" if words else "")


def _words(body: str) -> str:
    """Return the readable text of a body: an Azure error's code and message, or a page's text."""
    body = redact(body)
    if code := error_code(body):
        message = _MESSAGE.search(body)
        body = f"{code}: {message[1]}" if message and message[1].strip() else code
    elif "<" in body:
        body = html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", body)))
    return redact(" ".join(body.split()))[:_SHOWN].strip().rstrip(".")
