"""Rebuild the warehouse from the landing: equal to the old one, even if that is damaged or gone."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.ingest import batches, rebuild
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, WarehouseUnreadable, file_swap
from cp_pipeline_tests.conftest import one, rows
from cp_pipeline_tests.warehouse_contents import (
    another_process_writes,
    contents,
    files_beside,
    run,
    run_killed,
)
from cp_pipeline_tests.warehouses import changing, compact

MOMENTS = "SELECT load_id, loaded_at, dagster_run_id FROM lineage.loads ORDER BY ALL"


def current_rows() -> dict[str, list[tuple[object, ...]]]:
    """Return the current rows by data set; columns by name, because their order may differ."""
    found = {}
    for name in ("ActivityDaily8", "ActivityEpochs10", "Notes", "ParamsAndSubject (31)"):
        described = rows(f'DESCRIBE exports."{name}"')
        columns = sorted(f'"{row[0]}"' for row in described if row[0] != "_load_id")
        found[name] = rows(f'SELECT {", ".join(columns)} FROM exports."{name}" ORDER BY ALL')
    return found


def test_it_equals_the_old_one_in_every_table_and_view(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A transaction for every 7 exports, because a study of thousands has many transactions.
    monkeypatch.setattr(batches, "BATCH_EXPORTS", 7)
    before, moments, seen = contents(), rows(MOMENTS), []
    done = rebuild(storage, lambda number, total: seen.append((number, total)))

    assert contents() == before
    assert rows(MOMENTS) == moments
    assert done.left_out == ()
    assert done.old_was_read
    assert done.loads == one("SELECT count(*) FROM lineage.loads") == len(seen) == seen[-1][1]
    assert done.rows == one("SELECT sum(row_count) FROM lineage.loads")
    assert done.kept_as is not None
    assert contents(done.kept_as) == before
    assert rows("SELECT count(*) FROM lineage.loads WHERE dataset_name = 'Bad'") == [(0,)]


def test_what_was_compacted_does_not_come_back(storage: StorageSettings) -> None:
    compact(storage, timedelta(0))
    before = contents()
    done = rebuild(storage)
    assert done.never_loaded == 0
    assert contents() == before


def test_what_was_landed_and_not_loaded_is_left_to_the_next_sync(storage: StorageSettings) -> None:
    with changing(storage) as opened:
        opened.execute("DELETE FROM lineage.loads WHERE subject_id = 7")
        opened.execute("DELETE FROM history.\"Notes\" WHERE _load_id NOT IN"
                       " (SELECT load_id FROM lineage.loads)")  # fmt: skip
    done = rebuild(storage)
    assert done.never_loaded == 1
    assert one("SELECT count(*) FROM lineage.loads WHERE subject_id = 7") == 0


def gone(warehouse: Path) -> None:
    warehouse.unlink()


def cut_short(warehouse: Path) -> None:
    with warehouse.open("r+b") as file:
        file.truncate(20_000)


def of_another_program(warehouse: Path) -> None:
    warehouse.write_bytes(b"a,b\n" * 4096)


def damaged_inside(warehouse: Path) -> None:
    with warehouse.open("r+b") as file:
        for place in range(12_288, warehouse.stat().st_size, 4096):
            file.seek(place)
            file.write(b"\xaa" * 512)


@pytest.mark.parametrize("harm", [gone, cut_short, of_another_program, damaged_inside])
def test_without_a_readable_old_one_all_that_is_landed_is_there_and_nothing_is_made_up(
    storage: StorageSettings, harm: Callable[[Path], None]
) -> None:
    current = current_rows()
    executions = rows(
        "SELECT DISTINCT study_id, subject_id, dataset_name, study_program_id, program_execution,"
        " file_sha256, row_count FROM lineage.loads ORDER BY ALL"
    )
    warehouse = Path(storage.warehouse)
    harm(warehouse)
    harmed = warehouse.read_bytes() if warehouse.exists() else None
    done = rebuild(storage)

    assert not done.old_was_read
    assert done.left_out == ()
    assert current_rows() == current
    assert executions == rows(
        "SELECT study_id, subject_id, dataset_name, study_program_id, program_execution,"
        " file_sha256, row_count FROM lineage.loads ORDER BY ALL"
    )
    assert rows("SELECT DISTINCT loaded_at, dagster_run_id FROM lineage.loads") == [(None, None)]
    assert rows("SELECT load_id FROM lineage.loads ORDER BY program_executed_at, landing_path") == [
        (number + 1,) for number in range(len(executions))
    ]
    if harmed is None:
        assert done.kept_as is None
    else:
        assert done.kept_as is not None
        assert done.kept_as.read_bytes() == harmed


def test_a_damaged_file_is_called_so_at_once_and_not_waited_for(storage: StorageSettings) -> None:
    damaged_inside(Path(storage.warehouse))
    with pytest.raises(WarehouseUnreadable):
        Warehouse(storage.warehouse, wait_seconds=0.0).exists()


def test_files_that_are_not_what_came_are_named_and_left_out(storage: StorageSettings) -> None:
    (altered,), (deleted,) = rows(
        "SELECT landing_path FROM lineage.current_loads WHERE dataset_name = 'ActivityDaily8'"
        " AND subject_id IN (10821, 10822) ORDER BY subject_id"
    )
    path = storage.landing / str(altered)
    path.write_bytes(path.read_bytes() + b"more")
    (storage.landing / str(deleted)).unlink()
    done = run("rebuild")
    assert done.returncode == 1
    assert re.search(rf"{re.escape(str(altered))}: .*checksum", done.stderr)
    assert re.search(rf"{re.escape(str(deleted))}: .*missing from the landing", done.stderr)
    assert "Traceback" not in done.stderr
    left = rows("SELECT subject_id, count(*) FROM exports.ActivityDaily8"
                " JOIN lineage.loads ON load_id = _load_id GROUP BY ALL ORDER BY ALL")  # fmt: skip
    # The load that the altered file had superseded is now the newest.
    assert left == [(99, 1), (10821, 1), (10823, 1), (10824, 1)]
    assert one("SELECT state FROM lineage.partition_status WHERE subject_id = 10821"
               " AND dataset_name = 'ActivityDaily8'") == "stale"  # fmt: skip


def test_nobody_loads_into_the_old_one_meanwhile(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, heard = file_swap.put_in_place, []

    def watched(new: Path, path: Path) -> None:
        heard.append(another_process_writes(storage.warehouse))
        place(new, path)

    monkeypatch.setattr("cp_pipeline.warehouse.new_warehouse.put_in_place", watched)
    rebuild(storage)
    assert "Could not set lock" in heard[0]


@pytest.mark.parametrize(
    ("when", "what", "nth", "files"),
    [
        ("before", "COMMIT", 2, 1),
        ("after", "INSERT INTO lineage.", 1, 1),
        ("before", "os.link", 1, 1),
        ("before", "os.rename {folder}/warehouse.duckdb.aside", 1, 1),
        # The folder is opened for its lock, for the old file's second name and for the new file.
        ("before", "open {folder} ", 2, 1),
        ("before", "open {folder} ", 3, 2),
    ],
)
def test_killed_anywhere_and_run_again_it_ends_as_if_never_killed(
    storage: StorageSettings, when: str, what: str, nth: int, files: int
) -> None:
    before = contents()
    run_killed("rebuild", when=when, what=what.format(folder=storage.data_dir), nth=nth)
    assert contents() == before
    rebuild(storage)
    assert contents() == before
    names = files_beside(Path(storage.warehouse))
    kept = {name for name in names if ".before-rebuild-" in name}
    assert len(kept) == files
    assert names - kept == {"asked", "landing", "quarantine", "warehouse.duckdb"}
    assert list((storage.landing / ".aside").iterdir()) == []


def test_without_any_warehouse_or_landing_it_makes_an_empty_one(tmp_path: Path) -> None:
    storage = StorageSettings.from_environment()
    done = rebuild(storage)
    assert (done.loads, done.rows, done.left_out) == (0, 0, ())
    assert one("SELECT count(*) FROM lineage.partition_status") == 0


def test_the_command_says_what_nobody_knows_any_more(storage: StorageSettings) -> None:
    Path(storage.warehouse).unlink()
    done = run("rebuild")
    assert done.returncode == 0, done.stderr
    assert "what was compacted (these loads are in the new warehouse again)" in done.stdout


def test_where_the_file_is_replaced_by_an_empty_one_the_next_transaction_makes_all_tables(
    tmp_path: Path,
) -> None:
    file = tmp_path / "warehouse.duckdb"
    with Warehouse(str(file)) as warehouse:
        for _ in range(2):
            with warehouse.transaction() as connection:
                assert connection.execute("SELECT count(*) FROM lineage.loads").fetchall() == [(0,)]
            file.unlink()
            duckdb.connect(str(file)).close()
