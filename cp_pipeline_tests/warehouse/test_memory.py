"""What does not fit in memory is spilled to the scratch folder, and removed with it."""

from contextlib import closing
from pathlib import Path

from cp_pipeline.landing import Landing
from cp_pipeline.warehouse import Loader, Warehouse
from cp_pipeline.warehouse.attaching import ROW_GROUP_ROWS

MORE_THAN_FITS = (
    "CREATE OR REPLACE TABLE memory.large AS SELECT range, repeat('x', 90) || range AS text"
    " FROM range(600_000)"
)


def test_it_spills_into_the_scratch_folder_of_each_load(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "landing")
    with closing(Warehouse(str(tmp_path / "warehouse.duckdb"))) as warehouse:
        for _ in range(2):
            with landing.scratch_folder() as scratch:
                Loader(warehouse, landing, scratch)
                warehouse.connection.execute("SET memory_limit = '40MB'")
                warehouse.connection.execute(MORE_THAN_FITS)
                assert list((scratch / "spilled").iterdir())
                warehouse.connection.execute("DROP TABLE memory.large")
            assert not scratch.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"landing"}


def test_row_groups_stay_small_however_many_loads_there_are(tmp_path: Path) -> None:
    """DuckDB merges row groups of full size, which takes memory for all their rows."""
    rows = ROW_GROUP_ROWS // 3
    with closing(Warehouse(str(tmp_path / "warehouse.duckdb"))) as warehouse:
        for _ in range(10):
            with warehouse.transaction() as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS history.t (n BIGINT)")
                connection.execute(f"INSERT INTO history.t FROM range({rows})")
        with warehouse.reading() as connection:
            groups = connection.execute(
                "SELECT sum(count) FROM pragma_storage_info('history.t')"
                " WHERE segment_type <> 'VALIDITY' GROUP BY row_group_id"
            ).fetchall()
    sizes = [int(size) for (size,) in groups]
    assert sum(sizes) == 10 * rows
    assert max(sizes) == ROW_GROUP_ROWS
    # They are merged: not one for each load.
    assert len(sizes) < 10
