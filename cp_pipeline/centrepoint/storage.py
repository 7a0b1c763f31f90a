"""What the storage means by refusing a link, and whether it refuses every one.

Belongs here: telling kinds of refusals apart by evidence, and what all downloads know together.
Does not belong: asking again (``downloads``).
"""

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import parse_qs, urlsplit

import requests

from cp_pipeline.centrepoint.answers import body_of, error_code

# The same link is tried again after these seconds, while it may be too early for it: a minute.
PAUSES_SECONDS = (6.0, 54.0)
# All downloads together wait in one minute of these: every link is older than that afterwards.
_WAITS_AGAIN_AFTER_SECONDS = 600.0
FILES_IN_A_ROW = 3
# A Date header has whole seconds; a link that dies this soon is of no use either.
_AS_GOOD_AS_EXPIRED = timedelta(seconds=2)
_FRAME = re.compile(r"Start \[([^\]]*)\] - Expiry \[([^\]]*)\] - Current \[([^\]]*)\]")
_NO_LINK = frozenset(
    {
        requests.codes.unauthorized,
        requests.codes.forbidden,
        requests.codes.not_found,
        requests.codes.gone,
    }
)


class LinkState(Enum):
    """What a refusal says of the link."""

    DIED = "the link has died"
    MAYBE_TOO_EARLY = "the link is not taken, or not yet"
    REFUSED = "the storage refuses the link"


def state_of_link(response: requests.Response, url: str) -> LinkState | None:
    """What an answer says of the link that it is to; None if it is about something else.

    Args:
        response: any answer but a file; its body is read.
        url: the link, whose query has its expiry (``se``; docs/api.md, "An item").
    """
    if response.status_code not in _NO_LINK:
        return None
    if response.status_code != requests.codes.forbidden:
        return LinkState.DIED
    body = body_of(response)
    now = _moment(response.headers.get("Date")) or datetime.now(UTC)
    expiry = _expiry(url)
    if expiry is not None and expiry - now < _AS_GOOD_AS_EXPIRED:
        return LinkState.DIED
    # A firewall's page is none of the storage's, whatever the headers are.
    if (error_code(body) if body else response.headers.get("x-ms-error-code")) != (
        "AuthenticationFailed"
    ):
        return LinkState.REFUSED
    return _by_detail(body)


def _by_detail(body: str) -> LinkState:
    """What Azure's ``AuthenticationErrorDetail`` says, where there is one."""
    if frame := _FRAME.search(body):
        start, expiry, current = map(_moment, frame.groups())
        if expiry and current and current >= expiry:
            return LinkState.DIED
        if start and current and current >= start:
            return LinkState.REFUSED
    elif "ignature did not match" in body or "not well formed" in body:
        return LinkState.REFUSED
    return LinkState.MAYBE_TOO_EARLY


def _expiry(url: str) -> datetime | None:
    try:
        written = parse_qs(urlsplit(url).query).get("se", [""])[-1]
        return _in_utc(datetime.fromisoformat(written))
    except ValueError:
        return None


def _moment(written: str | None) -> datetime | None:
    try:
        return _in_utc(parsedate_to_datetime(written or ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class StorageState:
    """What downloads on all threads know of the storage together. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused_in_a_row = 0
        self._waiting_since: float | None = None

    def gave_a_file(self) -> None:
        """A file has come: the storage does not refuse all."""
        with self._lock:
            self._refused_in_a_row = 0

    def refused_a_fresh_link(self) -> None:
        """A file was refused though its link was new."""
        with self._lock:
            self._refused_in_a_row += 1

    @property
    def refuses_all(self) -> bool:
        """Whether so many files in a row were refused that new links are no use."""
        with self._lock:
            return self._refused_in_a_row >= FILES_IN_A_ROW

    def pause(self, number: int) -> float | None:
        """How long to wait before a link that may be too early is tried again, in seconds.

        Links that are too early are all of one listing, so the wait is one for all files. None
        where it is over, or was in vain for another file.

        Args:
            number: how often this file's link has waited before.
        """
        with self._lock:
            now = time.monotonic()
            since = self._waiting_since
            if since is None or now - since > _WAITS_AGAIN_AFTER_SECONDS:
                self._waiting_since = since = now
            left = since + sum(PAUSES_SECONDS) - now
            if self._refused_in_a_row or number >= len(PAUSES_SECONDS) or left <= 0:
                return None
            return min(PAUSES_SECONDS[number], left)
