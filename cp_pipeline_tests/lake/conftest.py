"""The tests of this folder run where DuckDB's extension is installed (``make test-lake``)."""

from pathlib import Path

import pytest

from cp_pipeline.warehouse import WarehouseUnreadable
from cp_pipeline.warehouse.lake import extension_file
from cp_pipeline_tests.lakes import ENGINE

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("lake")


@pytest.fixture(autouse=True)
def _extensions() -> None:
    try:
        extension_file("ducklake")
    except WarehouseUnreadable as error:
        if ENGINE != "file":
            # `make test-lake` names the engine, and must not skip what it is for.
            raise
        pytest.skip(f"{error} `make test-lake` runs this test.")
