"""Erasing a subject who withdrew consent from Dagster's storage.

Belongs here: Dagster's SQLite files and logs. Does not belong: which rows and texts
(``table_erasure``), PostgreSQL (``postgres_erasure``), everything else
(``ingest.subject_erasure``).

Dagster cannot remove the events of one partition: ``wipe_asset_partitions`` is not implemented for
its open-source storages (1.13), and one run has many subjects. So this module changes the files.
It deletes the events of the subject's partitions. In all other texts (failure and configuration of
a run, table of a check, picture, cursor, log) it overwrites the texts of this subject, and its
number if that means the subject. SQLite keeps deleted data in free pages and in its write-ahead
log. So each file is rewritten, and its log is emptied.

Private parts of Dagster: that ``SqliteEventLogStorage`` uses these files. A version of Dagster is
refused until somebody has examined its tables.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster import serialize_value
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from cp_pipeline.charts import label_in_markdown
from cp_pipeline.defs.instance.orphaned_runs import UNFINISHED
from cp_pipeline.defs.instance.postgres_erasure import databases_of, erase_from_database
from cp_pipeline.defs.instance.table_erasure import (
    REPLACEMENT,
    SUBJECT_TAG,
    StorageInUse,
    erase_from_tables,
)

# The versions whose SQLite tables were examined: which columns hold text about a subject.
KNOWN_DAGSTERS = ("1.13",)
# Recognized by name: SQLite loses its locks if this process opens and closes the file itself.
_SQLITE, _BESIDE_SQLITE = ".db", (".db-wal", ".db-shm", ".db-journal")
_WAIT_SECONDS = 30.0


def check_erasable(instance: dg.DagsterInstance, dagster_version: str = dg.__version__) -> None:
    """Check whether a subject can be erased from Dagster's storage.

    Raises:
        StorageInUse: a run is active, the events are neither in SQLite files nor on PostgreSQL, or
            this version of Dagster is not known.
    """
    if dagster_version.rpartition(".")[0] not in KNOWN_DAGSTERS:
        raise StorageInUse(
            f"Dagster {dagster_version} is installed. cp-pipeline can erase a subject only from "
            f"the tables of Dagster {', '.join(KNOWN_DAGSTERS)}.",
            f"Install Dagster {KNOWN_DAGSTERS[-1]} for this command. Or delete the subject from "
            "Dagster's tables yourself, then run this command with --no-dagster.",
        )
    active = instance.get_run_ids(dg.RunsFilter(statuses=UNFINISHED))
    if active:
        raise StorageInUse(
            f"A Dagster run is active ({', '.join(active[:3])}).",
            "Wait until it has ended, or terminate it in Dagster's UI. Then run this again.",
        )
    is_of_files = isinstance(instance.event_log_storage, SqliteEventLogStorage)
    if not is_of_files and not databases_of(instance):
        raise StorageInUse(
            "Dagster stores its events neither in SQLite files nor on PostgreSQL. cp-pipeline can "
            "erase a subject only from these.",
            "Delete the events of the subject's partitions yourself, then run this command with "
            "--no-dagster.",
        )


def erase_events(
    instance: dg.DagsterInstance,
    subject_id: int,
    texts: Collection[str],
    labels: Collection[str] = (),
) -> None:
    """Erase a subject from everything in Dagster's home.

    Args:
        instance: the instance of the home; only its web server and daemon may be running.
        subject_id: the subject's number; also its key in the dimension ``subjects``.
        texts: texts of this subject only: names of files, checksums, executions, errors.
        labels: how people call the subject, such as ``101-0042``.

    Raises:
        StorageInUse: see ``check_erasable``; or another process reads a file for too long.
    """
    check_erasable(instance)
    instance.delete_dynamic_partition("subjects", str(subject_id))
    pattern = _pattern(texts, subject_id, labels)
    for url in databases_of(instance):
        erase_from_database(url, subject_id, pattern)
    for path in sorted(Path(instance.root_directory).rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        if path.suffix == _SQLITE:
            _erase_from_sqlite(path, subject_id, pattern)
        elif path.suffix not in _BESIDE_SQLITE:
            _erase_from_log(path, pattern)


def _pattern(
    texts: Collection[str], subject_id: int, labels: Collection[str] = ()
) -> re.Pattern[str]:
    """Return a pattern that finds the texts, plain or in JSON, and the subject's number.

    The number alone may mean anything. It means the subject after the word "subject", at the end of
    a partition's key, as a row's label in a picture, and as the value of Dagster's own tag. The
    same holds for a label, which may be short.
    """
    variants = {form for text in texts for form in (text, *_in_json(text))}
    forms = [re.escape(form) for form in sorted(variants, key=len, reverse=True)]
    forms += [rf"(?<={before}){subject_id}(?![0-9])" for before in ("[Ss]ubject ", r"\|")]
    forms.append(f"(?<=%3E){subject_id}(?=%3C/text)")
    for label in sorted(labels, key=len, reverse=True):
        shown = label_in_markdown(label).removeprefix("%3E").removesuffix("%3C/text")
        for form in (shown, *_in_json(shown)):
            forms.append(f"(?<=%3E){re.escape(form)}(?=%3C/text)")
        forms.append(rf"(?<=[Ss]ubject ){re.escape(label)}(?![0-9A-Za-z-])")
    forms.append(f'(?<={SUBJECT_TAG}": "){subject_id}(?=")')
    return re.compile("|".join(forms))


def _in_json(text: str) -> Iterator[str]:
    for _ in range(2):
        # First as text in JSON, then as JSON inside a text in JSON.
        text = serialize_value(text)[1:-1]
        yield text


def _erase_from_sqlite(path: Path, subject_id: int, pattern: re.Pattern[str]) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as opened:
            opened.execute("PRAGMA secure_delete = ON")
            opened.execute("BEGIN IMMEDIATE")
            tables = _text_columns(opened)
            erase_from_tables(opened, tables, subject_id, pattern)
            opened.execute("COMMIT")
            opened.execute("VACUUM")
            (busy, *_) = opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise _in_use(path, str(error)) from error
    if busy:
        raise _in_use(path, "another process reads its write-ahead log")


def _in_use(path: Path, reason: str) -> StorageInUse:
    return StorageInUse(
        f"Dagster's file {path} cannot be rewritten: {reason}.",
        "Stop dagster dev (or its web server and daemon), then run this command again.",
    )


def _text_columns(opened: sqlite3.Connection) -> dict[str, list[str]]:
    names = opened.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        table: [row[1] for row in opened.execute(f'PRAGMA table_info("{table}")')]
        for (table,) in names
    }


def _erase_from_log(path: Path, pattern: re.Pattern[str]) -> None:
    """Overwrite the texts in a file that a run wrote, such as its output."""
    before = path.read_text(errors="surrogateescape")
    after = pattern.sub(REPLACEMENT, before)
    if after != before:
        path.write_text(after, errors="surrogateescape")
