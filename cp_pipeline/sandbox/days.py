"""What a synthetic subject does in each minute of a day: sleep, sit, walk, run, not wear.

Belongs here: persons and their days, so that the daily and the epoch files of one subject agree.
Does not belong: numbers or text in a CSV (`measurements.py`).
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

MINUTES = 1440
FIRST_DATE = date(2024, 2, 5)

SLEEP, SEDENTARY, LIGHT, MODERATE, VIGOROUS, UNWORN = range(6)
# The device is off all day, for hours or in the shower, where a day's draw is below these.
_ALL_DAY, _FOR_HOURS, _IN_THE_SHOWER = 0.03, 0.12, 0.9


def chance(*names: object) -> random.Random:
    """A generator that depends on the names alone, not on what was generated before."""
    text = "\x1f".join(map(str, names))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 (no secrets, only samples)


@dataclass(frozen=True, slots=True)
class Person:
    """The habits of one subject. `drive` is how much the person moves, around 1."""

    weight: float  # kilograms
    wake: int  # usual minute of the day
    bed: int
    pace: int  # steps per minute when walking
    drive: float


def person(seed: int, subject_id: int) -> Person:
    """The person behind a subject id of a study made with this seed."""
    draw = chance(seed, subject_id, "person").random
    return Person(
        weight=50 + 50 * draw(),
        wake=360 + int(90 * draw()),
        bed=1320 + int(75 * draw()),
        pace=92 + int(22 * draw()),
        drive=0.6 + 0.8 * draw(),
    )


def days_of(seed: int, subject_id: int) -> Iterator[tuple[date, bytes]]:
    """The days of a subject, without end: the date, in UTC, and the state of each minute."""
    somebody = person(seed, subject_id)
    draw = chance(seed, subject_id, "days").random
    for number in itertools.count():
        yield FIRST_DATE + timedelta(days=number), _states(somebody, draw)


def _states(somebody: Person, draw: Callable[[], float]) -> bytes:
    states = bytearray([SEDENTARY]) * MINUTES

    def paint(start: float, length: float, state: int) -> None:
        first, count = int(start), int(length)
        states[first : first + count] = bytes([state]) * count

    wake, bed = somebody.wake + 40 * (draw() - 0.5), somebody.bed + 60 * (draw() - 0.5)
    awake = bed - wake
    for _ in range(int(11 * somebody.drive)):
        paint(wake + awake * draw(), 6 + 30 * draw(), LIGHT)
    for _ in range(int(1 + 4 * somebody.drive * draw())):
        paint(wake + 20 + awake * 0.9 * draw(), 4 + 14 * draw(), MODERATE)
    paint(670 + 120 * draw(), 10 + 12 * draw(), MODERATE)  # the way to lunch and back
    if draw() < 0.3 * somebody.drive:
        paint(1030 + 90 * draw(), 15 + 30 * draw(), VIGOROUS)
    paint(0, wake, SLEEP)
    paint(bed, MINUTES, SLEEP)
    luck, place = draw(), draw()
    if luck < _ALL_DAY:
        paint(0, MINUTES, UNWORN)
    elif luck < _FOR_HOURS:
        paint(wake + 200 * place, 300 + 500 * place, UNWORN)
    elif luck < _IN_THE_SHOWER:
        paint(wake + 5 + 30 * place, 12 + 20 * luck, UNWORN)
    return bytes(states[:MINUTES])
