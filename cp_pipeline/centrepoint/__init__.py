"""CentrePoint's export API over HTTP, as docs/api.md describes it.

Belongs here: tokens, pages, retries, the request budget, signed links, downloads.
Does not belong: where bytes are stored, DuckDB, Dagster.
"""

from cp_pipeline.centrepoint.api import PAGE_SIZE
from cp_pipeline.centrepoint.client import CentrePoint
from cp_pipeline.centrepoint.downloads import REQUESTS_FOR_A_FILE, FileRequests
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    CentrePointError,
    ConnectionSettingsWrong,
    CredentialsRefused,
    DownloadFailed,
    ExportWithdrawn,
    ResourceMissing,
    ScopeRefused,
    ServiceError,
    ServiceUnavailable,
    StudyRefused,
    TokenRefused,
)
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.listing import Progress, no_progress
from cp_pipeline.centrepoint.pages import REQUESTS_AT_ONCE, a_few_at_once
from cp_pipeline.centrepoint.readings import ListingPosition, Reading
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.centrepoint.study_details import StudyDetails
from cp_pipeline.centrepoint.subjects import SubjectsPage

__all__ = [
    "PAGE_SIZE",
    "REQUESTS_AT_ONCE",
    "REQUESTS_FOR_A_FILE",
    "AnswerNotUnderstood",
    "CentrePoint",
    "CentrePointError",
    "ConnectionSettingsWrong",
    "CredentialsRefused",
    "DownloadFailed",
    "ExportWithdrawn",
    "FileRequests",
    "Filters",
    "ListingPosition",
    "Progress",
    "Reading",
    "ResourceMissing",
    "ScopeRefused",
    "ServiceError",
    "ServiceUnavailable",
    "StudyDetails",
    "StudyRefused",
    "SubjectsPage",
    "TokenRefused",
    "a_few_at_once",
    "no_progress",
    "redact",
]
