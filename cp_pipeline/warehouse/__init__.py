"""The warehouse: a DuckDB file with every load, its lineage, and views of what is current.

Belongs here: DuckDB, lossless typing, adding and widening columns, the load transaction.
Does not belong: HTTP, Dagster.
"""

from cp_pipeline.warehouse.asked import (
    ANSWERED as ANSWERED,
    LastAsked as LastAsked,
    Purpose as Purpose,
    last_asked as last_asked,
    move_notes as move_notes,
    note as note,
)
from cp_pipeline.warehouse.batch import (
    BatchResult as BatchResult,
    ExportToLoad as ExportToLoad,
    Load as Load,
)
from cp_pipeline.warehouse.check_queries import Finding as Finding, Question as Question, ask as ask
from cp_pipeline.warehouse.compaction import (
    OLDER_THAN as OLDER_THAN,
    Compactable as Compactable,
    Compacted as Compacted,
    compact as compact,
    compactable as compactable,
)
from cp_pipeline.warehouse.connection import Warehouse as Warehouse
from cp_pipeline.warehouse.cuts import (
    check_cut_name as check_cut_name,
    erase_from_cuts as erase_from_cuts,
    make_cut as make_cut,
)
from cp_pipeline.warehouse.dataset_tables import (
    DatasetDescription as DatasetDescription,
    dataset_names as dataset_names,
    describe_dataset as describe_dataset,
)
from cp_pipeline.warehouse.errors import (
    FileRefused as FileRefused,
    NotEnoughMemory as NotEnoughMemory,
    SubjectErased as SubjectErased,
    WarehouseBusy as WarehouseBusy,
    WarehouseError as WarehouseError,
    WarehouseUnreadable as WarehouseUnreadable,
)
from cp_pipeline.warehouse.known_texts import Known as Known, known_of as known_of
from cp_pipeline.warehouse.lake_maintenance import (
    check_data_files as check_data_files,
    only_writer as only_writer,
)
from cp_pipeline.warehouse.lineage import (
    DatasetStatus as DatasetStatus,
    FailedExport as FailedExport,
    LoadedExecution as LoadedExecution,
    Scope as Scope,
    count_loaded_by as count_loaded_by,
    dataset_statuses as dataset_statuses,
    erased_subjects as erased_subjects,
    loaded_executions as loaded_executions,
    record_action as record_action,
    record_erasures as record_erasures,
    record_failures as record_failures,
)
from cp_pipeline.warehouse.listing_parts import (
    Digests as Digests,
    RecordedPosition as RecordedPosition,
    record_end as record_end,
    record_part as record_part,
    recorded_position as recorded_position,
)
from cp_pipeline.warehouse.listings import (
    invalid_items as invalid_items,
    pending_since as pending_since,
    record_listing as record_listing,
)
from cp_pipeline.warehouse.loader import Loader as Loader
from cp_pipeline.warehouse.look_history import record_programs as record_programs
from cp_pipeline.warehouse.looks import (
    FILES_LISTED as FILES_LISTED,
    NO_FILES as NO_FILES,
    SeenExecution as SeenExecution,
    count_without_files as count_without_files,
    executions_to_list as executions_to_list,
    programs_without_datasets as programs_without_datasets,
    record_files_listed as record_files_listed,
    record_look as record_look,
    record_program_datasets as record_program_datasets,
)
from cp_pipeline.warehouse.moving import move as move
from cp_pipeline.warehouse.new_warehouse import (
    NewWarehouse as NewWarehouse,
    building_anew as building_anew,
    old_files as old_files,
)
from cp_pipeline.warehouse.partition_states import (
    FailedAttempts as FailedAttempts,
    LoadedVersions as LoadedVersions,
    PartitionState as PartitionState,
    count_partitions as count_partitions,
    failed_attempts as failed_attempts,
    loaded_versions as loaded_versions,
    partition_states as partition_states,
    partitions_loaded_by as partitions_loaded_by,
)
from cp_pipeline.warehouse.processing import (
    SubjectProcessing as SubjectProcessing,
    subjects_processing as subjects_processing,
)
from cp_pipeline.warehouse.published_file import (
    Published as Published,
    publish_current as publish_current,
    published_state as published_state,
    state_of_warehouse as state_of_warehouse,
)
from cp_pipeline.warehouse.query import (
    FORMATS as FORMATS,
    columns_of_tables as columns_of_tables,
    failing_rows as failing_rows,
    query as query,
    write_query as write_query,
)
from cp_pipeline.warehouse.recorded_listing import (
    ListedPair as ListedPair,
    ListingSizes as ListingSizes,
    RecordedNumbers as RecordedNumbers,
    last_whole_listing as last_whole_listing,
    listed_pairs as listed_pairs,
    listing_sizes as listing_sizes,
    record_whole_listing as record_whole_listing,
    recorded_numbers as recorded_numbers,
    subjects_to_load as subjects_to_load,
    unloaded_exports as unloaded_exports,
)
from cp_pipeline.warehouse.row_erasure import (
    erase_from_published as erase_from_published,
    erase_from_warehouse as erase_from_warehouse,
)
from cp_pipeline.warehouse.study_checks import (
    StudyQuestion as StudyQuestion,
    ask_study as ask_study,
)
from cp_pipeline.warehouse.study_details import (
    record_details as record_details,
    record_timezones_asked as record_timezones_asked,
    subjects_to_ask as subjects_to_ask,
)
from cp_pipeline.warehouse.study_names import (
    ProgramOfDataset as ProgramOfDataset,
    programs_of_datasets as programs_of_datasets,
    study_names as study_names,
)
from cp_pipeline.warehouse.widening import HistoricLoad as HistoricLoad
