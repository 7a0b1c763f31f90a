"""What the scope CentrePoint tells of a study, as rows; and how people call a subject.

Belongs here: values (docs/api.md, "The study around the exports").
Does not belong: requests (``centrepoint``), tables (``warehouse``).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

# Columns in lower case with underscores, each with its value; hashable, to leave out repetitions.
DetailRow = tuple[tuple[str, object], ...]
_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class DetailTable:
    """The rows of one table of the schema ``study`` for one study.

    ``is_complete``: whether a row that is missing here does not exist any more. ``subject_ids``:
    the subjects that were asked about, one by one; None if the whole study was.
    """

    name: str
    study_id: int
    rows: tuple[DetailRow, ...]
    is_complete: bool = True
    subject_ids: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class SubjectName:
    """How people call a subject. Identifiers may be missing."""

    study_id: int
    subject_id: int
    subject_identifier: str | None
    site_identifier: str | None
    site_name: str | None = None

    @property
    def label(self) -> str:
        """The identifier with that of the site before it, such as ``101-0042``; else the id."""
        if not self.subject_identifier:
            return str(self.subject_id)
        return "-".join(each for each in (self.site_identifier, self.subject_identifier) if each)

    @property
    def spellings(self) -> frozenset[str]:
        """The texts by which a person may name the subject."""
        given = {self.subject_identifier, self.label if self.subject_identifier else None}
        return frozenset(each for each in given if each)

    def is_named(self, identifier: str) -> bool:
        """Whether a person means this subject; blanks around it and capitals do not matter."""
        wanted = identifier.strip().lower()
        return wanted in {spelling.lower() for spelling in self.spellings}

    @property
    def site(self) -> str:
        """The site's identifier and name; empty if both are unknown."""
        return " ".join(each for each in (self.site_identifier, self.site_name) if each)


@dataclass(frozen=True, slots=True)
class StudyNames:
    """The names of study programs by id, and of subjects by id; empty where they are not known."""

    programs: Mapping[str, str] = field(default_factory=dict)
    subjects: Mapping[int, SubjectName] = field(default_factory=dict)

    def of_programs(self, ids: Collection[str]) -> str:
        """Return the names of study programs, each with its id: ``Activity (30) (5e65…)``."""
        named = sorted((self.programs.get(each, ""), each) for each in set(ids))
        return ", ".join(f"{name} ({each})" if name else each for name, each in named)

    def in_message(self, message: str) -> str:
        """Return a message with the name of each study program before its id."""
        if not self.programs:
            return message

        def named(match: re.Match[str]) -> str:
            name = self.programs.get(match[0])
            return match[0] if name is None else f"{name} ({match[0]})"

        return _GUID.sub(named, message)


NO_NAMES = StudyNames()
