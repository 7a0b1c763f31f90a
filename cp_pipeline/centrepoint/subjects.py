"""Read subjects, study programs and their data sets.

Belongs here: requests and items of docs/api.md, "The study around the exports".
Does not belong: export files (``listing``), what every request has in common (``api``).
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from cp_pipeline.centrepoint.answers import describe
from cp_pipeline.centrepoint.api import PAGE_SIZE, Api, RawPage, read_page, refusal
from cp_pipeline.centrepoint.errors import ResourceMissing
from cp_pipeline.centrepoint.json_values import (
    instant,
    is_never,
    text,
    text_or_none,
    whole_number,
)
from cp_pipeline.domain.executions import (
    ProgramDataset,
    StudyProgram,
    SubjectExecution,
    SubjectItem,
)
from cp_pipeline.domain.exports import Instant, canonical_program

# The most pages in a row without a new item; a service that ignores the offset sends such pages.
MOST_BARREN_PAGES = 10
_EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
# What reading the JSON of an item may raise.
_BREAKS_THE_CONTRACT = (KeyError, TypeError, ValueError, AttributeError)
_MISSING = frozenset({requests.codes.not_found, requests.codes.not_allowed})
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SubjectsPage:
    """One page of a study's subjects.

    ``invalid``: the number of items, timestamps and executions that break the contract and were
    left out. ``total``: the number of subjects that the service counts. ``next_offset``: where to
    go on; None after the last page. Pages may overlap: a subject seen twice is one subject.
    """

    subjects: tuple[SubjectItem, ...]
    invalid: int
    total: int
    next_offset: int | None


class Subjects:
    """Asks for the resources around the exports. Thread-safe.

    An invalid item is left out: it is no error (docs/api.md, "A page").
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def page(self, study_id: int, offset: int = 0) -> SubjectsPage:
        """Return one page of the subjects of a study, with one request.

        Raises:
            ResourceMissing: the service has no such resource.
            ServiceError: the request failed; the subclass says why.
        """
        raw = self._page(study_id, "subjects", "subjects", offset)
        read = [_read_subject(each, study_id) for each in raw.items]
        return SubjectsPage(
            tuple(subject for subject, _ in read if subject is not None),
            sum(invalid for _, invalid in read),
            raw.total,
            _next_offset(raw, offset),
        )

    def programs(self, study_id: int) -> tuple[StudyProgram, ...]:
        """Return the study programs of a study, each once.

        Raises:
            ResourceMissing: the service has no such resource.
            ServiceError: a request failed; the subclass says why.
        """

        def read(raw: Any) -> StudyProgram:  # noqa: ANN401  (JSON is anything)
            _check_study(raw, study_id)
            program = canonical_program(text(raw["studyProgramId"]))
            return StudyProgram(study_id, program, text(raw["studyProgramName"]))

        return tuple(self._all(study_id, "programs", "study programs", read))

    def program_datasets(self, study_id: int, study_program_id: str) -> tuple[ProgramDataset, ...]:
        """Return the data sets that a study program yields, each once.

        Raises:
            ResourceMissing: the service has no such resource, or not for this program.
            ServiceError: a request failed; the subclass says why.
        """
        program = canonical_program(study_program_id)

        def read(raw: Any) -> ProgramDataset:  # noqa: ANN401  (JSON is anything)
            if canonical_program(text(raw["studyProgramId"])) != program:
                raise ValueError("another study program's")
            return ProgramDataset(study_id, program, text(raw["dataSetName"]))

        path = f"programs/{quote(program, safe='')}/datasets"
        what = f"data sets of study program {program}"
        return tuple(self._all(study_id, path, what, read))

    def _all(
        self, study_id: int, path: str, what: str, read: Callable[[Any], Item]
    ) -> dict[Item, None]:
        """Read all pages of a list; leave out invalid items, and repeated ones."""
        found: dict[Item, None] = {}
        offset: int | None = 0
        barren = 0
        while offset is not None and barren < MOST_BARREN_PAGES:
            page = self._page(study_id, path, what, offset)
            before = len(found)
            for raw in page.items:
                with suppress(*_BREAKS_THE_CONTRACT):
                    found[read(raw)] = None
            barren = 0 if len(found) > before else barren + 1
            offset = _next_offset(page, offset)
        return found

    def _page(self, study_id: int, path: str, what: str, offset: int) -> RawPage:
        purpose = f"listing the {what} of study {study_id}"
        response = self._api.get(
            f"studies/{study_id}/{path}", purpose, {"limit": PAGE_SIZE, "offset": offset}
        )
        if response.status_code in _MISSING:
            raise ResourceMissing(
                f"The API has no list of the {what} of study {study_id} ({describe(response)}).",
                "Check CP_STUDY_ID and CP_API_URL. Not every service has this list.",
            )
        if response.status_code != requests.codes.ok:
            raise refusal(response, study_id, purpose)
        return read_page(response, purpose, "Check CP_API_URL.")


def _next_offset(page: RawPage, offset: int) -> int | None:
    """Return where the next page begins; None after the last one.

    A short page is followed by what comes after its last item: a service may send fewer items than
    asked for without saying so. An empty page is skipped: a service may filter after paging.
    """
    step = len(page.items) or min(page.limit or PAGE_SIZE, PAGE_SIZE)
    following = offset + step
    return following if following < page.total else None


def _read_subject(raw: Any, study_id: int) -> tuple[SubjectItem | None, int]:  # noqa: ANN401
    """Read a subject; return it, None if it is invalid, and the number of invalid parts."""
    try:
        _check_study(raw, study_id)
        subject_id = whole_number(raw["subjectId"])
    except _BREAKS_THE_CONTRACT:
        return None, 1
    invalid = 0
    try:
        last_upload = _instant_or_never(raw.get("lastRawUploadedTimeStamp"))
    except _BREAKS_THE_CONTRACT:
        last_upload, invalid = None, 1
    listed = raw.get("studyProgramExecutions")
    if not isinstance(listed, list):
        # Without a list nothing is known of the subject's programs; null means that there are none.
        listed, invalid = [], invalid + (listed is not None)
    executions: dict[str, SubjectExecution] = {}
    for each in listed:
        try:
            read = _read_execution(each, study_id, subject_id)
        except _BREAKS_THE_CONTRACT:
            invalid += 1
            continue
        known = executions.get(read.study_program_id)
        if known is None or _ticks(known) <= _ticks(read):
            executions[read.study_program_id] = read
    return SubjectItem(study_id, subject_id, last_upload, tuple(executions.values())), invalid


def _read_execution(raw: Any, study_id: int, subject_id: int) -> SubjectExecution:  # noqa: ANN401
    return SubjectExecution(
        study_id=study_id,
        subject_id=subject_id,
        study_program_id=canonical_program(text(raw["studyProgramId"])),
        program_name=text_or_none(raw.get("studyProgramName")),
        execution=_instant_or_never(raw.get(_EXECUTION)),
    )


def _ticks(execution: SubjectExecution) -> float:
    return -math.inf if execution.execution is None else execution.execution.ticks


def _instant_or_never(value: object) -> Instant | None:
    return None if is_never(value) else instant(value)


def _check_study(raw: Any, study_id: int) -> None:  # noqa: ANN401  (JSON is anything)
    if whole_number(raw["studyId"]) != study_id:
        raise ValueError("another study's")
