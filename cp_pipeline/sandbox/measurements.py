"""The synthetic CSV contents of the export files: actigraphy that looks like a person's.

Belongs here: one writer for each data set, from a recipe to bytes. Does not: who was measured
(`study.py`), what the person did (`days.py`), how the bytes are packed (`packing.py`).
"""

import csv
import io
import math
import random
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
    Day,
    Person,
    chance,
    days_of,
    person,
)

ACTIVITY_DAILY = "ActivityDaily8"
ACTIVITY_EPOCHS = "ActivityEpochs10"
BAROMETER = "LeapAvgBarometer"
PARAMETERS = "ParamsAndSubject (31)"

_VARIETY = 96
# Minutes of wear that make a valid day; of a shorter one no average is reported.
_VALID_DAY = 600
_BAROMETER_GAPS = 0.01
_LEFT_HANDED = 0.12
_CLOCK = [f"{minute // 60:02d}:{minute % 60:02d}:00" for minute in range(MINUTES)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that the contents of one synthetic export file depend on.

    Attributes:
        seed: the study's seed.
        subject_id, data_set_name, study_program_id: whose, what, made by which program.
        execution_number: 0 for the first execution; later ones are recalibrated.
        days: measured days.
        epoch_rows: rows of an epoch file, if not 1,440 a day.
        additional_columns: how many columns newer versions of the program have added.
    """

    seed: int
    subject_id: int
    data_set_name: str
    study_program_id: str
    execution_number: int
    days: int
    epoch_rows: int | None = None
    additional_columns: int = 0

    def chance(self, *names: object) -> random.Random:
        """A generator of this very execution, not of the person."""
        return chance(
            self.seed,
            self.subject_id,
            self.data_set_name,
            self.study_program_id,
            self.execution_number,
            *names,
        )

    @property
    def gain(self) -> float:
        """The calibration of this execution: 1 at first, then 0.4 to 3 % higher."""
        return 1.0 if self.execution_number == 0 else 1.004 + 0.026 * self.chance("gain").random()

    def header(self, columns: str, additional: str) -> str:
        """The header line, with the columns that newer versions of the program have added."""
        added = (f",{additional}{number or ''}" for number in _numbers(self.additional_columns))
        return columns + "".join(added) + "\n"

    def added(self, value: object) -> str:
        """The end of a row: the value once for each additional column."""
        return f",{value}" * self.additional_columns


def csv_of(recipe: Recipe) -> bytes:
    """The CSV of a recipe: UTF-8, comma, line feeds, one header row (docs/api.md, Files).

    Raises:
        KeyError: the recipe's data set is not one of `DATA_SETS`.
    """
    return _WRITERS[recipe.data_set_name](recipe).encode()


def _numbers(columns: int) -> list[int]:
    return [0, *range(2, columns + 1)][:columns]


def _optional(value: str, draw: float, share: float) -> str:
    return "" if draw < share else value


def _activity_epochs(recipe: Recipe) -> str:
    somebody = person(recipe.seed, recipe.subject_id)
    tails = [_minutes_like(recipe, somebody, state) for state in range(UNWORN + 1)]
    choices = recipe.chance("epochs").choices
    rows = MINUTES * recipe.days if recipe.epoch_rows is None else recipe.epoch_rows
    parts = [recipe.header("SUBJECTID,TIMESTAMPUTC,STEPS,MET,CALORIES", "HEARTRATE")]
    days = days_of(recipe.seed, recipe.subject_id, somebody)
    for first, today in zip(range(0, rows, MINUTES), days, strict=False):
        states = today.states[: rows - first]
        runs = (choices(tails[state], k=len(list(run))) for state, run in groupby(states))
        start = f"{recipe.subject_id},{today.date} "
        # One join a day instead of one format a row: a file of a million rows stays a moment.
        parts.append(start + start.join(map(add, _CLOCK, chain.from_iterable(runs))))
    return "".join(parts)


def _minutes_like(recipe: Recipe, somebody: Person, state: int) -> list[str]:
    """Ends of rows (steps, MET, calories) of minutes spent in one state, to choose from."""
    if state == UNWORN:
        return [",,,{}\n".format(recipe.added(""))]
    draw, gain = recipe.chance("minutes", state).random, recipe.gain
    low, high, met = {
        SLEEP: (-60, 3, 0.94),
        SEDENTARY: (-30, 9, 1.18),
        LIGHT: (-4, 44, 2.0),
        MODERATE: (somebody.pace - 9, somebody.pace + 13, 3.7),
        VIGOROUS: (somebody.pace + 38, somebody.pace + 66, 7.1),
    }[state]
    tails = []
    for place in range(_VARIETY):
        # Spread evenly, so that each file's average is the one the daily file reckons with.
        steps = low + (high - low) * (place + draw()) / _VARIETY
        spent = met * (0.9 + 0.2 * draw()) * gain
        calories = spent * somebody.weight * 3.5 / 200
        pulse = int(46 + 14 * spent + 9 * draw())
        tails.append(
            f",{max(0, int(steps * gain))},{spent:.2f},{calories:.3f}{recipe.added(pulse)}\n"
        )
    return tails


def _activity_daily(recipe: Recipe) -> str:
    somebody = person(recipe.seed, recipe.subject_id)
    columns = (
        "SUBJECTID,DATE,WEARMINUTES,SLEEPMINUTES,STEPS,SEDENTARYMINUTES,LIGHTMINUTES,"
        "MODERATEMINUTES,VIGOROUSMINUTES,MVPAMINUTES,MET,CALORIES"
    )
    draw, gain = recipe.chance("daily").random, recipe.gain
    parts = [recipe.header(columns, "NONWEARMINUTES")]
    for today in islice(days_of(recipe.seed, recipe.subject_id, somebody), recipe.days):
        noise = gain * (0.99 + 0.02 * draw())
        line = _summary(today, somebody, noise, recipe)
        parts.append(f"{recipe.subject_id},{today.date},{line}")
    return "".join(parts)


def _summary(today: Day, somebody: Person, noise: float, recipe: Recipe) -> str:
    sleep, sedentary, light, moderate, vigorous, unworn = today.minutes()
    wear = MINUTES - unworn
    end = f"{recipe.added(unworn)}\n"
    if wear == 0:
        return "0,,,,,,,,," + end
    few, many = 0.9 * sedentary + 19.7 * light, 1.5 * moderate + 51.5 * vigorous
    steps = int((few + many + somebody.pace * (moderate + vigorous)) * noise)
    effort = 0.94 * sleep + 1.18 * sedentary + 2 * light + 3.7 * moderate + 7.1 * vigorous
    met = effort * noise / wear
    calories = effort * noise * somebody.weight * 3.5 / 200
    average = f"{met:.3f}" if wear >= _VALID_DAY else ""
    return (
        f"{wear},{sleep},{steps},{sedentary},{light},{moderate},{vigorous},{moderate + vigorous},"
        f"{average},{calories:.1f}{end}"
    )


def _barometer(recipe: Recipe) -> str:
    somebody = person(recipe.seed, recipe.subject_id)
    draw = recipe.chance("barometer").random
    level = 985 + 35 * chance(recipe.seed, recipe.subject_id, "altitude").random()
    level += 8 * (recipe.gain - 1)
    parts = [recipe.header("SUBJECTID,TIMESTAMPUTC,AVGPRESSUREHPA,TEMPERATUREC", "ALTITUDEM")]
    days = islice(days_of(recipe.seed, recipe.subject_id, somebody), recipe.days)
    for number, today in enumerate(days):
        start = f"{recipe.subject_id},{today.date} "
        for minute in range(0, MINUTES, 5):
            weather = 6 * math.sin((number * MINUTES + minute) / 700 + level)
            pressure = level + weather + 0.3 * draw()
            warmth = (21 if today.states[minute] == UNWORN else 31.5) + 1.5 * draw()
            if draw() < _BAROMETER_GAPS:
                parts.append(f"{start}{_CLOCK[minute]},,{recipe.added('')}\n")
                continue
            altitude = recipe.added(round(8.43 * (1013.25 - pressure)))
            parts.append(f"{start}{_CLOCK[minute]},{pressure:.2f},{warmth:.1f}{altitude}\n")
    return "".join(parts)


def _parameters(recipe: Recipe) -> str:
    somebody = person(recipe.seed, recipe.subject_id)
    draw = chance(recipe.seed, recipe.subject_id, "parameters").random
    site = f"{1 + int(12 * draw()):03d}"
    file = io.StringIO()
    file.write(recipe.header("SUBJECTID,SITEID,PARAMETER,VALUE,UNIT,ENTEREDON", "ENTEREDBY"))
    write = csv.writer(file, lineterminator="\n").writerow
    added = [f"nurse {site}"] * recipe.additional_columns
    for parameter, value, unit in _parameter_values(recipe, somebody, site, draw):
        entered = FIRST_DATE - timedelta(days=1 + int(9 * draw()))
        entered_on = _optional(f"{entered} {8 + int(9 * draw()):02d}:15:00", draw(), 0.15)
        write([recipe.subject_id, site, parameter, value, unit, entered_on, *added])
    return file.getvalue()


def _parameter_values(
    recipe: Recipe, somebody: Person, site: str, draw: Callable[[], float]
) -> list[tuple[str, str, str]]:
    """Values of mixed kinds, some of which only look like numbers."""
    program = recipe.study_program_id[:8]
    return [
        ("SUBJECTLABEL", f"{site}-{recipe.subject_id % 10_000:04d}", ""),
        ("AGE", str(19 + int(60 * draw())), "years"),
        ("SEX", "FM"[int(2 * draw())], ""),
        ("HEIGHT", f"{152 + 42 * draw():.1f}", "cm"),
        ("WEIGHT", f"{somebody.weight * recipe.gain:.2f}", "kg"),
        ("HANDEDNESS", "left" if draw() < _LEFT_HANDED else "right", ""),
        ("WEARLOCATION", "wrist, non-dominant", ""),
        ("CONSENTVERSION", "1.10", ""),
        ("EPOCHLENGTH", "60", "s"),
        ("ENROLLEDON", str(FIRST_DATE - timedelta(days=int(30 * draw()))), ""),
        ("COMMENT", 'said "it feels tight", moved one hole', ""),
        ("MEDICATION", _optional("metoprolol, 47.5 mg", draw(), 0.6), ""),
        ("PROGRAMVERSION", f"31.{recipe.execution_number}-{program}", ""),
    ]


_WRITERS: dict[str, Callable[[Recipe], str]] = {
    ACTIVITY_DAILY: _activity_daily,
    ACTIVITY_EPOCHS: _activity_epochs,
    BAROMETER: _barometer,
    PARAMETERS: _parameters,
}

DATA_SETS: tuple[str, ...] = tuple(_WRITERS)
