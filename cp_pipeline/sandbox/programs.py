"""Which data sets there are in a synthetic study, and which study program yields each of them.

Belongs here: names. Does not belong: the contents of a data set (`measurements.py`), when a program
was executed (`roster.py`).
"""

import re

from cp_pipeline.sandbox.measurements import BAROMETER, DATA_SETS, PARAMETERS

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
