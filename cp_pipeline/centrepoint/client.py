"""CentrePoint as one object, for ``ingest`` and ``doctor``.

Belongs here: combining tokens, listing, subjects and downloads with one budget of requests.
Does not belong: how each of them works (``tokens``, ``listing``, ``subjects``,
``downloads``).
"""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from cp_pipeline.centrepoint.api import Api
from cp_pipeline.centrepoint.budget import RequestBudget
from cp_pipeline.centrepoint.dialects import DialectChoice
from cp_pipeline.centrepoint.downloads import Downloads, FileRequests, Kept, Receive
from cp_pipeline.centrepoint.hosts import HostRule
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.listing import Listing, Progress, no_progress
from cp_pipeline.centrepoint.readings import ListingPart, ListingPosition
from cp_pipeline.centrepoint.study_details import StudyDetails
from cp_pipeline.centrepoint.subjects import Subjects, SubjectsPage
from cp_pipeline.centrepoint.tokens import DETAILS_SCOPE, TokenSource
from cp_pipeline.centrepoint.transport import ReadOnlyTransport, Transport
from cp_pipeline.domain.executions import ProgramDataset, StudyProgram
from cp_pipeline.domain.exports import ExportFile, StudyListing
from cp_pipeline.settings import CentrePointSettings, Dialect


class CentrePoint:
    """The export API of one service, for one API client. Thread-safe.

    Args:
        settings: the service's addresses and the client's credentials.
        ledger: see ``RequestBudget``.
    """

    def __init__(self, settings: CentrePointSettings, ledger: Path | None = None) -> None:
        self.settings = settings
        api = Transport(RequestBudget(settings.requests_per_minute, ledger))
        self._details = _details(settings, api)
        self._tokens = TokenSource(settings, api)
        gets = Api(settings, api, self._tokens)
        self._dialects = DialectChoice(settings.dialect)
        self._listing = Listing(gets, self._dialects)
        self._subjects = Subjects(gets)
        # A service on a private network may have its storage on the same host.
        own_host = urlsplit(settings.api_url).hostname or ""
        rule = HostRule([own_host, *settings.private_hosts])
        # Blob storage is another service: the API's limit does not count these requests.
        self._downloads = Downloads(
            Transport(budget=None, rule=rule, retries=False),
            self._listing,
            allow_insecure_http=settings.allow_insecure_http,
        )

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

    def count_export_files(self, study_id: int) -> int:
        """Return the number of export files of a study; see ``Listing.count``."""
        return self._listing.count(study_id)

    def list_export_files(
        self,
        study_id: int,
        filters: Filters = Filters(),  # noqa: B008  (immutable)
        progress: Progress = no_progress,
    ) -> StudyListing:
        """List the export files of a study; see ``Listing.export_files``."""
        return self._listing.export_files(study_id, filters, progress)

    def list_in_parts(
        self,
        study_id: int,
        progress: Progress = no_progress,
        *,
        part_items: int,
        resumed: ListingPosition | None = None,
    ) -> Generator[ListingPart, None, None]:
        """List all export files of a study, a part at a time; see ``Listing.in_parts``."""
        return self._listing.in_parts(
            study_id, progress=progress, part_items=part_items, resumed=resumed
        )

    def subjects_page(self, study_id: int, offset: int = 0) -> SubjectsPage:
        """Return one page of the subjects of a study; see ``Subjects.page``."""
        return self._subjects.page(study_id, offset)

    def programs(self, study_id: int) -> tuple[StudyProgram, ...]:
        """Return the study programs of a study; see ``Subjects.programs``."""
        return self._subjects.programs(study_id)

    def program_datasets(self, study_id: int, study_program_id: str) -> tuple[ProgramDataset, ...]:
        """Return the data sets of a study program; see ``Subjects.program_datasets``."""
        return self._subjects.program_datasets(study_id, study_program_id)

    @property
    def details(self) -> StudyDetails | None:
        """What asks for the details of studies; None unless the settings want them."""
        return self._details

    def fetch(
        self,
        export_file: ExportFile,
        receive: Receive[Kept],
        requests: FileRequests | None = None,
    ) -> Kept:
        """Download one file; see ``Downloads.fetch``."""
        return self._downloads.fetch(export_file, receive, requests)


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
