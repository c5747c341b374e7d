"""An artifact: one immutable stored value, named by the digest of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

__all__ = [
    "EXTENT_BYTES",
    "INLINE_BYTES",
    "LEFT_OUT",
    "Anchor",
    "Artifact",
    "Digest",
    "Extent",
    "Location",
    "PackFile",
    "Tombstone",
]

Digest = NewType("Digest", str)
"""BLAKE3 of the content, 64 hexadecimal characters."""

EXTENT_BYTES = 1 << 20
"""Buffers are cut into extents of this many bytes (the last one may be shorter)."""

INLINE_BYTES = 64 << 10
"""Content up to this size is kept in the journal, inside the commit itself."""

LEFT_OUT = "import of records alone"
"""The policy under which values are missing that an imported file did not hold."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes that is stored once under its own digest."""

    digest: Digest
    length: int


@dataclass(frozen=True, slots=True)
class Location:
    """Where an extent's bytes are: inline in the journal, or in a pack file.

    Attributes:
        extent: What is stored.
        data: The bytes themselves when inline, else None.
        pack: Name of the pack file, else None.
        offset: Page-aligned byte offset in the pack.
    """

    extent: Extent
    data: bytes | None = None
    pack: str | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Anchor:
    """A named function or class that stored values refer to instead of carrying a copy.

    Attributes:
        name: The notebook name it is bound to.
        value: Canonical digest of ``{name: object}``.
        artifact: The artifact that holds it, for when the live one is missing or differs.
    """

    name: str
    value: Digest
    artifact: Digest


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored value.

    Attributes:
        digest: BLAKE3 of the canonical JSON of `manifest`; the manifest lists the digest
            of every extent, so this one digest covers each stored byte.
        codec: ``"zarr"`` or ``"pickle5"``.
        bytes: Size of the stored content, in bytes.
        manifest: What the codec needs to read it back; JSON values only.
    """

    digest: Digest
    codec: str
    bytes: int
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PackFile:
    """A file of extents in a store.

    Attributes:
        name: Never used again for another file.
        bytes: Its size.
        modified: When it was last written, in seconds since 1970.
    """

    name: str
    bytes: int
    modified: float


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is left of an artifact whose bytes were removed.

    Attributes:
        digest: The artifact's.
        codec: As the artifact's.
        bytes: Size of what it held.
        at: When it was removed.
        policy: Under which policy, in words.
    """

    digest: Digest
    codec: str
    bytes: int
    at: datetime
    policy: str

    def __str__(self) -> str:
        """In a sentence, after "its values were"."""
        if self.policy == LEFT_OUT:
            return f"not in the file that it was imported from on {self.at:%Y-%m-%d}"
        return f"removed by gc on {self.at:%Y-%m-%d} under the policy `{self.policy}`"
