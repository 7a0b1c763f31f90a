"""The synthetic CSV contents of the export files: actigraphy that looks like a person's.

Belongs here: one writer for each data set, from a recipe to text; the names of data sets and of the
study programs that yield them. Does not belong: who was measured (`study.py`), what the person did
(`days.py`), how the bytes are packed (`packing.py`).
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, groupby, islice
from operator import add

from cp_pipeline.sandbox.days import (
    FIRST_DATE,
    LIGHT,
    MINUTES,
    MODERATE,
    SEDENTARY,
    SLEEP,
    UNWORN,
    VIGOROUS,
    Person,
    chance,
    days_of,
    person,
)

BAROMETER = "LeapAvgBarometer"
PARAMETERS = "ParamsAndSubject (31)"

# Further data sets are like ActivityDaily8; six of them come from one program, with one execution.
_FIRST_FURTHER = 101
_OF_ONE_PROGRAM = 6
_FURTHER = re.compile(r"ActivityDaily([1-9][0-9]{2,})")
_VERSION = re.compile(r"(.*?)([0-9]+)")
# Different programs may share a name (docs/api.md, The study around the exports).
_PROGRAM_NAMES = {
    "ActivityDaily8": "Activity (30)",
    "ActivityEpochs10": "Activity (30)",
    BAROMETER: "Leap (12)",
    PARAMETERS: PARAMETERS,
}

_VARIETY = 96
# Minutes of wear that make a valid day; of a shorter one no average is reported.
_VALID_DAY = 600
# Shares of all draws.
_BAROMETER_GAPS, _UNDATED = 0.01, 0.15
_CLOCK = [f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in range(MINUTES)]
_MET = {SLEEP: 0.94, SEDENTARY: 1.18, LIGHT: 2.0, MODERATE: 3.7, VIGOROUS: 7.1}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that the contents of one synthetic export file depend on.

    The first execution has the number 0; later ones are recalibrated. An epoch file has 1,440 rows
    a day if `epoch_rows` is None.
    """

    seed: int
    subject_id: int
    data_set_name: str
    study_program_id: str
    execution_number: int
    days: int
    epoch_rows: int | None = None

    def csv(self) -> bytes:
        """The CSV: UTF-8, comma, line feeds, one header row (docs/api.md, Files)."""
        # Further data sets are like the daily one.
        return _DATA_SETS.get(self.data_set_name, _activity_daily)(self).encode()

    def chance(self, *names: object) -> random.Random:
        """A generator of this very execution, not of the person."""
        program, number = self.study_program_id, self.execution_number
        return chance(self.seed, self.subject_id, self.data_set_name, program, number, *names)

    @property
    def gain(self) -> float:
        """The calibration of this execution: 1 at first, then 0.4 to 3 % higher."""
        return 1.0 if self.execution_number == 0 else 1.004 + 0.026 * self.chance("gain").random()


def _activity_epochs(recipe: Recipe) -> str:
    tails = [_minutes_like(recipe, state) for state in range(UNWORN + 1)]
    choices = recipe.chance("epochs").choices
    rows = MINUTES * recipe.days if recipe.epoch_rows is None else recipe.epoch_rows
    parts = ["SUBJECTID,TIMESTAMPUTC,STEPS,MET,CALORIES\n"]
    days = days_of(recipe.seed, recipe.subject_id)
    for first, (day, states) in zip(range(0, rows, MINUTES), days, strict=False):
        runs = (
            choices(tails[state], k=len(list(run)))
            for state, run in groupby(states[: rows - first])
        )
        start = f"{recipe.subject_id},{day} "
        # One join a day instead of one format a row: a file of a million rows stays a moment.
        parts.append(start + start.join(map(add, _CLOCK, chain.from_iterable(runs))))
    return "".join(parts)


def _minutes_like(recipe: Recipe, state: int) -> list[str]:
    """Ends of rows (steps, MET, calories) of minutes spent in one state, to choose from."""
    if state == UNWORN:
        return [",,,\n"]
    somebody = person(recipe.seed, recipe.subject_id)
    draw, gain = recipe.chance("minutes", state).random, recipe.gain
    low, high = {
        SLEEP: (-60, 3),
        SEDENTARY: (-30, 9),
        LIGHT: (-4, 44),
        MODERATE: (somebody.pace - 9, somebody.pace + 13),
        VIGOROUS: (somebody.pace + 38, somebody.pace + 66),
    }[state]
    tails = []
    for place in range(_VARIETY):
        # Spread evenly, so that each file's average is the one the daily file reckons with.
        steps = low + (high - low) * (place + draw()) / _VARIETY
        spent = _MET[state] * (0.9 + 0.2 * draw()) * gain
        calories = spent * somebody.weight * 3.5 / 200
        tails.append(f",{max(0, int(steps * gain))},{spent:.2f},{calories:.3f}\n")
    return tails


def _activity_daily(recipe: Recipe) -> str:
    columns = (
        "SUBJECTID,DATE,WEARMINUTES,SLEEPMINUTES,STEPS,SEDENTARYMINUTES,LIGHTMINUTES,"
        "MODERATEMINUTES,VIGOROUSMINUTES,MVPAMINUTES,MET,CALORIES,AWAKEWEARMINUTES\n"
    )
    parts = [columns]
    draw = recipe.chance("daily").random
    somebody, gain = person(recipe.seed, recipe.subject_id), recipe.gain
    for day, states in islice(days_of(recipe.seed, recipe.subject_id), recipe.days):
        summary = _summary(somebody, states, gain * (0.99 + 0.02 * draw()))
        parts.append(f"{recipe.subject_id},{day},{summary}\n")
    return "".join(parts)


def _summary(somebody: Person, states: bytes, noise: float) -> str:
    counts = [states.count(state) for state in range(UNWORN)]
    sleep, sedentary, light, moderate, vigorous = counts
    wear = sum(counts)
    if wear == 0:
        return "0,,,,,,,,,,0"
    # What the epochs of each state have on average.
    few, many = 0.9 * sedentary + 19.7 * light, 1.5 * moderate + 51.5 * vigorous
    steps = int((few + many + somebody.pace * (moderate + vigorous)) * noise)
    effort = sum(count * _MET[state] for state, count in enumerate(counts))
    calories = effort * noise * somebody.weight * 3.5 / 200
    average = f"{effort * noise / wear:.3f}" if wear >= _VALID_DAY else ""
    return (
        f"{wear},{sleep},{steps},{sedentary},{light},{moderate},{vigorous},{moderate + vigorous},"
        f"{average},{calories:.1f},{wear - sleep}"
    )


def _barometer(recipe: Recipe) -> str:
    draw = recipe.chance("barometer").random
    level = 985 + 35 * chance(recipe.seed, recipe.subject_id, "altitude").random()
    level += 8 * (recipe.gain - 1)
    parts = ["SUBJECTID,TIMESTAMPUTC,AVGPRESSUREHPA,TEMPERATUREC\n"]
    days = islice(days_of(recipe.seed, recipe.subject_id), recipe.days)
    for number, (day, states) in enumerate(days):
        for minute in range(0, MINUTES, 5):
            weather = 6 * math.sin((number * MINUTES + minute) / 700 + level)
            pressure = level + weather + 0.3 * draw()
            warmth = (21 if states[minute] == UNWORN else 31.5) + 1.5 * draw()
            missing = draw() < _BAROMETER_GAPS
            row = "," if missing else f"{pressure:.2f},{warmth:.1f}"
            parts.append(f"{recipe.subject_id},{day} {_CLOCK[minute]},{row}\n")
    return "".join(parts)


def _parameters(recipe: Recipe) -> str:
    draw = chance(recipe.seed, recipe.subject_id, "parameters").random
    site, age, height = f"{1 + int(12 * draw()):03d}", 19 + int(60 * draw()), 152 + 42 * draw()
    weight = person(recipe.seed, recipe.subject_id).weight * recipe.gain
    # Values of mixed kinds, some of which only look like numbers.
    values = f"""SUBJECTLABEL,{site}-{recipe.subject_id % 10_000:04d},
AGE,{age},years
SEX,{"FM"[int(2 * draw())]},
HEIGHT,{height:.1f},cm
WEIGHT,{weight:.2f},kg
HANDEDNESS,right,
WEARLOCATION,"wrist, non-dominant",
CONSENTVERSION,1.10,
EPOCHLENGTH,60,s
ENROLLEDON,{FIRST_DATE - timedelta(days=int(30 * draw()))},
COMMENT,"said ""it feels tight"", moved one hole",
MEDICATION,"metoprolol, 47.5 mg",
PROGRAMVERSION,31.{recipe.execution_number}-{recipe.study_program_id[:8]},"""
    parts = ["SUBJECTID,SITEID,PARAMETER,VALUE,UNIT,ENTEREDON\n"]
    for line in values.splitlines():
        entered = FIRST_DATE - timedelta(days=1 + int(9 * draw()))
        entered_on = "" if draw() < _UNDATED else f"{entered} 09:15:00"
        parts.append(f"{recipe.subject_id},{site},{line},{entered_on}\n")
    return "".join(parts)


# The writer of each data set.
_DATA_SETS: dict[str, Callable[[Recipe], str]] = {
    "ActivityDaily8": _activity_daily,
    "ActivityEpochs10": _activity_epochs,
    BAROMETER: _barometer,
    PARAMETERS: _parameters,
}

DATA_SETS: tuple[str, ...] = tuple(_DATA_SETS)


def data_set_names(count: int) -> tuple[str, ...]:
    """The names of so many data sets: the four that differ, then further ones."""
    further = range(_FIRST_FURTHER, _FIRST_FURTHER + count - len(DATA_SETS))
    return DATA_SETS[:count] + tuple(f"ActivityDaily{number}" for number in further)


def shared_program(data_set_name: str) -> str:
    """What the program of a further data set is named by; of any other, the data set itself."""
    match = _FURTHER.fullmatch(data_set_name)
    if match is None or int(match[1]) < _FIRST_FURTHER:
        return data_set_name
    return f"Daily ({_FIRST_FURTHER + (int(match[1]) - _FIRST_FURTHER) // _OF_ONE_PROGRAM})"


def program_name(data_set_name: str) -> str:
    """The name of the study program that yields a data set."""
    named = _PROGRAM_NAMES.get(data_set_name) or shared_program(data_set_name)
    match = _VERSION.fullmatch(named)
    return f"{match[1]} ({match[2]})" if match else named
