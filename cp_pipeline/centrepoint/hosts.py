"""The hosts that a file link may lead to: public hosts, and private ones that a setting allows.

Belongs here: what a private address is, and refusing it. Does not belong: connections
(``connections``).

Without this rule, a manipulated listing could make the pipeline send requests to a database, a
router or a cloud's metadata service inside the private network, and store their answers as files.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# All IPv6 addresses that are assigned for the internet. Python's ``is_global`` is also true for
# some addresses outside this range.
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
# Translates IPv4 into the last 32 bits of an IPv6 address (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_BITS = (1 << 32) - 1


class PrivateHost(Exception):
    """A link leads to a private address.

    Not a subclass of a network error, so that neither ``urllib3`` nor ``requests`` retries it.
    """

    def __init__(self, host: str, address: str) -> None:
        where = host if host == address else f"{host}, which is {address}"
        super().__init__(f"leads to a private address: {where}")


class HostRule:
    """Refuses private addresses, except of allowed hosts.

    Args:
        allowed: hosts that may be private, as written in a link: names or addresses.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(map(_plain, allowed))

    def check_name(self, host: str, port: int | None = None) -> None:
        """Resolve the name and check its addresses before connecting; an unknown name passes.

        Raises:
            PrivateHost: one of its addresses, or the host as written, is private.
        """
        self._check(host, _addresses(host, port))

    def check_written(self, host: str) -> None:
        """Check the host as written, without resolving it, because a proxy resolves names itself.

        Raises:
            PrivateHost: the host is a private address in any spelling.
        """
        if _plain(host) == "localhost" or _plain(host).endswith(".localhost"):
            self._check(host, ["127.0.0.1"])
        self._check(host, _addresses(_plain(host), None, socket.AI_NUMERICHOST))

    def check_peer(self, host: str, connected: socket.socket) -> None:
        """Check the address of an open connection: a name may resolve differently a moment later.

        Raises:
            PrivateHost: the address is private. The connection is closed; nothing was sent.
        """
        try:
            self._check(host, [str(connected.getpeername()[0])])
        except BaseException:
            connected.close()
            raise

    def _check(self, host: str, addresses: Iterable[str]) -> None:
        if _plain(host) in self._allowed:
            return
        for address in addresses:
            if is_private(address):
                raise PrivateHost(host, address)


def is_private(address: str) -> bool:
    """Whether an IP address is not a public internet address; True for an invalid address.

    Private are: loopback, private, link-local, reserved, shared, multicast and unspecified
    addresses, and IPv6 addresses that contain such an IPv4 address.
    """
    try:
        found: _Address = ipaddress.ip_address(address)
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        within = _ipv4_within(found)
        if within is None and found not in _GIVEN_OUT:
            return True
        found = within or found
    return not found.is_global or found.is_multicast


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & _IPV4_BITS)
    return address.ipv4_mapped or address.sixtofour


def _addresses(host: str, port: int | None, flags: int = 0) -> list[str]:
    """Return the addresses of a host, by the function that also resolves names for connections.

    It also accepts ``2130706433``, ``0x7f.1`` and ``[::1]`` as addresses.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [str(place[0]) for *_, place in found]


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
