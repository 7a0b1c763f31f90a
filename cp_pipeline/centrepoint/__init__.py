"""CentrePoint's export API over HTTP, as docs/api.md describes it.

Belongs here: tokens, pages, retries, the request budget, signed links, downloads.
Does not belong: where bytes are stored, DuckDB, Dagster.
"""

from cp_pipeline.centrepoint.api import PAGE_SIZE as PAGE_SIZE
from cp_pipeline.centrepoint.client import CentrePoint as CentrePoint
from cp_pipeline.centrepoint.downloads import (
    REQUESTS_FOR_A_FILE as REQUESTS_FOR_A_FILE,
    FileRequests as FileRequests,
)
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood as AnswerNotUnderstood,
    CentrePointError as CentrePointError,
    ConnectionSettingsWrong as ConnectionSettingsWrong,
    CredentialsRefused as CredentialsRefused,
    DownloadFailed as DownloadFailed,
    ExportWithdrawn as ExportWithdrawn,
    ResourceMissing as ResourceMissing,
    ScopeRefused as ScopeRefused,
    ServiceError as ServiceError,
    ServiceUnavailable as ServiceUnavailable,
    StudyRefused as StudyRefused,
    TokenRefused as TokenRefused,
)
from cp_pipeline.centrepoint.items import Filters as Filters
from cp_pipeline.centrepoint.listing import Progress as Progress, no_progress as no_progress
from cp_pipeline.centrepoint.pages import (
    REQUESTS_AT_ONCE as REQUESTS_AT_ONCE,
    a_few_at_once as a_few_at_once,
)
from cp_pipeline.centrepoint.readings import ListingPosition as ListingPosition, Reading as Reading
from cp_pipeline.centrepoint.redaction import redact as redact
from cp_pipeline.centrepoint.study_details import StudyDetails as StudyDetails
from cp_pipeline.centrepoint.subjects import SubjectsPage as SubjectsPage
