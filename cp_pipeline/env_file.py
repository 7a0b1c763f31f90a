"""Read the file ``.env`` literally, in the commands and in ``dagster dev``.

Belongs here: reading it, and finding values that Dagster reads differently. Does not belong: what
the variables mean (``settings``).

By default, python-dotenv replaces ``${NAME}`` with the value of that environment variable, and so
does ``dagster dev``. In a client secret, such characters must stay as they are.
"""

import os
from pathlib import Path

from dotenv import dotenv_values, load_dotenv

_OURS = "CP_"


def read_env_file(folder: Path) -> None:
    """Add the variables of a folder's ``.env`` that the environment lacks."""
    load_dotenv(folder / ".env", interpolate=False)


def read_to_the_letter(folder: Path) -> None:
    """Restore the literal values of the ``CP_`` variables in a folder's ``.env``.

    Dagster has replaced ``${NAME}`` in them. Other variables stay as they are, because Dagster's
    own processes already use them.
    """
    as_written, as_dagster = _both(folder)
    for name in as_dagster.keys() & as_written.keys():
        if name.startswith(_OURS) and os.environ.get(name) == as_dagster[name]:
            os.environ[name] = as_written[name]


def read_differently(folder: Path) -> list[str]:
    """Return the names of other variables in a folder's ``.env`` that Dagster reads differently."""
    as_written, as_dagster = _both(folder)
    return [
        name
        for name, value in as_written.items()
        if not name.startswith(_OURS) and as_dagster.get(name) != value
    ]


def _both(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables as written, and as Dagster reads them."""
    path = folder / ".env"
    read = (dotenv_values(path, interpolate=False), dotenv_values(path))
    as_written, as_dagster = (
        {name: value for name, value in values.items() if value is not None} for values in read
    )
    return as_written, as_dagster
