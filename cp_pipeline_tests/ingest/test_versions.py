"""The version of a load: execution, modification time and file name (docs/api.md)."""

from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cp_pipeline.domain.exports import Instant, Version
from cp_pipeline.ingest import PartitionLoaded, Reason
from cp_pipeline.sandbox import SandboxStudy
from cp_pipeline_tests.conftest import files_fetched, one, open_pipeline, rows, sync_all
from cp_pipeline_tests.faults import FaultySandbox
from cp_pipeline_tests.ingest.conftest import (
    AFTER,
    BEFORE,
    FIRST,
    LATER,
    SECOND,
    current,
    listed,
    reasons,
    state,
)
from cp_pipeline_tests.study_site import DATASET, Site
from cp_pipeline_tests.warehouse_contents import run


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("modified", "name"),
    [(LATER, "1_file.csv.gz"), (LATER, "2_file.csv.gz"), (AFTER, "2_file.csv.gz")],
    ids=["modified-later", "modified-later-and-renamed", "renamed"],
)
def test_a_file_written_again_supersedes_the_one_before(
    here: Site, modified: str, name: str
) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    listed(here, 2, SECOND, modified, name)
    open_pipeline().survey()
    assert state() == "stale"
    planned = run("sync", "--dry-run")
    assert "written again" in planned.stdout
    here.sandbox.forget_requests()
    assert len(sync_all()) == 1
    assert files_fetched(here.sandbox) == 1
    assert current() == [(2, SECOND)]
    assert state() == "current"
    assert reasons() == [Reason.NEW, Reason.WRITTEN_AGAIN]
    assert rows("SELECT load_id, superseded_by FROM lineage.superseded") == [(1, 2)]
    assert one("SELECT modified_at FROM lineage.export_files") == one(
        "SELECT max(modified_at) FROM lineage.loads"
    )
    assert rows(f"SELECT N FROM as_of('{DATASET}', '2024-03-01')") == [(2,)]
    assert sync_all() == []


def test_two_files_that_take_turns_without_a_date_are_loaded_once_each(here: Site) -> None:
    here.sandbox.rewrite_page = undated
    for number in (1, 2, 1, 2, 1):
        listed(here, number, SECOND, AFTER, f"{number}_file.csv.gz")
        sync_all()
        assert state() == "current"
    assert one("SELECT count(*) FROM lineage.loads") == 2


def undated(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"items": [item | {"modifiedDate": None} for item in page["items"]]}


def test_a_date_that_is_no_longer_said_is_no_reason_to_load_again(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    here.sandbox.rewrite_page = undated
    assert sync_all() == []
    assert (state(), len(current())) == ("current", 1)
    # But another file is a reason, and it is the newer version.
    listed(here, 2, SECOND, AFTER, "2_file.csv.gz")
    assert len(sync_all()) == 1
    assert current() == [(2, SECOND)]
    assert rows(f"SELECT N FROM as_of('{DATASET}', '2024-03-01')") == [(2,)]


@pytest.mark.both_engines
def test_a_slow_sync_does_not_put_the_older_file_back(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    slow = open_pipeline()
    with slow.execute(slow.survey()) as results:
        # The batch is staged and waits. Now the file is written again, and another sync loads it.
        listed(here, 2, SECOND, LATER)
        sync_all()
        (result,) = list(results)
    assert isinstance(result, PartitionLoaded)
    assert current() == [(2, SECOND)]


def test_a_version_that_failed_rests_and_the_next_version_is_tried_at_once(here: Site) -> None:
    listed(here, 1, SECOND, AFTER)
    sync_all()
    here.sandbox.study.put(
        subject_id=1, data_set_name=DATASET, csv=b"N,N\n1,2\n", execution=SECOND, modified=LATER
    )
    sync_all()
    assert state() == "failed"
    exports = open_pipeline()
    retry_schedule = exports.retry_schedule(exports.survey().plan)
    assert (len(retry_schedule.due), len(retry_schedule.waiting)) == (0, 1)
    listed(here, 3, SECOND, "2024-03-02T00:00:00+00:00")
    exports.survey()
    assert len(exports.retry_schedule(exports.survey().plan).due) == 1
    sync_all()
    assert (current(), state()) == ([(3, SECOND)], "current")


_moments = st.one_of(st.none(), st.integers(0, 3))
_versions = st.builds(Version, st.integers(0, 2), _moments, st.sampled_from("ab"))


@given(_versions, _versions)
def test_of_two_versions_at_least_one_covers_the_other(one: Version, other: Version) -> None:
    assert one.covers(one)
    if one.covers(other) and other.covers(one):
        assert (one.executed, one.file_name) == (other.executed, other.file_name)
    if one.executed > other.executed:
        assert one.covers(other)
        assert not other.covers(one)


class _Step(NamedTuple):
    """One listing: the number of the execution, the minutes until its file, the file name."""

    execution: int
    written: int
    name: str

    @property
    def is_pending(self) -> bool:
        return self.written < 0


_sequences = st.lists(
    st.builds(_Step, st.integers(0, 2), st.integers(-1, 2), st.sampled_from("ab")),
    min_size=1,
    max_size=6,
)


@given(st.lists(_sequences, min_size=5, max_size=5))
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_listed_in_whatever_order_no_row_has_the_name_of_another_execution(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[list[_Step]]
) -> None:
    """Each file holds its own execution; a pending file holds an earlier one.

    Each sequence is listed for a subject of its own; one sync loads the next step of all.
    """
    best: dict[int, tuple[int, int]] = {}
    with FaultySandbox(SandboxStudy.empty()) as sandbox:
        site = Site(sandbox, tmp_path_factory.mktemp("versions") / "data")
        for steps in zip_longest(*sequences):
            for subject, step in enumerate(steps):
                if step:
                    _list(sandbox, subject, step)
                if step and not step.is_pending:
                    best[subject] = max(best.get(subject, (-1, -1)), (step.execution, step.written))
            site.sync()
            if not best:
                assert site.loaded_partitions() == 0
                continue
            found = site.rows(
                f'SELECT _subject_id, E, W, _program_execution FROM exports."{DATASET}" ORDER BY 1'
            )
            assert [(subject, (e, w)) for subject, e, w, _ in found] == sorted(best.items())
            for _, execution, _, verbatim in found:
                assert Instant.parse(str(verbatim)) == Instant.parse(_executed(execution))


def _executed(execution: object) -> str:
    return f"2024-01-{int(str(execution)) + 10:02}T10:00:00+00:00"


def _list(sandbox: FaultySandbox, subject: int, step: _Step) -> None:
    modified = f"2024-01-{step.execution + 10:02}T10:{5 + step.written:02}:00+00:00"
    if step.is_pending:
        modified = f"2024-01-{step.execution + 9:02}T10:05:00+00:00"
    sandbox.study.put(
        subject_id=subject,
        data_set_name=DATASET,
        csv=f"E,W\n{-1 if step.is_pending else step.execution},{step.written}\n".encode(),
        execution=_executed(step.execution),
        modified=modified,
        file_name=f"{step.name}.csv.gz",
    )


def test_a_warehouse_rebuilt_from_the_landing_alone_has_the_same_current_rows(here: Site) -> None:
    from cp_pipeline.ingest import rebuild

    listed(here, 1, FIRST, BEFORE)
    sync_all()
    for number, modified in ((2, AFTER), (3, LATER)):
        listed(here, number, SECOND, modified)
        sync_all()
    assert current() == [(3, SECOND)]
    before = rows(f'SELECT * EXCLUDE (_load_id) FROM exports."{DATASET}"')
    Path(here.storage.warehouse).unlink()
    assert rebuild(here.storage).loads == 3
    assert rows(f'SELECT * EXCLUDE (_load_id) FROM exports."{DATASET}"') == before
