"""Timestamps as the export API writes them, and when the synthetic programs are executed.

Belongs here: verbatim texts, and their ticks of 100 nanoseconds. Python's datetime stops at
microseconds, and two executions may differ in the digit after that. Does not belong: which export
files there are (`study.py`).
"""

import re
import time as system_time
from datetime import UTC, datetime, time, timedelta

from cp_pipeline.sandbox.days import FIRST_DATE, chance

TICKS_PER_SECOND = 10_000_000

_DAY = 86_400 * TICKS_PER_SECOND
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
    """ISO 8601 in UTC, without trailing zeros in the fraction, as .NET writes it (docs/api.md)."""
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:07d}".rstrip("0") if fraction else ""
    return f"{whole}{digits}+00:00"


def first_execution(
    seed: int, subject_id: int, data_set_name: str, days: int, last_digit: int | None
) -> str:
    """The first execution for a subject, in the morning after the last measured day.

    Two programs that yield the same data set differ in the last digit alone, the seventh. None
    leaves out the last two digits.
    """
    morning = datetime.combine(FIRST_DATE + timedelta(days=days), time(10, 9, 20), UTC)
    draw = chance(seed, subject_id, data_set_name, "execution").random
    ticks = int(morning.timestamp() + 3_600 * draw()) * TICKS_PER_SECOND
    hundreds = int(100_000 * draw())
    if last_digit is None:
        # Its own last digit isn't zero either, so that exactly five are left.
        return text_of(ticks + (hundreds // 10 * 10 + 7) * 100)
    return text_of(ticks + hundreds * 100 + 50 + last_digit)


def next_execution(old: str, seed: int, subject_id: int, data_set_name: str, number: int) -> str:
    """The execution of that number, a day and up to an hour after the old one.

    It keeps the seventh digit. If the old one is no timestamp, the next execution is now.
    """
    ticks = ticks_of(old)
    if ticks is None:
        return text_of(system_time.time_ns() // 100)
    draw = chance(seed, subject_id, data_set_name, "execution", number).random
    return text_of(ticks + _DAY + int(draw() * 360 * TICKS_PER_SECOND) * 10)


def modified_after(execution: str, subject_id: int, data_set_name: str) -> str:
    """A modification date a few seconds after the execution (the same text, if it is no date)."""
    ticks = ticks_of(execution)
    if ticks is None:
        return execution
    draw = chance(execution, subject_id, data_set_name, "modified").random
    return text_of(ticks + int((1 + 8 * draw()) * TICKS_PER_SECOND))
