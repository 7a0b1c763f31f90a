"""One sentence about each of our tables and columns: the comments in the published file.

Belongs here: the texts. Does not belong: the definitions of the tables (``schema``), the
descriptions of the models (``dbt_style_sql``), the columns of a data set, which CentrePoint
defines.
"""

TABLES = {
    "loads": "One row per load of one export file: its program execution, file and checksum.",
    "superseded": "One row per load that is no longer current, and the load that replaced it.",
    "current_loads": "One row per load that is current: the newest execution of each export.",
    "export_files": "One row per export in CentrePoint's latest listing, or in the one before it.",
    "schema_version": "One row: the version of the definitions of these tables and views.",
    "unusable_items": "One row per item of the latest listing that cannot be used, and why.",
    "failures": "One row per failed attempt to ingest one export: the stage and the error.",
    "column_types": "One row per change of a data set's column: when it was added or widened.",
    "partition_status": "One row per subject and data set: listed and loaded execution, and state.",
    "compacted": "One row per superseded load whose rows `cp-pipeline compact` dropped.",
    "erasures": "One row per subject whose data was erased.",
    "listings": "One row per whole listing of a study that was completed.",
    "executions": "One row per subject and study program: its newest execution, in the last look.",
    "programs": "One row per study program, with its name.",
    "program_datasets": "One row per data set that a study program yields.",
    "publication": "One row: when this file was published, and the state of the warehouse then.",
}
COLUMNS = {
    "load_id": "The number of the load; later loads have higher numbers.",
    "study_id": "CentrePoint's number of the study.",
    "subject_id": "CentrePoint's number of the subject, unique across studies.",
    "dataset_name": "The data set, as CentrePoint names it.",
    "study_program_id": "The study program that yields the data set (a GUID).",
    "program_execution": "When the program was executed: CentrePoint's timestamp, unchanged.",
    "program_executed_at": "When the program was executed (UTC, to 100 nanoseconds).",
    "modified_at": "When CentrePoint last modified the file (UTC).",
    "file_name": "CentrePoint's name of the file; two data sets may have the same file name.",
    "file_format": "CentrePoint's name of the file format.",
    "file_sha256": "SHA-256 of the file as downloaded.",
    "file_bytes": "Bytes of the file as downloaded.",
    "csv_bytes": "Bytes of the decompressed CSV.",
    "row_count": "Records of the file, counted in its bytes.",
    "column_count": "Number of columns of the file.",
    "column_names": "Columns of the file, in file order.",
    "has_quotes": "Whether a record has quotes.",
    "loaded_at": "When it was loaded (UTC).",
    "dagster_run_id": "The Dagster run that wrote the row.",
    "landing_path": "Path of the downloaded file within the landing folder.",
    "time_column": "The column with the time of each row; empty if no column has it.",
    "first_timestamp": "The earliest time in the time column.",
    "last_timestamp": "The latest time in the time column.",
    "duplicate_timestamps": "Rows beyond the first with the same time.",
    "superseded_by": "The newer load that replaced it.",
    "superseded_at": "When the newer load was made (UTC).",
    "listed_at": "When it was first listed in this form (UTC).",
    "reason": "For a load: why it was loaded. For a listed item: why it cannot be used.",
    "pending_since": "Since when its file is that of an earlier execution (UTC); else empty.",
    "unlisted_since": "When a whole listing first lacked it (UTC); the next one removes the row.",
    "version": "Changes with the definitions of these tables and views.",
    "stage": "The stage that failed: listing, download, decode or load.",
    "error": "The error message.",
    "failed_at": "When it failed (UTC).",
    "column_name": "The column's name, as first seen.",
    "position": "The column's position in the table.",
    "revision": "1 when the column was added, then counts up; the highest one is valid.",
    "kind": "What the column holds (see docs/values.md).",
    "previous_kind": "What the column held before; empty when it was added.",
    "caused_by_load_id": "The load that added or widened the column.",
    "changed_at": "When the column was added or widened (UTC).",
    "compacted_at": "When its rows were dropped (UTC).",
    "erased_at": "When the subject was erased (UTC).",
    "loads": "How many loads were erased.",
    "files": "How many files were erased.",
    "highest_load_id": "The highest load number at that time; no number is used again.",
    "state": "current, stale, missing, failed, pending or withdrawn.",
    "exported_execution": "The newest listed program execution, unchanged.",
    "loaded_execution": "The newest loaded program execution, unchanged.",
    "exported_execution_at": "The newest listed program execution (UTC).",
    "loaded_execution_at": "The newest loaded program execution (UTC).",
    "exported_files": "Exports listed for the subject and data set: one per study program.",
    "loaded_files": "Exports loaded for the subject and data set.",
    "started_at": "When the listing began (UTC).",
    "ended_at": "When the listing was complete (UTC).",
    "items": "How many items were listed.",
    "missing": "How many items CentrePoint counted and did not list.",
    "last_raw_upload": "When raw data of the subject was last uploaded; empty: never, or unknown.",
    "seen_at": "When it was first seen in this form (UTC).",
    "files_listed_at": "When the files of the execution were last listed (UTC).",
    "files_state": "listed: the files are written. none: there was none for a day. Empty: not yet.",
    "study_program_name": "The name of the study program; two programs may have the same name.",
    "published_at": "When this file was written (UTC).",
    "state_of_warehouse": "Changes with every new listing, load or failure.",
}
EXPORT = "One row per record of {name}, from the newest execution of each export."
WIDE_EXPORT = " Columns without a comment are as in the export."
EXPORT_COLUMN = "As in the export."


def of_column(name: str) -> str:
    """Return the comment of a ``lineage`` column, or of a lineage column in an export table."""
    return COLUMNS.get(name.removeprefix("_"), "")
