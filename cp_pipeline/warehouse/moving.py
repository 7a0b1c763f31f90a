"""Move a warehouse from a DuckDB file into a DuckLake, or back; put rebuilt tables into a DuckLake.

Belongs here: copying every table with its load ids, and proving that the copy is equal. Does not
belong: the landing, which stays where it is; the models, which are built anew; messages (``cli``);
building the tables of a rebuild (``new_warehouse``).

The old warehouse is only read. The new one appears at once: a lake by one transaction, a file by a
rename. So a kill at any moment leaves either nothing or all of it, and it can be run again.
(Data files of a killed transaction are removed by ``compact``.)

Rebuilt tables replace the old ones of a DuckLake in one transaction. So a kill at any moment leaves
the old tables or the new ones, a reader goes on with the old ones until its query ends, and
``compact`` removes their files when it gives up their snapshots. (A second DuckLake in another
``METADATA_SCHEMA`` of the catalog, renamed at the end, was tried and left: hosts keep a DuckLake
attached, and would find another one in its place.)
"""

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.column_types import quoted
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import create_view, read_all_columns, table_name
from cp_pipeline.warehouse.errors import WarehouseError
from cp_pipeline.warehouse.file_swap import file_of, put_in_place, replacing
from cp_pipeline.warehouse.lake import first_line, without_passwords
from cp_pipeline.warehouse.quiet_connections import attached
from cp_pipeline.warehouse.schema import tables_of

# Each warehouse writes these for itself.
_OWN = frozenset({("lineage", "turn"), ("lineage", "schema_version")})
# What a rebuild makes anew, beside ``history``. All other tables of the lake stay.
_LINEAGE = ("loads", "superseded", "column_types")
# What another host may have changed since these were read: loading, compacting, erasing.
_UNCHANGED = ("loads", "superseded", "erasures")
_HISTORY = ("history",)
_SCHEMAS = ("history", "lineage", "study")
_Name = tuple[str, str]
# The number of rows of each table, and a sum of their hashes.
_Digests = dict[_Name, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: tables, rows of all of them, loads. ``was_there``: by an earlier move."""

    tables: int
    rows: int
    loads: int
    was_there: bool = False


def move(source: Warehouse, target: Warehouse) -> Moved:
    """Copy a warehouse to a place that has no loads yet, and compare the copy.

    Args:
        source: where the loads are; it is not changed.
        target: a DuckLake if ``source`` is a DuckDB file, and the other way round.

    Raises:
        WarehouseError: both are files, or both lakes; there is nothing to move; the target has
            other loads; it cannot be written; or the copy differs. Then the target has nothing.
    """
    if source.is_file == target.is_file:
        what = "DuckDB files" if source.is_file else "DuckLakes"
        raise WarehouseError(
            f"{source.location} and {target.location} are both {what}.",
            "Copy a file with cp. Move a lake to a file first, and then to the other lake.",
        )
    if not source.exists():
        raise WarehouseError(f"There is no warehouse at {source.location}.", "Check CP_WAREHOUSE.")
    source.bring_up_to_date()
    try:
        loads = target.rows("SELECT count(*) FROM lineage.loads")
        if loads and loads[0][0]:
            return _moved_before(source, target, loads[0][0])
        return _into_file(source, target) if target.is_file else _into_lake(source, target)
    except duckdb.Error as error:
        raise WarehouseError(
            f"The warehouse cannot be moved: {without_passwords(first_line(error))}.",
            f"{source.location} is unchanged, and {target.location} has nothing of it.",
        ) from None


def _into_lake(source: Warehouse, target: Warehouse) -> Moved:
    # Reading keeps other processes from writing the file meanwhile.
    with (
        source.reading(),
        attached(target.connection, source.location, "other", "READ_ONLY"),
        target.transaction() as connection,
    ):
        copied = _copy(connection, "other", "warehouse")
        for dataset in read_all_columns(connection):
            create_view(connection, dataset)
    return _moved(copied)


def _into_file(source: Warehouse, target: Warehouse) -> Moved:
    path = file_of(target)
    with replacing(path) as scratch:
        with closing(Warehouse(str(scratch))) as fresh:
            with fresh.transaction():
                # The tables, also those that have no rows.
                pass
            with attached(source.connection, scratch, "other"), source.reading() as connection:
                copied = _copy(connection, "warehouse", "other")
            with fresh.transaction() as connection:
                for dataset in read_all_columns(connection):
                    create_view(connection, dataset)
            # Again, because now it is read from the disk.
            with fresh.reading() as connection:
                _compare(copied, _digests(connection, "warehouse"))
            with fresh.held() as connection:
                connection.execute("CHECKPOINT warehouse")
        scratch.chmod(0o600)
        # What may be there has no loads.
        put_in_place(scratch, path)
    return _moved(copied)


def _moved_before(source: Warehouse, target: Warehouse, loads: int) -> Moved:
    """Return what an earlier move left, if all loads of the source are there and no others.

    Raises:
        WarehouseError: the target has other loads.
    """
    found = []
    for warehouse in (source, target):
        with warehouse.reading() as connection:
            found.append(_digests(connection, "warehouse", _HISTORY))
    if found[0] != found[1]:
        raise WarehouseError(
            f"{target.location} has loads of its own already.",
            "Choose a place without a warehouse. Nothing has changed.",
        )
    return Moved(len(found[0]), _rows(found[0]), loads, was_there=True)


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
        attached(warehouse.connection, built, "other", "READ_ONLY"),
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
        before, after = (_digests(connection, each, _HISTORY) for each in ("other", "warehouse"))
        _compare(before, after)
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


def _copy(connection: duckdb.DuckDBPyConnection, old: str, new: str) -> _Digests:
    """Copy all rows from one attached database to the other; return their digests.

    Raises:
        WarehouseError: the copy differs.
    """
    there = _tables(connection, new)
    for (schema, table), columns in _tables(connection, old).items():
        name = f"{schema}.{quoted(table)}"
        listed = ", ".join(map(quoted, columns))
        if (schema, table) in there:
            statement = f"INSERT INTO {new}.{name} BY NAME SELECT {listed} FROM {old}.{name}"
        else:
            statement = f"CREATE TABLE {new}.{name} AS SELECT {listed} FROM {old}.{name}"
        connection.execute(statement)
    found = _digests(connection, old)
    _compare(found, _digests(connection, new))
    return found


def _moved(copied: _Digests) -> Moved:
    return Moved(len(copied), _rows(copied), copied["lineage", "loads"][0])


def _rows(found: _Digests) -> int:
    return sum(number for number, _ in found.values())


def _compare(old: _Digests, new: _Digests) -> None:
    """Compare the ``_digests`` of the original with those of its copy.

    Raises:
        WarehouseError: the copy differs.
    """
    for (schema, table), digest in old.items():
        if new.get((schema, table)) != digest:
            raise WarehouseError(
                f"The copy of {schema}.{table} differs from the original.",
                "The old warehouse is unchanged. Report this, with the version of DuckDB.",
            )


def _digests(
    connection: duckdb.DuckDBPyConnection, database: str, schemas: Collection[str] = _SCHEMAS
) -> _Digests:
    """Return the number of rows of each table, and a sum of their hashes, whatever their order."""
    found = {}
    for (schema, table), columns in _tables(connection, database).items():
        if schema not in schemas:
            continue
        # By name: columns that were added later stand in another order elsewhere.
        listed = ", ".join(map(quoted, sorted(columns)))
        ((number, digest),) = connection.execute(
            f"SELECT count(*), coalesce(sum(hash({listed})), 0)::VARCHAR"
            f" FROM {database}.{schema}.{quoted(table)}"
        ).fetchall()
        found[schema, table] = (number, digest)
    return found


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> dict[_Name, list[str]]:
    """Return the columns of each table that is moved, by schema and table, in table order."""
    return {
        name: columns
        for name, columns in tables_of(connection, database).items()
        if name[0] in _SCHEMAS and name not in _OWN
    }
