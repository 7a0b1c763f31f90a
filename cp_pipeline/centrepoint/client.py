"""CentrePoint as one object: what ``ingest`` and ``doctor`` ask of it.

Belongs here: putting tokens, listing and downloads together with one budget of requests.
"""

from pathlib import Path
from urllib.parse import urlsplit

from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline.centrepoint.downloads import Downloads, Kept, Receive
from cp_pipeline.centrepoint.file_requests import FileRequests
from cp_pipeline.centrepoint.hosts import HostRule
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.listing import Listing
from cp_pipeline.centrepoint.tokens import TokenSource
from cp_pipeline.centrepoint.transport import Transport
from cp_pipeline.domain.exports import ExportFile, StudyListing
from cp_pipeline.settings import CentrePointSettings


class CentrePoint:
    """The export API of one service, for one client. Safe to use from many threads.

    Args:
        settings: of the service and the client.
        ledger: see ``RequestBudget``.
    """

    def __init__(self, settings: CentrePointSettings, ledger: Path | None = None) -> None:
        self.settings = settings
        api = Transport(RequestBudget(settings.requests_per_minute, ledger))
        self._tokens = TokenSource(settings, api)
        self._listing = Listing(settings, api, self._tokens)
        # A service that runs on private ground may have its storage on the same host.
        own_host = urlsplit(settings.api_url).hostname or ""
        rule = HostRule([own_host, *settings.private_hosts])
        # Blob storage is another service and is not counted against the API's minute.
        self._downloads = Downloads(
            Transport(budget=None, rule=rule, retries=False),
            self._listing,
            allow_insecure_http=settings.allow_insecure_http,
        )

    def check_access(self) -> None:
        """Take a token.

        Raises:
            ServiceError: none is to be had; the subclass says why and what to do.
        """
        self._tokens.current()

    def count_export_files(self, study_id: int) -> int:
        """How many export files a study has; see ``Listing.count``."""
        return self._listing.count(study_id)

    def list_export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
    ) -> StudyListing:
        """What is listed of a study; see ``Listing.export_files``."""
        return self._listing.export_files(study_id, filters)

    def fetch(
        self,
        export_file: ExportFile,
        receive: Receive[Kept],
        requests: FileRequests | None = None,
    ) -> Kept:
        """Fetch one file; see ``Downloads.fetch``."""
        return self._downloads.fetch(export_file, receive, requests)
