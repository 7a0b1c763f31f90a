"""What can go wrong with the warehouse.

WarehouseError
├── WarehouseBusy        another process holds the file, longer than we wait
├── WarehouseUnreadable  the file is damaged, of another program, or may not be opened
├── NotEnoughMemory      DuckDB cannot have the memory that it needs
├── LoadRefused          one export cannot be loaded; only its partition fails
│   ├── FileRefused      because its file is not one that can be loaded
│   └── SubjectErased    its subject was erased while it was fetched; nothing of it is kept
└── QueryRefused         somebody's question is wrong
"""

from cp_pipeline.domain.errors import PipelineError


class WarehouseError(PipelineError):
    """Anything that concerns the warehouse."""


class WarehouseBusy(WarehouseError):
    """Another process has held the warehouse for longer than we wait."""

    passing = True


class WarehouseUnreadable(WarehouseError):
    """The warehouse cannot be opened, however long one waits."""


class NotEnoughMemory(WarehouseError):
    """DuckDB cannot have the memory that it needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"There is not enough memory: {reason}.",
            "Give the process more (a container's memory limit, `ulimit -v`), or set "
            "CP_DOWNLOAD_THREADS lower, so that fewer files are held at once.",
        )


class LoadRefused(WarehouseError):
    """An export that cannot be loaded as it is."""


class FileRefused(LoadRefused):
    """An export whose file cannot be loaded, however often it is tried."""


class SubjectErased(LoadRefused):
    """An export of a subject who withdrew consent."""


class QueryRefused(WarehouseError):
    """A question in SQL that DuckDB cannot answer."""
