"""CentrePoint's export API over HTTP, as API.md describes it.

Knows: tokens, pages, retries, the request budget, signed links, downloads.
Does not know: where bytes are kept, DuckDB, Dagster.
"""

from cp_pipeline.centrepoint.client import CentrePoint
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    CentrePointError,
    CredentialsRefused,
    DownloadFailed,
    ExportFileError,
    ExportWithdrawn,
    ScopeRefused,
    ServiceError,
    ServiceUnavailable,
    StudyRefused,
    TokenRefused,
)
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.redaction import redact

__all__ = [
    "AnswerNotUnderstood",
    "CentrePoint",
    "CentrePointError",
    "CredentialsRefused",
    "DownloadFailed",
    "ExportFileError",
    "ExportWithdrawn",
    "Filters",
    "ScopeRefused",
    "ServiceError",
    "ServiceUnavailable",
    "StudyRefused",
    "TokenRefused",
    "redact",
]
