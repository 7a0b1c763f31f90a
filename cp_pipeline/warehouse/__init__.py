"""The warehouse: a DuckDB file with every load, its lineage, and views of what is current.

Belongs here: DuckDB, lossless typing, adding and widening columns, the load transaction.
Does not belong: HTTP, Dagster.
"""

from cp_pipeline.warehouse.asked import (
    ANSWERED,
    LastAsked,
    Purpose,
    last_asked,
    move_notes,
    note,
)
from cp_pipeline.warehouse.batch import BatchResult, ExportToLoad, Load
from cp_pipeline.warehouse.check_queries import Finding, Question, ask
from cp_pipeline.warehouse.compaction import (
    OLDER_THAN,
    Compactable,
    Compacted,
    compact,
    compactable,
)
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.cuts import check_cut_name, erase_from_cuts, make_cut
from cp_pipeline.warehouse.dataset_tables import (
    DatasetDescription,
    dataset_names,
    describe_dataset,
)
from cp_pipeline.warehouse.errors import (
    FileRefused,
    NotEnoughMemory,
    SubjectErased,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnreadable,
)
from cp_pipeline.warehouse.known_texts import Known, known_of
from cp_pipeline.warehouse.lake_maintenance import check_data_files, only_writer
from cp_pipeline.warehouse.lineage import (
    DatasetStatus,
    FailedExport,
    LoadedExecution,
    Scope,
    count_loaded_by,
    dataset_statuses,
    erased_subjects,
    loaded_executions,
    record_action,
    record_erasures,
    record_failures,
)
from cp_pipeline.warehouse.listing_parts import (
    Digests,
    RecordedPosition,
    record_end,
    record_part,
    recorded_position,
)
from cp_pipeline.warehouse.listings import invalid_items, pending_since, record_listing
from cp_pipeline.warehouse.loader import Loader
from cp_pipeline.warehouse.look_history import record_programs
from cp_pipeline.warehouse.looks import (
    FILES_LISTED,
    NO_FILES,
    SeenExecution,
    count_without_files,
    executions_to_list,
    programs_without_datasets,
    record_files_listed,
    record_look,
    record_program_datasets,
)
from cp_pipeline.warehouse.moving import move
from cp_pipeline.warehouse.new_warehouse import NewWarehouse, building_anew, old_files
from cp_pipeline.warehouse.partition_states import (
    FailedAttempts,
    LoadedVersions,
    PartitionState,
    count_partitions,
    failed_attempts,
    loaded_versions,
    partition_states,
    partitions_loaded_by,
)
from cp_pipeline.warehouse.processing import SubjectProcessing, subjects_processing
from cp_pipeline.warehouse.published_file import (
    Published,
    publish_current,
    published_state,
    state_of_warehouse,
)
from cp_pipeline.warehouse.query import FORMATS, columns_of_tables, failing_rows, query, write_query
from cp_pipeline.warehouse.recorded_listing import (
    ListedPair,
    ListingSizes,
    RecordedNumbers,
    last_whole_listing,
    listed_pairs,
    listing_sizes,
    record_whole_listing,
    recorded_numbers,
    subjects_to_load,
    unloaded_exports,
)
from cp_pipeline.warehouse.row_erasure import erase_from_published, erase_from_warehouse
from cp_pipeline.warehouse.study_checks import StudyQuestion, ask_study
from cp_pipeline.warehouse.study_details import (
    record_details,
    record_timezones_asked,
    subjects_to_ask,
)
from cp_pipeline.warehouse.study_names import (
    ProgramOfDataset,
    programs_of_datasets,
    study_names,
)
from cp_pipeline.warehouse.widening import HistoricLoad

__all__ = [
    "ANSWERED",
    "FILES_LISTED",
    "FORMATS",
    "NO_FILES",
    "OLDER_THAN",
    "BatchResult",
    "Compactable",
    "Compacted",
    "DatasetDescription",
    "DatasetStatus",
    "Digests",
    "ExportToLoad",
    "FailedAttempts",
    "FailedExport",
    "FileRefused",
    "Finding",
    "HistoricLoad",
    "Known",
    "LastAsked",
    "ListedPair",
    "ListingSizes",
    "Load",
    "LoadedExecution",
    "LoadedVersions",
    "Loader",
    "NewWarehouse",
    "NotEnoughMemory",
    "PartitionState",
    "ProgramOfDataset",
    "Published",
    "Purpose",
    "Question",
    "RecordedNumbers",
    "RecordedPosition",
    "Scope",
    "SeenExecution",
    "StudyQuestion",
    "SubjectErased",
    "SubjectProcessing",
    "Warehouse",
    "WarehouseBusy",
    "WarehouseError",
    "WarehouseUnreadable",
    "ask",
    "ask_study",
    "building_anew",
    "check_cut_name",
    "check_data_files",
    "columns_of_tables",
    "compact",
    "compactable",
    "count_loaded_by",
    "count_partitions",
    "count_without_files",
    "dataset_names",
    "dataset_statuses",
    "describe_dataset",
    "erase_from_cuts",
    "erase_from_published",
    "erase_from_warehouse",
    "erased_subjects",
    "executions_to_list",
    "failed_attempts",
    "failing_rows",
    "invalid_items",
    "known_of",
    "last_asked",
    "last_whole_listing",
    "listed_pairs",
    "listing_sizes",
    "loaded_executions",
    "loaded_versions",
    "make_cut",
    "move",
    "move_notes",
    "note",
    "old_files",
    "only_writer",
    "partition_states",
    "partitions_loaded_by",
    "pending_since",
    "programs_of_datasets",
    "programs_without_datasets",
    "publish_current",
    "published_state",
    "query",
    "record_action",
    "record_details",
    "record_end",
    "record_erasures",
    "record_failures",
    "record_files_listed",
    "record_listing",
    "record_look",
    "record_part",
    "record_program_datasets",
    "record_programs",
    "record_timezones_asked",
    "record_whole_listing",
    "recorded_numbers",
    "recorded_position",
    "state_of_warehouse",
    "study_names",
    "subjects_processing",
    "subjects_to_ask",
    "subjects_to_load",
    "unloaded_exports",
    "write_query",
]
