"""Dagster's home as a place on a disk: what is said when records cannot be kept there.

Belongs here: telling its errors from all others, and their words. Does not belong: opening it
(``defs.instance.dagster_home``), what is recorded (``events``).

Dagster keeps its records in SQLite files and lets SQLAlchemy's errors through, which name a
statement and its values. Neither is anything for a person, or for a log.
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

# Of a full disk SQLite says so, or only one of these; with less than this left we believe it.
_FULL_PERHAPS = frozenset({"disk I/O error", "unable to open database file"})
_ROOM_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_OURS = frozenset(
    {"attempt to write a readonly database", "unable to open database file", "disk I/O error"}
)
# A table or column that an older Dagster did not make.
_MISSING = re.compile("no such (table|column)|has no column named")
_DAMAGED = frozenset({"file is not a database", "database disk image is malformed"})


class StorageUnwritable(PipelineError):
    """Dagster's home has no room, is read-only, or is damaged: no record can be kept."""


class StorageOutdated(StorageUnwritable):
    """Dagster's home is of an older Dagster, and lacks what this one reads.

    Args:
        home: Dagster's home.
        missing: SQLite's words for what is missing.
        can_be_migrated: whether its event log says of which version it is; None if that is not
            known. By SQLAlchemy 2.0, Dagster 1.8 and older wrote no version (tried: 1.4.17 to
            1.8.13). Dagster's own event log then takes the file for a new one, notes the newest
            version in it, and `dagster instance migrate` finds nothing to do.
    """

    def __init__(self, home: Path, missing: str, *, can_be_migrated: bool | None = None) -> None:
        migrate = (
            "End everything of Dagster, set DAGSTER_HOME to that folder, run "
            "`dagster instance migrate` once, and then this again."
        )
        another = (
            "Move that folder away, or set DAGSTER_HOME to a new one: the next sync records there "
            "what is loaded. `dagster instance migrate` cannot help, because the older Dagster did "
            "not note of which version the folder is."
        )
        if can_be_migrated is None:
            remedy = f"{migrate} If that changes nothing: {another}"
        else:
            remedy = migrate if can_be_migrated else another
        super().__init__(
            f"Dagster's records in {home} were made by an older Dagster: {missing}.", remedy
        )


@contextmanager
def storage_errors_explained(home: Path | None = None) -> Iterator[None]:
    """Let what SQLite and the system say of Dagster's home be said in words.

    Args:
        home: Dagster's home, by default what ``DAGSTER_HOME`` names.

    Raises:
        StorageUnwritable: in place of SQLite's errors, and of the system's on a file in the home.
        StorageOutdated: what is missing there was not made by an older Dagster.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        folder = home or Path(os.environ.get("DAGSTER_HOME", ""))
        if not _is_of(folder, error):
            raise
        if missing := what_is_missing(error):
            raise StorageOutdated(folder, missing) from None
        raise StorageUnwritable(
            f"Dagster's records in {folder} cannot be written or read: {_reason(error, folder)}.",
            "Mend that (DAGSTER_HOME names the folder) and run this again. The next sync loads "
            "the rest, and records what was loaded.",
        ) from None


def what_is_missing(error: Exception) -> str:
    """SQLite's words where a table or a column is missing; else nothing."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    is_of_database = isinstance(error, (DBAPIError, sqlite3.Error))
    return said if is_of_database and _MISSING.search(said) else ""


def _is_of(home: Path, error: Exception) -> bool:
    """SQLite is Dagster's alone here; a file that is named may be anybody's."""
    if not isinstance(error, OSError) or error.filename is None:
        return True
    return Path(str(error.filename)).is_relative_to(home)


def _reason(error: Exception, home: Path) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    said = original.strerror if isinstance(original, OSError) else str(original)
    no_room = isinstance(original, OSError) and original.errno in _FULL
    if no_room or said == "database or disk is full" or (said in _FULL_PERHAPS and _is_full(home)):
        return "there is no room left on its disk (make some)"
    if isinstance(original, OSError) or said in _NOT_OURS:
        return f"{said} (see whose the folder is, and whether its disk is read-only)"
    if said in _DAMAGED:
        return f"{said} (move the folder away: the next sync makes it and all records anew)"
    return str(said)


def _is_full(home: Path) -> bool:
    try:
        return shutil.disk_usage(home).free < _ROOM_BYTES
    except OSError:
        return False
