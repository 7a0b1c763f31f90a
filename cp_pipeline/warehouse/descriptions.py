"""What each table and column of ours is, in a sentence: the published file's comments.

Belongs here: words. Does not belong: the tables' definitions (``schema``), the models' words
(``dbt_style_sql``), the columns of a data set, which are CentrePoint's.
"""

TABLES = {
    "loads": "One row per load of one export file: which program execution, file and checksum.",
    "superseded": "One row per load that is no longer current, and the load that replaced it.",
    "current_loads": "One row per load that is current: the newest execution of each export.",
    "export_files": "One row per export in CentrePoint's latest listing, or in the one before it.",
    "schema_version": "One row: by which definitions these tables and views were made.",
    "unusable_items": "One row per item of the latest listing that cannot be used, and why.",
    "failures": "One row per failed attempt to bring in one export: at which stage, and why.",
    "column_types": "One row per change of a data set's column: when it came or widened.",
    "partition_status": "One row per subject and data set: listed and loaded execution, and state.",
    "compacted": "One row per load whose rows were dropped after it had long been superseded.",
    "erasures": "One row per subject whose data was erased.",
    "publication": "One row: when this file was published, and from which state of the warehouse.",
}
COLUMNS = {
    "load_id": "The load: a number that counts up.",
    "study_id": "CentrePoint's number of the study.",
    "subject_id": "CentrePoint's number of the subject, unique across studies.",
    "dataset_name": "The data set, as CentrePoint names it.",
    "study_program_id": "The study program that yields the data set (a GUID).",
    "program_execution": "When the program was executed: CentrePoint's timestamp, to the letter.",
    "program_executed_at": "When the program was executed (UTC, to 100 nanoseconds).",
    "modified_at": "When CentrePoint last modified the file (UTC).",
    "file_name": "CentrePoint's name of the file; two data sets may share one.",
    "file_format": "CentrePoint's word for the format.",
    "file_sha256": "SHA-256 of the file as it came.",
    "file_bytes": "Bytes of the file as it came.",
    "csv_bytes": "Bytes of the decoded CSV.",
    "row_count": "Records of the file, counted on its bytes.",
    "column_count": "Columns of the file.",
    "column_names": "Columns of the file, in its order.",
    "has_quotes": "Whether a record has quotes.",
    "loaded_at": "When it was loaded (UTC).",
    "dagster_run_id": "The Dagster run that did it.",
    "landing_path": "Where the file as it came lies, below the landing.",
    "time_column": "The column that says of what time a row is; empty if none does.",
    "first_timestamp": "The earliest time in it.",
    "last_timestamp": "The latest time in it.",
    "duplicate_timestamps": "Rows beyond the first for one and the same time.",
    "superseded_by": "The load that is newer.",
    "superseded_at": "When the newer one was loaded (UTC).",
    "listed_at": "When it was first listed so (UTC).",
    "reason": "Of a load: why it was loaded. Of an item: what is wrong with it.",
    "pending_since": "Since when the file is still that of an earlier execution (UTC); else empty.",
    "unlisted_since": "When a whole listing first lacked it (UTC); the next one removes the row.",
    "version": "Changes with the definitions of these tables and views.",
    "stage": "listing, download, decode or load.",
    "error": "Why, in words.",
    "failed_at": "When (UTC).",
    "column_name": "The column, as first seen.",
    "position": "Its place in the table.",
    "revision": "1 when it came, then counting up; the highest holds.",
    "kind": "What it holds (see docs/values.md).",
    "previous_kind": "What it held before; empty when it came.",
    "caused_by_load_id": "The load that brought or widened it.",
    "changed_at": "When (UTC).",
    "compacted_at": "When its rows were dropped (UTC).",
    "erased_at": "When the subject was erased (UTC).",
    "loads": "How many loads were erased.",
    "files": "How many files were erased.",
    "highest_load_id": "The highest number of a load by then; none is used again.",
    "state": "current, stale, missing, failed, pending or withdrawn.",
    "exported_execution": "The newest listed program execution, to the letter.",
    "loaded_execution": "The newest loaded program execution, to the letter.",
    "exported_execution_at": "The newest listed program execution (UTC).",
    "loaded_execution_at": "The newest loaded program execution (UTC).",
    "exported_files": "Exports listed for the pair: one a study program.",
    "loaded_files": "Exports loaded for the pair.",
    "published_at": "When this file was written (UTC).",
    "state_of_warehouse": "Changes whenever anything is listed, loaded or fails.",
}
EXPORT = "One row per record of {name}, from the newest execution of each export."
WIDE_EXPORT = " Columns without words of their own are as in the export."
EXPORT_COLUMN = "As in the export."


def of_column(name: str) -> str:
    """The words for a column of ``lineage``, or one that carries lineage beside a row."""
    return COLUMNS.get(name.removeprefix("_"), "")
