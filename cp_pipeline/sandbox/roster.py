"""Who is enrolled in a study, and which program was executed when for whom.

Belongs here: subjects and study programs, also those without an export file, and their JSON
(docs/api.md, The study around the exports). Does not belong: which export files there are
(`study_contents.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cp_pipeline.sandbox.days import chance
from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.timestamps import TICKS_PER_SECOND, text_of, ticks_of

# .NET's DateTimeOffset.MinValue, by which the vendor means "never"; null means the same.
YEAR_ONE = "0001-01-01T00:00:00+00:00"
_HOUR = 3_600 * TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Program:
    """One study program. Two may share a name; the id identifies, in upper or lower case."""

    study_id: int
    study_program_id: str
    name: str

    def json(self) -> dict[str, object]:
        """The item of `/programs`."""
        return {
            "studyId": self.study_id,
            "studyProgramId": self.study_program_id,
            "studyProgramName": self.name,
        }

    def data_set_json(self, data_set_name: str) -> dict[str, object]:
        """The item of `/datasets` for one of its data sets."""
        return {"studyProgramId": self.study_program_id, "dataSetName": data_set_name}


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject: the last upload, and when each study program was executed, both verbatim."""

    study_id: int
    subject_id: int
    last_upload: str | None
    executions: Mapping[Program, str | None]

    def json(self) -> dict[str, object]:
        """The item of `/subjects`."""
        return {
            "studyId": self.study_id,
            "subjectId": self.subject_id,
            "lastRawUploadedTimeStamp": self.last_upload,
            "studyProgramExecutions": [
                {
                    "studyProgramId": program.study_program_id,
                    "studyProgramName": program.name,
                    "lastSuccessfulProgramExecutionTimeStamp": execution,
                }
                for program, execution in self.executions.items()
            ],
        }


class Roster:
    """Subjects, study programs and executions. Not thread-safe: the study guards it."""

    def __init__(self, seed: int) -> None:
        """Starts without subjects and programs; the seed decides when somebody uploaded."""
        self.programs: dict[str, Program] = {}
        self._seed = seed
        # Each subject with its word for "never".
        self._never: dict[int, str | None] = {}
        self._without_file: dict[tuple[int, str], str] = {}
        self._uploads: dict[int, str] = {}

    @property
    def subject_ids(self) -> tuple[int, ...]:
        """Every subject, in the order in which they came."""
        return tuple(self._never)

    def enrol(self, subject_id: int, never: str | None = YEAR_ONE) -> None:
        """Adds a subject, unless it is there, with its word for "never"."""
        self._never.setdefault(subject_id, never)

    def add(self, program: Program) -> None:
        """Adds a study program, unless it is there."""
        self.programs.setdefault(program.study_program_id.lower(), program)

    def upload(self, subject_id: int, moment: str) -> None:
        """Sets when raw data of a subject was last uploaded."""
        self._uploads[subject_id] = moment

    def execute(self, subject_id: int, study_program_id: str, execution: str) -> None:
        """Sets an execution of which there is no file. The newest one of a pair counts."""
        pair = subject_id, study_program_id.lower()
        self._without_file[pair] = max(execution, self._without_file.get(pair, ""), key=_age)

    def subject(
        self, study_id: int, subject_id: int, files: Iterable[ExportFile]
    ) -> Subject | None:
        """A subject with its files, and the newest execution of each program; None if unknown."""
        if subject_id not in self._never:
            return None
        never = self._never[subject_id]
        found: dict[str, set[str]] = {}
        for file in files:
            found.setdefault(file.study_program_id.lower(), set()).add(file.execution)
        for key in self.programs:
            if (subject_id, key) in self._without_file:
                found.setdefault(key, set()).add(self._without_file[subject_id, key])
        executions = {
            program: _newest(found[key]) if key in found else never
            for key, program in self.programs.items()
        }
        upload = self._uploads.get(subject_id) or self._upload(
            subject_id, {each for each in executions.values() if each}
        )
        return Subject(study_id, subject_id, upload or never, executions)

    def _upload(self, subject_id: int, executions: set[str]) -> str | None:
        """Some hours before the newest execution; None if nothing was executed."""
        ticks = ticks_of(_newest(executions - {YEAR_ONE} or {""}))
        if ticks is None:
            return None
        hours = 2 + 9 * chance(self._seed, subject_id, "upload").random()
        return text_of(ticks - int(hours * _HOUR))


def _newest(executions: set[str]) -> str:
    # Most often there is one, which needs no reading.
    return max(executions, key=_age) if len(executions) > 1 else next(iter(executions))


def _age(execution: str) -> tuple[int, str]:
    # What is no timestamp counts as older than any.
    ticks = ticks_of(execution)
    return -(1 << 62) if ticks is None else ticks, execution
