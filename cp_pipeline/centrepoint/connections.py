"""HTTP connections with a minimum throughput, and only to allowed hosts.

Belongs here: making ``requests`` and ``urllib3`` use both rules. Does not belong: measuring the
throughput (``minimum_throughput``), which hosts are private (``hosts``), retries (``transport``).
"""

import socket
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from cp_pipeline.centrepoint.hosts import HostRule
from cp_pipeline.centrepoint.minimum_throughput import PacedResponse


class PacedAdapter(HTTPAdapter):
    """Enforces the minimum throughput of answers, and connects only to hosts that the rule allows.

    Args:
        rule: which hosts are private; None to connect to any host.
        options: passed to ``HTTPAdapter``.
    """

    def __init__(self, rule: HostRule | None, **options: Any) -> None:  # noqa: ANN401
        self._rule = rule
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        """Called by ``HTTPAdapter.__init__``."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pools(self._rule)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        """Called by ``HTTPAdapter`` for each request through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _PACED_POOLS
        return manager


def _pools(rule: HostRule | None) -> dict[str, Any]:
    """Return ``urllib3``'s pool classes by scheme, with this project's connections."""

    class Plain(HTTPConnection):
        response_class = PacedResponse

        def _new_conn(self) -> socket.socket:
            return _connected(rule, self, super()._new_conn)

    class Tls(HTTPSConnection):
        response_class = PacedResponse

        def _new_conn(self) -> socket.socket:
            return _connected(rule, self, super()._new_conn)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _connected(
    rule: HostRule | None, connection: HTTPConnection, connect: Callable[[], socket.socket]
) -> socket.socket:
    """Connect to an allowed host, once for many requests; runs before TLS and any request."""
    if rule is None:
        return connect()
    rule.check_name(connection.host, connection.port)
    connected = connect()
    rule.check_peer(connection.host, connected)
    return connected


_PACED_POOLS = _pools(None)
