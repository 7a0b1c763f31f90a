"""When study programs are executed, and when their exports are then modified.

Belongs here: verbatim timestamp texts for a study. Does not: their notation (`timestamps.py`).
"""

import time as system_time
from datetime import UTC, datetime, time, timedelta

from cp_pipeline.sandbox.days import FIRST_DATE, chance
from cp_pipeline.sandbox.timestamps import TICKS_PER_SECOND, text_of, ticks_of

_DAY = 86_400 * TICKS_PER_SECOND


def first_execution(
    seed: int, subject_id: int, data_set_name: str, days: int, last_digit: int | None
) -> str:
    """The first execution for a subject, in the morning after the last measured day.

    Args:
        seed: the study's.
        subject_id: whose.
        data_set_name: of what.
        days: how many days were measured.
        last_digit: the seventh fractional digit, the one in which two programs that yield the
            same data set differ; None drops the last two digits, as .NET does with zeros.
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
    """A later execution than the old one: a day on and up to an hour.

    It keeps the seventh digit, so that two programs executed together still differ in it alone.

    Args:
        old: verbatim; where it is no timestamp at all, the next execution is now.
        seed: the study's.
        subject_id: whose.
        data_set_name: of what.
        number: of the new execution, from 1.
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
