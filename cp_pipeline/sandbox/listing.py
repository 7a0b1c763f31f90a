"""The listing of export files in both dialects: filters, and the JSON of an item.

Belongs here: what docs/api.md says under its first table, and An item. Does not belong: pages
(`paging.py`), whether the asker may see it (`access.py`), status codes (`service.py`).
"""

import json
import uuid
from collections.abc import Mapping
from enum import StrEnum

from cp_pipeline.sandbox.export_file import ExportFile, Filters
from cp_pipeline.sandbox.paging import BadRequestError, integer


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


def _program(value: object) -> str | None:
    if value is None:
        return None
    try:
        return str(uuid.UUID(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise BadRequestError("studyProgramId must be a GUID.") from error
