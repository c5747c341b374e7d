"""Connections that go out to the world and nowhere else.

What is told can be sent where a file says that came with somebody's folder. It must not reach what
only this machine or its network can reach: a name is looked up once, each of its addresses is
looked at, and the connection is made to the address that was looked at. Who looks the name up
again, as every HTTP client does, may get another answer.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from kitaru_nb.errors import UsageError

__all__ = ["ALLOWED", "allowed_hosts", "is_public", "open_connection"]

ALLOWED = "KITARU_NB_NOTIFY_PRIVATE"
"""The variable that names hosts with private addresses that may be told. No file can say it."""

_NAT64 = IPv6Network("64:ff9b::/96")
_WORLD = IPv6Network(
    "2000::/3"
)  # all that is routed to anybody; what else is_global lets by is somebody's own
_NOT_THERE = (IPv6Network("3fff::/20"), IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))


def allowed_hosts() -> frozenset[str]:
    """The hosts, each ``HOST`` or ``HOST:PORT``, that may have private addresses."""
    return frozenset(os.environ.get(ALLOWED, "").replace(",", " ").lower().split())


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet, also by the IPv4 address inside of it."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = _inner(found)
        if inner is not None and not is_public(str(inner)):
            return False
        if inner is not None and (found in _NAT64 or found.ipv4_mapped):
            return True  # it is that address, in other words
        if found not in _WORLD:
            return False
    # networks that some versions of Python do not know of yet
    return found.is_global and not found.is_multicast and not any(found in each for each in _NOT_THERE)


def open_connection(
    host: str, port: int, *, timeout: float, allowed: Collection[str] = frozenset()
) -> socket.socket:
    """A connection to `host`, to an address of it that was looked at.

    Raises:
        UsageError: kind ``private-address``: one of its addresses is private, and `allowed` has
            neither the host nor ``HOST:PORT``.
        OSError: it could not be made.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    name = host.lower()
    if not {name, f"{name}:{port}"} & set(allowed) and not all(map(is_public, addresses)):
        raise UsageError(
            f"`{host}` is inside this machine's own network",
            kind="private-address",
            hint=f"export {ALLOWED}={host}:{port}, if that is meant",
        )
    problem: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=timeout)
        except OSError as error:
            problem = error
    raise problem or OSError(f"`{host}` has no address")


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
