"""Which subjects, study programs, data sets and executions a study has.

Belongs here: everything that adds, replaces, executes or withdraws. Does not belong: how it is kept
and found (`study_contents.py`), HTTP, links, pages, the contents of a CSV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cp_pipeline.sandbox.export_file import ExportFile, Filters
from cp_pipeline.sandbox.measurements import (
    BAROMETER,
    DATA_SETS,
    PARAMETERS,
    Recipe,
    data_set_names,
    shared_program,
)
from cp_pipeline.sandbox.packing import Packing
from cp_pipeline.sandbox.roster import YEAR_ONE, Program
from cp_pipeline.sandbox.study_contents import StudyContents
from cp_pipeline.sandbox.timestamps import first_execution

FIRST_SUBJECT = 10821


class SandboxStudy(StudyContents):
    """One study. Thread-safe, and may change while it is being served."""

    @classmethod
    def empty(cls, study_id: int = 4711) -> "SandboxStudy":
        """A study whose processing was not requested yet: nothing is listed."""
        return cls(study_id)

    @classmethod
    def synthetic(
        cls,
        study_id: int = 4711,
        subjects: int = 12,
        days: int = 3,
        seed: int = 1,
        epoch_rows: int | None = None,
        *,
        datasets: tuple[str, ...] | None = None,
        data_set_count: int = len(DATA_SETS),
    ) -> "SandboxStudy":
        """A study with every synthetic data set for every subject.

        The last of several subjects has no barometer. Two study programs yield
        `ParamsAndSubject (31)`; their executions differ in the seventh fractional digit alone, and
        their files share one name.

        The ids of the subjects start at 10821. An epoch file has `epoch_rows` rows, by default one
        for each minute of the days. Beyond the fourth, data sets are like the daily one; six of
        them come from one program. `datasets` restricts the study to data sets of these names.
        """
        known = data_set_names(data_set_count)
        unknown = set(datasets or ()) - set(known)
        if unknown:
            raise ValueError(f"No such data set: {sorted(unknown)}; there are {list(known)}.")
        if min(subjects, days, epoch_rows or 0) < 0:
            raise ValueError("subjects, days and epoch_rows cannot be negative.")
        study = cls(study_id, seed)
        wanted = [name for name in known if datasets is None or name in datasets]
        for number in range(subjects):
            has_barometer = number == 0 or number < subjects - 1
            for name in wanted:
                if name != BAROMETER or has_barometer:
                    study._measure(number, name, days, epoch_rows)
        return study

    def put(
        self,
        *,
        subject_id: int,
        data_set_name: str,
        csv: bytes | None = None,
        study_program_id: str | None = None,
        execution: str | None = None,
        file_name: str | None = None,
        packing: Packing | None = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        modified: str | None = None,
        study_program_name: str | None = None,
    ) -> ExportFile:
        """Adds or replaces the export file of a subject, data set and study program.

        The subject and the data set may be new to the study. `csv` is packed, `raw` is the blob
        itself. The other arguments are attributes of `ExportFile`, by default like those of a
        synthetic file, with an execution later than that of the replaced file.
        """
        source = csv if raw is None else raw
        if source is None or (csv is not None and raw is not None):
            raise ValueError("Give exactly one of csv and raw.")
        program = study_program_id or self._program_id(data_set_name, 0)
        with self._lock:
            if study_program_name is not None:
                self._roster.add(Program(self.study_id, program, study_program_name))
            old = self._files.get((subject_id, data_set_name, program.lower()))
            file = ExportFile(
                study_id=self.study_id,
                subject_id=subject_id,
                data_set_name=data_set_name,
                study_program_id=program,
                source=source,
                file_name=file_name or "",
                execution=execution or "",
                modified=modified or "",
                execution_number=0 if old is None else old.execution_number + 1,
                raw=raw is not None,
                packing=None if packing is None else Packing(packing),
                headers=dict(headers or {}),
            )
            return self._keep(file)

    def withdraw(
        self, *, subject_id: int, data_set_name: str, study_program_id: str | None = None
    ) -> None:
        """Takes export files out of the listing, of one program or of all. Their blobs die.

        The subject and its executions stay.

        Raises:
            LookupError: there is no such export file.
        """
        with self._lock:
            found = self._find(subject_id, data_set_name, study_program_id)
            if not found:
                raise LookupError(f"No export of {data_set_name!r} for subject {subject_id}.")
            for file in found:
                del self._files[file.key]
                del self._blobs[file.container, file.file_name]
                self._roster.execute(file.subject_id, file.study_program_id, file.execution)
            self._changed()

    def execute_again(
        self,
        subject_id: int | None = None,
        data_set_name: str | None = None,
        study_program_id: str | None = None,
    ) -> list[ExportFile]:
        """Executes study programs again: new content, name and URL; the old URLs die.

        None selects everybody's, every data set and every program. A file that was `put` keeps its
        content. Returns the export files that were replaced, as they are now.
        """
        with self._lock:
            found = self._find(subject_id, data_set_name, study_program_id)
            return [self._keep(_executed_again(file)) for file in found]

    def enrol(self, subject_id: int, never: str | None = YEAR_ONE) -> None:
        """Adds a subject without an export; `never` is the word for that: year 1, or None."""
        with self._lock:
            self._roster.enrol(subject_id, never)

    def upload(self, subject_id: int, moment: str = "2024-03-01T08:00:00+00:00") -> None:
        """Uploads raw data of a subject, which may be new to the study; nothing is executed."""
        with self._lock:
            self._roster.enrol(subject_id)
            self._roster.upload(subject_id, moment)
            self._subjects = {}

    def _measure(self, subject: int, name: str, days: int, epoch_rows: int | None) -> None:
        """Adds the first export of a synthetic data set, from each program that yields it."""
        subject_id = FIRST_SUBJECT + subject
        for program_number in range(2 if name == PARAMETERS else 1):
            program = self._program_id(name, program_number)
            # The first subject's have fewer digits, so that every study has some such.
            short = subject == 0 and name != PARAMETERS
            last_digit = None if short else 4 + program_number
            file = ExportFile(
                study_id=self.study_id,
                subject_id=subject_id,
                data_set_name=name,
                study_program_id=program,
                source=Recipe(self.seed, subject_id, name, program, 0, days, epoch_rows),
                execution=first_execution(
                    self.seed, subject_id, shared_program(name), days, last_digit
                ),
            )
            self._keep(file)

    def _find(
        self, subject_id: int | None, data_set_name: str | None, study_program_id: str | None
    ) -> Sequence[ExportFile]:
        program = study_program_id and study_program_id.lower()
        return self.index.select(Filters(subject_id, data_set_name, program))


def _executed_again(file: ExportFile) -> ExportFile:
    number = file.execution_number + 1
    source = file.source
    if isinstance(source, Recipe):
        source = replace(source, execution_number=number)
    return replace(
        file, file_name="", execution="", modified="", execution_number=number, source=source
    )
