"""The client handles a listing that changes while it is read (docs/api.md, "A page")."""

from collections.abc import Callable, Sequence

import pytest

from cp_pipeline.centrepoint import ServiceUnavailable
from cp_pipeline.domain.exports import Instant
from cp_pipeline.sandbox import ExportFile, SandboxStudy
from cp_pipeline.sandbox.export_file import Filters
from cp_pipeline_tests.centrepoint.clients import STUDY, asked, connect, small_study
from cp_pipeline_tests.faults import FaultySandbox


class RestlessStudy(SandboxStudy):
    """A study that calls ``before_page`` before it makes the n-th page of the listing."""

    def __init__(self) -> None:
        super().__init__(STUDY)
        self.pages = 0
        self.before_page: Callable[[int], object] | None = None
        self.listed_besides: tuple[ExportFile, ...] = ()

    def listed(self, filters: Filters) -> Sequence[ExportFile]:
        action, self.before_page = self.before_page, None
        if action is not None:
            self.pages += 1
            action(self.pages)
            self.before_page = action
        return (*super().listed(filters), *self.listed_besides)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> RestlessStudy:
    """Ten files, on pages of three."""
    monkeypatch.setattr("cp_pipeline.centrepoint.listing.PAGE_SIZE", 3)
    study = RestlessStudy()
    small_study(10, study)
    return study


def executions(sandbox: FaultySandbox) -> dict[int, str]:
    """Return the subject and execution of each item that the service lists now."""
    return {file.subject_id: file.execution for file in sandbox.study.export_files}


@pytest.mark.parametrize("page_order", ["newest_first", "newest_last", "stable"])
@pytest.mark.parametrize("subject_id", [1, 5, 10])
def test_an_item_that_moves_between_pages_is_neither_lost_nor_listed_twice(
    study: RestlessStudy, page_order: str, subject_id: int
) -> None:
    study.before_page = lambda page: page == 3 and study.execute_again(subject_id)
    with FaultySandbox(study, page_order=page_order) as sandbox:  # type: ignore[arg-type]
        listed = connect(sandbox).list_export_files(STUDY).items
        assert sorted(file.subject_id for file in listed) == list(range(1, 11))
        if asked(sandbox, "listing") != [("listing", 200)] * 4:
            study.before_page = None
            assert {file.subject_id: str(file.execution) for file in listed} == executions(sandbox)


def test_an_item_that_moves_behind_the_readers_back_makes_him_read_again(
    study: RestlessStudy,
) -> None:
    # With the newest first, subject 1 is last. It moves to the front after page one was read.
    study.before_page = lambda page: page == 2 and study.execute_again(1)
    with FaultySandbox(study, page_order="newest_first") as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        study.before_page = None
        assert {file.subject_id: str(file.execution) for file in listed} == executions(sandbox)
        assert len(listed) == 10
        assert asked(sandbox, "listing") == [("listing", 200)] * 8


def test_a_withdrawn_item_does_not_hide_the_one_that_took_its_place(study: RestlessStudy) -> None:
    def withdraw(page: int) -> None:
        if page == 2:
            study.withdraw(subject_id=1, data_set_name="Steps")

    study.before_page = withdraw
    with FaultySandbox(study) as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        assert [file.subject_id for file in listed] == list(range(2, 11))


def test_a_new_item_that_shifts_the_pages_is_listed_too(study: RestlessStudy) -> None:
    def add(page: int) -> None:
        if page == 3:
            study.put(subject_id=11, data_set_name="Steps", csv=b"STEPS\n1\n")

    study.before_page = add
    with FaultySandbox(study, page_order="newest_first") as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        assert sorted(file.subject_id for file in listed) == list(range(1, 12))


def test_a_listing_that_never_stands_still_is_given_up_in_words(study: RestlessStudy) -> None:
    study.before_page = lambda page: study.put(
        subject_id=100 + page, data_set_name="Steps", csv=b"STEPS\n1\n"
    )
    with (
        FaultySandbox(study, page_order="newest_first") as sandbox,
        pytest.raises(ServiceUnavailable, match="study 4711 changed during each of 5 readings"),
    ):
        connect(sandbox).list_export_files(STUDY)


def test_an_item_listed_twice_is_one(study: RestlessStudy) -> None:
    study.listed_besides = study.export_files[:2]
    with FaultySandbox(study) as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        assert [file.subject_id for file in listed] == list(range(1, 11))


@pytest.mark.parametrize("older_first", [True, False])
def test_of_an_item_listed_with_two_executions_the_newer_counts(
    study: RestlessStudy, older_first: bool
) -> None:
    old = study.export_files[0]
    (new,) = study.execute_again(1)
    assert Instant.parse(old.execution) < Instant.parse(new.execution)
    if older_first:
        study.withdraw(subject_id=1, data_set_name="Steps")
    study.listed_besides = (old, new) if older_first else (old,)
    with FaultySandbox(study) as sandbox:
        listed = connect(sandbox).list_export_files(STUDY).items
        executed = {file.subject_id: str(file.execution) for file in listed}
        assert len(listed) == 10
        assert executed[1] == new.execution
