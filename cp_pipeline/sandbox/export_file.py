"""One item of the listing and the blob behind it, and the filters that select some of them.

Belongs here: the values. Does not belong: which ones a study has (`study.py`), their JSON
(`listing.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cp_pipeline.sandbox.measurements import Recipe
from cp_pipeline.sandbox.packing import Packing

Key = tuple[int, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """One export file (docs/api.md, An item). The study fills in what is empty or -1.

    Attributes:
        execution: `lastSuccessfulProgramExecutionTimeStamp`, verbatim.
        modified: `modifiedDate`, verbatim.
        execution_number: 0 for the first export of this subject, data set and program.
        source: the CSV itself, or the recipe it is made from.
        raw: whether `source` is the blob as it is, not a CSV to be packed.
        packing: None leaves it to the sandbox.
        headers: of the answer, in addition to the usual ones, or in place of them.
        container: the segment of the URL's path that makes it unique, file names being no help.
        position: place in the listing, kept when replaced.
        serial: place among all export files ever made; larger is newer.
    """

    study_id: int
    subject_id: int
    data_set_name: str
    study_program_id: str
    source: bytes | Recipe
    file_name: str = ""
    execution: str = ""
    modified: str = ""
    execution_number: int = 0
    raw: bool = False
    packing: Packing | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    container: str = ""
    position: int = -1
    serial: int = -1

    @property
    def key(self) -> Key:
        """What a newer export file replaces this one by."""
        return self.subject_id, self.data_set_name, self.study_program_id.lower()

    @property
    def csv(self) -> bytes:
        """The plain CSV (of a raw blob: the blob), made anew each time."""
        return self.source.csv() if isinstance(self.source, Recipe) else self.source


@dataclass(frozen=True, slots=True)
class Filters:
    """Which export files are asked for; None asks for every one. Programs in lower case."""

    subject_id: int | None = None
    data_set_name: str | None = None
    study_program_id: str | None = None

    @property
    def wanted(self) -> tuple[int | None, str | None, str | None]:
        """What is asked for, in the order of `ExportFile.key`."""
        return self.subject_id, self.data_set_name, self.study_program_id

    def accept(self, file: ExportFile) -> bool:
        """Whether the export file passes."""
        return all(each in (None, own) for each, own in zip(self.wanted, file.key, strict=True))
