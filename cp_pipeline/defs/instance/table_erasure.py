"""Erasing a subject from the tables of Dagster's storage.

Belongs here: which rows and texts, the statements, which SQLite and PostgreSQL both know, and the
error of both. Does not belong: connections and files (``event_erasure``, ``postgres_erasure``).

Private parts of Dagster: its tables.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from dagster import EventLogEntry, EventLogRecord, deserialize_value, serialize_value

from cp_pipeline.domain.errors import PipelineError

REPLACEMENT = "(erased)"
# Dagster's own tag of a run that a person starts for one partition.
SUBJECT_TAG = "dagster/partition/subject"
# The asset's step.
_ASSET = "dataset_exports"
# The columns with the configuration of runs.
_CONFIGURATIONS = (("runs", "run_body"), ("job_ticks", "tick_body"), ("bulk_actions", "body"))


class StorageInUse(PipelineError):
    """Dagster's storage cannot be rewritten now, or cp-pipeline does not know how."""


class Opened(Protocol):
    """A connection, with SQLite's names: ``?`` for a value, ``rowid`` for a row."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any:  # noqa: ANN401
        """Execute a statement, and return a cursor."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:  # noqa: ANN401
        """Execute a statement for each of the parameters."""


def erase_from_tables(
    opened: Opened, tables: Mapping[str, Sequence[str]], subject_id: int, pattern: re.Pattern[str]
) -> None:
    """Erase a subject, in the transaction of the caller. ``tables``: the columns of each."""
    _delete_events(opened, tables, subject_id)
    _overwrite(opened, tables, pattern)
    _drop_rows_of_checks(opened, tables, subject_id)
    _overwrite_configurations(opened, tables, subject_id)


def _delete_events(opened: Opened, tables: Mapping[str, Sequence[str]], subject_id: int) -> None:
    """Delete the events of the subject's partitions, and what Dagster derived from them."""
    # Keys read `data set|subject`.
    of_subject = f"partition LIKE '%|{subject_id}'"
    if "event_logs" not in tables:
        return
    if "asset_event_tags" in tables:
        opened.execute(
            "DELETE FROM asset_event_tags WHERE event_id IN"
            f" (SELECT id FROM event_logs WHERE {of_subject})"
        )
    # The output of a run of one partition has the metadata of its materialization, but no key.
    opened.execute(
        "DELETE FROM event_logs WHERE dagster_event_type = 'STEP_OUTPUT' AND step_key = ?"
        f" AND run_id IN (SELECT run_id FROM event_logs WHERE {of_subject})",
        [_ASSET],
    )
    opened.execute(f"DELETE FROM event_logs WHERE {of_subject}")
    if "partition" in tables.get("asset_check_executions", ()):
        opened.execute(f"DELETE FROM asset_check_executions WHERE {of_subject}")
    if "asset_keys" in tables:
        _renew_asset_keys(opened, subject_id)


def _renew_asset_keys(opened: Opened, subject_id: int) -> None:
    """Replace each asset's copy of its last materialization, and clear its cache of partitions."""
    opened.execute("UPDATE asset_keys SET cached_status_data = NULL")
    rows = opened.execute(
        "SELECT asset_key, last_materialization FROM asset_keys"
        f" WHERE last_materialization LIKE '%|{subject_id}\"%'"
    ).fetchall()
    for asset_key, _ in rows:
        last = opened.execute(
            "SELECT id, event FROM event_logs WHERE asset_key = ?"
            " AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1",
            [asset_key],
        ).fetchone()
        serialized = last and serialize_value(
            EventLogRecord(
                storage_id=last[0], event_log_entry=deserialize_value(last[1], EventLogEntry)
            )
        )
        opened.execute(
            "UPDATE asset_keys SET last_materialization = ? WHERE asset_key = ?",
            [serialized, asset_key],
        )


def _overwrite(
    opened: Opened, tables: Mapping[str, Sequence[str]], pattern: re.Pattern[str]
) -> None:
    """Overwrite the texts in all tables.

    Events of other partitions are skipped: they are by far the most, and have none of the texts.
    """
    for table, columns in tables.items():
        condition = " WHERE partition IS NULL" if table == "event_logs" else ""
        for column in columns:
            found = opened.execute(f'SELECT rowid, "{column}" FROM "{table}"{condition}')
            changed = [
                (pattern.sub(REPLACEMENT, text), rowid)
                for rowid, text in found
                if isinstance(text, str) and pattern.search(text)
            ]
            opened.executemany(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', changed)


def _overwrite_configurations(
    opened: Opened, tables: Mapping[str, Sequence[str]], subject_id: int
) -> None:
    """Replace the subject in the configurations of runs and ticks with 0, and in tags of runs."""
    if "run_tags" in tables:
        opened.execute(
            "UPDATE run_tags SET value = ? WHERE key = ? AND value = ?",
            [REPLACEMENT, SUBJECT_TAG, str(subject_id)],
        )
    for table, column in _CONFIGURATIONS:
        if column not in tables.get(table, ()):
            continue
        found = opened.execute(
            f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE ?", [f"%{subject_id}%"]
        )
        changed = [
            (json.dumps(_without_subject(json.loads(text), subject_id)), rowid)
            for rowid, text in found
        ]
        opened.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changed)


def _without_subject(stored: object, subject_id: int, *, configured: bool = False) -> object:
    """Return the value with 0 for the subject's number in the lists of a run's configuration."""
    if isinstance(stored, dict):
        return {
            name: _without_subject(value, subject_id, configured=configured or name == "run_config")
            for name, value in stored.items()
        }
    if isinstance(stored, list):
        return [
            0
            if configured and type(each) is int and each == subject_id
            else _without_subject(each, subject_id, configured=configured)
            for each in stored
        ]
    return stored


def _drop_rows_of_checks(
    opened: Opened, tables: Mapping[str, Sequence[str]], subject_id: int
) -> None:
    """Remove the subject's rows from the tables in the results of checks."""
    for table, column in (("event_logs", "event"), ("asset_check_executions", "evaluation_event")):
        if column not in tables.get(table, ()):
            continue
        found = opened.execute(
            f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE ?",
            [f'%"subject": {subject_id}%'],
        )
        changed = [
            (json.dumps(_without_rows(json.loads(text), subject_id)), rowid)
            for rowid, text in found
        ]
        opened.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changed)


def _without_rows(stored: object, subject_id: int) -> object:
    """Return the value without the table rows whose column ``subject`` is this subject."""
    if isinstance(stored, dict):
        return {name: _without_rows(value, subject_id) for name, value in stored.items()}
    if isinstance(stored, list):
        return [
            _without_rows(each, subject_id)
            for each in stored
            if not (
                isinstance(each, dict)
                and isinstance(each.get("data"), dict)
                and each["data"].get("subject") == subject_id
            )
        ]
    return stored
