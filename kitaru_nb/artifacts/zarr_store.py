"""A stored value as a read-only zarr v3 store, served from its extents.

A chunk inside the grid is never "missing", which zarr would read as zeros: its bytes are
there and verified, or reading it raises `CorruptError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from kitaru_nb.artifacts.loops import settle_at_exit
from kitaru_nb.artifacts.zarr_tree import ArrayNode, Tree

__all__ = ["Again", "ArtifactZarrStore"]

Again = Callable[[], "ArtifactZarrStore"]
"""Opens a store once more; can be compared and pickled."""


class ArtifactZarrStore(Store):
    """Serves the documents ``zarr.json`` and the chunks ``c/i/j…`` of a stored array or group of arrays.

    Args:
        tree: What the keys hold.
        name: What to call it in its repr.
        again: Makes an equal store in another process; a store without it cannot be pickled.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True

    def __init__(self, tree: Tree, *, name: str, again: Again | None = None) -> None:
        super().__init__(read_only=True)
        self._tree = tree
        self._name = name
        self._again = again

    def __eq__(self, other: object) -> bool:
        """Whether `other` serves the same stored value."""
        if not isinstance(other, ArtifactZarrStore) or self._again is None:
            return self is other
        return self._again == other._again

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self._again) if self._again is not None else id(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A store is opened again where it is sent, on the value that it was opened on."""
        if self._again is None:
            raise TypeError("this store serves a value of its own process")
        return _opened_again, (self._again,)

    def __repr__(self) -> str:
        """The value's name, with an array's type and shape."""
        root = self._tree.root
        if isinstance(root, ArrayNode):
            shape = tuple(root.document["shape"])
            return f"<{type(self).__name__} {self._name} {root.document['data_type']} {shape}>"
        return f"<{type(self).__name__} {self._name} with {', '.join(root.members)}>"

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of `key`, or the part `byte_range` asks for; None when there is no such key."""
        settle_at_exit()
        data = await asyncio.to_thread(self._tree.read, key)
        if data is None:
            return None
        start, stop = _bounds(byte_range, len(data))
        return prototype.buffer.from_bytes(data[start:stop])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Each key's bytes, or the part of them asked for."""
        jobs = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*jobs))

    async def exists(self, key: str) -> bool:
        """Whether `key` is the document or a chunk inside the grid."""
        return key in self._tree

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002 - zarr's signature
        """Refuse: a committed artifact never changes."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002 - zarr's signature
        """Refuse: a committed artifact never changes."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Every key: the documents, and the chunks of each array in C order."""
        for key in self._tree.keys(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins with `prefix`."""
        for key in self._tree.keys(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names directly below `prefix`."""
        for name in self._tree.names(prefix):
            yield name


def _opened_again(again: Again) -> ArtifactZarrStore:
    return again()


def _bounds(request: ByteRequest | None, size: int) -> tuple[int, int]:
    """`request` as start and stop within `size` bytes."""
    match request:
        case None:
            return 0, size
        case RangeByteRequest(start, end):
            return min(start, size), max(min(start, size), min(end, size))
        case OffsetByteRequest(offset):
            return min(offset, size), size
        case SuffixByteRequest(suffix):
            return max(0, size - suffix), size
