"""Publishing, by the settings.

Belongs here: which warehouse, and which file. Does not belong: how (``warehouse.publishing``).
"""

from contextlib import closing

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    Published,
    Workbench,
    publish_current,
    published_state,
    state_of_warehouse,
)


def publish(storage: StorageSettings, run_id: str = "") -> Published:
    """Replace the analysts' file; see ``warehouse.publishing``."""
    return publish_current(
        Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds),
        storage.published,
        run_id,
    )


def states_to_publish(storage: StorageSettings, wait_seconds: float) -> tuple[str, str]:
    """The state of the warehouse, and the one that is published; empty where there is none.

    Raises:
        WarehouseError: the warehouse cannot be opened within ``wait_seconds``.
    """
    workbench = Workbench(storage.warehouse, wait_seconds=wait_seconds)
    return state_of_warehouse(workbench), published_state(storage.published)


def check_writable(storage: StorageSettings) -> None:
    """See whether the warehouse can be written, and wait until nobody else holds it.

    dbt, which builds the models in it, would try each of them for half a minute.

    Raises:
        WarehouseError: it cannot be opened for writing.
    """
    with closing(
        Workbench(storage.warehouse, wait_seconds=storage.warehouse_wait_seconds)
    ) as workbench:
        if workbench.exists():
            with workbench.holding():
                pass
