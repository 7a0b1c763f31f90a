"""What a study has: export files, subjects, study programs; and the look-up of each.

Belongs here: what is there now, as the service asks for it, fast enough for 200,000 export files.
Does not belong: why it changes (`study.py`), executions without a file (`roster.py`).
"""

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import attrgetter

from cp_pipeline.sandbox.days import chance
from cp_pipeline.sandbox.export_file import ExportFile, Filters, Key
from cp_pipeline.sandbox.measurements import program_name, shared_program
from cp_pipeline.sandbox.people import People
from cp_pipeline.sandbox.roster import Program, Roster, Subject
from cp_pipeline.sandbox.timestamps import first_execution, modified_after, next_execution

_Group = Mapping[int | str, Sequence[ExportFile]]


class FileIndex:
    """Export files in the order of the listing. It never changes: a changed study has a new one."""

    def __init__(self, files: Iterable[ExportFile]) -> None:
        """Takes the export files in any order."""
        self.files = tuple(sorted(files, key=attrgetter("position")))

    def select(self, filters: Filters) -> Sequence[ExportFile]:
        """The export files that pass, in their order."""
        groups = (self.by_subject, self._by_data_set, self.by_program)
        found = [
            group.get(wanted, ())
            for wanted, group in zip(filters.wanted, groups, strict=True)
            if wanted is not None
        ]
        if not found:
            return self.files
        fewest = min(found, key=len)
        return fewest if len(found) == 1 else [file for file in fewest if filters.accept(file)]

    @cached_property
    def by_subject(self) -> _Group:
        """The export files of each subject."""
        return _grouped(self.files, 0)

    @cached_property
    def _by_data_set(self) -> _Group:
        return _grouped(self.files, 1)

    @cached_property
    def by_program(self) -> _Group:
        """The export files of each study program, by its id in lower case."""
        return _grouped(self.files, 2)

    @cached_property
    def data_sets(self) -> Mapping[int | str, Sequence[str]]:
        """The names of the data sets of each study program, by its id in lower case."""
        return {
            program: tuple(dict.fromkeys(file.data_set_name for file in files))
            for program, files in self.by_program.items()
        }


class StudyContents:
    """The contents of one study. Thread-safe."""

    def __init__(self, study_id: int, seed: int = 0) -> None:
        """Makes a study without export files; the seed decides ids, timestamps and values."""
        self.study_id = study_id
        self.seed = seed
        self._lock = threading.RLock()
        self._files: dict[Key, ExportFile] = {}
        self._blobs: dict[tuple[str, str], ExportFile] = {}
        self._positions: dict[Key, int] = {}
        self._serial = 0
        self._roster = Roster(seed)
        self.people = People(study_id, seed)
        # Kept until the study changes: a large study is asked for many pages.
        self._index: FileIndex | None = None
        self._subjects: dict[int, Subject] = {}

    @property
    def export_files(self) -> tuple[ExportFile, ...]:
        """What is listed now, in a stable order."""
        return self.index.files

    @property
    def index(self) -> FileIndex:
        """What is listed now, by subject, data set and program."""
        with self._lock:
            if self._index is None:
                self._index = FileIndex(self._files.values())
            return self._index

    def listed(self, filters: Filters) -> Sequence[ExportFile]:
        """What is listed now for these filters. Tests override this."""
        return self.index.select(filters)

    @property
    def subject_ids(self) -> tuple[int, ...]:
        """Every subject, also those without an export, in the order in which they came."""
        with self._lock:
            return self._roster.subject_ids

    @property
    def programs(self) -> tuple[Program, ...]:
        """Every study program, also those without an export."""
        with self._lock:
            return tuple(self._roster.programs.values())

    def program(self, study_program_id: str) -> Program | None:
        """The study program with this id; None if there is none."""
        with self._lock:
            return self._roster.programs.get(study_program_id.lower())

    def subject(self, subject_id: int) -> Subject | None:
        """A subject and the executions of all programs; None if nobody has that id."""
        with self._lock:
            if subject_id not in self._subjects:
                files = self.index.by_subject.get(subject_id, ())
                found = self._roster.subject(self.study_id, subject_id, files)
                if found is None:
                    return None
                self._subjects[subject_id] = found
            return self._subjects[subject_id]

    def blob(self, container: str, file_name: str) -> ExportFile | None:
        """The export file whose blob lies there; None if it was replaced or withdrawn."""
        with self._lock:
            return self._blobs.get((container, file_name))

    def _keep(self, file: ExportFile) -> ExportFile:
        """Files an export file under its place in the listing, with a path never used before."""
        self._serial += 1
        old = self._files.get(file.key)
        names = (file.subject_id, file.data_set_name)
        execution = file.execution
        timed = self.seed, file.subject_id, shared_program(file.data_set_name)
        if not execution and old is None:
            execution = first_execution(*timed, days=0, last_digit=1)
        elif not execution and old is not None:
            execution = next_execution(old.execution, *timed, file.execution_number)
        # The program is left out on purpose: two programs' files share one name (docs/api.md, An
        # item).
        identifier = self._identifier(*names, file.execution_number)
        file = replace(
            file,
            file_name=file.file_name or f"{file.subject_id}_{identifier}.csv.gz",
            execution=execution,
            modified=file.modified or modified_after(execution, *names),
            container=self._identifier("container", self._serial),
            position=self._positions.setdefault(file.key, len(self._positions)),
            serial=self._serial,
        )
        if old is not None:
            del self._blobs[old.container, old.file_name]
        self._files[file.key] = file
        self._blobs[file.container, file.file_name] = file
        self._roster.enrol(file.subject_id)
        name = program_name(file.data_set_name)
        self._roster.add(Program(self.study_id, file.study_program_id, name))
        self._changed()
        return file

    def _changed(self) -> None:
        self._index = None
        self._subjects = {}

    def _program_id(self, data_set_name: str, number: int) -> str:
        return self._identifier("program", shared_program(data_set_name), number)

    def _identifier(self, *names: object) -> str:
        random_bytes = chance(self.seed, self.study_id, *names).randbytes(16)
        return str(uuid.UUID(bytes=random_bytes, version=4))


def _grouped(files: Iterable[ExportFile], part: int) -> _Group:
    groups: dict[int | str, list[ExportFile]] = {}
    for file in files:
        groups.setdefault(file.key[part], []).append(file)
    return groups
