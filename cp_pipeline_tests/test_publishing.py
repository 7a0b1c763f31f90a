"""The analysts' file: complete, plain tables, with comments, and never visible half written."""

import shutil
import threading
from pathlib import Path

import duckdb
import pytest

from cp_pipeline.domain.errors import PipelineError
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import StorageSettings
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import contents, run_killed
from cp_pipeline_tests.warehouses import publish, states_to_publish


def answer(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as opened:
        return opened.execute(sql).fetchall()


def test_it_holds_plain_tables_of_current_rows_lineage_and_models(published_study: Path) -> None:
    file = published_study / "centrepoint.duckdb"
    assert not answer(file, "SELECT view_name FROM duckdb_views() WHERE NOT internal")
    schemas = answer(file, "SELECT DISTINCT schema_name FROM duckdb_tables() ORDER BY ALL")
    assert schemas == [("exports",), ("lineage",), ("marts",), ("staging",), ("study",)]
    warehouse = published_study / "warehouse.duckdb"
    for name in ("ActivityDaily8", "ActivityEpochs10", "LeapAvgBarometer", "ParamsAndSubject (31)"):
        rows = f'SELECT * FROM exports."{name}" ORDER BY ALL'
        assert answer(file, rows) == answer(warehouse, rows)
        described = f'DESCRIBE exports."{name}"'
        assert [row[:2] for row in answer(file, described)] == [
            row[:2] for row in answer(warehouse, described)
        ]
    (days,) = answer(file, "SELECT count(*) FROM marts.subject_days")
    assert days == (36,)


def test_every_table_and_column_says_what_it_is(published_study: Path) -> None:
    file = published_study / "centrepoint.duckdb"
    silent = "WHERE coalesce(comment, '') = ''"
    assert not answer(file, f"SELECT schema_name, table_name FROM duckdb_tables() {silent}")
    columns = "SELECT table_name, column_name FROM duckdb_columns()"
    assert not answer(file, f"{columns} {silent} AND NOT internal")


def test_duckdb_1_5_opens_it(published_study: Path) -> None:
    (row,) = answer(
        published_study / "centrepoint.duckdb",
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal",
    )
    assert str(row[0]).startswith("v1.5")


def test_it_says_of_which_state_of_the_warehouse_it_is(site: Site) -> None:
    assert states_to_publish(site.storage, 1.0) == ("", "")
    site.load("A\n1\n")
    before, published = states_to_publish(site.storage, 1.0)
    assert before
    assert not published
    publish(site.storage)
    assert states_to_publish(site.storage, 1.0) == (before, before)
    site.load("A\n2\n")
    after, published = states_to_publish(site.storage, 1.0)
    assert published == before != after


def test_nothing_loaded_is_nothing_to_publish(site: Site) -> None:
    with pytest.raises(PipelineError, match="Nothing is loaded yet"):
        publish(site.storage)


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.load("A\n1\n")
    publish(site.storage)
    before = site.storage.published.read_bytes()
    site.load("A\n2\n")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(PipelineError, match="cannot be written: no room"):
        publish(site.storage)
    assert site.storage.published.read_bytes() == before


PUBLISH = """
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Warehouse, publish_current
storage = StorageSettings.from_environment()
with Warehouse.of(storage) as warehouse:
    publish_current(warehouse, storage.published)
"""
PARTIAL = "{data}/.centrepoint.duckdb."


@pytest.fixture(scope="module")
def loaded_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder where another execution is loaded than the published file has."""
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, tmp_path_factory.mktemp("loaded_again") / "data")
        site.load("A\n1\n")
        publish(site.storage)
        site.load("A\n2\n")
    return site.storage.data_dir


@pytest.mark.parametrize(
    ("when", "what", "nth"),
    [
        ("before", "AS published (STORAGE_VERSION", 1),
        ("before", "CREATE TABLE published.", 1),
        # In the middle of the copy, and at its end, while DuckDB still has the file open.
        ("after", "CREATE TABLE published.", 4),
        ("before", "DETACH published", 1),
        # The file is opened again for fsync, then renamed (os.replace), then its size is read.
        ("after", "DETACH published", 1),
        ("before", f"open {PARTIAL}", 1),
        ("before", f"os.rename {PARTIAL}", 1),
        ("before", "call cp_pipeline.warehouse.published_file:Published", 1),
    ],
)
def test_killed_anywhere_the_old_file_or_the_new_one_is_whole_and_the_next_time_it_is_the_new_one(
    loaded_again: Path, tmp_path: Path, when: str, what: str, nth: int
) -> None:
    shutil.copytree(loaded_again, tmp_path / "data")
    storage = StorageSettings.from_environment()
    before = storage.published.read_bytes()
    warehouse = contents(Path(storage.warehouse))
    what = what.format(data=storage.data_dir)
    run_killed(when=when, what=what, nth=nth, work=PUBLISH)
    in_place = what.endswith(":Published")
    assert (storage.published.read_bytes() == before) is not in_place
    question = 'SELECT A FROM exports."Kinds"'
    assert answer(storage.published, question) == [(2 if in_place else 1,)]
    publish(storage)
    assert answer(storage.published, question) == [(2,)]
    assert contents(Path(storage.warehouse)) == warehouse
    assert {path.name for path in storage.data_dir.iterdir()} == {
        "asked", "centrepoint.duckdb", "landing", "warehouse.duckdb",
    }  # fmt: skip


def test_a_reader_that_polls_meets_neither_an_error_nor_half_a_study(tmp_path: Path) -> None:
    """Execute thirty subjects again, three times, and publish each time while a reader polls."""
    study = SandboxStudy.synthetic(subjects=30, days=2, datasets=("ActivityDaily8",))
    with FaultySandbox(study) as sandbox:
        site = Site(sandbox, tmp_path / "data")
        site.sync()
        publish(site.storage)
        seen: set[tuple[object, ...]] = set()
        troubles: list[Exception] = []
        done = threading.Event()

        question = (
            'SELECT count(*), count(DISTINCT _subject_id) FROM exports."ActivityDaily8"'
            " UNION ALL SELECT count(*), max(load_id) FROM lineage.loads"
        )

        def poll() -> None:
            while not done.is_set():
                try:
                    rows, loads = answer(site.storage.published, question)
                    seen.add((*rows, *loads))
                except duckdb.Error as error:
                    troubles.append(error)

        reader = threading.Thread(target=poll)
        reader.start()
        try:
            for _ in range(3):
                sandbox.execute_again()
                site.sync()
                publish(site.storage)
        finally:
            done.set()
            reader.join()
        assert not troubles
        assert seen <= {(60, 30, loads, loads) for loads in (30, 60, 90, 120)}
        assert answer(site.storage.published, question) == [(60, 30), (120, 120)]
