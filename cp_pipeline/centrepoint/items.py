"""Reading one item of a listing (API.md, "An item").

Belongs here: from JSON to ``ExportFile``, or to what is wrong; and what was asked for against
what came.
Does not belong: pages and requests (``listing``).
"""

import re
from dataclasses import dataclass
from typing import Any

from cp_pipeline.centrepoint.errors import AnswerNotUnderstood
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.exports import ExportFile, Instant, UnusableItem

_EXECUTION = "lastSuccessfulProgramExecutionTimeStamp"
_HALF = re.compile("[\ud800-\udfff]")
# Numbers, and moments in nanoseconds since 1970, that 64 bits hold; a little less, because the
# outermost ones mean infinity to DuckDB.
_LARGEST = 2**63 - 2


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing is narrowed to; None means everything."""

    subject_id: int | None = None
    study_program_id: str | None = None
    dataset_name: str | None = None

    def as_parameters(self) -> dict[str, int | str]:
        """The filters under the API's names, those that are set."""
        named = {
            "subjectId": self.subject_id,
            "studyProgramId": self.study_program_id,
            "dataSetName": self.dataset_name,
        }
        return {name: value for name, value in named.items() if value is not None}

    def accept(self, item: ExportFile | UnusableItem) -> bool:
        """Whether ``item`` is what was asked for (a server may ignore a filter, API.md).

        What an item does not say of itself may be what was asked for.
        """
        program = self.study_program_id
        return (
            _fits(self.subject_id, item.subject_id)
            and _fits(self.dataset_name, item.dataset_name)
            and _fits(program and program.casefold(), (item.study_program_id or "").casefold())
        )


def _fits(asked: int | str | None, said: int | str | None) -> bool:
    return asked is None or said in (asked, None, "")


def read_item(raw: Any) -> ExportFile | UnusableItem:  # noqa: ANN401  (JSON is anything)
    """Read one item of a page, or say what is wrong with it, without its URL."""
    try:
        return ExportFile(
            study_id=_whole_number(raw["studyId"]),
            subject_id=_whole_number(raw["subjectId"]),
            study_program_id=_text(raw["studyProgramId"]),
            dataset_name=_text(raw["dataSetName"]),
            file_name=_text(raw["fileName"]),
            file_format=str(raw.get("fileFormat") or "csv"),
            modified=_instant(raw["modifiedDate"]),
            execution=_instant(raw[_EXECUTION]),
            url=_text(raw["fileUrl"]),
        )
    except KeyError as error:
        reason = f"the field {error} is missing"
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error)
    readable = raw if isinstance(raw, dict) else {}
    return UnusableItem(
        study_id=_as_number(readable.get("studyId")),
        subject_id=_as_number(readable.get("subjectId")),
        study_program_id=_as_text(readable.get("studyProgramId")),
        dataset_name=_as_text(readable.get("dataSetName")),
        file_name=_as_text(readable.get("fileName")),
        program_execution=_as_text(readable.get(_EXECUTION)),
        reason=redact(reason),
    )


def contract_broken(item: UnusableItem) -> AnswerNotUnderstood:
    """The error for an item without which there is no going on."""
    return AnswerNotUnderstood(
        redact(f"CentrePoint listed an item that breaks the contract. {item}."),
        "Report it to ActiGraph support.",
    )


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    if abs(value) > _LARGEST:
        raise ValueError(f"{value!r} is not a number of 64 bits")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    # JSON can say half a character, which no file and no database can hold.
    if not value.isascii() and _HALF.search(value):
        raise ValueError(f"{value!r} has half a character in it")
    return value


def _instant(value: object) -> Instant:
    instant = Instant.parse(_text(value))
    if abs(instant.nanoseconds) > _LARGEST:
        # For instance .NET's word for no date, which is of the year 1.
        raise ValueError(f"{value!r} is not of the years 1678 to 2261")
    return instant


def _as_number(value: object) -> int | None:
    try:
        return _whole_number(value)
    except (TypeError, ValueError):
        return None


def _as_text(value: object) -> str | None:
    try:
        return _text(value)
    except (TypeError, ValueError):
        return None
