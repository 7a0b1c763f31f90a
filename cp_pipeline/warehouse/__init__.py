"""The warehouse: a DuckDB file with every load, its lineage, and views of what is current.

Knows: DuckDB, lossless typing, growth of tables, the load transaction.
Does not know: HTTP, Dagster.
"""

from cp_pipeline.warehouse.batch import Batch, BatchResult, ExportToLoad, Load
from cp_pipeline.warehouse.describing import (
    DatasetDescription,
    dataset_names,
    describe_dataset,
)
from cp_pipeline.warehouse.errors import (
    LoadRefused,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnreadable,
)
from cp_pipeline.warehouse.lineage import (
    DatasetStatus,
    FailedExport,
    LoadedExecution,
    Scope,
    dataset_statuses,
    loaded_executions,
    record_failures,
    record_listing,
)
from cp_pipeline.warehouse.loading import Loader
from cp_pipeline.warehouse.opening import Workbench
from cp_pipeline.warehouse.querying import query

__all__ = [
    "Batch",
    "BatchResult",
    "DatasetDescription",
    "DatasetStatus",
    "ExportToLoad",
    "FailedExport",
    "Load",
    "LoadRefused",
    "LoadedExecution",
    "Loader",
    "Scope",
    "WarehouseBusy",
    "WarehouseError",
    "WarehouseUnreadable",
    "Workbench",
    "dataset_names",
    "dataset_statuses",
    "describe_dataset",
    "loaded_executions",
    "query",
    "record_failures",
    "record_listing",
]
