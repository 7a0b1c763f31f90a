"""The warehouse: a DuckDB file with every load, its lineage, and views of what is current.

Belongs here: DuckDB, lossless typing, adding and widening columns, the load transaction.
Does not belong: HTTP, Dagster.
"""

from cp_pipeline.warehouse.batch import Batch, BatchResult, ExportToLoad, Load
from cp_pipeline.warehouse.check_queries import Finding, Question, ask
from cp_pipeline.warehouse.compaction import (
    OLDER_THAN,
    Compactable,
    Compacted,
    compact,
    compactable,
)
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_schema import (
    DatasetDescription,
    dataset_names,
    describe_dataset,
)
from cp_pipeline.warehouse.errors import (
    FileRefused,
    LoadRefused,
    NotEnoughMemory,
    SubjectErased,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnreadable,
)
from cp_pipeline.warehouse.invalid_items import invalid_items
from cp_pipeline.warehouse.lineage import (
    DatasetStatus,
    FailedExport,
    LoadedExecution,
    Scope,
    count_loaded_by,
    dataset_statuses,
    loaded_executions,
    record_failures,
)
from cp_pipeline.warehouse.listing_parts import (
    RecordedPosition,
    record_end,
    record_part,
    recorded_position,
)
from cp_pipeline.warehouse.listings import pending_since, record_listing
from cp_pipeline.warehouse.loader import Loader
from cp_pipeline.warehouse.looks import (
    FILES_LISTED,
    NO_FILES,
    SeenExecution,
    programs_without_datasets,
    record_files_listed,
    record_look,
    record_program_datasets,
    seen_executions,
)
from cp_pipeline.warehouse.new_warehouse import NewWarehouse, building_anew, old_files
from cp_pipeline.warehouse.partition_states import (
    FailedAttempts,
    LoadedVersions,
    PartitionState,
    count_partitions,
    failed_attempts,
    loaded_versions,
    partition_states,
)
from cp_pipeline.warehouse.profile import Profile
from cp_pipeline.warehouse.published_file import (
    Published,
    publish_current,
    published_state,
    state_of_warehouse,
)
from cp_pipeline.warehouse.query import failing_rows, query
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
from cp_pipeline.warehouse.row_erasure import (
    erase_from_published,
    erase_from_warehouse,
    erased_subjects,
    known_of,
    record_erasures,
)
from cp_pipeline.warehouse.widening import HistoricLoad

__all__ = [
    "FILES_LISTED",
    "NO_FILES",
    "OLDER_THAN",
    "Batch",
    "BatchResult",
    "Compactable",
    "Compacted",
    "DatasetDescription",
    "DatasetStatus",
    "ExportToLoad",
    "FailedAttempts",
    "FailedExport",
    "FileRefused",
    "Finding",
    "HistoricLoad",
    "ListedPair",
    "ListingSizes",
    "Load",
    "LoadRefused",
    "LoadedExecution",
    "LoadedVersions",
    "Loader",
    "NewWarehouse",
    "NotEnoughMemory",
    "PartitionState",
    "Profile",
    "Published",
    "Question",
    "RecordedNumbers",
    "RecordedPosition",
    "Scope",
    "SeenExecution",
    "SubjectErased",
    "Warehouse",
    "WarehouseBusy",
    "WarehouseError",
    "WarehouseUnreadable",
    "ask",
    "building_anew",
    "compact",
    "compactable",
    "count_loaded_by",
    "count_partitions",
    "dataset_names",
    "dataset_statuses",
    "describe_dataset",
    "erase_from_published",
    "erase_from_warehouse",
    "erased_subjects",
    "failed_attempts",
    "failing_rows",
    "invalid_items",
    "known_of",
    "last_whole_listing",
    "listed_pairs",
    "listing_sizes",
    "loaded_executions",
    "loaded_versions",
    "old_files",
    "partition_states",
    "pending_since",
    "programs_without_datasets",
    "publish_current",
    "published_state",
    "query",
    "record_end",
    "record_erasures",
    "record_failures",
    "record_files_listed",
    "record_listing",
    "record_look",
    "record_part",
    "record_program_datasets",
    "record_whole_listing",
    "recorded_numbers",
    "recorded_position",
    "seen_executions",
    "state_of_warehouse",
    "subjects_to_load",
    "unloaded_exports",
]
