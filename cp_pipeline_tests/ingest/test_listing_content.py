"""What a listing says or lacks, which neither fails the sync nor loses an export."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cp_pipeline.domain.exports import StudyListing
from cp_pipeline.ingest import PartitionLoaded, Pipeline
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline.settings import CentrePointSettings, StorageSettings
from cp_pipeline.warehouse import Scope, Warehouse, record_listing
from cp_pipeline_tests.conftest import files_fetched, one, rows, sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.ingest.conftest import (
    AFTER,
    LATER,
    SECOND,
    current,
    listed,
    state,
)
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import changing


def test_an_older_version_than_the_loaded_one_is_written_down_and_left_alone(here: Site) -> None:
    listed(here, 2, SECOND, LATER)
    sync_all()
    listed(here, 1, SECOND, AFTER)
    assert sync_all() == []
    assert (current(), state()) == ([(2, SECOND)], "current")
    assert one("SELECT modified_at::VARCHAR FROM lineage.export_files") == (
        "2024-02-29 10:09:20.5899754"
    )


@pytest.mark.parametrize("never", [None, "0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00Z"])
def test_never_is_no_broken_contract(here: Site, never: str | None) -> None:
    for subject in (1, 2, 3):
        here.put(f"N\n{subject}\n", subject_id=subject)

    def rewrite(page: dict[str, Any]) -> dict[str, Any]:
        for item in page["items"]:
            if item["subjectId"] == 1:
                item["modifiedDate"] = never
            if item["subjectId"] == 2:
                item["lastSuccessfulProgramExecutionTimeStamp"] = never
        return page

    here.sandbox.rewrite_page = rewrite
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert "1 listed export of programs that never ran" in done.stderr
    assert rows(f'SELECT N FROM exports."{DATASET}" ORDER BY N') == [(1,), (3,)]
    assert one("SELECT count(*) FROM lineage.unusable_items") == 0
    here.sandbox.rewrite_page = None
    assert [each.partition.subject_id for each in sync_all()] == [2]


def capitals(page: dict[str, Any]) -> dict[str, Any]:
    changed = [item | {"studyProgramId": item["studyProgramId"].upper()} for item in page["items"]]
    return page | {"items": changed}


def test_a_program_in_capitals_is_the_same_program(sandbox: FaultySandbox) -> None:
    sync_all()
    before = rows("SELECT * FROM lineage.current_loads ORDER BY load_id")
    sandbox.forget_requests()
    sandbox.rewrite_page = capitals
    assert sync_all() == []
    assert files_fetched(sandbox) == 0
    assert rows("SELECT * FROM lineage.current_loads ORDER BY load_id") == before
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0


def test_a_warehouse_that_has_a_program_in_both_cases_counts_its_rows_once(
    sandbox: FaultySandbox,
) -> None:
    sync_all()
    counted = one('SELECT count(*) FROM exports."ActivityDaily8"')
    # As an earlier version left it: every export twice, also with the program in capitals.
    with changing(StorageSettings.from_environment()) as opened:
        opened.execute("DELETE FROM lineage.schema_version")
        opened.execute(
            "INSERT INTO lineage.loads SELECT * REPLACE (load_id + 1000 AS load_id,"
            " upper(study_program_id) AS study_program_id) FROM lineage.loads"
        )
        opened.execute(
            'INSERT INTO history."ActivityDaily8" SELECT * REPLACE (_load_id + 1000 AS _load_id)'
            ' FROM history."ActivityDaily8"'
        )
    assert one('SELECT count(*) FROM exports."ActivityDaily8"') == 2 * int(str(counted))
    sandbox.forget_requests()
    assert sync_all() == []
    assert files_fetched(sandbox) == 0
    assert one('SELECT count(*) FROM exports."ActivityDaily8"') == counted


def test_a_listing_that_lacks_items_withdraws_nothing_and_says_so(
    sandbox: FaultySandbox, study: SandboxStudy
) -> None:
    sync_all()

    def half(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"items": page["items"][::2]}

    sandbox.rewrite_page = half
    for _ in range(3):
        done = run("sync")
        assert done.returncode == 0
        assert re.search(r"CentrePoint counts [0-9]+ more exports than it listed", done.stderr)
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0
    assert one("SELECT count(*) FROM lineage.export_files WHERE unlisted_since IS NOT NULL") == 0


def test_a_first_sync_loads_what_came_of_a_listing_that_lacks_items(sandbox: FaultySandbox) -> None:
    sandbox.rewrite_page = lambda page: page | {"items": page["items"][10:]}
    assert sum(len(each.loads) for each in sync_all() if isinstance(each, PartitionLoaded)) == 49
    sandbox.rewrite_page = None
    assert sum(len(each.loads) for each in sync_all() if isinstance(each, PartitionLoaded)) == 10


@pytest.mark.both_engines
def test_withdrawn_needs_two_whole_listings(here: Site) -> None:
    exports = list(_items(here, 4))
    warehouse = Warehouse.of(here.storage)
    everything = Scope((4711,))
    one_subject = Scope((4711,), frozenset({exports[0].subject_id}))
    record_listing(warehouse, StudyListing(tuple(exports)), everything)

    def still() -> int:
        return int(str(here.rows("SELECT count(*) FROM lineage.export_files")[0][0]))

    without = StudyListing(tuple(exports[1:]))
    # Not a whole listing: of one subject only, or with items missing.
    for _ in range(3):
        record_listing(warehouse, StudyListing(), one_subject)
        record_listing(warehouse, StudyListing(tuple(exports[1:]), missing=1), everything)
    assert still() == 4
    record_listing(warehouse, without, everything)
    assert still() == 4
    # Listed again in between, so the count starts again.
    record_listing(warehouse, StudyListing(tuple(exports)), everything)
    record_listing(warehouse, without, everything)
    assert still() == 4
    # An item in another format, or of a program that never ran, still counts as listed.
    key = exports[0].key
    record_listing(warehouse, StudyListing(tuple(exports[1:]), never_executed=(key,)), everything)
    record_listing(
        warehouse, StudyListing(tuple(exports[1:]), other_formats=((key, "avro"),)), everything
    )
    assert still() == 4
    record_listing(warehouse, without, everything)
    assert still() == 3


def _items(here: Site, number: int) -> Iterator[Any]:
    for subject in range(1, number + 1):
        here.put("N\n1\n", subject_id=subject)
    access = CentrePointSettings.from_environment(here.sandbox.environment)
    yield from Pipeline(access, here.storage).survey().items


def test_an_export_that_is_listed_as_csv_and_as_avro_is_loaded_as_csv(
    sandbox: FaultySandbox,
) -> None:
    def twice(page: dict[str, Any]) -> dict[str, Any]:
        items = [
            item | {"fileFormat": name, "fileName": f"{item['fileName']}.{name}"}
            for item in page["items"]
            for name in ("avro", "csv")
        ]
        return page | {"items": items, "totalCount": 2 * page["totalCount"]}

    sandbox.rewrite_page = twice
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert "47 partitions loaded" in done.stdout
    assert done.stderr.count("59 listed items left out: the format is avro, not csv") == 1
    assert run("sync").returncode == 0
    assert one("SELECT count(*) FROM lineage.partition_status WHERE state <> 'current'") == 0
