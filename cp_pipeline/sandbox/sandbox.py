"""The sandbox as tests, demos and the command line hold it: start, execute again, look, stop.

Belongs here: the public class. Does not belong: any behaviour of the service that it starts.
"""

import threading
from typing import Self

from cp_pipeline.sandbox import access
from cp_pipeline.sandbox.answers import RequestRecord
from cp_pipeline.sandbox.packing import Packing
from cp_pipeline.sandbox.server import Server
from cp_pipeline.sandbox.service import API_PATH, TOKEN_PATH, Service
from cp_pipeline.sandbox.study import SandboxStudy

LOOPBACK = "127.0.0.1"


class Sandbox:
    """A local CentrePoint over real HTTP, on 127.0.0.1 by default; a context manager."""

    # Tests replace it by one that fails on demand.
    _service_type: type[Service] = Service

    def __init__(
        self,
        study: SandboxStudy,
        *,
        token_seconds: float = 3600,
        link_seconds: float = 14400,
        requests_per_minute: int = 500,
        packing: Packing = Packing.GZIP,
        port: int = 0,
        host: str = LOOPBACK,
        latency_seconds: float = 0.0,
    ) -> None:
        """Takes the study and how strict to be; starts nothing yet.

        Args:
            study: what it serves; it may change meanwhile.
            token_seconds: how long a token is good for.
            link_seconds: how long a signed link is good for.
            requests_per_minute: requests to the API and for tokens let through in any 60 seconds.
            packing: of export files that have none of their own.
            port: 0 takes any free one.
            host: a name or address of this machine, on which it listens and which its links have.
            latency_seconds: how long each answer takes on its way, as from a service far off.

        Raises:
            ValueError: an unknown packing.
        """
        self._service = self._service_type(
            study,
            tokens=access.TokenOffice(token_seconds),
            rate=access.RateLimit(requests_per_minute),
            links=access.LinkSigner(link_seconds),
            packing=Packing(packing),
            latency_seconds=latency_seconds,
        )
        self.execute_again = study.execute_again
        self._port = port
        self._host = host
        self._server: Server | None = None

    def __enter__(self) -> Self:
        """Starts serving in a thread of its own, or raises OSError if the port is taken."""
        self._server = Server(self._host, self._port, self._service.answer)
        self._service.base_url = self.base_url
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops serving and cuts every connection."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def study(self) -> SandboxStudy:
        """The study that is served."""
        return self._service.study

    @property
    def base_url(self) -> str:
        """`http://<host>:<port>`, while it serves."""
        if self._server is None:
            raise RuntimeError("The sandbox is not serving: use it in a with statement.")
        return f"http://{self._host}:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a pipeline at this sandbox (README, "Settings")."""
        return {
            "CP_API_URL": self.base_url + API_PATH,
            "CP_TOKEN_URL": self.base_url + TOKEN_PATH,
            "CP_CLIENT_ID": access.CLIENT_ID,
            "CP_CLIENT_SECRET": access.CLIENT_SECRET,
            "CP_STUDY_ID": str(self.study.study_id),
            "CP_ALLOW_INSECURE_HTTP": "1",
            # Livelier than the default, which spares the real service.
            "CP_SENSOR_SECONDS": "30",
        }

    @property
    def requests(self) -> list[RequestRecord]:
        """The last million requests, oldest first: a snapshot."""
        return list(self._service.records)

    def forget_requests(self) -> None:
        """Empties `requests`."""
        self._service.records.clear()

    def prepare(self) -> None:
        """Makes the contents of every export file now (of large studies: as many as 128 MiB hold).

        They are made when first asked for otherwise, which a benchmark would measure too.
        """
        self._service.prepare()
