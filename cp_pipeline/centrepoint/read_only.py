"""A transport that can only read.

Belongs here: refusing everything but GET. The scope CentrePoint can also write (docs/api.md), so
what asks with it must not be able to. Does not belong: tokens, which need a POST (``tokens``).
"""

from typing import Any

import requests

from cp_pipeline.centrepoint.transport import Transport


class ReadOnlyTransport(Transport):
    """Sends GET requests and nothing else, to one address and what is below it.

    Args:
        through: sends the requests.
        address: the address of the API.
    """

    def __init__(self, through: Transport, address: str) -> None:
        self._through = through
        self._address = address.rstrip("/")

    def send(self, method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send a GET; see ``Transport.send``.

        Raises:
            PermissionError: it is no GET, it has a body, or it goes elsewhere.
        """
        if method != "GET" or not url.startswith(f"{self._address}/"):
            raise PermissionError(f"{method} is not allowed here: this client only reads.")
        if {"json", "data", "files"} & {name for name, value in options.items() if value}:
            raise PermissionError("A body is not allowed here: this client only reads.")
        return self._through.send(method, url, **options)
