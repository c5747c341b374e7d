"""Which paths are no files of this machine; on its own, since who only lists runs must not load papermill."""

from __future__ import annotations

import re

__all__ = ["is_remote"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Whether papermill hands `path` to a store or a stream instead of the file system."""
    return path == "-" or _SCHEME.match(path) is not None
