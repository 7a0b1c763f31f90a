"""The sandbox as tests, demos and the command line hold it: start, steer, look, stop.

Belongs here: the public class. Does not: any behaviour of the service it starts.
"""

import contextlib
import threading
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType

from cp_pipeline.sandbox.access import (
    CLIENT_ID,
    CLIENT_SECRET,
    LinkSigner,
    RateLimit,
    TokenOffice,
)
from cp_pipeline.sandbox.answers import Answer, Trickle, blob_error, document, text
from cp_pipeline.sandbox.export_file import ExportFile
from cp_pipeline.sandbox.faults import FaultKind, RequestRecord
from cp_pipeline.sandbox.listing import PAGE_ORDERS, PageOrder
from cp_pipeline.sandbox.packing import Packing
from cp_pipeline.sandbox.server import Server
from cp_pipeline.sandbox.service import API_PATH, TOKEN_PATH, Page, Service
from cp_pipeline.sandbox.study import SandboxStudy


class Sandbox:
    """A local CentrePoint over real HTTP, on 127.0.0.1 alone; a context manager."""

    def __init__(
        self,
        study: SandboxStudy,
        *,
        token_seconds: float = 3600,
        link_seconds: float = 14400,
        requests_per_minute: int = 500,
        packing: Packing = Packing.GZIP,
        port: int = 0,
        page_order: PageOrder = "stable",
        latency_seconds: float = 0.0,
        link_valid_after_seconds: float = 0.0,
    ) -> None:
        """Takes the study and how strict to be; starts nothing yet.

        Args:
            study: what it serves; it may change meanwhile.
            token_seconds: how long a token is good for.
            link_seconds: how long a signed link is good for.
            requests_per_minute: token and listing requests let through in any 60 seconds.
            packing: of export files that have none of their own.
            port: 0 takes any free one.
            page_order: `stable`, or `newest_first` or `newest_last`, where a re-executed item moves
                to the front or the end of the listing and pages shift under whoever reads them.
            latency_seconds: how long each answer takes on its way, as from a service far off.
            link_valid_after_seconds: for how long a new link is refused, as where the storage's
                clock is behind that of the API.

        Raises:
            ValueError: an unknown packing or page order.
        """
        if page_order not in PAGE_ORDERS:
            raise ValueError(f"page_order is one of {', '.join(PAGE_ORDERS)}, not {page_order!r}.")
        self._service = Service(
            study,
            tokens=TokenOffice(token_seconds),
            rate=RateLimit(requests_per_minute),
            links=LinkSigner(link_seconds, valid_after=link_valid_after_seconds),
            packing=Packing(packing),
            page_order=page_order,
            latency_seconds=latency_seconds,
        )
        self._port = port
        self._server: Server | None = None
        self._stopped = threading.Event()

    def __enter__(self) -> "Sandbox":
        """Starts serving in a thread of its own.

        Raises:
            OSError: the port is taken.
        """
        self._server = Server(self._port, self._service.answer)
        self._service.base_url = self.base_url
        self._stopped.clear()
        serve = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True
        )
        serve.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops serving and cuts every connection."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._stopped.set()

    def serve_forever(self) -> None:
        """Serves until Ctrl-C, or until the sandbox is stopped from another thread."""
        with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
            if self._server is None:
                stack.enter_context(self)
            self._stopped.wait()

    @property
    def study(self) -> SandboxStudy:
        """The study that is served."""
        return self._service.study

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:<port>`.

        Raises:
            RuntimeError: the sandbox is not serving.
        """
        if self._server is None:
            raise RuntimeError("The sandbox is not serving: use it in a with statement.")
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a pipeline at this sandbox (README, "Settings")."""
        return {
            "CP_API_URL": self.base_url + API_PATH,
            "CP_TOKEN_URL": self.base_url + TOKEN_PATH,
            "CP_CLIENT_ID": CLIENT_ID,
            "CP_CLIENT_SECRET": CLIENT_SECRET,
            "CP_STUDY_ID": str(self.study.study_id),
            "CP_ALLOW_INSECURE_HTTP": "1",
        }

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

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far, oldest first: a snapshot."""
        return self._service.journal.snapshot()

    def prepare(self) -> None:
        """Makes the contents of every export file now (of large studies: as many as 128 MiB hold).

        They are made when first asked for otherwise, which a benchmark would measure too.
        """
        self._service.prepare()

    def forget_requests(self) -> None:
        """Empties `requests`."""
        self._service.journal.forget()

    def execute_again(
        self,
        subject_id: int | None = None,
        data_set_name: str | None = None,
        study_program_id: str | None = None,
        additional_columns: bool = False,
    ) -> list[ExportFile]:
        """Executes study programs of the study again; see `SandboxStudy.execute_again`."""
        return self.study.execute_again(
            subject_id, data_set_name, study_program_id, additional_columns
        )

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
            kind: `token`, `listing` or `file`.
            status: HTTP status of the answers.
            times: how many requests.
            retry_after: the Retry-After header, in seconds or verbatim.
            body: by default what the service in question would say, with the headers it has.
        """
        answer = _failure(kind, status)
        headers = dict(answer.headers) if body is None else {}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        said = body.encode() if isinstance(body, str) else body
        self._service.faults.add(
            kind, Answer(status, answer.body if said is None else said, headers), times
        )

    def disconnect(self, kind: FaultKind, times: int = 1) -> None:
        """Cuts the connections of the next requests of a kind without an answer."""
        self._service.faults.add(kind, Answer(0), times)

    def cut_short(self, times: int = 1) -> None:
        """Makes the next good answers with a file announce the whole length and stop half way."""
        self._service.faults.add_cuts(times)

    def chunk(self, times: int = 1) -> None:
        """Sends the next good answers with a file in chunks; a Content-Length is there, too."""
        self._service.faults.add_chunked(times)

    def corrupt(self, times: int = 1) -> None:
        """Changes a byte in the middle of the next good answers with a file; the length holds."""
        self._service.faults.add_corruptions(times)

    def trickle(
        self, kind: FaultKind, times: int = 1, pause_seconds: float = 0.05, *, head: bool = False
    ) -> None:
        """Sends the answers to the next requests of a kind a byte at a time.

        Args:
            kind: `token`, `listing` or `file`.
            times: how many requests.
            pause_seconds: between one byte and the next.
            head: whether the headers trickle, too.
        """
        self._service.faults.add_trickles(kind, Trickle(pause_seconds, head), times)


def _failure(kind: FaultKind, status: int) -> Answer:
    if kind == "file":
        return blob_error(status)
    if kind == "token" and status == HTTPStatus.BAD_REQUEST:
        return document(status, {"error": "invalid_request"})
    return text(status, f"The {kind} service fails with {status}, as the sandbox was told to.")
