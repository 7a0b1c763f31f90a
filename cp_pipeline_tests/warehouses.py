"""The warehouse's operations on the warehouse of the settings, opened and closed for each call."""

from datetime import timedelta

from cp_pipeline import warehouse
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import OLDER_THAN, Compactable, Compacted, Published, Warehouse


def publish(storage: StorageSettings, run_id: str = "") -> Published:
    with Warehouse.of(storage) as opened:
        return warehouse.publish_current(opened, storage.published, run_id)


def states_to_publish(storage: StorageSettings, wait_seconds: float) -> tuple[str, str]:
    with Warehouse.of(storage, wait_seconds) as opened:
        return warehouse.state_of_warehouse(opened), warehouse.published_state(storage.published)


def compactable(storage: StorageSettings, older_than: timedelta = OLDER_THAN) -> Compactable:
    with Warehouse.of(storage) as opened:
        return warehouse.compactable(opened, older_than)


def compact(storage: StorageSettings, older_than: timedelta = OLDER_THAN) -> Compacted:
    with Warehouse.of(storage) as opened:
        return warehouse.compact(opened, older_than)


def check_writable(storage: StorageSettings) -> None:
    with Warehouse.of(storage) as opened:
        opened.check_writable()
