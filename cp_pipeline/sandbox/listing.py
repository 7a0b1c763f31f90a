"""The listing of export files in both dialects: filters, paging, the JSON of a page.

Belongs here: what docs/api.md says under its first table, A page and An item. Does not belong:
whether the asker may see it (`access.py`), status codes (`service.py`).
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from cp_pipeline.sandbox.export_file import ExportFile, Filters

_LARGEST_PAGE = 100
# Narrower than int(), which takes "1_0" and " 7" too.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


class Dialect(StrEnum):
    """The two generations of the resource, by the last segment of their path."""

    SEED = "datasetexportfiles"
    CURRENT = "datasetfiles"


class BadRequestError(ValueError):
    """The request is not as documented; the text says how."""


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
    subject_id = _integer(query["subjectId"], "subjectId") if "subjectId" in query else None
    return Filters(subject_id, query.get("dataSetName"), _program(query.get("studyProgramId")))


def paging_of_query(query: Mapping[str, str]) -> tuple[int, int]:
    """Limit and offset."""
    limit = _integer(query.get("limit", str(_LARGEST_PAGE)), "limit")
    offset = _integer(query.get("offset", "0"), "offset")
    if not 1 <= limit <= _LARGEST_PAGE:
        raise BadRequestError(f"limit must be 1 to {_LARGEST_PAGE}.")
    if offset < 0:
        raise BadRequestError("offset must be 0 or more.")
    return limit, offset


def page(
    files: Sequence[ExportFile],
    limit: int,
    offset: int,
    dialect: Dialect,
    link: Callable[[ExportFile], tuple[str, str]],
) -> dict[str, object]:
    """The JSON of one page of the files; `link` makes a signed URL, and the text of its expiry."""
    return {
        "items": [_item(file, dialect, *link(file)) for file in files[offset : offset + limit]],
        "links": _links(files[0].study_id, len(files), limit, offset) if files else {},
        "totalCount": len(files),
        "limit": limit,
        "offset": offset,
    }


def _item(file: ExportFile, dialect: Dialect, url: str, expires_on: str) -> dict[str, object]:
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


def _integer(value: str, name: str) -> int:
    if _INTEGER.fullmatch(value) is None:
        raise BadRequestError(f"{name} must be an integer.")
    return int(value)
