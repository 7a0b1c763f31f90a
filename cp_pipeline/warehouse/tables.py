"""The warehouse's own tables, views and macro; what each row is, is said beside it.

Belongs here: their definitions, and how rows get in (`insert_rows`).
Does not belong: the data sets' tables (``history``).

No keys, sequences, generated columns or HUGEINT: a DuckLake has none of them (DESIGN.md, 8).
"""

from collections.abc import Mapping, Sequence

import duckdb

_TABLES = {
    # One row per load of one export. Loads are never changed; only `compact` and `erase` remove
    # them.
    "loads": {
        "load_id": "BIGINT",
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "dataset_name": "VARCHAR",
        "study_program_id": "VARCHAR",
        "program_execution": "VARCHAR",
        "program_executed_at": "TIMESTAMP_NS",
        "modified_at": "TIMESTAMP_NS",
        "file_name": "VARCHAR",
        "file_sha256": "VARCHAR",
        "file_bytes": "BIGINT",
        "csv_bytes": "BIGINT",
        "row_count": "BIGINT",
        "column_count": "INTEGER",
        # In the file's order, to see what came and went from one execution to the next.
        "column_names": "VARCHAR[]",
        "has_quotes": "BOOLEAN",
        "loaded_at": "TIMESTAMP",
        "dagster_run_id": "VARCHAR",
        "landing_path": "VARCHAR",
        # NULL where the data set has no times, or the file no records (see first_look).
        "time_column": "VARCHAR",
        "first_timestamp": "TIMESTAMP",
        "last_timestamp": "TIMESTAMP",
        # Rows beyond the first for one and the same time.
        "duplicate_timestamps": "BIGINT",
    },
    # One row per load that is no longer current, naming the load that is newer.
    "superseded": {
        "load_id": "BIGINT",
        "superseded_by": "BIGINT",
        "superseded_at": "TIMESTAMP",
    },
    # One row per export in the latest listing; no URL.
    "export_files": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "dataset_name": "VARCHAR",
        "study_program_id": "VARCHAR",
        "program_execution": "VARCHAR",
        "program_executed_at": "TIMESTAMP_NS",
        "modified_at": "TIMESTAMP_NS",
        "file_name": "VARCHAR",
        "file_format": "VARCHAR",
        "listed_at": "TIMESTAMP",
    },
    # One row per item of the latest listing that breaks the contract; NULL is what it lacks.
    "unusable_items": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "dataset_name": "VARCHAR",
        "study_program_id": "VARCHAR",
        "program_execution": "VARCHAR",
        "file_name": "VARCHAR",
        "reason": "VARCHAR",
        "listed_at": "TIMESTAMP",
    },
    # One row per failed attempt to bring in one export.
    "failures": {
        "study_id": "BIGINT",
        "subject_id": "BIGINT",
        "dataset_name": "VARCHAR",
        "study_program_id": "VARCHAR",
        "program_execution": "VARCHAR",
        "program_executed_at": "TIMESTAMP_NS",
        "file_name": "VARCHAR",
        "stage": "VARCHAR",
        "error": "VARCHAR",
        "failed_at": "TIMESTAMP",
        "dagster_run_id": "VARCHAR",
    },
    # One row per column and change of it; the row with the highest revision holds.
    "column_types": {
        "dataset_name": "VARCHAR",
        "column_name": "VARCHAR",
        "position": "INTEGER",
        "revision": "INTEGER",
        "kind": "VARCHAR",
        "previous_kind": "VARCHAR",
        "caused_by_load_id": "BIGINT",
        "changed_at": "TIMESTAMP",
    },
    # One row per subject that was erased: that it was done, and nothing else (see ``erasing``).
    "erasures": {
        "subject_id": "BIGINT",
        "erased_at": "TIMESTAMP",
        "loads": "BIGINT",
        "files": "BIGINT",
        # Of the whole warehouse, by then: so that no number of an erased load is given again.
        "highest_load_id": "BIGINT",
    },
}
# One row per superseded load whose rows `compact` dropped: what it was, and what replaced it.
_TABLES["compacted"] = _TABLES["loads"] | {
    "superseded_by": "BIGINT",
    "superseded_at": "TIMESTAMP",
    "compacted_at": "TIMESTAMP",
}

_VIEWS = """
CREATE OR REPLACE VIEW lineage.current_loads AS
SELECT loads.*
FROM lineage.loads
ANTI JOIN lineage.superseded ON superseded.load_id = loads.load_id;

CREATE OR REPLACE VIEW lineage.partition_status AS
WITH exports AS (
    SELECT
        coalesce(listed.subject_id, loaded.subject_id) AS subject_id,
        coalesce(listed.dataset_name, loaded.dataset_name) AS dataset_name,
        listed.program_execution AS exported_execution,
        listed.program_executed_at AS exported_at,
        loaded.program_execution AS loaded_execution,
        loaded.program_executed_at AS loaded_execution_at,
        loaded.row_count,
        CASE
            WHEN listed.subject_id IS NULL THEN 'withdrawn'
            WHEN loaded.program_executed_at >= listed.program_executed_at THEN 'current'
            WHEN failed.subject_id IS NOT NULL THEN 'failed'
            WHEN loaded.subject_id IS NULL THEN 'missing'
            ELSE 'stale'
        END AS state
    FROM lineage.export_files AS listed
    FULL JOIN lineage.current_loads AS loaded
        ON listed.study_id = loaded.study_id
        AND listed.subject_id = loaded.subject_id
        AND listed.dataset_name = loaded.dataset_name
        AND listed.study_program_id = loaded.study_program_id
    LEFT JOIN (
        SELECT DISTINCT
            study_id, subject_id, dataset_name, study_program_id, program_executed_at
        FROM lineage.failures
    ) AS failed
        ON failed.study_id = listed.study_id
        AND failed.subject_id = listed.subject_id
        AND failed.dataset_name = listed.dataset_name
        AND failed.study_program_id = listed.study_program_id
        AND failed.program_executed_at = listed.program_executed_at
)
SELECT
    subject_id,
    dataset_name,
    CASE
        WHEN bool_and(state = 'withdrawn') THEN 'withdrawn'
        WHEN bool_or(state = 'failed') THEN 'failed'
        WHEN bool_or(state = 'stale') THEN 'stale'
        WHEN bool_or(state = 'missing') THEN
            CASE WHEN bool_and(state IN ('missing', 'withdrawn')) THEN 'missing' ELSE 'stale' END
        ELSE 'current'
    END AS state,
    arg_max(exported_execution, exported_at) AS exported_execution,
    arg_max(loaded_execution, loaded_execution_at) AS loaded_execution,
    max(exported_at) AS exported_execution_at,
    max(loaded_execution_at) AS loaded_execution_at,
    coalesce(sum(row_count), 0)::BIGINT AS row_count,
    count(exported_at)::INTEGER AS exported_files,
    count(loaded_execution_at)::INTEGER AS loaded_files
FROM exports
GROUP BY subject_id, dataset_name;

-- A load whose rows `compact` dropped cannot be shown as it was, and the one before it would be a
-- wrong answer: so an instant at which such a load was the latest of its export is an error, which
-- names the load. With a condition on _subject_id, only that subject's loads count.
CREATE OR REPLACE MACRO as_of(dataset, instant) AS TABLE
WITH chosen AS NOT MATERIALIZED (
    SELECT * FROM (
        SELECT {names}, false AS is_gone FROM lineage.loads
        UNION ALL
        SELECT {names}, row_count > 0 AS is_gone FROM lineage.compacted
    ) AS every
    WHERE lower(every.dataset_name) = lower(dataset)
        AND every.program_executed_at <= instant::TIMESTAMP_NS
    QUALIFY row_number() OVER (
        PARTITION BY study_id, subject_id, study_program_id
        ORDER BY program_executed_at DESC, load_id DESC
    ) = 1
)
SELECT
    rows.* EXCLUDE (_load_id),
    chosen.study_id AS _study_id,
    chosen.subject_id AS _subject_id,
    chosen.study_program_id AS _study_program_id,
    chosen.program_execution AS _program_execution,
    chosen.program_executed_at AS _program_executed_at,
    rows._load_id AS _load_id
FROM query_table('history."' || replace(dataset, '"', '""') || '"') AS rows
INNER JOIN chosen ON chosen.load_id = rows._load_id
UNION ALL BY NAME
SELECT
    gone.study_id AS _study_id,
    gone.subject_id AS _subject_id,
    gone.study_program_id AS _study_program_id,
    gone.program_execution AS _program_execution,
    gone.program_executed_at AS _program_executed_at,
    gone.load_id AS _load_id
FROM chosen AS gone
-- In a condition, because a column that nobody asks for is never worked out.
WHERE gone.is_gone AND error(
    'as_of cannot tell: load ' || gone.load_id || ' (subject ' || gone.subject_id || ', data set '
    || gone.dataset_name || ', executed ' || gone.program_execution || ') was the latest then, and '
    'its rows have been compacted. Ask for a later instant, or of other subjects only; '
    'lineage.compacted says what it was.'
) IS NULL;
""".format(
    names="load_id, study_id, subject_id, dataset_name, study_program_id, program_execution,"
    " program_executed_at, row_count"
)


def has_tables(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the default database is a warehouse (and not, say, a file just made)."""
    made = connection.execute(
        "SELECT count(*) FROM duckdb_views() WHERE database_name = current_database()"
        " AND schema_name = 'lineage' AND view_name = 'partition_status'"
    ).fetchone()
    return bool(made and made[0])


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what is missing in the default database; cheap when nothing is.

    A warehouse of an earlier version gets its new tables here, and the views and macro of today.
    """
    present = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        " AND schema_name = 'lineage'"
    ).fetchall()
    if has_tables(connection) and _TABLES.keys() <= {name for (name,) in present}:
        return
    for schema in ("history", "exports", "lineage"):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for name, columns in _TABLES.items():
        definition = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        connection.execute(f"CREATE TABLE IF NOT EXISTS lineage.{name} ({definition})")
    connection.execute(_VIEWS)


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of ``lineage.{table}``, in its order."""
    return tuple(_TABLES[table])


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, object]]
) -> None:
    """Append rows to ``lineage.{table}`` in one statement.

    A row maps column names to values; a TIMESTAMP_NS is given as nanoseconds since 1970 (UTC).
    Row by row, DuckDB takes 0.6 ms each (measured); as lists, 2,000 rows take 10 ms.
    """
    if not rows:
        return
    types = _TABLES[table]
    names = list(rows[0])
    selected = ", ".join(
        f"make_timestamp_ns(unnest(?::BIGINT[])) AS {name}"
        if types[name] == "TIMESTAMP_NS"
        else f"unnest(?::{types[name]}[]) AS {name}"
        for name in names
    )
    connection.execute(
        f"INSERT INTO lineage.{table} BY NAME SELECT {selected}",
        [[row[name] for row in rows] for name in names],
    )
