"""Timestamps as the export API writes them, counted in ticks of 100 nanoseconds.

Belongs here: text to ticks and back. Does not: deciding when anything was executed.
Python's datetime stops at microseconds, and two executions may differ in the digit after that.
"""

import re
from datetime import UTC, datetime

TICKS_PER_SECOND = 10_000_000

_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,7}))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)


def ticks_of(text: str) -> int | None:
    """Ticks since 1970-01-01T00:00:00Z of an ISO 8601 text with offset; None if it is not one."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    seconds, fraction, offset = match.groups()
    try:
        whole = datetime.fromisoformat(seconds + offset)
    except ValueError:
        return None
    return int(whole.timestamp()) * TICKS_PER_SECOND + int((fraction or "").ljust(7, "0"))


def text_of(ticks: int) -> str:
    """ISO 8601 in UTC, `+00:00`, trailing zeros of the fraction dropped as .NET does.

    Source: docs/api.md, An item ("seven digits too, and fewer when the last ones are zero").
    """
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:07d}".rstrip("0") if fraction else ""
    return f"{whole}{digits}+00:00"
