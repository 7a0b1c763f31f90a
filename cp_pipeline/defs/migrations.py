"""Dagster's migrations, read once in a process.

Belongs here: reading them. Does not belong: the files that they are for.

Alembic runs Dagster's ninety migration modules, which takes 0.05 s, whenever it is asked for the
newest: Dagster asks for each of its SQLite files once, and for a new one twice. A first ``sync``
opens four.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION, get_alembic_config

_read = ScriptDirectory.from_config
# Two threads must not take each other's way of asking for Alembic's own.
_one_at_a_time = threading.RLock()


@cache
def _migrations() -> ScriptDirectory:
    """Those of Dagster's storages, which share them."""
    return _read(get_alembic_config(sqlite_event_log.__file__))


@contextmanager
def migrations_read_once() -> Iterator[None]:
    """Whoever asks Alembic for Dagster's migrations gets those that are read already."""

    def read(config: Config) -> ScriptDirectory:
        if config.get_main_option("script_location") == ALEMBIC_SCRIPTS_LOCATION:
            return _migrations()
        return _read(config)

    with _one_at_a_time:
        before = ScriptDirectory.from_config
        ScriptDirectory.from_config = read  # type: ignore[method-assign]
        try:
            yield
        finally:
            ScriptDirectory.from_config = before  # type: ignore[method-assign]
