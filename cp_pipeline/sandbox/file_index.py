"""The export files of a study at one moment, found by subject, data set and study program.

Belongs here: order and look-up, fast enough for 200,000 export files. Does not belong: what changes
them (`study.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter

from cp_pipeline.sandbox.export_file import ExportFile, Filters

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


def _grouped(files: Iterable[ExportFile], part: int) -> _Group:
    groups: dict[int | str, list[ExportFile]] = {}
    for file in files:
        groups.setdefault(file.key[part], []).append(file)
    return groups
