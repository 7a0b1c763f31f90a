"""The errors of the warehouse.

WarehouseError
├── WarehouseBusy        another process holds the file for longer than we wait
├── WarehouseUnreadable  the file is damaged, made by another program, or not accessible
├── NotEnoughMemory      DuckDB cannot get the memory that it needs
├── LoadRefused          one export cannot be loaded; only its partition fails
│   ├── FileRefused      its file cannot be loaded
│   └── SubjectErased    its subject was erased during the download; nothing is kept
└── QueryRefused         DuckDB cannot execute a query
"""

from cp_pipeline.domain.errors import PipelineError


class WarehouseError(PipelineError):
    """Any error of the warehouse."""


class WarehouseBusy(WarehouseError):
    """Another process held the warehouse for longer than we wait."""

    passing = True


class WarehouseUnreadable(WarehouseError):
    """The warehouse cannot be opened, and waiting does not help."""


class NotEnoughMemory(WarehouseError):
    """DuckDB cannot get the memory that it needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"There is not enough memory: {reason}.",
            "Give the process more memory (the container's memory limit, `ulimit -v`), or lower "
            "CP_DOWNLOAD_THREADS, so that fewer files are in memory at once.",
        )


class LoadRefused(WarehouseError):
    """An export that cannot be loaded in its present state."""


class FileRefused(LoadRefused):
    """An export whose file cannot be loaded, and retrying does not help."""


class SubjectErased(LoadRefused):
    """An export of a subject who was erased after withdrawing consent."""


class QueryRefused(WarehouseError):
    """A SQL query that DuckDB cannot execute."""
