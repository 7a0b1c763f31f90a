"""The warehouse of the settings, whatever its engine is, opened and closed for each call.

Belongs here: what tests of both engines do with it. Does not belong: which one it is (``lakes``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import duckdb

from cp_pipeline import warehouse
from cp_pipeline.settings import StorageSettings, is_lake
from cp_pipeline.warehouse import OLDER_THAN, Compactable, Compacted, Published, Warehouse


@contextmanager
def reading(storage: StorageSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open it as an analyst does: a DuckDB file without our code."""
    if not is_lake(storage.warehouse):
        with duckdb.connect(storage.warehouse, read_only=True) as connection:
            yield connection
        return
    with Warehouse.of(storage) as opened, opened.reading() as connection:
        yield connection


@contextmanager
def changing(storage: StorageSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open it to change what no operation of ours would change."""
    if not is_lake(storage.warehouse):
        with duckdb.connect(storage.warehouse) as connection:
            yield connection
        return
    with Warehouse.of(storage) as lake, lake.held() as connection:
        yield connection


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
