"""CentrePoint as one object, for ``ingest`` and ``doctor``.

Belongs here: combining tokens, listing and downloads with one budget of requests.
Does not belong: how each of them works (``tokens``, ``listing``, ``downloads``).
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
    """The export API of one service, for one API client. Thread-safe.

    Args:
        settings: the service's addresses and the client's credentials.
        ledger: see ``RequestBudget``.
    """

    def __init__(self, settings: CentrePointSettings, ledger: Path | None = None) -> None:
        self.settings = settings
        api = Transport(RequestBudget(settings.requests_per_minute, ledger))
        self._tokens = TokenSource(settings, api)
        self._listing = Listing(settings, api, self._tokens)
        # A service on a private network may have its storage on the same host.
        own_host = urlsplit(settings.api_url).hostname or ""
        rule = HostRule([own_host, *settings.private_hosts])
        # Blob storage is another service: the API's limit does not count these requests.
        self._downloads = Downloads(
            Transport(budget=None, rule=rule, retries=False),
            self._listing,
            allow_insecure_http=settings.allow_insecure_http,
        )

    def check_access(self) -> None:
        """Request an access token.

        Raises:
            ServiceError: no token could be obtained; the subclass says why and what to do.
        """
        self._tokens.current()

    def count_export_files(self, study_id: int) -> int:
        """Return the number of export files of a study; see ``Listing.count``."""
        return self._listing.count(study_id)

    def list_export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
    ) -> StudyListing:
        """List the export files of a study; see ``Listing.export_files``."""
        return self._listing.export_files(study_id, filters)

    def fetch(
        self,
        export_file: ExportFile,
        receive: Receive[Kept],
        requests: FileRequests | None = None,
    ) -> Kept:
        """Download one file; see ``Downloads.fetch``."""
        return self._downloads.fetch(export_file, receive, requests)
