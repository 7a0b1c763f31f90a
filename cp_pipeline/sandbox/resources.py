"""Subjects, study programs and their data sets (docs/api.md, The study around the exports).

Belongs here: their values and their JSON. Does not belong: which ones a study has (`study.py`),
pages (`paging.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

# .NET's DateTimeOffset.MinValue, by which the vendor means "never"; null means the same.
YEAR_ONE = "0001-01-01T00:00:00+00:00"


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
