"""Which other artifacts an artifact refers to: the functions and classes that its pickle leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kitaru_nb.model.artifact import Artifact, Digest, Extent

__all__ = ["refers_to"]

_TELLS = 2  # format of the pickle codec since which a manifest names them
_DIGEST = re.compile(rb"(?=([0-9a-f]{64}))")  # also where the bytes around it look like digits


def refers_to(
    artifact: Artifact,
    *,
    extents: Callable[[int], Collection[Extent]],
    read: Callable[[Extent], memoryview],
    known: Collection[Digest],
) -> frozenset[Digest]:
    """The artifacts that `artifact` needs besides its own extents.

    Where its manifest is of a format that does not name them, its pickle is looked through, and
    every digest of `known` in it counts: too many, never too few.

    Args:
        artifact: Any artifact.
        extents: Gives the extents of one of its buffers.
        read: Reads an extent.
        known: The artifacts on record.
    """
    if artifact.codec != "pickle5":
        return frozenset()
    meta: Mapping[str, Any] = artifact.manifest["meta"]
    if int(meta.get("format", 1)) >= _TELLS:
        return frozenset(map(Digest, meta.get("anchors", ())))
    stream = b"".join(bytes(read(extent)) for extent in extents(0))
    found = (Digest(match.decode()) for match in _DIGEST.findall(stream))
    return frozenset(digest for digest in found if digest in known)
