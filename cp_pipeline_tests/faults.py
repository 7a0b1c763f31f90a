"""A sandbox that fails on demand: errors, torn connections, damaged and slow answers.

Belongs here: what no correct service does, and a service that is set up in an unusual way. Does not
belong: the rules of the service (`cp_pipeline/sandbox/`).
"""

import json
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlencode

from cp_pipeline.sandbox import ExportFile, Sandbox, SandboxStudy
from cp_pipeline.sandbox.answers import Answer, Request, RequestKind, blob_error, document, text
from cp_pipeline.sandbox.export_file import Filters
from cp_pipeline.sandbox.service import Handler, Service

FaultKind = Literal["token", "listing", "subjects", "programs", "datasets", "details", "file"]
Resource = Literal["subjects", "programs", "datasets", "datasetexportfiles", "datasetfiles"]
Damage = Literal["cut", "corrupt", "chunk"]
PageOrder = Literal["stable", "newest_first", "newest_last"]
Page = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trickle:
    """Sends an answer a byte at a time, with a pause before each; with `head`, the headers too."""

    pause_seconds: float
    head: bool = False

    def __call__(self, stream: BufferedIOBase, sent: bytes) -> None:
        end_of_head = 0 if self.head else sent.index(b"\r\n\r\n") + 4
        stream.write(sent[:end_of_head])
        for place in range(end_of_head, len(sent)):
            time.sleep(self.pause_seconds)
            stream.write(sent[place : place + 1])


class Faults:
    """The faults of the next requests, in the order in which they were added. Thread-safe."""

    def __init__(self) -> None:
        self._answers: dict[str, deque[Answer]] = defaultdict(deque)
        self._trickles: dict[str, deque[Trickle]] = defaultdict(deque)
        self._damages: Counter[Damage] = Counter()
        self._lock = threading.RLock()

    def add(self, kind: FaultKind, answer: Answer, times: int = 1) -> None:
        """The next requests of the kind get this answer, whatever they ask."""
        with self._lock:
            self._answers[_checked(kind)].extend([answer] * times)

    def add_trickle(self, kind: FaultKind, trickle: Trickle, times: int = 1) -> None:
        """The next requests of the kind are answered as slowly as that."""
        with self._lock:
            self._trickles[_checked(kind)].extend([trickle] * times)

    def add_damage(self, damage: Damage, times: int = 1) -> None:
        """The next good answers of the blob storage are damaged."""
        with self._lock:
            self._damages[damage] += times

    def take(self, kind: RequestKind) -> Answer | None:
        """The answer in place of that of the service, which uses it up; None if there is none."""
        with self._lock:
            return self._answers[kind].popleft() if self._answers[kind] else None

    def slowed(self, kind: RequestKind, answer: Answer) -> Answer:
        """The answer, as slow as it should be, which uses that up."""
        with self._lock:
            waiting = self._trickles[kind]
            return replace(answer, send=waiting.popleft()) if waiting else answer

    def damaged(self, answer: Answer) -> Answer:
        """The answer with one damage of each kind that waits, which uses those up."""
        with self._lock:
            due = {damage for damage, times in self._damages.items() if times > 0}
            self._damages.subtract(due)
        body = corrupted(answer.body) if "corrupt" in due else answer.body
        headers = {"Content-Length": str(len(body))} if due - {"corrupt"} else {}
        if "cut" in due:
            body = body[: len(body) // 2]
        if "chunk" in due:
            # A body that is cut short has no last chunk.
            body = in_chunks(body) + (b"" if "cut" in due else b"0\r\n\r\n")
            headers["Transfer-Encoding"] = "chunked"
        return replace(answer, body=body).with_headers(headers)


class FaultyService(Service):
    """The service of the sandbox, with faults, and with a proxy in front if a test wants one."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.faults = Faults()
        self.ignore_filters = False
        self.rewrite_page: Callable[[Page], Page] | None = None
        self.bodies_of_get: int | None = None
        self.lacking: dict[str, int] = {}
        self.page_order: PageOrder = "stable"
        self.link_valid_after_seconds = 0.0

    def respond(self, kind: RequestKind, request: Request, handler: Handler) -> Answer:
        request, refusal = self._by_way_of_the_proxy(request)
        answer = refusal or self.faults.take(kind) or self._absent(kind, request)
        answer = answer or self._served(kind, request, handler)
        return self.faults.slowed(kind, answer)

    def listed(self, filters: Filters) -> Sequence[ExportFile]:
        files = super().listed(filters)
        if self.page_order == "stable":
            return files
        newest_first = self.page_order == "newest_first"
        return sorted(files, key=lambda file: file.serial, reverse=newest_first)

    def _absent(self, kind: RequestKind, request: Request) -> Answer | None:
        """The refusal of a service that lacks the resource; None if it has it."""
        resource = request.path.lower().rpartition("/")[2] if kind == "listing" else kind
        status = self.lacking.get(resource)
        return None if status is None else text(status, f"There is nothing at {request.path}.")

    def _by_way_of_the_proxy(self, request: Request) -> tuple[Request, Answer | None]:
        status = self.bodies_of_get
        if status is None or request.method != "GET" or not request.body:
            return request, None
        page = b"<html><body><h1>Request blocked</h1></body></html>"
        answer = Answer(status, page, {"Content-Type": "text/html"})
        return replace(request, body=b""), None if status == HTTPStatus.OK else answer

    def _served(self, kind: RequestKind, request: Request, handler: Handler) -> Answer:
        if kind == "listing" and self.ignore_filters:
            paging = [pair for pair in parse_qsl(request.query) if pair[0] in ("limit", "offset")]
            request = replace(request, query=urlencode(paging), body=b"")
        answer = handler(request)
        if answer.status != HTTPStatus.OK:
            return answer
        if kind == "listing" and self.rewrite_page:
            return document(200, self.rewrite_page(json.loads(answer.body)))
        if kind == "file":
            return blob_error(403) if self._is_early(request) else self.faults.damaged(answer)
        return answer

    def _is_early(self, request: Request) -> bool:
        dies = datetime.fromisoformat(dict(parse_qsl(request.query))["se"]).timestamp()
        return self._links.clock() < dies - self._links.lifetime + self.link_valid_after_seconds


class FaultySandbox(Sandbox):
    """A sandbox that fails when a test asks for it, and is otherwise like any other."""

    _service_type = FaultyService
    _service: FaultyService

    def __init__(
        self,
        study: SandboxStudy,
        *,
        page_order: PageOrder = "stable",
        link_valid_after_seconds: float = 0.0,
        **settings: Any,
    ) -> None:
        """Takes what `Sandbox` takes, and more.

        Args:
            study: what it serves.
            page_order: `stable`, or `newest_first` or `newest_last`, where a re-executed item moves
                to the front or the end of the listing, and pages shift under whoever reads them
                (docs/api.md, A page).
            link_valid_after_seconds: for how long a new link is refused, as where the storage's
                clock is behind that of the API.
            settings: those of `Sandbox`.
        """
        if page_order not in get_args(PageOrder):
            raise ValueError(f"page_order is one of {get_args(PageOrder)}, not {page_order!r}.")
        super().__init__(study, **settings)
        self._service.page_order = page_order
        self._service.link_valid_after_seconds = link_valid_after_seconds

    @property
    def ignore_filters(self) -> bool:
        """Whether the listing ignores filters, as a server may (docs/api.md, An item)."""
        return self._service.ignore_filters

    @ignore_filters.setter
    def ignore_filters(self, ignore: bool) -> None:
        self._service.ignore_filters = ignore

    @property
    def rewrite_page(self) -> Callable[[Page], Page] | None:
        """What makes another page of each page of the listing, as JSON, before it is sent."""
        return self._service.rewrite_page

    @rewrite_page.setter
    def rewrite_page(self, rewrite: Callable[[Page], Page] | None) -> None:
        self._service.rewrite_page = rewrite

    @property
    def bodies_of_get(self) -> int | None:
        """What a proxy in front does to a GET with a body; None where there is no such proxy.

        A status that it answers with, 0 to hang up, or 200 to pass the request on without its body.
        """
        return self._service.bodies_of_get

    @bodies_of_get.setter
    def bodies_of_get(self, status: int | None) -> None:
        self._service.bodies_of_get = status

    def lack(self, *resources: Resource, status: int = 404) -> None:
        """Answers every request for these resources with a refusal, as a service without them.

        `subjects`, `programs` and `datasets` include the single ones; the two dialects are named by
        the last segment of their path. Calls add up; `lack_nothing` ends it.
        """
        if unknown := set(resources) - set(get_args(Resource)):
            raise ValueError(f"No such resource: {sorted(unknown)}.")
        self._service.lacking |= dict.fromkeys(resources, status)

    def refuse_scope(self, scope: str) -> None:
        """Answers `invalid_scope` to whoever asks for a token with this scope."""
        self._service._tokens.refused_scopes.add(scope)

    def lack_nothing(self) -> None:
        """Has every resource again."""
        self._service.lacking = {}

    @property
    def faults(self) -> Faults:
        """What goes wrong next. A test may put faults of its own in its place."""
        return self._service.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._service.faults = faults

    def fail(
        self,
        kind: FaultKind,
        status: int = 503,
        times: int = 1,
        retry_after: int | str | None = None,
        body: str | bytes | None = None,
    ) -> None:
        """Makes the next requests of a kind fail, whatever they ask.

        Args:
            kind: `token`, `file`, or one of the API's lists: `listing`, `subjects`, `programs`,
                `datasets`.
            status: HTTP status of the answers.
            times: how many requests.
            retry_after: the Retry-After header, in seconds or verbatim.
            body: by default what the service in question would say, with the headers it has.
        """
        answer = _failure(kind, status)
        if body is not None:
            answer = Answer(status, body.encode() if isinstance(body, str) else body)
        if retry_after is not None:
            answer = answer.with_headers({"Retry-After": str(retry_after)})
        self.faults.add(kind, answer, times)

    def disconnect(self, kind: FaultKind, times: int = 1) -> None:
        """Cuts the connections of the next requests of a kind without an answer."""
        self.faults.add(kind, Answer(0), times)

    def cut_short(self, times: int = 1) -> None:
        """Makes the next good answers with a file announce the whole length and stop half way."""
        self.faults.add_damage("cut", times)

    def chunk(self, times: int = 1) -> None:
        """Sends the next good answers with a file in chunks; a Content-Length is there, too."""
        self.faults.add_damage("chunk", times)

    def corrupt(self, times: int = 1) -> None:
        """Changes a byte in the middle of the next good answers with a file; the length holds."""
        self.faults.add_damage("corrupt", times)

    def trickle(
        self, kind: FaultKind, times: int = 1, pause_seconds: float = 0.05, *, head: bool = False
    ) -> None:
        """Sends the answers to the next requests of a kind a byte at a time."""
        self.faults.add_trickle(kind, Trickle(pause_seconds, head), times)


def corrupted(blob: bytes) -> bytes:
    """The blob with the byte in its middle changed."""
    middle = len(blob) // 2
    changed = bytes(byte ^ 0xFF for byte in blob[middle : middle + 1])
    return blob[:middle] + changed + blob[middle + 1 :]


def in_chunks(body: bytes) -> bytes:
    """The body in a few chunks, without the last one, which is empty."""
    size = max(1, len(body) // 3)
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def _checked(kind: FaultKind) -> FaultKind:
    if kind not in get_args(FaultKind):
        raise ValueError(f"kind is one of {', '.join(get_args(FaultKind))}, not {kind!r}.")
    return kind


def _failure(kind: FaultKind, status: int) -> Answer:
    if kind == "file":
        return blob_error(status)
    if kind == "token" and status == HTTPStatus.BAD_REQUEST:
        return document(status, {"error": "invalid_request"})
    return text(status, f"The {kind} service fails with {status}, as the sandbox was told to.")
