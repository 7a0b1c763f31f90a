"""The pace of an answer: a server that sends a byte now and then is given up.

Belongs here: measuring, while an answer is read. Does not: asking again (``transport``,
``downloads``).

A timeout says only how long the next byte may take. What is counted here is the time spent waiting
for the server, and not what we take ourselves to write a file.
"""

import io
import time
from http.client import HTTPResponse
from typing import IO, Any, Protocol

# Sixteen downloads share a line, so this is as slow as 64 kbit/s in all. A pause of a whole read
# timeout is no trickle yet.
SLOW_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 500


class TooSlow(TimeoutError):
    """An answer arrives too slowly. A kind of timeout, so libraries treat it as one."""

    def __init__(self) -> None:
        least = int(SLOW_SECONDS * SLOWEST_BYTES_PER_SECOND)
        super().__init__(f"fewer than {least:,} bytes came in {SLOW_SECONDS:g} s of waiting")


class _Socket(Protocol):
    """What ``HTTPResponse`` needs of a socket."""

    def makefile(self, mode: Any, *, buffering: int) -> Any: ...  # noqa: ANN401


class PacedReader(io.RawIOBase):
    """Reads from a socket's stream, as long as enough comes.

    Raises:
        TooSlow: while reading; too little came in the last ``SLOW_SECONDS`` of waiting.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._waited = 0.0
        self._arrived = 0
        self._begun = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  (any writable buffer)
        """Read what there is, waiting for the first byte of it."""
        began = time.monotonic()
        count: int | None = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        # Before it begins to answer a server may think, for as long as the read timeout lets it.
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
        """Close the stream, too."""
        self._stream.close()
        super().close()


class PacedResponse(HTTPResponse):
    """An answer whose head and body are both read at a pace."""

    def __init__(self, connected: _Socket, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(_PacedSocket(connected), *args, **options)  # type: ignore[arg-type]


class _PacedSocket:
    """All that an ``HTTPResponse`` takes from a socket."""

    def __init__(self, connected: _Socket) -> None:
        self._connected = connected

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(PacedReader(self._connected.makefile(mode, buffering=0)))


def too_slow(error: BaseException) -> TooSlow | None:
    """The ``TooSlow`` that an error of ``urllib3`` or ``requests`` stands for, if any."""
    if isinstance(error, TooSlow):
        return error
    behind = (*error.args, getattr(error, "reason", None), error.__cause__)
    found = (too_slow(each) for each in behind if isinstance(each, BaseException))
    return next((each for each in found if each is not None), None)
