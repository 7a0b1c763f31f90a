"""The minimum throughput of an answer: abort a response that arrives too slowly.

Belongs here: measuring the throughput while an answer is read. Does not belong: retries
(``transport``, ``downloads``).

A read timeout limits only the wait for the next byte. This module counts the time spent waiting for
the server, but not the time that this process takes to write a file.
"""

import io
import time
from http.client import HTTPResponse
from typing import Any

# Sixteen downloads share one connection to the internet, so this is 64 kbit/s in total. A single
# pause as long as the read timeout is still allowed.
SLOW_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 500


class TooSlow(TimeoutError):
    """The throughput is below the minimum; a ``TimeoutError`` for the HTTP libraries."""

    def __init__(self) -> None:
        least = int(SLOW_SECONDS * SLOWEST_BYTES_PER_SECOND)
        super().__init__(f"fewer than {least:,} bytes arrived in {SLOW_SECONDS:g} s of waiting")


class PacedReader(io.RawIOBase):
    """Reads from a socket's stream, with a minimum throughput.

    Raises:
        TooSlow: while reading; too few bytes arrived in the last ``SLOW_SECONDS`` of waiting.
    """

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._stream = stream
        self._waited = 0.0
        self._arrived = 0
        self._begun = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  (any writable buffer)
        """Read the available bytes; wait for the first one."""
        began = time.monotonic()
        count = self._stream.readinto(buffer)
        # The time before the first byte does not count: a server may need it to prepare the answer.
        # The read timeout limits it.
        if self._begun:
            self._waited += time.monotonic() - began
        self._begun = True
        self._arrived += count or 0
        if count and self._waited >= SLOW_SECONDS:
            if self._arrived < SLOW_SECONDS * SLOWEST_BYTES_PER_SECOND:
                raise TooSlow
            self._waited, self._arrived = 0.0, 0
        return count

    def close(self) -> None:
        """Close the stream too."""
        self._stream.close()
        super().close()


class PacedResponse(HTTPResponse):
    """An answer whose head and body must both arrive with the minimum throughput."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self.fp = io.BufferedReader(PacedReader(self.fp.detach()))
