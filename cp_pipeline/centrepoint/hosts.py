"""Which hosts a file link may lead to: those of the internet, and those that a person has named.

Belongs here: what a private address is, and refusing one. Does not: connections (``connections``).

A listing that lies could otherwise have the pipeline ask a database, a router or a cloud's
metadata service, which trust anything inside the network, and keep their answers as a file.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# All of IPv6 that is given out to the internet; Python does not know every address outside of it.
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
# Translates IPv4 into the last 32 bits of an IPv6 address (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_BITS = (1 << 32) - 1


class PrivateHost(Exception):
    """A link leads to an address that is not of the internet.

    No error of a network, so that neither ``urllib3`` nor ``requests`` tries it again.
    """

    def __init__(self, host: str, address: str) -> None:
        where = host if host == address else f"{host}, which is {address}"
        super().__init__(f"leads to a private address: {where}")


class HostRule:
    """Refuses private addresses, but of hosts that are named.

    Args:
        allowed: hosts that may be private, as they stand in a link: names, or addresses.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(map(_plain, allowed))

    def check_name(self, host: str, port: int | None = None) -> None:
        """Look the name up before anything is connected to; one that is unknown passes.

        Raises:
            PrivateHost: one of its addresses, or the host as it is written, is private.
        """
        self._check(host, _addresses(host, port))

    def check_written(self, host: str) -> None:
        """Look at the host only as it is written, where a proxy looks names up.

        Raises:
            PrivateHost: it is written as a private address, however that is spelt.
        """
        if _plain(host) == "localhost" or _plain(host).endswith(".localhost"):
            self._check(host, ["127.0.0.1"])
        self._check(host, _addresses(_plain(host), None, socket.AI_NUMERICHOST))

    def check_peer(self, host: str, connected: socket.socket) -> None:
        """Look at where a connection ended up: a name may be another address a moment later.

        Raises:
            PrivateHost: it is a private address; the connection is closed, nothing was sent.
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
    """Whether an IP address is anything but one of the internet; so is what is no address.

    That is: loopback, private, link-local, reserved, shared, multicast or unspecified addresses,
    and IPv6 addresses that stand for such an IPv4 address.
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
    """The addresses of a host, by the very function that connections are made by.

    It takes ``2130706433``, ``0x7f.1`` and ``[::1]`` for addresses too.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [str(place[0]) for *_, place in found]


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
