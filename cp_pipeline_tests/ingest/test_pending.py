"""A file that is not written yet (docs/api.md): the export waits, for a day at most."""

from datetime import datetime, timedelta

import pytest

from cp_pipeline.ingest import Reason
from cp_pipeline.ingest.plan import PENDING_AT_MOST
from cp_pipeline.settings import StorageSettings
from cp_pipeline.warehouse import Question, ask
from cp_pipeline_tests.conftest import one, open_pipeline, rows, sync_all
from cp_pipeline_tests.ingest.conftest import (
    AFTER,
    BEFORE,
    FIRST,
    SECOND,
    current,
    listed,
    reasons,
    state,
)
from cp_pipeline_tests.study_site import Site
from cp_pipeline_tests.warehouse_contents import run
from cp_pipeline_tests.warehouses import changing


@pytest.mark.both_engines
def test_the_old_file_is_not_loaded_under_the_new_execution(here: Site) -> None:
    listed(here, 1, FIRST, BEFORE)
    sync_all()
    # The execution has ended, but its file is not written yet: the link leads to the old file.
    listed(here, 1, SECOND, BEFORE)
    done = run("sync")
    assert done.returncode == 0
    assert "1 export pending" in done.stdout
    assert current() == [(1, FIRST)]
    assert state() == "pending"
    assert one("SELECT pending_since IS NOT NULL FROM lineage.export_files")
    assert "1" in run("status").stdout.split("pending")[1]
    # The file is written now.
    listed(here, 2, SECOND, AFTER)
    sync_all()
    assert current() == [(2, SECOND)]
    assert state() == "current"
    assert reasons() == [Reason.NEW, Reason.EXECUTED_AGAIN]
    assert one("SELECT pending_since IS NULL FROM lineage.export_files")


def test_a_pending_export_that_was_never_loaded_waits_and_others_do_not(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    here.put("N\n7\n", subject_id=2)
    (result,) = sync_all()
    assert result.partition.subject_id == 2
    assert rows("SELECT subject_id, state FROM lineage.partition_status ORDER BY ALL") == [
        (1, "pending"),
        (2, "current"),
    ]
    # An explicit request does not load it either.
    assert [each.partition.subject_id for each in sync_all(refresh=True)] == [2]


def wait(hours: float) -> None:
    """Make the pending exports look as if they were pending for this many hours."""
    with changing(StorageSettings.from_environment()) as opened:
        opened.execute(
            "UPDATE lineage.export_files SET pending_since = pending_since - ? * INTERVAL 1 HOUR",
            [hours],
        )


@pytest.mark.both_engines
def test_after_a_day_it_is_loaded_all_the_same_and_a_check_is_red(here: Site) -> None:
    listed(here, 1, FIRST, BEFORE)
    sync_all()
    listed(here, 1, SECOND, BEFORE)
    assert sync_all() == []
    wait(23)
    assert sync_all() == []
    assert current() == [(1, FIRST)]
    wait(1.5)
    assert len(sync_all()) == 1
    assert current() == [(1, SECOND)]
    assert reasons() == [Reason.NEW, Reason.OVERDUE]
    finding = ask(open_pipeline().questions, Question.FILES_ARE_OF_THEIR_EXECUTION)
    assert (finding.at_fault, finding.rows[0][0]) == (1, 1)
    assert sync_all() == []
    # When the file is written, the check passes again.
    listed(here, 2, SECOND, AFTER)
    assert len(sync_all()) == 1
    assert current() == [(2, SECOND)]
    assert ask(open_pipeline().questions, Question.FILES_ARE_OF_THEIR_EXECUTION).at_fault == 0


def test_another_execution_meanwhile_begins_the_day_anew(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    sync_all()
    wait(23)
    listed(here, 1, "2024-03-05T10:05:08+00:00", BEFORE)
    sync_all()
    wait(2)
    assert sync_all() == []
    wait(22)
    assert len(sync_all()) == 1


def test_a_clock_that_goes_back_makes_nobody_wait_longer_than_a_day(here: Site) -> None:
    listed(here, 1, SECOND, BEFORE)
    sync_all()
    wait(-24 * 365)
    # Listed in another form, as of now.
    listed(here, 1, SECOND, BEFORE, "another.csv.gz")
    sync_all()
    since = one("SELECT pending_since FROM lineage.export_files")
    assert isinstance(since, datetime)
    assert abs(since - datetime.utcnow()) < timedelta(hours=1)  # noqa: DTZ003
    assert timedelta(days=1) == PENDING_AT_MOST
