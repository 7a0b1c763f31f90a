"""What does not fit in memory is spilled to the scratch folder, and removed with it."""

from contextlib import closing
from pathlib import Path

from cp_pipeline.landing import Landing
from cp_pipeline.warehouse import Loader, Warehouse

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
