"""Read subjects, study programs and their data sets.

Belongs here: requests and items of docs/api.md, "The study around the exports".
Does not belong: export files (``listing``), what every list has in common (``paged_lists``).
"""

import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cp_pipeline.centrepoint.api import Api
from cp_pipeline.centrepoint.json_values import (
    instant,
    is_never,
    text,
    text_or_none,
    whole_number,
)
from cp_pipeline.centrepoint.paged_lists import (
    BREAKS_THE_CONTRACT,
    next_offset,
    read_list,
    read_one_page,
)
from cp_pipeline.domain.executions import (
    ProgramDataset,
    StudyProgram,
    SubjectExecution,
    SubjectItem,
)
from cp_pipeline.domain.exports import Instant, canonical_program

_EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"


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
        raw = read_one_page(self._api, f"studies/{study_id}/subjects", study_id, "subjects", offset)
        read = [_read_subject(each, study_id) for each in raw.items]
        return SubjectsPage(
            tuple(subject for subject, _ in read if subject is not None),
            sum(invalid for _, invalid in read),
            raw.total,
            next_offset(raw, offset),
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

        path = f"studies/{study_id}/programs"
        programs, _ = read_list(self._api, path, study_id, "study programs", read)
        return programs

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

        path = f"studies/{study_id}/programs/{quote(program, safe='')}/datasets"
        what = f"data sets of study program {program}"
        datasets, _ = read_list(self._api, path, study_id, what, read)
        return datasets


def _read_subject(raw: Any, study_id: int) -> tuple[SubjectItem | None, int]:  # noqa: ANN401
    """Read a subject; return it, None if it is invalid, and the number of invalid parts."""
    try:
        _check_study(raw, study_id)
        subject_id = whole_number(raw["subjectId"])
    except BREAKS_THE_CONTRACT:
        return None, 1
    invalid = 0
    try:
        last_upload = _instant_or_never(raw.get("lastRawUploadedTimeStamp"))
    except BREAKS_THE_CONTRACT:
        last_upload, invalid = None, 1
    listed = raw.get("studyProgramExecutions")
    if not isinstance(listed, list):
        # Without a list nothing is known of the subject's programs; null means that there are none.
        listed, invalid = [], invalid + (listed is not None)
    executions: dict[str, SubjectExecution] = {}
    for each in listed:
        try:
            read = _read_execution(each, study_id, subject_id)
        except BREAKS_THE_CONTRACT:
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
