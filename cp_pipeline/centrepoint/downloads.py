"""Download one export file by its signed link (docs/api.md, "Files").

Belongs here: expired links, retries, their limit, and the check that all announced bytes arrive.
Does not belong: where the bytes go (the caller's ``receive`` function), what a refusal by the
storage means (``storage``).
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from cp_pipeline.centrepoint.answers import announced_length, describe, obey, retry_after
from cp_pipeline.centrepoint.connection_errors import too_slow
from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    ConnectionSettingsWrong,
    DownloadFailed,
    ExportWithdrawn,
    ServiceUnavailable,
)
from cp_pipeline.centrepoint.hosts import PrivateHost
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.listing import Listing
from cp_pipeline.centrepoint.storage import LinkState, StorageState, state_of_link
from cp_pipeline.centrepoint.transport import Transport
from cp_pipeline.domain.exports import ExportFile

REQUESTS_FOR_A_FILE = 4
CHUNK_BYTES = 1 << 20
# Before the second, third and fourth request, unless a Retry-After header says otherwise. A random
# jitter is added.
_BACKOFF_SECONDS = (0.25, 2.0, 8.0)
_JITTER_SECONDS = 0.25
_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")
Receive = Callable[[ExportFile, Iterator[bytes]], Kept]


class _Interrupted(Exception):
    """A request that failed. ``link``: the state of the link; None if the link is not the cause."""

    def __init__(
        self, reason: str, link: LinkState | None = None, wait_seconds: float | None = None
    ) -> None:
        super().__init__(reason)
        self.link = link
        self.wait_seconds = wait_seconds


@dataclass(slots=True)
class FileRequests:
    """Counts the requests for one file in one load attempt, for any purpose. Not thread-safe.

    To download a second copy of the file, pass the same object to ``CentrePoint.fetch``.
    ``listed_again``: the item with a new link, from the one repeated listing; if set, use its link.
    """

    spent: int = 0
    listed_again: ExportFile | None = None

    @property
    def left(self) -> int:
        """The number of requests that may still be sent."""
        return REQUESTS_FOR_A_FILE - self.spent


@dataclass(slots=True)
class _Fetch:
    """The download of one file: the requests so far."""

    planned: ExportFile
    requests: FileRequests
    pauses: int = 0

    @property
    def file(self) -> ExportFile:
        return self.requests.listed_again or self.planned

    @property
    def has_fresh_link(self) -> bool:
        return self.requests.listed_again is not None


class Downloads:
    """Downloads export files, and requests a new link when the old one has expired.

    This class alone counts and repeats the requests for a file: the transport must not retry.
    """

    def __init__(
        self, transport: Transport, listing: Listing, *, allow_insecure_http: bool
    ) -> None:
        self._transport = transport
        self._listing = listing
        self._allow_insecure_http = allow_insecure_http
        self._storage = StorageState()

    def fetch(
        self,
        export_file: ExportFile,
        receive: Receive[Kept],
        requests: FileRequests | None = None,
    ) -> Kept:
        """Pass the bytes of one export file, as stored, to ``receive`` and return its result.

        Each attempt calls ``receive`` with the file and an iterator of chunks. The file can differ
        from ``export_file``: a program may have been executed again since the listing. If an
        attempt breaks off, the iterator raises.

        Args:
            export_file: the file to download.
            receive: takes the bytes.
            requests: the limit of requests for the file, and those already sent; by default
                ``REQUESTS_FOR_A_FILE``. At least one must be left.

        Raises:
            ExportWithdrawn: the export is no longer listed.
            DownloadFailed: all attempts failed, the link must not be followed, or CentrePoint is
                still writing the file.
            ServiceError: the listing failed when it was asked for a new link.
        """
        fetch = _Fetch(export_file, requests or FileRequests())
        while True:
            fetch.requests.spent += 1
            try:
                kept = receive(fetch.file, self._chunks(fetch.file))
            except _Interrupted as interruption:
                failed = interruption
            else:
                self._storage.gave_a_file()
                return kept
            self._prepare_another(fetch, failed)

    def _prepare_another(self, fetch: _Fetch, failed: _Interrupted) -> None:
        """Wait, or request a new link, before the next request.

        Raises:
            DownloadFailed: another request would not help.
        """
        if not fetch.requests.left:
            self._give_up(fetch, failed)
        if failed.link is None:
            _log.info("%s: %s; trying again", fetch.file, failed)
            if failed.wait_seconds:
                obey(failed.wait_seconds)
            else:
                time.sleep(_backoff(fetch.requests.spent))
            return
        # A new link takes even longer to become valid, so wait first; the last request may need a
        # new link.
        if failed.link is LinkState.MAYBE_TOO_EARLY and (
            fetch.has_fresh_link or fetch.requests.left > 1
        ):
            pause = self._storage.pause(fetch.pauses)
            if pause is not None:
                _log.info("%s: %s; trying again in %.0f s", fetch.file, failed, pause)
                fetch.pauses += 1
                time.sleep(pause)
                return
        if fetch.has_fresh_link or self._storage.refuses_all:
            self._give_up(fetch, failed)
        _log.info("%s: %s; requesting a new link", fetch.file, failed)
        fetch.requests.listed_again = self._listed_again(fetch.planned)

    def _give_up(self, fetch: _Fetch, failed: _Interrupted) -> NoReturn:
        refuses_all = self._storage.refuses_all
        if failed.link is not None and fetch.has_fresh_link:
            self._storage.refused_a_fresh_link()
        if failed.link is not None and refuses_all:
            raise DownloadFailed(
                f"The storage refuses one file after another, also with new links: {failed} "
                f"({fetch.file}).",
                "Check whether a firewall or proxy blocks the storage; otherwise ask ActiGraph "
                "support.",
            )
        tries = fetch.requests.spent
        raise DownloadFailed(
            f"The file could not be downloaded in {tries} attempts: {failed} ({fetch.file}).",
            "Try again later; if it fails again, report it to ActiGraph support.",
        )

    def _listed_again(self, export_file: ExportFile) -> ExportFile:
        """Return the export's current item, with a new link.

        Raises:
            ExportWithdrawn: the export is no longer listed.
            DownloadFailed: the item is invalid, or CentrePoint is still writing its file.
        """
        # Do not filter by study program: a service may compare its spelling case-sensitively.
        filters = Filters(export_file.subject_id, dataset_name=export_file.dataset_name)
        listing = self._listing.export_files(export_file.study_id, filters)
        fresh = next((item for item in listing.items if item.key == export_file.key), None)
        if fresh is None:
            broken = [item for item in listing.invalid if item.key in (None, export_file.key)]
            if broken:
                raise DownloadFailed(
                    f"The export was listed again, but its item is invalid: {broken[0]}.",
                    "Report it to ActiGraph support.",
                )
            if listing.missing:
                raise DownloadFailed(
                    f"The export was listed again, but CentrePoint listed fewer items than it "
                    f"counts ({export_file}).",
                    "Try again later; if it fails again, report it to ActiGraph support.",
                )
            raise ExportWithdrawn(
                f"The export was withdrawn during its download ({export_file}).",
                "Nothing to do, unless the export should exist: then ask ActiGraph support.",
            )
        if _same_version(fresh, export_file):
            # Keep the execution of the first listing: a later execution has not written this file.
            return replace(export_file, url=fresh.url)
        if fresh.is_pending:
            raise DownloadFailed(
                f"The file was replaced during its download, and CentrePoint is still writing "
                f"the new one ({fresh}).",
                "The next sync will load it.",
            )
        return fresh

    def _chunks(self, export_file: ExportFile) -> Iterator[bytes]:
        """Yield the bytes as they are stored: no Authorization header, no content decoding."""
        self._check_scheme(export_file)
        response = self._open(export_file)
        with response:
            announced = announced_length(response)
            arrived, failure, slow = 0, False, None
            try:
                while chunk := response.raw.read(CHUNK_BYTES, decode_content=False):
                    arrived += len(chunk)
                    yield chunk
            except (HTTPError, HTTPException, OSError) as error:
                failure, slow = True, too_slow(error)
            if failure or (announced is not None and str(arrived) != announced):
                reason = (
                    f"{arrived} of {announced or 'an unknown number of'} announced bytes arrived"
                )
                raise _Interrupted(f"{reason}; {slow}" if slow else reason)

    def _open(self, export_file: ExportFile) -> requests.Response:
        wrong: DownloadFailed | _Interrupted
        try:
            response = self._transport.send(
                "GET",
                export_file.url,
                purpose="downloading the file",
                headers={"Accept-Encoding": "identity"},
                stream=True,
            )
        except ServiceUnavailable as error:
            wrong = _Interrupted(error.what.rstrip("."))
        except PrivateHost as error:
            wrong = DownloadFailed(
                f"The link of a file {error} ({export_file}).",
                "If the storage really has this address, add the host to CP_ALLOW_PRIVATE_HOSTS; "
                "otherwise report it to ActiGraph.",
            )
        except ConnectionSettingsWrong as error:
            wrong = DownloadFailed(f"{error.what} ({export_file})", error.remedy)
        except AnswerNotUnderstood as error:
            wrong = DownloadFailed(
                f"{error.what} ({export_file})", "Report it to ActiGraph support."
            )
        else:
            return self._checked(response, export_file)
        # Raise outside the handlers: the original error names the link and must not become the
        # context of this one.
        raise wrong

    def _checked(self, response: requests.Response, export_file: ExportFile) -> requests.Response:
        if response.status_code == requests.codes.ok:
            return response
        with response:
            answer = describe(response)
            link = state_of_link(response, export_file.url)
        wait_seconds = retry_after(response.headers.get("Retry-After"))
        said = f"{link.value}: {answer}" if link else f"the storage answered {answer}"
        raise _Interrupted(said, link, wait_seconds)

    def _check_scheme(self, export_file: ExportFile) -> None:
        try:
            scheme = urlsplit(export_file.url).scheme.lower()
        except ValueError:
            scheme = ""
        if scheme != "https" and not (scheme == "http" and self._allow_insecure_http):
            raise DownloadFailed(
                f"The link of a file is not HTTPS ({export_file}).",
                "Set CP_ALLOW_INSECURE_HTTP=1 only for a sandbox; otherwise report it to "
                "ActiGraph.",
            )


def _same_version(fresh: ExportFile, planned: ExportFile) -> bool:
    """Whether two items are one version.

    See docs/api.md, "Which version of an export an item is". If the time of the last change is
    unknown, another execution is another version.
    """
    if (fresh.modified, fresh.file_name) != (planned.modified, planned.file_name):
        return False
    return fresh.modified is not None or fresh.execution == planned.execution


def _backoff(requests_spent: int) -> float:
    """Return the seconds to wait after ``requests_spent`` requests without a ``Retry-After``."""
    place = min(requests_spent, len(_BACKOFF_SECONDS)) - 1
    return _BACKOFF_SECONDS[place] + random.uniform(0, _JITTER_SECONDS)  # noqa: S311  (no secret)
