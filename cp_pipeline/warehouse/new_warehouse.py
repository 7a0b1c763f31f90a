"""Build a new warehouse next to the old one, copy some lineage, and replace the old one.

Belongs here: reading the old warehouse if it is readable, copying what the landing does not have,
keeping the old file. Does not belong: loading landed files (``ingest.warehouse_rebuild``), putting
the new tables into a DuckLake (``moving``).

The old file is held during the rebuild, so no process loads rows into it that the new file would
lack. It is kept next to the new one as ``….before-rebuild-<time>``.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from cp_pipeline.warehouse.attaching import identity_of
from cp_pipeline.warehouse.connection import Warehouse
from cp_pipeline.warehouse.dataset_tables import create_view, read_all_columns, table_name
from cp_pipeline.warehouse.errors import WarehouseError, WarehouseUnreadable
from cp_pipeline.warehouse.file_swap import (
    file_of,
    log_of,
    put_in_place,
    replacing,
    sync_folder,
)
from cp_pipeline.warehouse.moving import replace_tables
from cp_pipeline.warehouse.quiet_connections import attached, connect
from cp_pipeline.warehouse.schema import columns_of, has_tables, qualified
from cp_pipeline.warehouse.study_tables import STUDY_TABLES

# Only the old warehouse has these tables. Their rows are copied unchanged.
_TAKEN_OVER = (
    "failures", "export_files", "unusable_items", "compacted", "erasures", "listings",
    "actions", "cuts",
    *STUDY_TABLES,
)  # fmt: skip
_REMEMBERED = (*_TAKEN_OVER, "loads", "superseded", "column_types")


@dataclass(frozen=True, slots=True)
class EarlierLoad:
    """A load of the old warehouse, which the new one loads again with the same load id."""

    load_id: int
    landing_path: str
    file_sha256: str


@dataclass(slots=True)
class NewWarehouse:
    """A warehouse that is being built next to the old one.

    ``warehouse``: the new warehouse. ``earlier``: the loads of the old warehouse, by load id; None
    if it is missing or unreadable. ``compacted_paths``: the landed files of compacted loads.
    ``kept_as``: the path of the old file, after the new file has replaced it.
    """

    warehouse: Warehouse
    earlier: tuple[EarlierLoad, ...] | None
    compacted_paths: frozenset[str] = frozenset()
    kept_as: Path | None = None


@contextmanager
def building_anew(warehouse: Warehouse, folder: Path) -> Iterator[NewWarehouse]:
    """Build a new warehouse in the block; at the end of the block it replaces the old one.

    Args:
        warehouse: the old warehouse.
        folder: a scratch folder, for the new tables of a DuckLake.

    Raises:
        WarehouseBusy: another process holds the old file, or is replacing it.
        WarehouseError: another file replaced the old one during the rebuild; or it is a DuckLake
            that cannot be read, or that another host changed.
    """
    if not warehouse.is_file:
        with _building_lake_anew(warehouse, folder / "rebuilt.duckdb") as new:
            yield new
        return
    path = file_of(warehouse)
    with replacing(path) as scratch, ExitStack() as held:
        identity = identity_of(path)
        old = _remember(warehouse, held)
        with closing(Warehouse(str(scratch))) as fresh:
            _begin(fresh, scratch, old)
            new = NewWarehouse(fresh, *_read_loads(old))
            yield new
        _carry_over(scratch, old)
        new.kept_as = _take_the_place(scratch, path, identity)


@contextmanager
def _building_lake_anew(warehouse: Warehouse, scratch: Path) -> Iterator[NewWarehouse]:
    """Build the new tables in a DuckDB file; at the end of the block one commit replaces the old.

    Other hosts may load meanwhile. Then nothing is replaced.
    """
    if not warehouse.exists():
        raise WarehouseError(
            f"{warehouse.location} is not made yet, so it cannot be rebuilt.",
            "Run cp-pipeline sync: landed files are not downloaded again.",
        )
    # Now, not before the commit: the old warehouse may be of an earlier version.
    warehouse.bring_up_to_date()
    with ExitStack() as held, closing(Warehouse(str(scratch))) as fresh:
        old = _remember(warehouse, held)
        if old is None:
            raise WarehouseError(
                f"The lineage of {warehouse.location} cannot be read, so it cannot be rebuilt.",
                "Nothing has changed. Restore its catalog and its data files from a backup, or set "
                "CP_WAREHOUSE to a new DuckLake and run cp-pipeline sync: landed files are not "
                "downloaded again.",
            )
        _begin(fresh, scratch, old)
        held.close()
        yield NewWarehouse(fresh, *_read_loads(old))
        fresh.close()
        _carry_over(scratch, old)
        replace_tables(warehouse, scratch)


def _remember(warehouse: Warehouse, held: ExitStack) -> duckdb.DuckDBPyConnection | None:
    """Hold the old warehouse and copy its lineage to ``memory.was_…``; None if unreadable."""
    if not warehouse.has_file():
        return None
    try:
        connection = held.enter_context(warehouse.held())
        if warehouse.is_file:
            # Checkpoint, so that the file has no write-ahead log that would have to move with it.
            connection.execute("CHECKPOINT warehouse")
        if not has_tables(connection):
            return None
        there = connection.execute(
            "SELECT table_name FROM duckdb_tables()"
            " WHERE database_name = 'warehouse' AND schema_name IN ('lineage', 'study')"
        ).fetchall()
        for table in _REMEMBERED:
            # An earlier version may lack this table.
            if (table,) in there:
                connection.execute(
                    f"CREATE TABLE memory.was_{table} AS FROM warehouse.{qualified(table)}"
                )
    except (WarehouseUnreadable, duckdb.Error):
        held.close()
        return None
    return connection


def _read_loads(
    old: duckdb.DuckDBPyConnection | None,
) -> tuple[tuple[EarlierLoad, ...] | None, frozenset[str]]:
    if old is None:
        return None, frozenset()
    loads = old.execute(
        "SELECT load_id, landing_path, file_sha256 FROM memory.was_loads ORDER BY load_id"
    ).fetchall()
    compacted: list[tuple[str]] = []
    if _common_columns(old, "compacted"):
        compacted = old.execute("SELECT landing_path FROM memory.was_compacted").fetchall()
    return tuple(EarlierLoad(*row) for row in loads), frozenset(path for (path,) in compacted)


def _begin(fresh: Warehouse, scratch: Path, old: duckdb.DuckDBPyConnection | None) -> None:
    """Create the new warehouse: empty, with the columns of the old one in the same order."""
    with fresh.transaction():
        # Create the tables even if no load follows.
        pass
    if old is None:
        return
    tables = old.execute(
        "SELECT table_name FROM duckdb_tables()"
        " WHERE database_name = 'warehouse' AND schema_name = 'history'"
    ).fetchall()
    with _attached(old, scratch):
        for (name,) in tables:
            table = table_name(name)
            old.execute(f"CREATE TABLE fresh.{table} AS FROM warehouse.{table} LIMIT 0")
        _take_over(old, "column_types")
    with fresh.transaction() as connection:
        for name in read_all_columns(connection):
            create_view(connection, name)


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, scratch: Path) -> Iterator[None]:
    """Attach the new file as ``fresh``, in one transaction."""
    with attached(connection, scratch, "fresh"):
        connection.execute("BEGIN")
        yield
        connection.execute("COMMIT")


def _common_columns(old: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """Return the columns of a lineage table that the old table had too; empty without the table."""
    described = old.execute(
        "SELECT column_name FROM duckdb_columns()"
        " WHERE database_name = 'memory' AND table_name = ?",
        [f"was_{table}"],
    ).fetchall()
    return [name for name in columns_of(table) if (name,) in described]


def _carry_over(scratch: Path, old: duckdb.DuckDBPyConnection | None) -> None:
    """Copy from the old warehouse what the landing does not have; clear it if unreadable."""
    if old is None:
        with closing(connect()) as connection, _attached(connection, scratch):
            # The times of this rebuild would be wrong.
            connection.execute(
                "UPDATE fresh.lineage.loads"
                " SET loaded_at = NULL, dagster_run_id = NULL, reason = NULL"
            )
        return
    with _attached(old, scratch):
        for table in _TAKEN_OVER:
            _take_over(old, table)
        old.execute(
            "UPDATE fresh.lineage.loads SET loaded_at = was.loaded_at,"
            " dagster_run_id = was.dagster_run_id"
            + (", reason = was.reason" if "reason" in _common_columns(old, "loads") else "")
            + " FROM memory.was_loads AS was WHERE was.load_id = loads.load_id"
        )
        old.execute(
            # If a file was left out, keep what the loader found: the newest load that exists.
            "UPDATE fresh.lineage.superseded SET superseded_by = was.superseded_by,"
            " superseded_at = was.superseded_at"
            " FROM memory.was_superseded AS was WHERE was.load_id = superseded.load_id"
            " AND was.superseded_by IN (SELECT load_id FROM fresh.lineage.loads)"
        )


def _take_over(old: duckdb.DuckDBPyConnection, table: str) -> None:
    if columns := ", ".join(_common_columns(old, table)):
        old.execute(
            f"INSERT INTO fresh.{qualified(table)} BY NAME SELECT {columns} FROM memory.was_{table}"
        )


def _take_the_place(scratch: Path, path: Path, identity: tuple[int, int] | None) -> Path | None:
    """Put the new file in place; return the path at which the old file is kept, if any."""
    if identity_of(path) != identity:
        raise WarehouseError(
            f"Another process replaced the warehouse {path} during the rebuild.",
            "That file is unchanged. Run rebuild again.",
        )
    if identity is None:
        scratch.chmod(0o600)
        # Unlike a rename, this fails if another process has created the file.
        path.hardlink_to(scratch)
        sync_folder(path.parent)
        return None
    shutil.copymode(path, scratch)
    kept = _keep(path, identity)
    put_in_place(scratch, path)
    return kept


def _keep(path: Path, identity: tuple[int, int]) -> Path:
    """Give the old file a second name, or reuse the name from a killed rebuild."""
    for earlier in path.parent.glob(f"{path.name}.before-rebuild-*"):
        if identity_of(earlier) == identity:
            return earlier
    kept = path.with_name(f"{path.name}.before-rebuild-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    kept.hardlink_to(path)
    with suppress(FileNotFoundError):
        # Only a file that DuckDB cannot open still has a log. The log moves with the file.
        log_of(path).rename(log_of(kept))
    sync_folder(path.parent)
    return kept


def old_files(warehouse: Warehouse) -> list[Path]:
    """Return the old warehouse files that rebuilds kept, and their write-ahead logs."""
    path = file_of(warehouse)
    return sorted(path.parent.glob(f"{path.name}.before-rebuild-*")) if warehouse.is_file else []
