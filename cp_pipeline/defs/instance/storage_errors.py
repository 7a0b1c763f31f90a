"""Errors of Dagster's storage: its home cannot be read or written.

Belongs here: recognizing these errors, and their messages. Does not belong: opening the home
(``defs.instance.dagster_home``), the events that are stored (``events``).

Dagster stores events in SQLite files or on PostgreSQL, and does not catch SQLAlchemy's errors.
Their text has an SQL statement and its values, which do not help a person and must not be in a log.
"""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from cp_pipeline.domain.errors import PipelineError

# SQLite may report a full disk with one of these texts, which have other causes too. They count as
# a full disk if it has less free space than this.
_MAYBE_FULL = frozenset({"disk I/O error", "unable to open database file"})
_SPACE_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_INACCESSIBLE = frozenset(
    {"attempt to write a readonly database", "unable to open database file", "disk I/O error"}
)
# A table or column that an older Dagster did not create.
_MISSING = re.compile(
    'no such (table|column)|has no column named|(relation|column) "[^"]+" does not exist'
)
# The packages of Dagster's storage on PostgreSQL, and of the driver that SQLAlchemy 2.1 takes for
# `postgresql://`.
_POSTGRES, _OTHER_DRIVER = ("dagster_postgres", "psycopg2"), "psycopg"
_DAMAGED = frozenset({"file is not a database", "database disk image is malformed"})


class StorageUnwritable(PipelineError):
    """Dagster cannot store events: the disk of its home is full, or it is read-only or damaged."""


class StorageOutdated(StorageUnwritable):
    """An older Dagster created the home, and it lacks what this version reads.

    Args:
        home: Dagster's home.
        missing: SQLite's message about what is missing.
        can_be_migrated: whether the event log names its version; None if that is not known. With
            SQLAlchemy 2.0, Dagster 1.8 and older wrote no version (tested: 1.4.17 to 1.8.13).
            Dagster's own event log then treats the file as new and writes the newest version into
            it. So `dagster instance migrate` finds nothing to do.
    """

    def __init__(self, home: Path, missing: str, *, can_be_migrated: bool | None = None) -> None:
        migrate = (
            "Stop all processes of Dagster, set DAGSTER_HOME to that folder, run "
            "`dagster instance migrate` once, and then run this again."
        )
        another = (
            "Move that folder away, or set DAGSTER_HOME to a new one. The next sync then stores "
            "an event for everything that is loaded. `dagster instance migrate` cannot help, "
            "because the older Dagster did not write its version into the folder."
        )
        if can_be_migrated is None:
            remedy = f"{migrate} If that does not help: {another}"
        else:
            remedy = migrate if can_be_migrated else another
        super().__init__(
            f"Dagster's storage in {home} was made by an older Dagster: {missing}.", remedy
        )


class ServerUnusable(StorageUnwritable):
    """Dagster's storage is on PostgreSQL, and cannot be used."""

    passing = True


@contextmanager
def storage_errors_explained(home: Path | None = None) -> Iterator[None]:
    """Turn errors of Dagster's storage into readable errors.

    ``home``: Dagster's home; by default the folder in ``DAGSTER_HOME``.

    Raises:
        ServerUnusable: PostgreSQL does not answer, or refuses the user or a statement.
        StorageUnwritable: SQLite failed, or the system failed on a file in the home. Or a package
            for PostgreSQL is missing, or ``dagster.yaml`` names another driver.
        StorageOutdated: a table or column is missing that an older Dagster did not create.
    """
    try:
        yield
    except Exception as error:
        folder = home or Path(os.environ.get("DAGSTER_HOME", "")).expanduser()
        if (readable := _about_server(error) or _about_home(error, folder)) is None:
            raise
        raise readable from None


def _about_server(error: Exception) -> StorageUnwritable | None:
    """Return the readable error; None if the error is not about PostgreSQL."""
    if isinstance(error, ModuleNotFoundError):
        if error.name == _OTHER_DRIVER:
            return StorageUnwritable(
                "dagster.yaml names a PostgreSQL storage without its driver, so SQLAlchemy takes "
                "one with which Dagster does not work.",
                "Write `scheme: postgresql+psycopg2` below `postgres_db:` (docs/hosts.md).",
            )
        if error.name in _POSTGRES:
            return StorageUnwritable(
                f"dagster.yaml names a PostgreSQL storage, but {error.name} is not installed.",
                "Install it: `pip install 'cp-pipeline[postgres]'`.",
            )
        return None
    if (reason := _said_by_server(error)) is None:
        return None
    return ServerUnusable(
        f"Dagster's storage on PostgreSQL cannot be used: {reason}.",
        "See whether the server runs, and what `storage:` in dagster.yaml and its variables "
        "say. Then run this again. The next sync loads the rest, and stores missing events.",
    )


def _said_by_server(error: BaseException | None) -> str | None:
    """Return the first line of what PostgreSQL said; None if the error is of something else.

    The line has the user, never the password, and no statement.
    """
    said = None
    while error is not None:
        original = error.orig if isinstance(error, DBAPIError) else error
        if type(original).__module__.partition(".")[0] in _POSTGRES:
            said = str(original).strip().partition("\n")[0].rstrip(".")
        error = error.__cause__
    return said


def _about_home(error: Exception, home: Path) -> StorageUnwritable | None:
    """Return the readable error; None if the error is not about Dagster's home.

    Only Dagster uses SQLite here. An error of the system may be about any file.
    """
    if not isinstance(error, (DBAPIError, sqlite3.Error, OSError)):
        return None
    file = error.filename if isinstance(error, OSError) else None
    if file is not None and not Path(str(file)).is_relative_to(home):
        return None
    if missing := what_is_missing(error):
        return StorageOutdated(home, missing)
    return StorageUnwritable(
        f"Dagster's storage in {home} cannot be read or written: {_reason(error, home)}.",
        "Correct this (DAGSTER_HOME names the folder), then run this again. The next "
        "sync loads the rest, and stores the missing events.",
    )


def what_is_missing(error: Exception) -> str:
    """Return SQLite's message if a table or a column is missing, or an empty text."""
    message = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    is_of_database = isinstance(error, (DBAPIError, sqlite3.Error))
    return message if is_of_database and _MISSING.search(message) else ""


def _reason(error: Exception, home: Path) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    message = original.strerror if isinstance(original, OSError) else str(original)
    no_space = isinstance(original, OSError) and original.errno in _FULL
    if (
        no_space
        or message == "database or disk is full"
        or (message in _MAYBE_FULL and _is_full(home))
    ):
        return "its disk is full (free some space)"
    if isinstance(original, OSError) or message in _INACCESSIBLE:
        return f"{message} (see who owns the folder, and whether its disk is read-only)"
    if message in _DAMAGED:
        return (
            f"{message} (move the folder away: the next sync creates a new one, and stores an "
            "event for everything that is loaded)"
        )
    return str(message)


def _is_full(home: Path) -> bool:
    try:
        return shutil.disk_usage(home).free < _SPACE_BYTES
    except OSError:
        return False
