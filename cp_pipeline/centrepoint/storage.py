"""Why the storage refuses a link, and whether it refuses all links.

Belongs here: classifying refusals by their answers, and the state that all downloads share.
Does not belong: retries (``downloads``).
"""

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from enum import Enum
from urllib.parse import parse_qs, urlsplit

import requests

from cp_pipeline.centrepoint.answers import body_of, date_of, error_code

# Pauses before the same link is tried again, if it may not be valid yet: a minute in total.
PAUSES_SECONDS = (6.0, 54.0)
# All downloads wait during the same minute, and then not again for this time: all links of the
# listing are older than a minute afterwards.
_WAITS_AGAIN_AFTER_SECONDS = 600.0
FILES_IN_A_ROW = 3
# A Date header has whole seconds. A link that expires within this time is useless too.
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
    """The state of a link, by a refusal."""

    DIED = "the link has expired"
    MAYBE_TOO_EARLY = "the link is invalid, or not valid yet"
    REFUSED = "the storage refuses the link"


def state_of_link(response: requests.Response, url: str) -> LinkState | None:
    """Return the state of a link, by the storage's answer; None if the link is not the cause.

    Args:
        response: an answer that is not a file; this function reads its body.
        url: the link; its query has the expiry time (``se``; docs/api.md, "An item").
    """
    if response.status_code not in _NO_LINK:
        return None
    if response.status_code != requests.codes.forbidden:
        return LinkState.DIED
    body = body_of(response)
    now = date_of(response.headers.get("Date")) or datetime.now(UTC)
    expiry = _expiry(url)
    if expiry is not None and expiry - now < _AS_GOOD_AS_EXPIRED:
        return LinkState.DIED
    # The body decides, if there is one: a firewall's page may have any headers.
    if (error_code(body) if body else response.headers.get("x-ms-error-code")) != (
        "AuthenticationFailed"
    ):
        return LinkState.REFUSED
    return _by_detail(body)


def _by_detail(body: str) -> LinkState:
    """Return the state of a link by Azure's ``AuthenticationErrorDetail``, if there is one."""
    if frame := _FRAME.search(body):
        start, expiry, current = map(date_of, frame.groups())
        if expiry and current and current >= expiry:
            return LinkState.DIED
        if start and current and current >= start:
            return LinkState.REFUSED
    elif "ignature did not match" in body or "not well formed" in body:
        return LinkState.REFUSED
    return LinkState.MAYBE_TOO_EARLY


def _expiry(url: str) -> datetime | None:
    try:
        expiry = datetime.fromisoformat(parse_qs(urlsplit(url).query).get("se", [""])[-1])
    except ValueError:
        return None
    return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)


class StorageState:
    """What the downloads of all threads have learned about the storage. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused_in_a_row = 0
        self._waiting_since: float | None = None

    def gave_a_file(self) -> None:
        """Record that the storage sent a file, so it does not refuse all links."""
        with self._lock:
            self._refused_in_a_row = 0

    def refused_a_fresh_link(self) -> None:
        """Record that the storage refused a file although its link was new."""
        with self._lock:
            self._refused_in_a_row += 1

    @property
    def refuses_all(self) -> bool:
        """Whether so many files in a row were refused that new links do not help."""
        with self._lock:
            return self._refused_in_a_row >= FILES_IN_A_ROW

    def pause(self, number: int) -> float | None:
        """Return the seconds to wait before a link is tried again that may not be valid yet.

        Such links all come from one listing, so all files share one wait. None if that wait is
        over, or did not help another file.

        Args:
            number: the number of earlier pauses for this file's link.
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
