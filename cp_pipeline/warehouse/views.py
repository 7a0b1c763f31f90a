"""SQL for the current loads, the state of each partition, and the rows current at an instant.

Belongs here: the views and the macro over ``lineage``, and which load supersedes which.
Does not belong: the tables (``lineage_tables``), the view of a data set (``dataset_tables``).
"""

from datetime import UTC, datetime

import duckdb


def covers(load: str, listed: str) -> str:
    """Return ``Version.covers`` as SQL; tables need program_executed_at, modified_at, file_name."""
    return (
        f"({load}.program_executed_at > {listed}.program_executed_at"
        f" OR ({load}.program_executed_at = {listed}.program_executed_at"
        f" AND CASE WHEN {load}.modified_at <> {listed}.modified_at"
        f" THEN {load}.modified_at > {listed}.modified_at"
        f" ELSE {load}.file_name = {listed}.file_name END))"
    )


# Among the files of one execution, the last modified file is the newest. If CentrePoint does not
# give the time of modification for all of them, the last load is the newest.
_EXECUTION = (
    "(PARTITION BY study_id, subject_id, dataset_name, study_program_id, program_executed_at)"
)
_WRITTEN = (
    f"CASE WHEN count(*) OVER {_EXECUTION} = count(modified_at) OVER {_EXECUTION}"
    " THEN modified_at END"
)


def _rows(refusal: str, what: str) -> str:
    """Return SQL for the rows of the chosen loads; it raises an error if they were compacted."""
    return """SELECT
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
-- In a condition, because DuckDB does not evaluate a column that the query does not select.
WHERE gone.is_gone AND error(
    'REFUSAL' || gone.load_id || ' (subject ' || gone.subject_id || ', data set '
    || gone.dataset_name || ', executed ' || gone.program_execution || ') was WHAT, '
    'and its rows have been compacted. Query a later instant, or other subjects '
    'only. lineage.compacted describes the load.'
) IS NULL;""".replace("REFUSAL", refusal).replace("WHAT", what)


VIEWS = """
CREATE OR REPLACE VIEW lineage.current_loads AS
SELECT loads.*
FROM lineage.loads
ANTI JOIN lineage.superseded ON superseded.load_id = loads.load_id;

CREATE OR REPLACE VIEW lineage.partition_status AS
-- EXISTS and no joins: whoever asks for one data set then reads the rows of that one only.
WITH known AS (
    SELECT
        listed.*,
        EXISTS (
            SELECT 1 FROM lineage.loads AS loads
            WHERE loads.study_id = listed.study_id
                AND loads.subject_id = listed.subject_id
                AND loads.dataset_name = listed.dataset_name
                AND loads.study_program_id = listed.study_program_id
                AND {loads_cover_listed}
        ) AS is_covered,
        EXISTS (
            SELECT 1 FROM lineage.failures AS failures
            WHERE failures.study_id = listed.study_id
                AND failures.subject_id = listed.subject_id
                AND failures.dataset_name = listed.dataset_name
                AND failures.study_program_id = listed.study_program_id
                AND failures.program_executed_at = listed.program_executed_at
                AND {failure_is_of_listed}
        ) AS has_failed
    FROM lineage.export_files AS listed
),
exports AS (
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
            WHEN listed.is_covered THEN 'current'
            WHEN listed.has_failed THEN 'failed'
            WHEN listed.modified_at < listed.program_executed_at THEN 'pending'
            WHEN loaded.subject_id IS NULL THEN 'missing'
            ELSE 'stale'
        END AS state
    FROM known AS listed
    FULL JOIN lineage.current_loads AS loaded
        ON listed.study_id = loaded.study_id
        AND listed.subject_id = loaded.subject_id
        AND listed.dataset_name = loaded.dataset_name
        AND listed.study_program_id = loaded.study_program_id
)
SELECT
    subject_id,
    dataset_name,
    CASE
        WHEN bool_and(state = 'withdrawn') THEN 'withdrawn'
        WHEN bool_or(state = 'failed') THEN 'failed'
        WHEN bool_or(state = 'stale') THEN 'stale'
        WHEN bool_or(state = 'missing') THEN
            CASE
                WHEN bool_and(state IN ('missing', 'withdrawn', 'pending')) THEN 'missing'
                ELSE 'stale'
            END
        WHEN bool_or(state = 'pending') THEN 'pending'
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

-- The rows of a compacted load are gone, and the rows of an earlier load would be a wrong answer.
-- So if a compacted load was the latest of its export at the instant, the macro raises an error
-- with the id of that load. With a condition on _subject_id, only that subject's loads count.
CREATE OR REPLACE MACRO as_of(dataset, instant) AS TABLE
WITH every AS NOT MATERIALIZED (
    SELECT *, {written} AS written FROM (
        SELECT {names}, false AS is_gone FROM lineage.loads
        UNION ALL
        SELECT {names}, row_count > 0 AS is_gone FROM lineage.compacted
    ) AS loaded
    WHERE lower(loaded.dataset_name) = lower(dataset)
        AND loaded.program_executed_at <= instant::TIMESTAMP_NS
),
chosen AS NOT MATERIALIZED (
    SELECT * FROM every
    QUALIFY row_number() OVER (
        PARTITION BY study_id, subject_id, study_program_id
        ORDER BY program_executed_at DESC, written DESC NULLS LAST, load_id DESC
    ) = 1
)
{as_of_rows}

-- What was current in the warehouse at an instant, by its own clock: what a report of that day was
-- made from. `as_of` goes by the time of the program execution instead.
CREATE OR REPLACE MACRO as_loaded(dataset, instant) AS TABLE
WITH chosen AS NOT MATERIALIZED (
    SELECT {names}, false AS is_gone FROM lineage.loads
    LEFT JOIN lineage.superseded USING (load_id)
    WHERE lower(loads.dataset_name) = lower(dataset)
        AND loaded_at <= instant::TIMESTAMP
        AND coalesce(superseded_at > instant::TIMESTAMP, true)
    UNION ALL
    SELECT {names}, row_count > 0 AS is_gone FROM lineage.compacted
    WHERE lower(compacted.dataset_name) = lower(dataset)
        AND loaded_at <= instant::TIMESTAMP
        AND superseded_at > instant::TIMESTAMP
)
{as_loaded_rows}
""".format(
    loads_cover_listed=covers("loads", "listed"),
    failure_is_of_listed=(
        "failures.file_name = listed.file_name"
        " AND failures.modified_at IS NOT DISTINCT FROM listed.modified_at"
    ),
    names="load_id, study_id, subject_id, dataset_name, study_program_id, program_execution,"
    " program_executed_at, modified_at, row_count",
    written=_WRITTEN,
    as_of_rows=_rows("as_of cannot answer: load ", "the latest load at that instant"),
    as_loaded_rows=_rows("as_loaded cannot answer: load ", "current at that instant"),
)


def supersede_older(connection: duckdb.DuckDBPyConnection, first_load_id: int = 0) -> None:
    """Mark all loads of an export except the current one as superseded, in the load's transaction.

    The load of the newest program execution is current, in whatever order they were loaded. Among
    loads of one execution, it is the file modified last; if CentrePoint does not give the time of
    modification for all of them, it is the file loaded last.

    Args:
        connection: its default database is the warehouse.
        first_load_id: consider only exports that have a load with this id or a higher one.
    """
    connection.execute(
        "INSERT INTO lineage.superseded BY NAME"
        " WITH candidates AS ("
        " SELECT load_id, study_id, subject_id, dataset_name, study_program_id,"
        f" program_executed_at, {_WRITTEN} AS written FROM lineage.current_loads"
        " WHERE (study_id, subject_id, dataset_name, study_program_id) IN ("
        " SELECT (study_id, subject_id, dataset_name, study_program_id)"
        " FROM lineage.loads WHERE load_id >= ?)"
        "), ranked AS ("
        " SELECT load_id, first_value(load_id) OVER ("
        " PARTITION BY study_id, subject_id, dataset_name, study_program_id"
        " ORDER BY program_executed_at DESC, written DESC NULLS LAST, load_id DESC"
        ") AS superseded_by FROM candidates"
        ") SELECT load_id, superseded_by, ? AS superseded_at FROM ranked"
        " WHERE load_id <> superseded_by",
        [first_load_id, datetime.now(UTC).replace(tzinfo=None)],
    )
