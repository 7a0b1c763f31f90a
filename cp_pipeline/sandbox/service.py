"""What the sandbox answers to a request: the routing, and the order in which things are checked.

Belongs here: tokens, listing, blob storage and the control endpoint, as functions from a request to
an answer. Does not belong: sockets (`server.py`), the rules (`access.py`, `listing.py`).
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import parse_qsl, quote, unquote

from cp_pipeline.sandbox.access import LinkSigner, RateLimit, TokenError, TokenOffice
from cp_pipeline.sandbox.answers import (
    Answer,
    Request,
    RequestKind,
    RequestRecord,
    blob_error,
    document,
    text,
)
from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.listing import (
    BadRequestError,
    Dialect,
    filters_of_body,
    filters_of_query,
    page,
    paging_of_query,
)
from cp_pipeline.sandbox.packing import Packing, Shelf, pack
from cp_pipeline.sandbox.study import SandboxStudy
from cp_pipeline.sandbox.timestamps import text_of

API_PATH = "/dataaccess/v3"
TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)

_CONTROL_PATH = "/sandbox/executions"
_LISTING = re.compile(rf"{API_PATH}/studies/([0-9]{{1,18}})/(datasetexportfiles|datasetfiles)")
_FILTERS = {"subjectId", "dataSetName", "studyProgramId"}
_FORM = "application/x-www-form-urlencoded"
_MOST_RECORDS = 1_000_000

Handler = Callable[[Request], Answer]


class Service:
    """Answers requests; knows no sockets. A subclass may override `respond` and `listed`."""

    def __init__(
        self,
        study: SandboxStudy,
        *,
        tokens: TokenOffice,
        rate: RateLimit,
        links: LinkSigner,
        packing: Packing,
        latency_seconds: float,
    ) -> None:
        """Takes what is served, and the rules for it."""
        self.study = study
        self.records: deque[RequestRecord] = deque(maxlen=_MOST_RECORDS)
        self.base_url = ""
        self._tokens = tokens
        self._rate = rate
        self._links = links
        self._packing = packing
        self._latency_seconds = latency_seconds
        self._shelf = Shelf()

    def answer(self, request: Request) -> Answer:
        """The answer to a request, which is recorded before anybody can have read it."""
        kind, handler = self._route(request.path)
        answer = self._limited(kind) or self.respond(kind, request, handler)
        record = RequestRecord(kind, request.method, request.path, answer.status, time.time())
        self.records.append(record)
        if self._latency_seconds:
            time.sleep(self._latency_seconds)
        return answer

    def respond(self, kind: RequestKind, request: Request, handler: Handler) -> Answer:  # noqa: ARG002
        """The handler's answer. Tests override this to answer in its place, or to alter it."""
        return handler(request)

    def listed(self) -> Sequence[ExportFile]:
        """What the pages of the listing hold, in their order."""
        return self.study.export_files

    def prepare(self) -> None:
        """Packs every export file, so that answers no longer wait for contents to be made."""
        for file in self.study.export_files:
            self._packed(file)

    def _route(self, path: str) -> tuple[RequestKind, Handler]:
        if path.startswith("/blobs/"):
            return "file", self._blob
        lowered = path.lower()
        if lowered == TOKEN_PATH:
            return "token", partial(_only, "POST", self._token)
        if lowered == _CONTROL_PATH:
            return "control", partial(_only, "POST", self._control)
        match = _LISTING.fullmatch(lowered)
        if match is not None:
            listing = partial(self._list, int(match[1]), Dialect(match[2]))
            return "listing", partial(_only, "GET", listing)
        return "unknown", lambda request: text(404, f"There is nothing at {request.path}.")

    def _limited(self, kind: RequestKind) -> Answer | None:
        wait = self._rate.wait() if kind in ("token", "listing") else 0
        if wait == 0:
            return None
        refusal = text(429, f"API calls quota exceeded. Try again in {wait} seconds.")
        return refusal.with_headers({"Retry-After": str(wait)})

    def _token(self, request: Request) -> Answer:
        try:
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
                raise TokenError("invalid_request")
            form = _pairs(request.body.decode("ascii", errors="replace"))
            token = self._tokens.grant(form)
        except TokenError as refusal:
            return document(400, {"error": str(refusal)})
        granted = {
            "access_token": token,
            "expires_in": max(1, int(self._tokens.lifetime)),
            "token_type": "Bearer",
            "scope": form["scope"],
        }
        return document(200, granted).with_headers({"Cache-Control": "no-store"})

    def _list(self, study_id: int, dialect: Dialect, request: Request) -> Answer:
        if not self._tokens.accepts(request.headers.get("authorization")):
            refusal = text(401, "The token is missing, unknown or has run out.")
            return refusal.with_headers({"WWW-Authenticate": "Bearer"})
        if study_id != self.study.study_id:
            return text(403, f"This client has no access to study {study_id}.")
        query = _pairs(request.query)
        try:
            limit, offset = paging_of_query(query)
            seed = dialect is Dialect.SEED
            filters = filters_of_body(request.body) if seed else filters_of_query(query)
        except BadRequestError as error:
            return text(400, str(error))
        expiry = self._links.expiry()
        expires_on = text_of(int(expiry.timestamp() * 1_000_000) * 10)

        def link(file: ExportFile) -> tuple[str, str]:
            path = f"/blobs/{file.container}/{quote(file.file_name, safe='')}"
            return f"{self.base_url}{path}?{self._links.query(path, expiry)}", expires_on

        return document(200, page(filters.select(self.listed()), limit, offset, dialect, link))

    def _blob(self, request: Request) -> Answer:
        if request.method != "GET":
            return blob_error(405)
        if "authorization" in request.headers:
            return blob_error(400)
        if not self._links.accepts(request.path, _pairs(request.query)):
            return blob_error(403)
        container, _, file_name = request.path.removeprefix("/blobs/").partition("/")
        file = self.study.blob(container, unquote(file_name))
        if file is None:
            return blob_error(404)
        packing, body = self._packed(file)
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"0x8{file.container[:8].upper()}"',
            "x-ms-version": "2023-11-03",
            "x-ms-blob-type": "BlockBlob",
            "x-ms-request-id": file.container,
        }
        if packing is Packing.CONTENT_ENCODING and not file.raw:
            headers["Content-Encoding"] = "gzip"
        return Answer(200, body, headers).with_headers(file.headers)

    def _packed(self, file: ExportFile) -> tuple[Packing, bytes]:
        packing = (file.packing or self._packing).at(file.position)
        if file.raw:
            return packing, file.csv
        # Containers are never used twice in a study, so one names a content for good.
        blob = self._shelf.get(file.container, lambda: pack(file.csv, packing, file.file_name))
        return packing, blob

    def _control(self, request: Request) -> Answer:
        try:
            wanted = filters_of_body(request.body)
        except BadRequestError as error:
            return text(400, str(error))
        members = json.loads(request.body) if request.body.strip() else {}
        more = members.pop("additionalColumns", False)
        # A misspelt member would otherwise execute every program there is.
        if not isinstance(more, bool) or members.keys() - _FILTERS:
            return text(400, "Send filters, and true or false as additionalColumns.")
        files = self.study.execute_again(
            wanted.subject_id, wanted.data_set_name, wanted.study_program_id, more
        )
        executed = [
            {
                "subjectId": file.subject_id,
                "dataSetName": file.data_set_name,
                "studyProgramId": file.study_program_id,
                "lastSuccessfulProgramExecutionTimeStamp": file.execution,
            }
            for file in files
        ]
        return document(200, {"executed": executed})


def _only(method: str, handler: Handler, request: Request) -> Answer:
    if request.method == method:
        return handler(request)
    return text(405, f"Only {method} is allowed here.").with_headers({"Allow": method})


def _pairs(encoded: str) -> dict[str, str]:
    return dict(parse_qsl(encoded, keep_blank_values=True))
