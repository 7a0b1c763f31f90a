"""A lake is rebuilt from the landing in one commit: a kill leaves the old or the new tables."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cp_pipeline.ingest import rebuild
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.warehouse import Warehouse, WarehouseError, compact, make_cut
from cp_pipeline_tests import lakes
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import Site

CONTENT = (
    "SELECT load_id, subject_id, file_sha256, loaded_at FROM lineage.loads ORDER BY load_id",
    "SELECT load_id, superseded_by, superseded_at FROM lineage.superseded ORDER BY load_id",
    "SELECT * FROM exports.Kinds ORDER BY ALL",
    "SELECT * FROM history.Kinds ORDER BY ALL",
    "SELECT column_name, kind, caused_by_load_id FROM lineage.column_types ORDER BY ALL",
    "FROM lineage.cuts ORDER BY ALL",
    "FROM lineage.export_files ORDER BY ALL",
)
# Where a rebuild ends its process: while it loads, when all is replaced but not committed, and when
# it is committed.
KILLED = {
    "before": "from cp_pipeline.ingest import warehouse_rebuild as m; m.load_in_halves = end",
    "inside": "from cp_pipeline.warehouse import moving as m; m._compare = end",
    "after": (
        "from cp_pipeline.warehouse import new_warehouse as m; do = m.replace_tables;"
        " m.replace_tables = lambda *given: end(do(*given))"
    ),
}
_RUN = (
    "import os; end = lambda *_, **__: os._exit(9); {};"
    " from cp_pipeline.settings import StorageSettings; from cp_pipeline.ingest import rebuild;"
    " rebuild(StorageSettings.from_environment())"
)


@pytest.fixture(params=["catalog-file", "postgres"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "postgres":
        return lakes.postgres_lake(tmp_path)
    return {"CP_WAREHOUSE": f"ducklake:{tmp_path}/warehouse.ducklake"}


@pytest.fixture
def lake(variables: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """A lake with four loads: one is superseded, and a column was widened to text."""
    with FaultySandbox(SandboxStudy.empty()) as service:
        site = Site(service, tmp_path, variables)
        site.load(lakes.many("7"))
        site.load(lakes.many("x"), subject_id=2)
        site.load(lakes.many("1.50"))
        site.load("N,V,W\n1,7,8\n", subject_id=3)
        make_cut(site.storage, "first", "interim analysis")
        yield site


def content(site: Site) -> list[list[tuple[object, ...]]]:
    with Warehouse.of(site.storage) as warehouse, warehouse.reading() as connection:
        return [connection.execute(sql).fetchall() for sql in CONTENT]


def test_all_loads_are_kept_whenever_a_rebuild_is_killed(
    lake: Site, variables: dict[str, str], tmp_path: Path
) -> None:
    before = content(lake)
    for killed in KILLED.values():
        done = subprocess.run(
            [sys.executable, "-c", _RUN.format(killed)],
            env={**os.environ, "CP_DATA_DIR": str(tmp_path), **variables},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 9, done.stdout + done.stderr
        assert content(lake) == before

    # A data file is lost. The killed rebuilds' files are removed, too.
    with Warehouse.of(lake.storage) as warehouse:
        compact(warehouse)
    (tmp_path / "landing").rename(tmp_path / "mislaid")
    with pytest.raises(WarehouseError, match=r"4 loads of .* cannot be loaded again"):
        rebuild(lake.storage)
    shutil.rmtree(tmp_path / "landing", ignore_errors=True)
    (tmp_path / "mislaid").rename(tmp_path / "landing")
    assert content(lake) == before
    for file in (tmp_path / "lake" / "history").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(Exception, match=r"No such file|Cannot open"):
        content(lake)

    done_by = rebuild(lake.storage)
    assert (done_by.loads, done_by.rows, done_by.left_out) == (4, 121, ())
    assert done_by.kept_as is None
    assert content(lake) == before
    assert lake.sync() == []
    assert lake.load(lakes.many("y"), subject_id=4).load_id == 5
    with Warehouse.of(lake.storage) as warehouse:
        compact(warehouse)
    assert lake.rows("SELECT count(*) FROM history.Kinds") == [(161,)]
