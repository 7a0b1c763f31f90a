"""Several hosts load into one lake at once, are killed, and lose their turn.

``KILLS=100 pytest cp_pipeline_tests/lake/test_hosts.py`` kills more hosts, and ``EXPORTS=40`` loads
fewer exports; the catalog is PostgreSQL.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.sandbox import Sandbox, SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, compact, only_writer
from cp_pipeline.warehouse.lake import extension_file
from cp_pipeline_tests.lake.host import SUBJECTS_AT_ONCE
from cp_pipeline_tests.lakes import postgres_lake, server
from cp_pipeline_tests.postgres_servers import PASSWORD, USER

EXPORTS = int(os.environ.get("EXPORTS", "400"))
# As many inside a turn as at any other time.
KILLS = int(os.environ.get("KILLS", "12")) // 2
HOSTS = 4
DATASETS = ("Growing", "New", "Plain", "Widening")
SUBJECTS = range(1, EXPORTS // len(DATASETS) + 1)
FIRST = range(1, SUBJECTS.stop, SUBJECTS_AT_ONCE)
_LOCKS = "SELECT pid FROM pg_locks WHERE locktype = ''advisory''"


def csv_of(subject_id: int, dataset: str) -> bytes:
    """A file; some of a data set have another column, or values that need a wider one."""
    value = f"{subject_id}.50" if dataset == "Widening" and subject_id % 4 == 3 else "7"
    more = dataset == "Growing" and subject_id % 3 == 2
    header, ending = ("N,V,W\n", ",w\n") if more else ("N,V\n", "\n")
    return (header + "".join(f"{n},{value}{ending}" for n in range(1, 15))).encode()


class Hosts:
    """A served study, and a lake that several hosts load it into."""

    def __init__(self, service: Sandbox, folder: Path) -> None:
        self.folder = folder
        self.variables = {**service.environment, **postgres_lake(folder)}
        reader = {"CP_DATA_DIR": str(folder / "reader")} | self.variables
        self.storage = StorageSettings.from_environment(reader)
        self.warehouse = Warehouse.of(self.storage)

    def start(self, number: int, different: str = "") -> subprocess.Popen[str]:
        firsts = list(FIRST)
        random.Random(number).shuffle(firsts)
        own = {"CP_DATA_DIR": str(self.folder / f"host-{number}"), "CP_HOST": different}
        with self.log(number).open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cp_pipeline_tests.lake.host", *map(str, firsts)],
                env=os.environ | self.variables | own, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip

    def log(self, number: int) -> Path:
        return self.folder / f"host-{number}.log"

    def load(self, hosts: int = 1, different: str = "") -> None:
        """Let so many hosts load everything at once; none may fail."""
        running = [self.start(number, different) for number in range(hosts)]
        failed = "".join(each.communicate(timeout=1500)[0] for each in running)
        said = "".join(self.log(number).read_text() for number in range(hosts))
        assert [each.returncode for each in running] == [0] * hosts, said
        assert failed == ""

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.warehouse.reading() as connection:
            return connection.execute(sql).fetchall()

    def check(self) -> None:
        """Each export is loaded once, all rows are there, and no file is an orphan."""
        assert self.rows("SELECT count(*) FROM lineage.loads") == [(EXPORTS,)]
        self.check_rows()
        assert self.orphans() == []

    def check_rows(self) -> None:
        """No export is current twice, no load has another's number, and rows equal lineage."""
        loads = self.rows("SELECT count(*) = count(DISTINCT load_id) FROM lineage.loads")
        assert loads == [(True,)]
        current = "SELECT count(*), count(DISTINCT (subject_id, dataset_name))"
        assert self.rows(f"{current} FROM lineage.current_loads") == [(EXPORTS, EXPORTS)]
        for dataset in DATASETS:
            differing = self.rows(
                "SELECT load_id, row_count, _load_id, counted FROM"
                f" (FROM lineage.loads WHERE dataset_name = '{dataset}') FULL JOIN"
                f" (SELECT _load_id, count(*) AS counted FROM history.{dataset} GROUP BY ALL)"
                " ON load_id = _load_id WHERE row_count IS DISTINCT FROM counted"
            )
            assert differing == []
        types = self.rows("SELECT DISTINCT typeof(V) FROM history.Widening")
        assert types == [("DOUBLE",)]

    def orphans(self) -> list[tuple[object, ...]]:
        with self.warehouse.turn() as connection:
            return connection.execute(
                "CALL ducklake_delete_orphaned_files('warehouse', dry_run => true,"
                " older_than => now() + INTERVAL 1 HOUR)"
            ).fetchall()

    def contents(self) -> list[tuple[object, ...]]:
        """One hash of the rows of each data set, without load ids."""
        return self.rows(
            " UNION ALL ".join(
                f"SELECT '{name}' AS name, bit_xor(hash(found)), count(*) FROM"
                f" (SELECT * EXCLUDE (_load_id) FROM exports.{name}) AS found"
                for name in DATASETS
            )
            + " ORDER BY name"
        )


@pytest.fixture(scope="module")
def service() -> Iterator[Sandbox]:
    study = SandboxStudy.empty()
    for subject_id in SUBJECTS:
        for dataset in DATASETS:
            study.put(subject_id=subject_id, data_set_name=dataset, csv=csv_of(subject_id, dataset))
    with Sandbox(study) as serving:
        yield serving


@pytest.fixture
def hosts(service: Sandbox, tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(service, tmp_path / "shared")
    with made.warehouse:
        yield made


@pytest.fixture
def catalog() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the catalog's server, beside those of the hosts."""
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension_file('postgres_scanner')}'")
        connection.execute(
            f"ATTACH 'host=127.0.0.1 port={server().port} dbname=postgres user={USER}"
            f" password={PASSWORD}' AS server (TYPE postgres)"
        )
        yield connection


def locks(catalog: duckdb.DuckDBPyConnection) -> int:
    return len(catalog.execute(f"FROM postgres_query('server', '{_LOCKS}')").fetchall())


def until_inside(host: subprocess.Popen[str], turns: int = 1) -> None:
    """Let a host that stops inside its turns go on until it is inside the last of so many."""
    assert host.stdout is not None
    assert host.stdin is not None
    for turn in range(turns):
        if turn:
            host.stdin.write("\n")
            host.stdin.flush()
        assert host.stdout.readline() == "inside\n"


def until_it_loads(hosts: Hosts, number: int) -> None:
    """Wait until a host has read the lake, and downloads."""
    while not any((hosts.folder / f"host-{number}" / "landing").rglob("*.json")):
        time.sleep(0.02)


def killed(host: subprocess.Popen[str], catalog: duckdb.DuckDBPyConnection) -> None:
    """Kill a host; its lock is free within a second."""
    host.send_signal(signal.SIGKILL)
    moment = time.monotonic()
    while locks(catalog):
        assert time.monotonic() - moment < 1
    host.communicate()
    assert host.returncode == -signal.SIGKILL


def test_hosts_load_the_same_exports_at_once(hosts: Hosts) -> None:
    hosts.load(HOSTS)
    hosts.check()


def test_the_row_is_enough_without_the_lock(hosts: Hosts) -> None:
    hosts.load(2, "no-lock")
    hosts.check()


def test_a_load_waits_while_another_host_builds_models(
    hosts: Hosts, catalog: duckdb.DuckDBPyConnection
) -> None:
    snapshots = "SELECT count(*) FROM ducklake_snapshots('warehouse')"
    with hosts.warehouse.transaction():
        pass
    with Warehouse.of(hosts.storage) as building, only_writer(building):
        before = hosts.rows(snapshots)
        host = hosts.start(0)
        while locks(catalog) < 2:
            time.sleep(0.05)
        assert hosts.rows(snapshots) == before
        assert host.poll() is None
    host.communicate(timeout=600)
    assert host.returncode == 0
    hosts.check()


def test_killed_hosts_leave_no_lock_and_no_difference(
    hosts: Hosts, service: Sandbox, tmp_path: Path, catalog: duckdb.DuckDBPyConnection
) -> None:
    for kill in range(KILLS):
        # Inside the turn: the rows are written, and not committed.
        host = hosts.start(kill, "stops-inside")
        until_inside(host, 1 + kill % 2)
        assert locks(catalog) == 1
        killed(host, catalog)
    for kill in range(KILLS, 2 * KILLS):
        # At any other time.
        host = hosts.start(kill, "never-ends")
        until_it_loads(hosts, kill)
        time.sleep(random.Random(kill).uniform(0, 2))
        killed(host, catalog)
    undisturbed = Hosts(service, tmp_path / "undisturbed")
    loading = undisturbed.start(0)
    hosts.load()
    loading.communicate(timeout=600)
    hosts.check_rows()
    with undisturbed.warehouse:
        undisturbed.check()
        assert hosts.contents() == undisturbed.contents()
    # What the killed hosts wrote and did not commit is removed with the rest.
    with Warehouse.of(hosts.storage) as warehouse:
        compact(warehouse)
    assert hosts.orphans() == []


def test_nothing_of_a_turn_is_written_whose_lock_is_lost(
    hosts: Hosts, catalog: duckdb.DuckDBPyConnection
) -> None:
    host = hosts.start(1, "stops-inside")
    until_inside(host, 2)
    before = hosts.rows("SELECT count(*) FROM lineage.loads")
    ending = _LOCKS.replace("pid", "pg_terminate_backend(pid)")
    catalog.execute(f"CALL postgres_execute('server', '{ending}')")
    while locks(catalog):
        time.sleep(0.05)
    # Another host has its turn meanwhile.
    hosts.load()
    after = hosts.rows("SELECT count(*) FROM lineage.loads")
    assert before < after
    heard, _ = host.communicate(timeout=600)
    assert PASSWORD not in heard + hosts.log(1).read_text()
    assert hosts.rows("SELECT count(*) FROM lineage.loads") == after
    hosts.check_rows()
