"""Ports for servers of tests, which no connection of this machine can come to have by chance.

A connection is given one of the ports in the system's own range. A server whose port is from there too
may find it taken between its choice and its start, or when it is started again after it was killed;
and who keeps knocking at such a port while nobody listens can end up connected to itself.
"""

from __future__ import annotations

import os
import random
import socket
from contextlib import closing
from pathlib import Path

__all__ = ["free_ports"]

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _USUAL_END = 10_000, 32_768
_WORKERS = 16  # of pytest-xdist: no two of them choose among the same ports

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at. None is given twice, so one stays its server's while that is away."""
    mine = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    candidates = [port for port in range(_FIRST, _end()) if port % _WORKERS == mine and port not in _given]
    random.shuffle(candidates)
    found: list[int] = []
    while len(found) < count:
        port = candidates.pop()
        if _is_free(port):
            found.append(port)
    _given.update(found)
    return found


def _end() -> int:
    """Where the ports of connections begin."""
    try:
        return max(int(_RANGE.read_text().split()[0]), _FIRST + 100 * _WORKERS)
    except OSError:
        return _USUAL_END


def _is_free(port: int) -> bool:
    try:
        with closing(socket.create_server(("127.0.0.1", port))):
            return True
    except OSError:
        return False
