"""Put rebuilt tables into a DuckLake, in one commit.

Belongs here: the switch from the old tables to the new ones. Does not belong: building the new ones
(``new_warehouse``), loading landed files (``ingest.warehouse_rebuild``).

The new tables replace the old ones in one transaction of the DuckLake. So a kill at any moment
leaves the old tables or the new ones, a reader goes on with the old ones until its query ends, and
``compact`` removes their files when it gives up their snapshots. (A second DuckLake in
another ``METADATA_SCHEMA`` of the catalog, renamed at the end, was tried and left: hosts keep a
DuckLake attached, and would find another one in its place.)
"""

from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import create_view, read_all_columns, table_name
from cp_pipeline.warehouse.errors import WarehouseError
from cp_pipeline.warehouse.moving import compare, digests, file_attached

# What a rebuild makes anew, beside ``history``. All other tables of the lake stay.
_LINEAGE = ("loads", "superseded", "column_types")
# What another host may have changed since these were read: loading, compacting, erasing.
_UNCHANGED = ("loads", "superseded", "erasures")


def replace_tables(warehouse: Warehouse, built: Path) -> None:
    """Replace the loads of a DuckLake by those of a DuckDB file.

    Args:
        warehouse: the DuckLake. Its connection has the old lineage, as ``memory.was_…``.
        built: the file with the new tables.

    Raises:
        WarehouseError: another host changed the loads since, or the copy differs.
        TurnLost: another host wrote at the same moment.
    """
    with (
        file_attached(warehouse.connection, str(built), "READ_ONLY"),
        warehouse.transaction() as connection,
    ):
        _refuse_changes(connection, warehouse.location)
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables()"
            " WHERE database_name = 'other' AND schema_name = 'history' ORDER BY table_name"
        ).fetchall():
            table = table_name(name)
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} AS FROM other.{table}")
        for name in _LINEAGE:
            connection.execute(f"DELETE FROM lineage.{name}")
            connection.execute(f"INSERT INTO lineage.{name} BY NAME FROM other.lineage.{name}")
        history = "'history'"
        compare(digests(connection, "other", history), digests(connection, "warehouse", history))
        for name in read_all_columns(connection):
            create_view(connection, name)


def _refuse_changes(connection: duckdb.DuckDBPyConnection, location: str) -> None:
    for table in _UNCHANGED:
        found = []
        for name in (f"lineage.{quoted(table)}", f"memory.was_{table}"):
            key = "subject_id" if table == "erasures" else "load_id"
            found += connection.execute(
                f"SELECT count(*), sum(hash({key}))::VARCHAR FROM {name}"
            ).fetchall()
        if found[0] != found[1]:
            raise WarehouseError(
                f"Another host loaded, compacted or erased in {location} during the rebuild.",
                "Nothing has changed. End the runs of all hosts, and run rebuild again.",
            )
