"""Compacting, for whoever knows settings only: the command, and Dagster's job.

Belongs here: opening the warehouse that the settings name. Does not belong: what is dropped
(``warehouse.compacting``).
"""

from contextlib import closing
from datetime import timedelta

from cp_pipeline import warehouse
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Compactable, Compacted, Workbench

# Long enough for an analysis to be repeated as it was.
OLDER_THAN = timedelta(days=90)


def compactable(storage: StorageSettings, older_than: timedelta = OLDER_THAN) -> Compactable:
    """What ``compact`` would drop; see ``warehouse.compactable``.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    with closing(
        Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds)
    ) as workbench:
        return warehouse.compactable(workbench, older_than)


def compact(storage: StorageSettings, older_than: timedelta = OLDER_THAN) -> Compacted:
    """Drop superseded loads and write the file anew; see ``warehouse.compact``.

    Raises:
        WarehouseError: the warehouse cannot be used.
    """
    with closing(
        Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds)
    ) as workbench:
        return warehouse.compact(workbench, older_than)
