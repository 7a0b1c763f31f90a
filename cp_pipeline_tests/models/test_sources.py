"""The sources of the models are described as the warehouse has them; no table is left out."""

from collections.abc import Iterator

import duckdb
import pytest
import yaml  # type: ignore[import-untyped]

from cp_pipeline.warehouse.schema import create_tables
from cp_pipeline_tests.models.building import PROJECT

Columns = list[tuple[str, str]]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        create_tables(opened)
        yield opened


def described(schema: str) -> dict[str, Columns]:
    """The columns of each table that the project describes, and its description with them."""
    found: dict[str, Columns] = {}
    for path in sorted((PROJECT / "models").glob("*.yml")):
        for source in yaml.safe_load(path.read_text()).get("sources", []):
            for table in source["tables"] if source["name"] == schema else []:
                assert table["name"] not in found, "described twice"
                assert table["description"].startswith("One row")
                assert all(column["description"] for column in table["columns"])
                found[table["name"]] = [(c["name"], c["data_type"]) for c in table["columns"]]
    return found


@pytest.mark.parametrize("schema", ["lineage", "study"])
def test_every_table_is_described_as_it_is(
    warehouse: duckdb.DuckDBPyConnection, schema: str
) -> None:
    tables = warehouse.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [schema]
    ).fetchall()
    found = described(schema)
    assert {name for (name,) in tables} == set(found)
    for name, columns in found.items():
        rows = warehouse.execute(f"DESCRIBE {schema}.{name}").fetchall()
        present = [(row[0], str(row[1]).lower()) for row in rows]
        # Of `study`, the models read some columns of some tables.
        kept = [each for each in present if schema == "lineage" or each in columns]
        assert columns == kept, name
