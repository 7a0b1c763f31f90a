"""Reading one item of a listing (API.md, "An item").

Belongs here: from JSON to ``ExportFile``, and what was asked for against what came.
Does not belong: pages and requests (``listing``).
"""

from dataclasses import dataclass
from typing import Any

from cp_pipeline.centrepoint.errors import AnswerNotUnderstood
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.exports import ExportFile, Instant


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

    def accept(self, item: ExportFile) -> bool:
        """Whether ``item`` is what was asked for (a server may ignore a filter, API.md)."""
        return (
            self.subject_id in (None, item.subject_id)
            and self.dataset_name in (None, item.dataset_name)
            and (
                self.study_program_id is None
                or self.study_program_id.casefold() == item.study_program_id.casefold()
            )
        )


def read_item(raw: Any) -> ExportFile:  # noqa: ANN401  (JSON is anything)
    """Read one item of a page.

    Raises:
        AnswerNotUnderstood: a field is missing or of another kind; the item is named by what it
            has, without its URL.
    """
    try:
        return ExportFile(
            study_id=_whole_number(raw["studyId"]),
            subject_id=_whole_number(raw["subjectId"]),
            study_program_id=_text(raw["studyProgramId"]),
            dataset_name=_text(raw["dataSetName"]),
            file_name=_text(raw["fileName"]),
            file_format=str(raw.get("fileFormat") or "csv"),
            modified=Instant.parse(_text(raw["modifiedDate"])),
            execution=Instant.parse(_text(raw["lastSuccessfulProgramExecutionTimeStamp"])),
            url=_text(raw["fileUrl"]),
        )
    except KeyError as error:
        reason = f"the field {error} is missing"
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error)
    shown = {name: raw[name] for name in _SHOWN if name in raw} if isinstance(raw, dict) else {}
    raise AnswerNotUnderstood(
        redact(f"CentrePoint listed an item that breaks the contract: {reason} ({shown})."),
        "Report it to ActiGraph support.",
    )


_SHOWN = ("studyId", "subjectId", "dataSetName", "studyProgramId", "fileName")


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    return value
