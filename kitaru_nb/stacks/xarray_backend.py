"""What xarray needs to know of ``kitaru-nb://``: that it is a URL, and that the zarr engine opens it.

xarray imports this through its entry points when it first opens something. It takes a string
for a URL only if the scheme is of letters and digits, and makes a path in the current folder
of any other, although RFC 3986 allows a ``-`` too; so its test is told of one scheme more.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from xarray.backends import ZarrBackendEntrypoint

__all__ = ["KitaruBackend", "NoChunkManager"]

_SCHEME = "kitaru-nb://"
# Each has looked the test up by the time that an entry point is loaded.
_MODULES = ("core.utils", "backends.common", "backends.api", "backends.plugins")


class KitaruBackend(ZarrBackendEntrypoint):
    """Opens ``kitaru-nb://EXECUTION/CHECKPOINT/NAME`` as xarray's zarr engine does."""

    description = "Open what kitaru_nb has stored"

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is one of our URLs."""
        return isinstance(filename_or_obj, str) and filename_or_obj.startswith(_SCHEME)


class NoChunkManager:
    """Stands among xarray's chunk managers, so that this module is imported, and offers nothing."""

    available = False


def _with_our_scheme(is_remote_uri: Callable[[str], bool]) -> Callable[[str], bool]:
    def answer(path: str) -> bool:
        return path.startswith(_SCHEME) or is_remote_uri(path)

    return answer


for _name in _MODULES:
    _names = vars(importlib.import_module(f"xarray.{_name}"))
    if "is_remote_uri" in _names:
        _names["is_remote_uri"] = _with_our_scheme(_names["is_remote_uri"])
