"""Checks of everything that is loaded: each should find no rows.

Belongs here: the SQL of each check. Does not belong: the severity of a finding (``defs.checks``).

Each check returns at most ``SHOWN`` rows at fault, and the total number of such rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import duckdb

from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.partition_states import listed_datasets
from cp_pipeline.warehouse.schema import has_table

SHOWN = 50
_PARTITION = "current.subject_id AS subject, current.dataset_name AS dataset"


class Question(StrEnum):
    """The checks that the warehouse can run."""

    LISTED_EXECUTION_IS_LOADED = "listed_execution_is_loaded"
    ROWS_MATCH_FILES = "rows_match_files"
    SCHEMA_IS_UNCHANGED = "schema_is_unchanged"
    EXECUTIONS_GO_FORWARD = "executions_go_forward"
    EXPORTS_ARE_STILL_LISTED = "exports_are_still_listed"
    TIMESTAMPS_ARE_UNIQUE = "timestamps_are_unique"
    LISTED_ITEMS_CAN_BE_USED = "listed_items_can_be_used"
    DATASETS_ARE_OF_ONE_PROGRAM = "datasets_are_of_one_program"
    FILES_ARE_OF_THEIR_EXECUTION = "files_are_of_their_execution"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: the numbers examined and at fault, and the first rows at fault."""

    examined: int
    at_fault: int
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def _names_not_in(names: str, others: str) -> str:
    """Return SQL for the names, by load, that are in one list but not in the other, ignoring case.

    A join, because searching a list of 1,500 names for each of 1,500 names is slow.
    """
    return f"""
        SELECT named.load_id, list(named.name ORDER BY named.place) AS names FROM (
            SELECT load_id, unnest({names}) AS name, generate_subscripts({names}, 1) AS place
            FROM compared
        ) AS named ANTI JOIN (
            SELECT load_id, lower(unnest({others})) AS name FROM compared
        ) AS other ON other.load_id = named.load_id AND other.name = lower(named.name)
        GROUP BY named.load_id
    """


_LISTED_EXECUTION_IS_LOADED = f"""
    SELECT subject_id AS subject, dataset_name AS dataset, state,
        exported_execution AS listed, loaded_execution AS loaded,
        CASE WHEN state = 'failed' THEN failed.error END AS reason,
        state IN ('stale', 'missing', 'failed') AS is_at_fault,
        count(*) FILTER (exported_files > 0) OVER () AS examined,
        count(*) FILTER (is_at_fault) OVER () AS at_fault
    FROM lineage.partition_status LEFT JOIN (
        SELECT subject_id, dataset_name, max_by(error, failed_at) AS error
        FROM lineage.failures GROUP BY ALL
    ) AS failed USING (subject_id, dataset_name)
    WHERE dataset_name = ? ORDER BY is_at_fault DESC, subject LIMIT {SHOWN}
"""

_QUESTIONS = {
    Question.SCHEMA_IS_UNCHANGED: (
        "SELECT count(*) FROM lineage.current_loads",
        f"""
        WITH compared AS (
            SELECT current.load_id, current.column_names AS now, before.column_names AS earlier
            FROM lineage.current_loads AS current
            INNER JOIN (
                SELECT superseded_by AS load_id, max(load_id) AS before_id
                FROM lineage.superseded GROUP BY ALL
            ) AS replaced ON replaced.load_id = current.load_id
            INNER JOIN lineage.loads AS before ON before.load_id = replaced.before_id
            WHERE [lower(name) FOR name IN current.column_names]
                <> [lower(name) FOR name IN before.column_names]
        )
        SELECT {_PARTITION}, current.program_execution, coalesce(came.names, []) AS added,
            coalesce(went.names, []) AS removed, coalesce(widened.changes, []) AS widened
        FROM lineage.current_loads AS current
        LEFT JOIN ({_names_not_in("now", "earlier")}) AS came USING (load_id)
        LEFT JOIN ({_names_not_in("earlier", "now")}) AS went USING (load_id)
        LEFT JOIN (
            SELECT caused_by_load_id AS load_id,
                list(column_name || ': ' || previous_kind || ' to ' || kind) AS changes
            FROM lineage.column_types WHERE previous_kind <> 'undetermined' GROUP BY ALL
        ) AS widened USING (load_id)
        WHERE len(added) > 0 OR len(removed) > 0 OR len(widened.changes) > 0
        """,
    ),
    Question.EXECUTIONS_GO_FORWARD: (
        "SELECT count(*) FROM lineage.export_files",
        f"""
        SELECT {_PARTITION}, listed.program_execution AS listed,
            current.program_execution AS loaded
        FROM lineage.current_loads AS current
        INNER JOIN lineage.export_files AS listed
            USING (study_id, subject_id, dataset_name, study_program_id)
        WHERE listed.program_executed_at < current.program_executed_at
        """,
    ),
    Question.EXPORTS_ARE_STILL_LISTED: (
        "SELECT count(*) FROM lineage.current_loads",
        f"""
        SELECT {_PARTITION}, current.study_program_id, current.program_execution AS loaded,
            current.row_count AS rows_kept
        FROM lineage.current_loads AS current
        ANTI JOIN lineage.export_files AS listed
            USING (study_id, subject_id, dataset_name, study_program_id)
        """,
    ),
    Question.TIMESTAMPS_ARE_UNIQUE: (
        "SELECT count(*) FROM lineage.current_loads WHERE time_column IS NOT NULL",
        f"""
        SELECT {_PARTITION}, current.program_execution, current.time_column,
            current.duplicate_timestamps AS rows_too_many
        FROM lineage.current_loads AS current WHERE duplicate_timestamps > 0
        """,
    ),
    Question.DATASETS_ARE_OF_ONE_PROGRAM: (
        """
        SELECT count(*) FROM (
            SELECT DISTINCT study_id, subject_id, dataset_name FROM lineage.current_loads
        )
        """,
        f"""
        WITH several AS (
            -- Few, so that the programs are counted and listed for these alone.
            SELECT study_id, subject_id, dataset_name FROM lineage.current_loads
            GROUP BY ALL HAVING count(*) > 1
        )
        SELECT {_PARTITION},
            list(DISTINCT coalesce(programs.study_program_name || ' (', '')
                || current.study_program_id
                || CASE WHEN programs.study_program_name IS NULL THEN '' ELSE ')' END) AS programs
        FROM lineage.current_loads AS current
        SEMI JOIN several USING (study_id, subject_id, dataset_name)
        LEFT JOIN study.programs AS programs USING (study_id, study_program_id)
        GROUP BY current.study_id, current.subject_id, current.dataset_name
        HAVING count(DISTINCT current.study_program_id) > 1
        """,
    ),
    Question.FILES_ARE_OF_THEIR_EXECUTION: (
        "SELECT count(*) FROM lineage.current_loads WHERE modified_at IS NOT NULL",
        f"""
        SELECT {_PARTITION}, current.study_program_id, current.program_execution,
            current.modified_at, current.load_id
        FROM lineage.current_loads AS current
        WHERE current.modified_at < current.program_executed_at
        """,
    ),
    Question.LISTED_ITEMS_CAN_BE_USED: (
        """
        SELECT (SELECT count(*) FROM lineage.export_files)
            + (SELECT count(*) FROM lineage.unusable_items)
        """,
        """
        SELECT subject_id AS subject, dataset_name AS dataset, study_program_id, file_name, reason
        FROM lineage.unusable_items
        """,
    ),
}


def ask(warehouse: Warehouse, question: Question) -> Finding:
    """Run one check; it finds nothing if the warehouse does not exist yet."""
    if not warehouse.exists():
        return Finding(0, 0, (), ())
    with warehouse.reading() as connection:
        if question is Question.LISTED_ITEMS_CAN_BE_USED and not has_table(
            connection, "lineage.unusable_items"
        ):
            return Finding(0, 0, (), ())
        if question is Question.LISTED_EXECUTION_IS_LOADED:
            return _together(_listed_execution_is_loaded(connection))
        if question is Question.ROWS_MATCH_FILES:
            return _together(_rows_match_files(connection))
        return finding(connection, *_QUESTIONS[question], "dataset, subject")


def _listed_execution_is_loaded(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    for dataset in listed_datasets(connection):
        found = connection.execute(_LISTED_EXECUTION_IS_LOADED, [dataset])
        columns = tuple(column[0] for column in found.description or ())[:-3]
        rows = found.fetchall()
        examined, at_fault = rows[0][-2:] if rows else (0, 0)
        yield Finding(examined, at_fault, columns, tuple(row[:-3] for row in rows if row[-3]))


def _rows_match_files(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Compare the rows in each history table with the records counted in the file's bytes."""
    datasets = connection.execute(
        "SELECT dataset_name, count(*) FROM lineage.loads GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    for dataset, loads in datasets:
        yield finding(
            connection,
            f"SELECT {loads}",
            f"""
            SELECT loads.subject_id AS subject, loads.dataset_name AS dataset, load_id,
                loads.row_count AS records_in_file, coalesce(counted.row_count, 0) AS rows_loaded
            FROM (FROM lineage.loads WHERE dataset_name = $dataset) AS loads
            FULL JOIN (
                SELECT _load_id AS load_id, count(*) AS row_count
                FROM history.{quoted(dataset)} GROUP BY ALL
            ) AS counted USING (load_id)
            WHERE loads.row_count IS DISTINCT FROM coalesce(counted.row_count, 0)
            """,
            "subject",
            {"dataset": dataset},
        )


def _together(findings: Iterable[Finding]) -> Finding:
    """Add up what was found in each data set. All of them in one query would take much memory."""
    together = Finding(0, 0, (), ())
    for each in findings:
        together = Finding(
            together.examined + each.examined,
            together.at_fault + each.at_fault,
            each.columns,
            (*together.rows, *each.rows)[:SHOWN],
        )
    return together


def finding(
    connection: duckdb.DuckDBPyConnection,
    examined: str,
    at_fault: str,
    order: str,
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> Finding:
    """Run the two queries of a check.

    Args:
        connection: to the warehouse.
        examined: a query of one number.
        at_fault: a query of the rows at fault.
        order: the columns by which the first rows are chosen.
        parameters: of ``at_fault``, by name.
    """
    number = connection.execute(examined).fetchone()
    found = connection.execute(
        f"SELECT *, count(*) OVER () FROM ({at_fault}) ORDER BY {order} LIMIT {SHOWN}",
        dict(parameters),
    )
    columns = tuple(column[0] for column in found.description or ())[:-1]
    rows = found.fetchall()
    return Finding(
        number[0] if number else 0,
        rows[0][-1] if rows else 0,
        columns,
        tuple(row[:-1] for row in rows),
    )
