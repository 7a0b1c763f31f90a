"""What the sandbox answers to a request: the routing, and the order in which things are checked.

Belongs here: tokens, the API's lists, blob storage and the control endpoint, as functions from a
request to an answer. Does not belong: sockets (`server.py`), the rules (`access.py`, `listing.py`).
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote, unquote

from cp_pipeline.sandbox.access import LinkSigner, RateLimit, TokenError, TokenOffice
from cp_pipeline.sandbox.answers import (
    Answer,
    Request,
    RequestKind,
    RequestRecord,
    blob_error,
    document,
    pairs,
    text,
)
from cp_pipeline.sandbox.details_service import DETAILS_SCOPE, details, of_details
from cp_pipeline.sandbox.export_file import ExportFile, Filters
from cp_pipeline.sandbox.listing import (
    BadRequestError,
    Dialect,
    filters_of_body,
    filters_of_query,
    integer,
    item_of,
    paged,
)
from cp_pipeline.sandbox.packing import Packing, pack
from cp_pipeline.sandbox.roster import Program
from cp_pipeline.sandbox.study import SandboxStudy
from cp_pipeline.sandbox.timestamps import text_of

API_PATH = "/dataaccess/v3"
TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)

_CONTROL_PATH = "/sandbox/executions"
_OF_A_STUDY = re.compile(rf"{API_PATH}/studies/([0-9]{{1,18}})/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?")
_COUNTED = frozenset({"token", "listing", "subjects", "programs", "datasets", "details"})
_SCOPE = "DataAccess"
_FILTERS = {"subjectId", "dataSetName", "studyProgramId"}
_FORM = "application/x-www-form-urlencoded"
_NO_PROGRAM = "The study has no such program."
_MOST_RECORDS = 1_000_000
# Of packed blobs; what does not fit is packed each time that it is asked for.
_KEPT_BYTES = 128 << 20

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
        # By their containers. No container is used twice, so one names a content for good.
        self._blobs: dict[str, bytes] = {}
        self._free_bytes = _KEPT_BYTES

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

    def listed(self, filters: Filters) -> Sequence[ExportFile]:
        """What the pages of the listing hold, in their order."""
        return self.study.listed(filters)

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
        match = _OF_A_STUDY.fullmatch(lowered)
        found = None if match is None else self._resource(match[2], match[3], match[4])
        if match is not None and found is not None:
            kind, handler = found
            of_study = partial(self._of_the_study, int(match[1]), handler, _SCOPE)
            return kind, partial(_only, "GET", of_study)
        if (asked := of_details(lowered)) is not None:
            study_id, rest = asked
            reading = partial(details, self.study, rest)
            of_study = partial(self._of_the_study, study_id, reading, DETAILS_SCOPE)
            return "details", partial(_only, "GET", of_study)
        return "unknown", lambda request: text(404, f"There is nothing at {request.path}.")

    def _resource(
        self, name: str, identifier: str | None, below: str | None
    ) -> tuple[RequestKind, Handler] | None:
        """What lies at a path below that of the study; None if there is nothing."""
        match (name, identifier, below):
            case (Dialect.SEED | Dialect.CURRENT, None, None):
                return "listing", partial(self._list, Dialect(name))
            case ("subjects", None, None):
                return "subjects", self._subjects
            case ("subjects", str(subject_id), None):
                return "subjects", partial(self._subject, subject_id)
            case ("programs", None, None):
                return "programs", self._programs
            case ("programs", str(program_id), None):
                return "programs", partial(self._program, program_id)
            case ("programs", str(program_id), "datasets"):
                return "datasets", partial(self._data_sets, program_id)
        return None

    def _limited(self, kind: RequestKind) -> Answer | None:
        wait = self._rate.wait() if kind in _COUNTED else 0
        if wait == 0:
            return None
        refusal = text(429, f"API calls quota exceeded. Try again in {wait} seconds.")
        return refusal.with_headers({"Retry-After": str(wait)})

    def _token(self, request: Request) -> Answer:
        try:
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
                raise TokenError("invalid_request")
            form = pairs(request.body.decode("ascii", errors="replace"))
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

    def _of_the_study(
        self, study_id: int, handler: Handler, scope: str, request: Request
    ) -> Answer:
        """The handler's answer, if the asker may see the study and the request is as documented."""
        if not self._tokens.accepts(request.headers.get("authorization")):
            refusal = text(401, "The token is missing, unknown or has run out.")
            return refusal.with_headers({"WWW-Authenticate": "Bearer"})
        if not self._tokens.opens(request.headers.get("authorization"), scope):
            return text(403, f"The token is not for the scope {scope}.")
        if study_id != self.study.study_id:
            return text(403, f"This client has no access to study {study_id}.")
        try:
            return handler(request)
        except BadRequestError as error:
            return text(400, str(error))

    def _list(self, dialect: Dialect, request: Request) -> Answer:
        seed = dialect is Dialect.SEED
        filters = filters_of_body(request.body) if seed else filters_of_query(request.parameters)
        expiry = self._links.expiry()
        expires_on = text_of(int(expiry.timestamp() * 1_000_000) * 10)

        def item(file: ExportFile) -> dict[str, object]:
            path = f"/blobs/{file.container}/{quote(file.file_name, safe='')}"
            url = f"{self.base_url}{path}?{self._links.query(path, expiry)}"
            return item_of(file, dialect, url, expires_on)

        return paged(request, self.study.study_id, self.listed(filters), item)

    def _subjects(self, request: Request) -> Answer:
        return paged(request, self.study.study_id, self.study.subject_ids, self._subject_json)

    def _subject_json(self, subject_id: int) -> dict[str, object]:
        subject = self.study.subject(subject_id)
        return {} if subject is None else subject.json()

    def _subject(self, subject_id: str, request: Request) -> Answer:  # noqa: ARG002
        found = self._subject_json(integer(subject_id, "subjectId"))
        return document(200, found) if found else text(404, f"There is no subject {subject_id}.")

    def _programs(self, request: Request) -> Answer:
        return paged(request, self.study.study_id, self.study.programs, Program.json)

    def _program(self, program_id: str, request: Request) -> Answer:  # noqa: ARG002
        program = self.study.program(program_id)
        return text(404, _NO_PROGRAM) if program is None else document(200, program.json())

    def _data_sets(self, program_id: str, request: Request) -> Answer:
        program = self.study.program(program_id)
        if program is None:
            return text(404, _NO_PROGRAM)
        names = self.study.index.data_sets.get(program_id, ())
        return paged(request, self.study.study_id, names, program.data_set_json)

    def _blob(self, request: Request) -> Answer:
        if request.method != "GET":
            return blob_error(405)
        if "authorization" in request.headers:
            return blob_error(400)
        if not self._links.accepts(request.path, request.parameters):
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
        blob = self._blobs.get(file.container)
        if blob is None:
            blob = pack(file.csv, packing, file.file_name)
            if len(blob) <= self._free_bytes:
                self._free_bytes -= len(blob)
                self._blobs[file.container] = blob
        return packing, blob

    def _control(self, request: Request) -> Answer:
        try:
            wanted = filters_of_body(request.body)
        except BadRequestError as error:
            return text(400, str(error))
        members = json.loads(request.body) if request.body.strip() else {}
        # A misspelt member would otherwise execute every program there is.
        if members.keys() - _FILTERS:
            return text(400, f"Send only the filters {', '.join(sorted(_FILTERS))}.")
        files = self.study.execute_again(*wanted.wanted)
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
