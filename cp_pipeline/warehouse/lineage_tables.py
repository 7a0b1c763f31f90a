"""The tables of the schema ``lineage``: what was listed, loaded, refused and erased.

Belongs here: their definitions, by name. Does not belong: creating them (``schema``), the views
(``views``), filling them (``lineage``, ``listings``, ``load_transaction``).

No keys, sequences, generated columns or HUGEINT, because a DuckLake has none of them
(docs/design.md, 14).
"""

LINEAGE_TABLES = {
    # One row per load of one export. Loads never change. Only `compact` and `erase` remove loads.
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
        # In file order, to show columns added or removed between executions.
        "column_names": "VARCHAR[]",
        "has_quotes": "BOOLEAN",
        "loaded_at": "TIMESTAMP",
        "dagster_run_id": "VARCHAR",
        "landing_path": "VARCHAR",
        # NULL if the data set has no time column or the file has no records (see ``profile``).
        "time_column": "VARCHAR",
        "first_timestamp": "TIMESTAMP",
        "last_timestamp": "TIMESTAMP",
        # Rows beyond the first with the same time.
        "duplicate_timestamps": "BIGINT",
        # Why it was loaded, as text for people.
        "reason": "VARCHAR",
        # The version of the study's definition; NULL if the API's dialect does not have it.
        "study_version": "BIGINT",
    },
    # One row per load that is no longer current, with the newer load that replaced it.
    "superseded": {
        "load_id": "BIGINT",
        "superseded_by": "BIGINT",
        "superseded_at": "TIMESTAMP",
    },
    # One row per export in the latest listing, or in the one before the latest; no URL.
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
        # Since when the file is that of an earlier execution; NULL if it is not pending.
        "pending_since": "TIMESTAMP",
        # When a whole listing first lacked it. The next listing that lacks it removes the row.
        "unlisted_since": "TIMESTAMP",
        "study_version": "BIGINT",
    },
    # One row per item of the latest listing that breaks the contract; missing fields are NULL.
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
    # One row per failed attempt to ingest one export.
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
        "modified_at": "TIMESTAMP_NS",
    },
    # One row per change of a column; the row with the highest revision is valid.
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
    # One row per erased subject: only the fact of the erasure (see ``subject_erasure``).
    "erasures": {
        "subject_id": "BIGINT",
        "erased_at": "TIMESTAMP",
        "loads": "BIGINT",
        "files": "BIGINT",
        # Of the whole warehouse at that time, so that the id of an erased load is never reused.
        "highest_load_id": "BIGINT",
    },
    # One row per question to CentrePoint about a study (see ``asked``).
    "listings": {
        "study_id": "BIGINT",
        "started_at": "TIMESTAMP",
        "ended_at": "TIMESTAMP",
        # Only of a whole listing that was completed; else NULL.
        "items": "BIGINT",
        # Counted by the service and not listed.
        "missing": "BIGINT",
        # "whole listing", "listing of some" or "look"; NULL in old rows: a whole listing.
        "asked_for": "VARCHAR",
        # "answered", or why there was no answer; NULL in old rows: answered.
        "outcome": "VARCHAR",
    },
    # One row per action of a person: refresh, compact, rebuild, erase, cut.
    "actions": {
        "acted_at": "TIMESTAMP",
        "actor": "VARCHAR",
        "command": "VARCHAR",
        "reason": "VARCHAR",
        "software_version": "VARCHAR",
    },
    # One row per load of each cut. `compact` keeps these loads.
    "cuts": {
        "name": "VARCHAR",
        "load_id": "BIGINT",
        "cut_at": "TIMESTAMP",
    },
    # One row per recorded part of a whole listing that is not complete yet; no identifiers, only
    # digests of what was listed.
    "listing_parts": {
        "study_id": "BIGINT",
        # The listing's, the same for all of its parts.
        "started_at": "TIMESTAMP",
        "recorded_at": "TIMESTAMP",
        "by_items": "BOOLEAN",
        # Where the next part begins.
        "next_offset": "BIGINT",
        "totals": "BIGINT[]",
        "came": "BIGINT",
        "seen": "BIGINT[]",
        "contents": "BIGINT[]",
        "unread": "BIGINT[]",
    },
    # One row: the version of these definitions with which the warehouse was last written.
    "schema_version": {"version": "VARCHAR"},
}
# One row per superseded load whose rows `compact` dropped: its lineage, and what replaced it.
LINEAGE_TABLES["compacted"] = LINEAGE_TABLES["loads"] | {
    "superseded_by": "BIGINT",
    "superseded_at": "TIMESTAMP",
    "compacted_at": "TIMESTAMP",
}
