"""The PostgreSQL of a benchmark's lakes, and what a lake has before and after ``compact``."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, compact
from cp_pipeline.warehouse.lake import CATALOG
from cp_pipeline_tests.lakes import secrets
from cp_pipeline_tests.postgres_servers import PostgresServer

# A snapshot is kept for a day; so the benchmark sets the time of all snapshots back.
AGED = "UPDATE ducklake_snapshot SET snapshot_time = snapshot_time - INTERVAL '2 days'"


@dataclass
class Server:
    """The PostgreSQL of all lakes."""

    postgres: PostgresServer
    databases: dict[Path, str] = field(default_factory=dict)

    def lake(self, folder: Path) -> dict[str, str]:
        """Return the variables of a new lake with a new database."""
        name = self.databases[folder] = self.postgres.new_database()
        return secrets(folder, name, self.postgres.port)

    def age(self, folder: Path) -> None:
        """Make all snapshots of a lake two days older."""
        self.postgres.execute(AGED, self.databases[folder])

    def processor_seconds(self) -> float:
        """Return the processor time of the server and of all its processes, ended or not."""
        main = int((self.postgres.data / "postmaster.pid").read_text().split()[0])
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                # After the name, which may have spaces: state, parent, …, utime (11th) to cstime.
                words = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.parent.name) == main:
                ticks += sum(map(int, words[11:15]))
            elif int(words[1]) == main:
                ticks += sum(map(int, words[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


def files(storage: StorageSettings, folder: Path) -> str:
    """Say what a lake has, for people."""
    with Warehouse.of(storage) as warehouse, warehouse.reading() as connection:
        current, size, snapshots, catalog = connection.execute(
            "SELECT sum(file_count + delete_file_count),"
            " sum(file_size_bytes + delete_file_size_bytes) / 1e6,"
            " (SELECT count(*) FROM ducklake_snapshots('warehouse')),"
            f" (SELECT size FROM postgres_query('{CATALOG}', 'SELECT pg_database_size("
            "current_database()) AS size')) / 1e6 FROM ducklake_table_info('warehouse')"
        ).fetchall()[0]
    there = [path.stat().st_size for path in (folder / "lake").rglob("*.parquet")]
    return (
        f"{current:,.0f} data files ({size:.2f} MB) now, {len(there):,} in the folder"
        f" ({sum(there) / 1e6:.2f} MB); {snapshots:,} snapshots, catalog {catalog:.1f} MB"
    )


def compacted(storage: StorageSettings) -> float:
    """Compact, and return the seconds."""
    started = time.perf_counter()
    with Warehouse.of(storage) as warehouse:
        compact(warehouse)
    return time.perf_counter() - started


def show_compaction(storage: StorageSettings, server: Server, folder: Path) -> None:
    """Print what a lake has, and what is left of it after compact, now and two days later."""
    print(f"    before compact           {files(storage, folder)}", flush=True)
    print(f"    compact ({compacted(storage):5.1f} s)        {files(storage, folder)}", flush=True)
    server.age(folder)
    print(f"    2 days later ({compacted(storage):5.1f} s)   {files(storage, folder)}", flush=True)
