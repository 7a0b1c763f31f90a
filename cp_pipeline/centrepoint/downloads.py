"""Fetching one export file by its signed link (API.md, "Files").

Belongs here: the link's life and death, and that all announced bytes arrive.
Does not belong: where the bytes go; a ``receive`` function is given for that.
"""

import logging
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from cp_pipeline.centrepoint.errors import (
    AnswerNotUnderstood,
    DownloadFailed,
    ExportFileError,
    ExportWithdrawn,
    ServiceUnavailable,
)
from cp_pipeline.centrepoint.hosts import PrivateHost
from cp_pipeline.centrepoint.items import Filters
from cp_pipeline.centrepoint.listing import Listing
from cp_pipeline.centrepoint.pace import too_slow
from cp_pipeline.centrepoint.redaction import redact
from cp_pipeline.centrepoint.transport import Transport, describe
from cp_pipeline.exports import ExportFile, UnusableItem

CHUNK_BYTES = 1 << 20
_ATTEMPTS = 4
_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")
Receive = Callable[[ExportFile, Iterator[bytes]], Kept]


class _Interrupted(Exception):
    """An attempt that is worth another one; ``fresh_link`` if the link itself was no good."""

    def __init__(self, reason: str, fresh_link: bool = False) -> None:
        super().__init__(reason)
        self.fresh_link = fresh_link


class Downloads:
    """Fetches export files, asking for a new link where the old one has died."""

    def __init__(
        self, transport: Transport, listing: Listing, *, allow_insecure_http: bool
    ) -> None:
        self._transport = transport
        self._listing = listing
        self._allow_insecure_http = allow_insecure_http

    def fetch(self, export_file: ExportFile, receive: Receive[Kept]) -> Kept:
        """Hand the bytes of one export file, as stored, to ``receive`` and return its result.

        ``receive`` is called with the file that the bytes are of, because a program may have been
        executed again since the listing, and an iterator of chunks. It is called anew for each
        attempt, and an attempt that breaks off raises inside the iterator.

        Raises:
            ExportWithdrawn: the export is no longer listed.
            DownloadFailed: several attempts failed, or the link is not one to follow.
            ServiceError: the listing, asked for a new link, cannot be had.
        """
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(0.2 * 4 ** (attempt - 1) if attempt > 1 else 0.0)
            try:
                return receive(export_file, self._chunks(export_file))
            except _Interrupted as interruption:
                reason, fresh_link = str(interruption), interruption.fresh_link
            _log.info("%s: %s; again", export_file, reason)
            if fresh_link:
                export_file = self._listed_again(export_file)
        raise DownloadFailed(
            f"The file could not be fetched in {_ATTEMPTS} attempts: {reason} ({export_file}).",
            "Run it again later; if it stays so, report it to ActiGraph support.",
        )

    def _listed_again(self, export_file: ExportFile) -> ExportFile:
        filters = Filters(
            export_file.subject_id, export_file.study_program_id, export_file.dataset_name
        )
        unusable: list[UnusableItem] = []
        listed = self._listing.export_files(export_file.study_id, filters, unusable)
        fresh = next((item for item in listed if item.key == export_file.key), None)
        if fresh is None and unusable:
            raise DownloadFailed(
                f"The export was listed again, but not as the contract has it: {unusable[0]}.",
                "Report it to ActiGraph support.",
            )
        if fresh is None:
            raise ExportWithdrawn(
                f"The export was withdrawn while it was being fetched ({export_file}).",
                "Nothing to do, unless it should be there: then ask ActiGraph support.",
            )
        return fresh

    def _chunks(self, export_file: ExportFile) -> Iterator[bytes]:
        """The bytes as they are stored: no Authorization, no decoding on the way."""
        self._check_scheme(export_file)
        response = self._open(export_file)
        with response:
            announced = response.headers.get("Content-Length")
            arrived, failure, slow = 0, False, None
            try:
                while chunk := response.raw.read(CHUNK_BYTES, decode_content=False):
                    arrived += len(chunk)
                    yield chunk
            except (HTTPError, HTTPException, OSError) as error:
                failure, slow = True, too_slow(error)
            if failure or (announced is not None and str(arrived) != announced.strip()):
                reason = f"{arrived} bytes arrived of {announced or 'an unknown number'} announced"
                raise _Interrupted(f"{reason}; {slow}" if slow else reason)

    def _open(self, export_file: ExportFile) -> requests.Response:
        failure, private = "", ""
        try:
            response = self._transport.send(
                "GET",
                export_file.url,
                purpose="fetching the file",
                headers={"Accept-Encoding": "identity"},
                stream=True,
            )
        except ServiceUnavailable as error:
            failure = redact(error.what)
        except PrivateHost as error:
            private = str(error)
        except AnswerNotUnderstood as error:
            raise DownloadFailed(
                f"{error.what} ({export_file})", "Report it to ActiGraph support."
            ) from None
        if private:
            raise DownloadFailed(
                f"The link of a file {private} ({export_file}).",
                "If the storage really is there, name the host in CP_ALLOW_PRIVATE_HOSTS; "
                "else report it to ActiGraph.",
            )
        if failure:
            raise _Interrupted(failure)
        if response.status_code == requests.codes.ok:
            return response
        with response:
            answer = describe(response)
        if response.status_code in {401, 403, 404, 410}:
            raise _Interrupted(f"the link has died: {answer}", fresh_link=True)
        raise _Interrupted(f"the storage answered {answer}")

    def _check_scheme(self, export_file: ExportFile) -> None:
        try:
            scheme = urlsplit(export_file.url).scheme.lower()
        except ValueError:
            scheme = ""
        if scheme != "https" and not (scheme == "http" and self._allow_insecure_http):
            raise DownloadFailed(
                f"The link of a file is not HTTPS ({export_file}).",
                "Set CP_ALLOW_INSECURE_HTTP=1 only for a sandbox; else report it to ActiGraph.",
            )


__all__ = ["Downloads", "ExportFileError", "Receive"]
