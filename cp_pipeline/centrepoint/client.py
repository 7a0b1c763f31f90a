"""CentrePoint as one object, for ``ingest`` and ``doctor``.

Belongs here: combining tokens, listing, subjects and downloads with one budget of requests.
Does not belong: how each of them works (``tokens``, ``listing``, ``subjects``,
``downloads``).
"""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from cp_pipeline.centrepoint.api import Api
from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline.centrepoint.dialects import DialectChoice
from cp_pipeline.centrepoint.downloads import Downloads
from cp_pipeline.centrepoint.hosts import HostRule
from cp_pipeline.centrepoint.listing import Listing
from cp_pipeline.centrepoint.study_details import StudyDetails
from cp_pipeline.centrepoint.subjects import Subjects
from cp_pipeline.centrepoint.tokens import DETAILS_SCOPE, TokenSource
from cp_pipeline.centrepoint.transport import ReadOnlyTransport, Transport
from cp_pipeline.settings import CentrePointSettings, Dialect


class CentrePoint:
    """The export API of one service, for one API client. Thread-safe.

    Its methods are those of ``Listing``, ``Subjects`` and ``Downloads``. ``details`` asks for the
    details of studies; None unless the settings want them.

    Args:
        settings: the service's addresses and the client's credentials.
        ledger: see ``RequestBudget``.
    """

    def __init__(self, settings: CentrePointSettings, ledger: Path | None = None) -> None:
        self.settings = settings
        api = Transport(RequestBudget(settings.requests_per_minute, ledger))
        self.details = _details(settings, api)
        self._tokens = TokenSource(settings, api)
        gets = Api(settings, api, self._tokens)
        self._dialects = DialectChoice(settings.dialect)
        listing = Listing(gets, self._dialects)
        self.count_export_files = listing.count
        self.list_export_files = listing.export_files
        self.list_in_parts = listing.in_parts
        subjects = Subjects(gets)
        self.subjects_page = subjects.page
        self.programs = subjects.programs
        self.program_datasets = subjects.program_datasets
        # A service on a private network may have its storage on the same host.
        own_host = urlsplit(settings.api_url).hostname or ""
        rule = HostRule([own_host, *settings.private_hosts])
        # Blob storage is another service: the API's limit does not count these requests.
        storage = Transport(budget=None, rule=rule, retries=False)
        self._downloads = Downloads(
            storage, listing, allow_insecure_http=settings.allow_insecure_http
        )
        self.fetch = self._downloads.fetch

    @property
    def dialect(self) -> Dialect | None:
        """The dialect in which the service answered; None before its first answer."""
        return self._dialects.answered

    @property
    def settings_found(self) -> CentrePointSettings:
        """The settings for another client, which need not find the dialect again."""
        return replace(self.settings, dialect=self.dialect or self.settings.dialect)

    def check_access(self) -> None:
        """Request an access token.

        Raises:
            ServiceError: no token could be obtained; the subclass says why and what to do.
        """
        self._tokens.current()


def _details(settings: CentrePointSettings, transport: Transport) -> StudyDetails | None:
    """Return what asks with the scope CentrePoint: with a token of its own, and only GET."""
    wanted = settings.details
    if wanted is None:
        return None
    own = replace(
        settings,
        api_url=wanted.api_url,
        client_id=wanted.client_id,
        client_secret=wanted.client_secret,
    )
    variables = "CP_DETAILS_CLIENT" if wanted.has_own_client else "CP_CLIENT"
    tokens = TokenSource(own, transport, DETAILS_SCOPE, variables)
    gets = Api(own, ReadOnlyTransport(transport, own.api_url), tokens)
    return StudyDetails(gets, wanted.subject_fields)
