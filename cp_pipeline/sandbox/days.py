"""What a synthetic subject does with each minute of a day: sleep, sit, walk, run, not wear.

Belongs here: persons and their days, the same whichever data set looks at them, so that the daily
and the epoch files of one subject tell one story. Does not: numbers or text in a CSV.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

MINUTES = 1440
FIRST_DATE = date(2024, 2, 5)

SLEEP, SEDENTARY, LIGHT, MODERATE, VIGOROUS, UNWORN = range(6)
# Below which luck of a day, from 0 to 1, the device is off for how long.
_ALL_DAY, _FOR_HOURS, _IN_THE_SHOWER = 0.03, 0.12, 0.9
_RARER = (SLEEP, LIGHT, MODERATE, VIGOROUS, UNWORN)
_STRETCHES = [bytes([state]) * MINUTES for state in range(6)]


def chance(*names: object) -> random.Random:
    """A generator that depends on the names alone, not on what was generated before.

    Args:
        names: anything whose text identifies what is to be generated.
    """
    text = "\x1f".join(map(str, names))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 (no secrets, only samples)


@dataclass(frozen=True, slots=True)
class Person:
    """The habits of one subject.

    Attributes:
        weight: kilograms.
        wake, bed: usual minute of the day.
        pace: steps per minute when walking.
        drive: how much the person moves, around 1.
    """

    weight: float
    wake: int
    bed: int
    pace: int
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


class Day(NamedTuple):
    """One day of one person.

    Attributes:
        date: the day, in UTC.
        states: 1,440 bytes, the state of each minute.
    """

    date: date
    states: bytes

    def minutes(self) -> list[int]:
        """How many minutes of the day were spent in each state, in the order of the states."""
        counts = [self.states.count(state) for state in _RARER]
        # Counting costs most where there is most to count, so sitting is what is left.
        counts.insert(SEDENTARY, MINUTES - sum(counts))
        return counts


def days_of(seed: int, subject_id: int, somebody: Person) -> Iterator[Day]:
    """The days of a subject of a study made with this seed, from the first on, without end."""
    draw = chance(seed, subject_id, "days").random
    for number in itertools.count():
        yield Day(FIRST_DATE + timedelta(days=number), _states(somebody, draw))


def _states(somebody: Person, draw: Callable[[], float]) -> bytes:
    states = bytearray(_STRETCHES[SEDENTARY])

    def paint(start: float, length: float, state: int) -> None:
        first, count = int(start), int(length)
        states[first : first + count] = _STRETCHES[state][:count]

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
    _take_off(draw(), draw(), wake, paint)
    # What runs over midnight is dropped here: cutting every stretch to fit costs as much as all.
    return bytes(states[:MINUTES])


def _take_off(
    luck: float, place: float, wake: float, paint: Callable[[float, float, int], None]
) -> None:
    """The device off the wrist: a shower on most days, now and then for hours, or all day."""
    if luck < _ALL_DAY:
        paint(0, MINUTES, UNWORN)
    elif luck < _FOR_HOURS:
        paint(wake + 200 * place, 300 + 500 * place, UNWORN)
    elif luck < _IN_THE_SHOWER:
        paint(wake + 5 + 30 * place, 12 + 20 * luck, UNWORN)
