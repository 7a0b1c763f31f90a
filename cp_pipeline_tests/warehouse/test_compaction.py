"""Compacting: what is dropped, what stays, locking, and a process killed at every step."""

import resource
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import (
    Warehouse,
    WarehouseBusy,
    WarehouseError,
    erased_subjects,
    file_swap,
)
from cp_pipeline.warehouse.load_transaction import Commit
from cp_pipeline_tests.conftest import one, rows
from cp_pipeline_tests.warehouse_contents import (
    another_process_writes,
    contents,
    files_beside,
    run,
    run_killed,
)
from cp_pipeline_tests.warehouses import changing, compact, compactable

DAILY = "ActivityDaily8"
ALL = timedelta(0)


@pytest.fixture(scope="module")
def undisturbed(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The contents of the warehouse after an undisturbed compaction."""
    data_dir = tmp_path_factory.mktemp("undisturbed") / "data"
    shutil.copytree(finished_study, data_dir)
    compact(StorageSettings.from_environment({"CP_DATA_DIR": str(data_dir)}), ALL)
    return contents(data_dir / "warehouse.duckdb")


def test_superseded_loads_go_and_what_they_were_stays_on_record(storage: StorageSettings) -> None:
    gone = rows(
        "SELECT loads.*, superseded_by FROM lineage.loads JOIN lineage.superseded USING (load_id)"
        " ORDER BY load_id"
    )
    current = contents()
    found = compactable(storage, ALL)
    done = compact(storage, ALL)

    assert (found.loads, found.rows) == (done.loads, done.rows)
    assert done.loads == len(gone) > 20
    assert done.rows == sum(int(str(row[12])) for row in gone)
    assert done.bytes_after == Path(storage.warehouse).stat().st_size < done.bytes_before
    assert gone == rows(
        "SELECT * EXCLUDE (superseded_at, compacted_at) FROM lineage.compacted ORDER BY load_id"
    )
    assert one("SELECT count(*) FROM lineage.superseded") == 0
    after = contents()
    for name in after:
        if name.startswith("exports.") or name.endswith(("current_loads", "partition_status")):
            assert after[name] == current[name], name
    assert one(f'SELECT count(DISTINCT _load_id) FROM history."{DAILY}"') == 5


@pytest.mark.both_engines
def test_nothing_younger_than_asked_is_dropped(storage: StorageSettings) -> None:
    before = contents()
    assert compactable(storage).loads == 0
    assert compact(storage).loads == 0
    assert contents() == before


@pytest.mark.both_engines
def test_as_of_refuses_an_instant_whose_rows_are_gone_and_answers_all_others(
    storage: StorageSettings,
) -> None:
    ((first, last),) = rows(
        f"SELECT min(program_execution), max(program_execution) FROM lineage.loads"
        f" WHERE subject_id = 10821 AND dataset_name = '{DAILY}'"
    )
    past = f"FROM as_of('{DAILY}', '{first}'::TIMESTAMPTZ::TIMESTAMP_NS)"
    now = f"SELECT * FROM as_of('{DAILY}', '2200-01-01') ORDER BY ALL"
    others = f"SELECT STEPS {past} WHERE _subject_id <> 10821 ORDER BY ALL"
    before_now, before_others = rows(now), rows(others)
    assert rows(f"SELECT count(*) {past} WHERE _subject_id = 10821") == [(1,)]

    compact(storage, ALL)
    assert rows(now) == before_now
    assert rows(others) == before_others
    for question in ("SELECT count(*)", "SELECT STEPS", "SELECT *"):
        with pytest.raises(duckdb.Error, match=r"subject 10821.*have been compacted"):
            rows(f"{question} {past}")
    # The refresh loaded the newest execution again, so `as_of` can show it.
    latest = f"FROM as_of('{DAILY}', '{last}'::TIMESTAMPTZ::TIMESTAMP_NS)"
    assert rows(f"SELECT count(*) {latest} WHERE _subject_id = 10821") == [(1,)]


def test_numbers_of_dropped_loads_are_never_given_again(storage: StorageSettings) -> None:
    # The load with the highest id is superseded, as when an older execution is loaded late.
    with changing(storage) as opened:
        highest = opened.execute("SELECT max(load_id) FROM lineage.loads").fetchall()[0][0]
        opened.execute(
            "INSERT INTO lineage.loads BY NAME SELECT * REPLACE (load_id + 500 AS load_id)"
            f" FROM lineage.loads WHERE load_id = {highest}"
        )
        opened.execute(
            f"INSERT INTO lineage.superseded VALUES ({highest + 500}, {highest}, '2020-01-01')"
        )
    compact(storage, ALL)
    warehouse = Warehouse(storage.warehouse)
    with warehouse.transaction() as connection:
        commit = Commit(connection, {}, None, "")  # type: ignore[arg-type]
        assert commit._first_load_id() == highest + 501


@pytest.mark.parametrize(
    ("when", "what", "nth"),
    [
        ("before", "DELETE FROM history.", 2),
        ("before", "INSERT INTO lineage.compacted", 1),
        ("before", "COMMIT", 1),
        ("after", "COMMIT", 1),
        ("after", "CHECKPOINT", 1),
        ("before", "COPY FROM DATABASE", 1),
        ("after", "COPY FROM DATABASE", 1),
        ("before", "os.rename", 1),
        # The folder is opened for its lock, and again after the new file has the name.
        ("before", "open {folder} ", 2),
    ],
)
def test_killed_anywhere_and_run_again_it_ends_as_if_never_killed(
    storage: StorageSettings, undisturbed: dict[str, str], when: str, what: str, nth: int
) -> None:
    before = contents()
    what = what.format(folder=storage.data_dir)
    run_killed("compact", "--older-than", "0", "--yes", when=when, what=what, nth=nth)
    between = contents()
    for name in (name for name in before if name.startswith("exports.")):
        assert between[name] == before[name]
    compact(storage, ALL)
    assert contents() == undisturbed
    assert files_beside(Path(storage.warehouse)) == {
        "asked", "landing", "quarantine", "warehouse.duckdb",
    }  # fmt: skip


def test_nobody_writes_between_the_copy_and_its_place_and_later_loads_keep_their_log(
    storage: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, heard = file_swap.put_in_place, []

    def watched(new: Path, path: Path) -> None:
        heard.append(another_process_writes(storage.warehouse))
        place(new, path)
        heard.append(another_process_writes(storage.warehouse))

    monkeypatch.setattr(file_swap, "put_in_place", watched)
    compact(storage, ALL)
    assert "Could not set lock" in heard[0]
    assert heard[1] == "written\n"
    assert one("SELECT count(*) FROM lineage.failures WHERE stage = 'of another process'") == 1


def test_whoever_had_opened_the_file_before_it_was_replaced_writes_to_the_new_one(
    storage: StorageSettings, tmp_path: Path
) -> None:
    path, copy = Path(storage.warehouse), tmp_path / "copy.duckdb"
    copy.write_bytes(path.read_bytes())
    warehouse = Warehouse(storage.warehouse)

    class Overtaken:
        """Replace the file once, just after it is opened."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def execute(self, statement: str, *rest: Any) -> Any:
            answer = self.connection.execute(statement, *rest)
            if statement.startswith("ATTACH") and copy.exists():
                copy.replace(path)
            return answer

    warehouse.connection = Overtaken(warehouse.connection)  # type: ignore[assignment]
    with warehouse.transaction() as connection:
        connection.execute("INSERT INTO lineage.failures (stage) VALUES ('mine')")
    assert not copy.exists()
    assert one("SELECT count(*) FROM lineage.failures WHERE stage = 'mine'") == 1


def test_a_warehouse_of_an_earlier_version_gets_what_it_lacks(storage: StorageSettings) -> None:
    with changing(storage) as opened:
        opened.execute("DROP TABLE lineage.compacted")
        opened.execute("DROP TABLE lineage.erasures")
        opened.execute("CREATE OR REPLACE MACRO as_of(dataset, instant) AS TABLE SELECT 'old'")
    assert erased_subjects(Warehouse(storage.warehouse)) == frozenset()
    assert compact(storage, ALL).loads > 20
    assert one(f"SELECT count(*) FROM as_of('{DAILY}', '2200-01-01')") == 5


def test_two_at_once_do_not_replace_each_others_file(storage: StorageSettings) -> None:
    with (
        file_swap.replacing(Path(storage.warehouse)),
        pytest.raises(WarehouseBusy, match="Another process"),
    ):
        compact(storage, ALL)


def test_without_room_for_the_copy_the_file_stays_as_it_is_and_nothing_is_left_beside_it(
    storage: StorageSettings, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    copy = file_swap.copy_database

    def on_a_full_disk(*arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
        try:
            copy(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as full:
        full.setattr(file_swap, "copy_database", on_a_full_disk)
        with pytest.raises(WarehouseError, match="space for a second file"):
            compact(storage, ALL)
    assert files_beside(Path(storage.warehouse)) == {
        "asked", "landing", "quarantine", "warehouse.duckdb",
    }  # fmt: skip
    assert contents() == undisturbed
    assert compact(storage, ALL).loads == 0


def test_a_log_that_is_in_the_way_stops_it_before_anything_is_replaced(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for path in (new, old, tmp_path / "old.wal"):
        path.write_text(path.name)
    with pytest.raises(WarehouseError, match=r"old\.wal still exists"):
        file_swap.put_in_place(new, old)
    assert old.read_text() == "old"


def test_the_command_asks_first_and_says_what_it_did(storage: StorageSettings) -> None:
    before = contents()
    asked = run("compact", "--older-than", "0")
    assert asked.returncode == 1
    assert "would be freed" in asked.stdout
    assert "[y/N]" in asked.stdout
    assert contents() == before
    done = run("compact", "--older-than", "0", "--yes")
    assert done.returncode == 0, done.stderr
    assert "loads dropped" in done.stdout
    assert "MB before" in done.stdout
