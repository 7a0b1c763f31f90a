"""The listing of export files in both dialects, and the pages of any list.

Belongs here: what docs/api.md says under its first table, A page, and An item. Does not belong:
whether the asker may see it (`access.py`), what the items of other lists are (`roster.py`).
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from cp_pipeline.sandbox.answers import Answer, Request, document
from cp_pipeline.sandbox.export_file import ExportFile, Filters

_LARGEST_PAGE = 100
# Narrower than int(), which takes "1_0" and " 7" too.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
Row = TypeVar("Row")


class BadRequestError(ValueError):
    """The request is not as documented; the text says how."""


class Dialect(StrEnum):
    """The two generations of the resource, by the last segment of their path."""

    SEED = "datasetexportfiles"
    CURRENT = "datasetfiles"


def filters_of_body(body: bytes) -> Filters:
    """The seed's filters, members of a JSON object; no body means none."""
    if not body.strip():
        return Filters()
    try:
        members = json.loads(body)
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON: {error}.") from error
    if not isinstance(members, dict):
        raise BadRequestError("The body must be a JSON object.")
    subject_id = members.get("subjectId")
    if subject_id is not None and type(subject_id) is not int:
        raise BadRequestError("subjectId must be an integer.")
    data_set_name = members.get("dataSetName")
    if not isinstance(data_set_name, str | None):
        raise BadRequestError("dataSetName must be a string.")
    return Filters(subject_id, data_set_name, _program(members.get("studyProgramId")))


def filters_of_query(query: Mapping[str, str]) -> Filters:
    """The current dialect's filters, query parameters."""
    subject_id = integer(query["subjectId"], "subjectId") if "subjectId" in query else None
    return Filters(subject_id, query.get("dataSetName"), _program(query.get("studyProgramId")))


def item_of(file: ExportFile, dialect: Dialect, url: str, expires_on: str) -> dict[str, object]:
    """The JSON of an export file, with its signed URL and the text of that URL's expiry."""
    item: dict[str, object] = {
        "studyId": file.study_id,
        "subjectId": file.subject_id,
        "studyProgramId": file.study_program_id,
        "dataSetName": file.data_set_name,
        "fileName": file.file_name,
        "fileFormat": "csv",
        "modifiedDate": file.modified,
        "lastSuccessfulProgramExecutionTimeStamp": file.execution,
        "fileUrl": url,
    }
    if dialect is Dialect.CURRENT:
        item |= {"studyVersion": 3, "downloadUrlExpiresOn": expires_on}
    return item


def paged(
    request: Request,
    study_id: int,
    rows: Sequence[Row],
    item: Callable[[Row], dict[str, object]],
) -> Answer:
    """The page of the rows that a request asks for; `item` makes the JSON of one row."""
    limit = integer(request.parameters.get("limit", str(_LARGEST_PAGE)), "limit")
    offset = integer(request.parameters.get("offset", "0"), "offset")
    if not 1 <= limit <= _LARGEST_PAGE:
        raise BadRequestError(f"limit must be 1 to {_LARGEST_PAGE}.")
    if offset < 0:
        raise BadRequestError("offset must be 0 or more.")
    page = {
        "items": [item(row) for row in rows[offset : offset + limit]],
        "links": _links(study_id, len(rows), limit, offset) if rows else {},
        "totalCount": len(rows),
        "limit": limit,
        "offset": offset,
    }
    return document(200, page)


def integer(value: str, name: str) -> int:
    """The whole number that a parameter of this name has as its text; raises BadRequestError."""
    if _INTEGER.fullmatch(value) is None:
        raise BadRequestError(f"{name} must be an integer.")
    return int(value)


def _links(study_id: int, total: int, limit: int, offset: int) -> dict[str, str]:
    # Another service and host, as in the vendor's examples: whoever follows them gets nowhere.
    base = f"https://study-admin.example.invalid/studyadmin/v1/Studies/{study_id}/files"
    offsets = {}
    if offset > 0:
        offsets["prev"] = max(0, offset - limit)
    if offset + limit < total:
        offsets["next"] = offset + limit
    return {name: f"{base}?limit={limit}&offset={place}" for name, place in offsets.items()}


def _program(value: object) -> str | None:
    if value is None:
        return None
    try:
        return str(uuid.UUID(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise BadRequestError("studyProgramId must be a GUID.") from error
