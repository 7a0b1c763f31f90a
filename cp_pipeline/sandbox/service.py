"""What the sandbox answers to a request: the routing, and the order in which things are checked.

Belongs here: tokens, listing, blob storage and the control endpoint as functions from request to
answer. Does not: sockets (`server.py`), the rules themselves (`access.py`, `listing.py`).
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from cp_pipeline.sandbox.access import LinkSigner, RateLimit, TokenError, TokenOffice
from cp_pipeline.sandbox.answers import Answer, Request, blob_error, document, text
from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.faults import Faults, Journal, RequestKind, RequestRecord
from cp_pipeline.sandbox.listing import (
    BadRequestError,
    Dialect,
    Filters,
    PageOrder,
    filters_of_body,
    filters_of_query,
    ordered,
    page,
    paging_of_query,
)
from cp_pipeline.sandbox.packing import Packing, Shelf, corrupted, pack
from cp_pipeline.sandbox.study import SandboxStudy
from cp_pipeline.sandbox.timestamps import text_of

API_PATH = "/dataaccess/v3"
TOKEN_PATH = "/connect/token"  # noqa: S105 (a path)
CONTROL_PATH = "/sandbox/executions"

_LISTING = re.compile(rf"{API_PATH}/studies/([0-9]{{1,18}})/(datasetexportfiles|datasetfiles)")
_FORM = "application/x-www-form-urlencoded"

Handler = Callable[[Request], Answer]
Page = dict[str, Any]


class Service:
    """Answers requests; knows no sockets."""

    def __init__(
        self,
        study: SandboxStudy,
        *,
        tokens: TokenOffice,
        rate: RateLimit,
        links: LinkSigner,
        packing: Packing,
        page_order: PageOrder,
        latency_seconds: float,
    ) -> None:
        """Takes what is served, and the rules for it.

        Args:
            study: what is served.
            tokens: who may ask.
            rate: how often.
            links: for which files, until when.
            packing: of export files that have none of their own.
            page_order: see `listing.ordered`.
            latency_seconds: how long each answer takes on its way.
        """
        self.study = study
        self.faults = Faults()
        self.journal = Journal()
        self.ignore_filters = False
        self.rewrite_page: Callable[[Page], Page] | None = None
        self.bodies_of_get: int | None = None
        self.base_url = ""
        self._tokens = tokens
        self._rate = rate
        self._links = links
        self._packing = packing
        self._page_order = page_order
        self._latency_seconds = latency_seconds
        self._shelf = Shelf()

    def answer(self, request: Request) -> Answer:
        """The answer to a request, which is in the journal before anybody can have read it."""
        kind, handler = self._route(request.path)
        request, refused = self._by_way_of_the_proxy(request)
        answer = refused or self._limited(kind) or self.faults.take(kind) or handler(request)
        if trickle := self.faults.take_trickle(kind):
            answer = replace(answer, trickle=trickle)
        record = RequestRecord(kind, request.method, request.path, answer.status, time.time())
        self.journal.add(record)
        if self._latency_seconds:
            time.sleep(self._latency_seconds)
        return answer

    def _by_way_of_the_proxy(self, request: Request) -> tuple[Request, Answer | None]:
        """What a proxy in front lets through, or its own answer; see `Sandbox.bodies_of_get`."""
        status = self.bodies_of_get
        if status is None or request.method != "GET" or not request.body:
            return request, None
        page = b"<html><body><h1>Request blocked</h1></body></html>"
        answer = Answer(status, page, {"Content-Type": "text/html"})
        return replace(request, body=b""), None if status == HTTPStatus.OK else answer

    def prepare(self) -> None:
        """Packs every export file, so that answers no longer wait for contents to be made."""
        for file in self.study.export_files:
            self._packed(file)

    def _route(self, path: str) -> tuple[RequestKind, Handler]:
        if path.startswith("/blobs/"):
            return "file", self._blob
        lowered = path.lower()
        if lowered == TOKEN_PATH:
            return "token", self._token
        if lowered == CONTROL_PATH:
            return "control", self._control
        match = _LISTING.fullmatch(lowered)
        if match is not None:
            return "listing", partial(self._list, int(match[1]), Dialect(match[2]))
        return "unknown", lambda request: text(404, f"There is nothing at {request.path}.")

    def _limited(self, kind: RequestKind) -> Answer | None:
        wait = self._rate.wait() if kind in ("token", "listing") else 0
        if wait == 0:
            return None
        message = f"API calls quota exceeded. Try again in {wait} seconds."
        return text(429, message, {"Retry-After": str(wait)})

    def _token(self, request: Request) -> Answer:
        if request.method != "POST":
            return _not_allowed("POST")
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
            return document(400, {"error": "invalid_request"})
        try:
            form = _pairs(request.body.decode("ascii"))
            token = self._tokens.grant(form)
        except UnicodeDecodeError:
            return document(400, {"error": "invalid_request"})
        except TokenError as refusal:
            return document(400, {"error": str(refusal)})
        answer = document(
            200,
            {
                "access_token": token,
                "expires_in": max(1, int(self._tokens.lifetime)),
                "token_type": "Bearer",
                "scope": form["scope"],
            },
        )
        return replace(answer, headers={**answer.headers, "Cache-Control": "no-store"})

    def _list(self, study_id: int, dialect: Dialect, request: Request) -> Answer:
        if request.method != "GET":
            return _not_allowed("GET")
        if not self._tokens.accepts(request.headers.get("authorization")):
            message = "The token is missing, unknown or has run out."
            return text(401, message, {"WWW-Authenticate": "Bearer"})
        if study_id != self.study.study_id:
            return text(403, f"This client has no access to study {study_id}.")
        query = _pairs(request.query)
        try:
            limit, offset = paging_of_query(query)
            filters = self._filters(dialect, query, request.body)
        except BadRequestError as error:
            return text(400, str(error))
        files = ordered(filters.select(self.study.export_files), self._page_order)
        expiry = self._links.expiry()
        expires_on = text_of(int(expiry.timestamp() * 1_000_000) * 10)

        def link(file: ExportFile) -> tuple[str, str]:
            path = f"/blobs/{file.container}/{quote(file.file_name, safe='')}"
            return f"{self.base_url}{path}?{self._links.query(path, expiry)}", expires_on

        listed = page(files, limit, offset, dialect, link)
        return document(200, self.rewrite_page(listed) if self.rewrite_page else listed)

    def _filters(self, dialect: Dialect, query: dict[str, str], body: bytes) -> Filters:
        if self.ignore_filters:
            return Filters()
        return filters_of_body(body) if dialect is Dialect.SEED else filters_of_query(query)

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
        answer = self._blob_answer(file)
        if self.faults.take_corruption():
            answer = replace(answer, body=corrupted(answer.body))
        if self.faults.take_chunked():
            answer = replace(answer, chunked=True)
        if not self.faults.take_cut():
            return answer
        return replace(answer, sent_length=len(answer.body) // 2)

    def _blob_answer(self, file: ExportFile) -> Answer:
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
        if file.headers:
            own = {name.lower() for name in file.headers}
            headers = {name: headers[name] for name in headers if name.lower() not in own}
        return Answer(200, body, {**headers, **file.headers}, file.declared_length)

    def _packed(self, file: ExportFile) -> tuple[Packing, bytes]:
        packing = (file.packing or self._packing).at(file.position)
        if file.raw:
            return packing, file.csv
        # Containers are never used twice in a study, so one names a content for good.
        blob = self._shelf.get(file.container, lambda: pack(file.csv, packing, file.file_name))
        return packing, blob

    def _control(self, request: Request) -> Answer:
        if request.method != "POST":
            return _not_allowed("POST")
        try:
            wanted, additional_columns = _executions_wanted(request.body)
        except BadRequestError as error:
            return text(400, str(error))
        files = self.study.execute_again(
            wanted.subject_id, wanted.data_set_name, wanted.study_program_id, additional_columns
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


def _executions_wanted(body: bytes) -> tuple[Filters, bool]:
    """Which executions the control endpoint is asked for, and whether with additional columns."""
    wanted = filters_of_body(body)
    members = json.loads(body) if body.strip() else {}
    known = {"subjectId", "dataSetName", "studyProgramId", "additionalColumns"}
    # A misspelt member would otherwise execute every program there is.
    if set(members) - known:
        raise BadRequestError(f"Unknown members: {', '.join(sorted(set(members) - known))}.")
    additional_columns = members.get("additionalColumns", False)
    if not isinstance(additional_columns, bool):
        raise BadRequestError("additionalColumns must be true or false.")
    return wanted, additional_columns


def _not_allowed(method: str) -> Answer:
    return text(405, f"Only {method} is allowed here.", {"Allow": method})


def _pairs(encoded: str) -> dict[str, str]:
    return dict(parse_qsl(encoded, keep_blank_values=True))
