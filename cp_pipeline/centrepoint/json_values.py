"""Read single values of the API's JSON.

Belongs here: numbers, texts and timestamps, as all items have them (docs/api.md, "An item").
Does not belong: whole items (``items``, ``subjects``).
"""

import re

from cp_pipeline.domain.exports import Instant

_HALF = re.compile("[\ud800-\udfff]")
# .NET's DateTimeOffset.MinValue, by which the vendor means "never" (docs/api.md, "An item").
_NEVER = re.compile(r"0001-\d{2}-\d{2}(?:[Tt ].*)?", re.ASCII)
# The limit of numbers, and of times in nanoseconds since 1970. They must fit into 64 bits; for
# DuckDB, the extreme values mean infinity, so the limit is slightly lower.
_LARGEST = 2**63 - 2


def whole_number(value: object) -> int:
    """Return a whole number.

    Raises:
        TypeError, ValueError: it is none, or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    if abs(value) > _LARGEST:
        raise ValueError(f"{value!r} does not fit into 64 bits")
    return value


def text(value: object) -> str:
    """Return a text that is not empty.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    # JSON can contain half a character (a lone surrogate), which no file or database can hold.
    if not value.isascii() and _HALF.search(value):
        raise ValueError(f"{value!r} contains half a character (a lone surrogate)")
    return value


def instant(value: object) -> Instant:
    """Return a timestamp.

    Raises:
        TypeError, ValueError: it is none, or too far from now.
    """
    found = Instant.parse(text(value))
    if abs(found.nanoseconds) > _LARGEST:
        raise ValueError(f"{value!r} is not between the years 1678 and 2261")
    return found


def is_never(value: object) -> bool:
    """Whether a timestamp is one of the vendor's two values for "never"."""
    return value is None or (isinstance(value, str) and _NEVER.fullmatch(value) is not None)


def number_or_none(value: object) -> int | None:
    """Return a whole number; None for anything else."""
    try:
        return whole_number(value)
    except (TypeError, ValueError):
        return None


def text_or_none(value: object) -> str | None:
    """Return a text that is not empty; None for anything else."""
    try:
        return text(value)
    except (TypeError, ValueError):
        return None
