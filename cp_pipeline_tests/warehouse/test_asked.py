"""When CentrePoint was asked: noted, moved into the warehouse, and read from both."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cp_pipeline.centrepoint import ServiceError
from cp_pipeline.ingest import LookPosition, Pipeline, Request
from cp_pipeline.settings import CentrePointSettings
from cp_pipeline.warehouse import (
    ANSWERED,
    Purpose,
    Warehouse,
    last_asked,
    last_whole_listing,
    move_notes,
    note,
)
from cp_pipeline_tests.study_site import Site

pytestmark = pytest.mark.both_engines

OTHER_STUDY = 99
OUTCOMES = [
    ([ANSWERED], 0, True),
    (["down"], 1, False),
    ([ANSWERED, "down", "down"], 2, True),
    (["down", ANSWERED], 0, True),
    (["down", ANSWERED, "down"], 1, True),
]


def test_the_last_answer_and_the_troubles_since_wherever_the_notes_are(
    site: Site, tmp_path: Path
) -> None:
    site.load("A\n1\n")
    with Warehouse.of(site.storage) as warehouse:
        for study_id, (outcomes, troubles, answered) in enumerate(OUTCOMES, OTHER_STUDY):
            for place, outcome in enumerate(outcomes):
                note(site.storage.data_dir, [study_id], Purpose.LOOK, datetime.now(UTC), outcome)
                if place == 0:
                    move_notes(site.storage.data_dir, warehouse)
            (last,) = last_asked(site.storage.data_dir, warehouse, [study_id])
            assert (last.troubles, last.outcome) == (troubles, outcomes[-1])
            assert (last.answered_at is not None) is answered
        before = last_asked(site.storage.data_dir, warehouse)
        move_notes(site.storage.data_dir, warehouse)
        assert last_asked(site.storage.data_dir, warehouse) == before
    # A note of a look says nothing about a whole listing.
    assert last_whole_listing(Warehouse.of(site.storage), [OTHER_STUDY]) is None


def test_a_move_that_was_killed_adds_no_note_twice(site: Site) -> None:
    site.load("A\n1\n")
    data_dir, warehouse = site.storage.data_dir, Warehouse.of(site.storage)
    note(data_dir, [OTHER_STUDY], Purpose.LOOK, datetime.now(UTC))
    written = (data_dir / "asked" / "notes.jsonl").read_bytes()
    move_notes(data_dir, warehouse)
    # Killed after the transaction; and a note that was killed while it was written.
    (data_dir / "asked" / "moving.jsonl").write_bytes(written + written[:20])
    move_notes(data_dir, warehouse)
    assert site.rows(f"SELECT count(*) FROM lineage.listings WHERE study_id = {OTHER_STUDY}") == [
        (1,)
    ]


def test_a_survey_and_a_look_are_noted_with_their_outcome(site: Site) -> None:
    site.put("A\n1\n")
    access = CentrePointSettings.from_environment(site.sandbox.environment)
    pipeline = Pipeline(access, site.storage)
    site.sandbox.fail(kind="token", status=400, times=3, body=b'{"error": "invalid_client"}')
    with pytest.raises(ServiceError):
        pipeline.survey()
    with pytest.raises(ServiceError):
        pipeline.survey(Request.of([1]))
    with pytest.raises(ServiceError):
        pipeline.survey(write=False)
    (last,) = last_asked(site.storage.data_dir, pipeline.warehouse, access.study_ids)
    assert (last.troubles, last.answered_at) == (2, None)
    assert "CP_CLIENT_SECRET" in last.outcome

    pipeline = Pipeline(access, site.storage)
    with pipeline.execute(pipeline.survey()) as results:
        assert len(list(results)) == 1
    pipeline.look(LookPosition(), 9.0, uploads=False, now=datetime.now(UTC))
    (last,) = last_asked(site.storage.data_dir, pipeline.warehouse, access.study_ids)
    assert (last.troubles, last.outcome) == (0, ANSWERED)
    move_notes(site.storage.data_dir, pipeline.warehouse)
    found = site.rows(
        "SELECT asked_for, outcome = 'answered', items FROM lineage.listings ORDER BY ended_at"
    )
    assert found == [
        ("whole listing", False, None),
        ("listing of some", False, None),
        ("whole listing", True, 1),
        ("look", True, None),
    ]
