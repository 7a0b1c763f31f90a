"""What the resources around the exports say: subjects, study programs, executions, data sets.

Belongs here: immutable values (docs/api.md, "The study around the exports").
Does not belong: exports and their versions (``exports``), requests (``centrepoint``).
"""

from dataclasses import dataclass
from typing import NamedTuple

from cp_pipeline.domain.exports import Instant


class SubjectProgram(NamedTuple):
    """A subject and a study program: the pair that has an execution."""

    study_id: int
    subject_id: int
    study_program_id: str


@dataclass(frozen=True, slots=True)
class SubjectExecution:
    """The last execution of one study program for one subject.

    ``study_program_id`` is spelled as ``canonical_program`` returns it. ``program_name`` does not
    identify a program: two may share it. ``execution`` is None if the program never ran.
    """

    study_id: int
    subject_id: int
    study_program_id: str
    program_name: str | None
    execution: Instant | None

    @property
    def key(self) -> SubjectProgram:
        """The subject and the study program."""
        return SubjectProgram(self.study_id, self.subject_id, self.study_program_id)


@dataclass(frozen=True, slots=True)
class SubjectItem:
    """One subject, with one entry for each study program that the service names.

    ``last_upload``: when raw data last came; None if never.
    """

    study_id: int
    subject_id: int
    last_upload: Instant | None
    executions: tuple[SubjectExecution, ...]


@dataclass(frozen=True, slots=True)
class StudyProgram:
    """One study program. A new version of a program is another one, with its own id."""

    study_id: int
    study_program_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ProgramDataset:
    """One data set that a study program yields."""

    study_id: int
    study_program_id: str
    dataset_name: str
