"""Read one item of a listing (docs/api.md, "An item").

Belongs here: from JSON to an export file, an item that is left out, or an invalid item; whether an
item matches the filters.
Does not belong: single values (``json_values``), pages and requests (``listing``), when a listing
is complete (``readings``).
"""

import re
from dataclasses import dataclass
from typing import Any

from cp_pipeline.centrepoint.json_values import (
    instant,
    is_never,
    number_or_none,
    text,
    text_or_none,
    whole_number,
)
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.domain.exports import (
    ExportFile,
    ExportKey,
    InvalidItem,
    canonical_program,
    digest_of,
)

_EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
_WORD = re.compile(r"[a-z0-9]+")
# Other words in the name of a CSV format: parts of a media type, and the compression.
_BESIDE_CSV = frozenset(
    {"text", "application", "x", "file", "gz", "gzip", "gzipped", "compressed", "zip", "zipped"}
)
_LONGEST_FORMAT = 40


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a listing; None means no filter."""

    subject_id: int | None = None
    study_program_id: str | None = None
    dataset_name: str | None = None

    def as_parameters(self) -> dict[str, int | str]:
        """Return the filters that are set, under the API's names."""
        named = {
            "subjectId": self.subject_id,
            "studyProgramId": self._program,
            "dataSetName": self.dataset_name,
        }
        return {name: value for name, value in named.items() if value is not None}

    def accept(self, item: "ExportFile | ExportKey | InvalidItem") -> bool:
        """Whether ``item`` matches the filters (a server may ignore a filter, docs/api.md).

        A field that an item lacks matches every filter.
        """
        return (
            _fits(self.subject_id, item.subject_id)
            and _fits(self.dataset_name, item.dataset_name)
            and _fits(self._program, item.study_program_id)
        )

    @property
    def _program(self) -> str | None:
        program = self.study_program_id
        return None if program is None else canonical_program(program)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A valid item without anything to load.

    ``other_format``: its format, if not CSV, in lower case; None if the program never ran.
    """

    key: ExportKey
    other_format: str | None

    @property
    def digest(self) -> int:
        """See ``digest_of``."""
        return digest_of(self)


ReadItem = ExportFile | InvalidItem | LeftOut


def _fits(asked: int | str | None, said: int | str | None) -> bool:
    return asked is None or said in (asked, None, "")


def read_item(raw: Any) -> ReadItem:  # noqa: ANN401  (JSON is anything)
    """Read one item of a page; an invalid item gets a reason that does not contain its URL."""
    try:
        key = ExportKey(
            study_id=whole_number(raw["studyId"]),
            subject_id=whole_number(raw["subjectId"]),
            study_program_id=canonical_program(text(raw["studyProgramId"])),
            dataset_name=text(raw["dataSetName"]),
        )
        file_format = _format(raw.get("fileFormat"))
        if not _is_csv(file_format):
            return LeftOut(key, file_format.lower())
        if is_never(raw.get(_EXECUTION)):
            return LeftOut(key, None)
        modified = raw.get("modifiedDate")
        return ExportFile(
            *key,
            file_name=text(raw["fileName"]),
            file_format=file_format,
            modified=None if is_never(modified) else instant(modified),
            execution=instant(raw[_EXECUTION]),
            url=text(raw["fileUrl"]),
            study_version=number_or_none(raw.get("studyVersion")),
        )
    except KeyError as error:
        reason = f"the field {error} is missing"
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error)
    readable = raw if isinstance(raw, dict) else {}
    program = text_or_none(readable.get("studyProgramId"))
    return InvalidItem(
        study_id=number_or_none(readable.get("studyId")),
        subject_id=number_or_none(readable.get("subjectId")),
        study_program_id=None if program is None else canonical_program(program),
        dataset_name=text_or_none(readable.get("dataSetName")),
        file_name=text_or_none(readable.get("fileName")),
        program_execution=text_or_none(readable.get(_EXECUTION)),
        reason=redact(reason),
    )


def _format(value: object) -> str:
    """Return the format's name as listed; without a name it is CSV (docs/api.md, "An item")."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "csv"
    return redact(text(value).strip())[:_LONGEST_FORMAT]


def _is_csv(file_format: str) -> bool:
    """Whether a format is CSV in any spelling, such as ``text/csv; charset=utf-8`` or ``.csv.gz``.

    CentrePoint writes ``csv``; other services use file extensions and media types.
    """
    words = set(_WORD.findall(file_format.lower().partition(";")[0]))
    return "csv" in words and words <= _BESIDE_CSV | {"csv"}
