"""The file ``.env``, whose values are taken to the letter, by the commands and by ``dagster dev``.

Belongs here: reading it, and where Dagster reads it differently. Does not belong: what the
variables mean (``settings``).

python-dotenv puts the environment's values into ``${NAME}`` by default, and ``dagster dev`` lets
it; in a client secret those are four characters like any others.
"""

import os
from pathlib import Path

from dotenv import dotenv_values, load_dotenv

_OURS = "CP_"


def read_env_file(folder: Path) -> None:
    """Add the variables of a folder's ``.env`` that the environment does not have."""
    load_dotenv(folder / ".env", interpolate=False)


def read_to_the_letter(folder: Path) -> None:
    """Replace what Dagster made of our variables in a folder's ``.env`` by what stands there.

    Others than ``CP_`` are left alone: Dagster's own processes went by them already.
    """
    as_written, as_dagster = _both(folder)
    for name in as_dagster.keys() & as_written.keys():
        if name.startswith(_OURS) and os.environ.get(name) == as_dagster[name]:
            os.environ[name] = as_written[name]


def read_differently(folder: Path) -> list[str]:
    """The names of variables in a folder's ``.env`` that ``dagster dev`` takes for other values."""
    as_written, as_dagster = _both(folder)
    return [
        name
        for name, value in as_written.items()
        if not name.startswith(_OURS) and as_dagster.get(name) != value
    ]


def _both(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The variables as they are written, and as Dagster's way of reading has them."""
    path = folder / ".env"
    read = (dotenv_values(path, interpolate=False), dotenv_values(path))
    as_written, as_dagster = (
        {name: value for name, value in values.items() if value is not None} for values in read
    )
    return as_written, as_dagster
