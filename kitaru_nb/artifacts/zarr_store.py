"""A committed array as a read-only zarr v3 store, served from its extents.

Nothing is copied or unpacked: a zarr chunk is cut out of the flat bytes when it is asked
for. A chunk inside the grid is never "missing", which zarr would read as zeros: its bytes
are there and verified, or reading it raises `CorruptError`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import product
from math import prod

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from kitaru_nb.artifacts.store import ArtifactStore, ExtentIndex
from kitaru_nb.artifacts.values import checked_buffers, extent_reader
from kitaru_nb.artifacts.zarr_codec import dtype_of
from kitaru_nb.errors import CorruptError, UsageError
from kitaru_nb.model.artifact import EXTENT_BYTES, Artifact

__all__ = ["ArtifactZarrStore"]

_DOCUMENT = "zarr.json"


class ArtifactZarrStore(Store):
    """Serves ``zarr.json`` and the chunks ``c/i/j…`` of one array artifact.

    Args:
        artifact: An artifact of codec ``zarr``; its manifest is checked here.
        store: Where its extents are.
        index: Knows where; asked once, here, since a journal may belong to this thread.

    Raises:
        CorruptError: the manifest is damaged, now, or an extent is, when it is read.
        UsageError: kind ``not-an-array``: the artifact holds something else.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True

    def __init__(self, artifact: Artifact, *, store: ArtifactStore, index: ExtentIndex) -> None:
        super().__init__(read_only=True)
        if artifact.codec != "zarr":
            raise UsageError(
                f"the artifact `{artifact.digest[:12]}` is not an array and has no zarr form",
                kind="not-an-array",
                hint="load it with kitaru_nb.load(REF)",
            )
        self._artifact = artifact
        self._read_extent = extent_reader(artifact, store=store, index=index)
        (self._extents,) = checked_buffers(artifact)
        document = artifact.manifest["meta"]["zarr"]
        self._document = json.dumps(document, indent=2).encode()
        self._shape = tuple(document["shape"])
        self._chunks = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
        self._itemsize = dtype_of(document["data_type"]).itemsize
        self._grid = tuple(-(-size // chunk) for size, chunk in zip(self._shape, self._chunks, strict=True))
        self._check_size()

    def __eq__(self, other: object) -> bool:
        """Whether `other` serves the same artifact."""
        return isinstance(other, ArtifactZarrStore) and other._artifact.digest == self._artifact.digest

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self._artifact.digest)

    def __repr__(self) -> str:
        """The array's name, type and shape."""
        meta = self._artifact.manifest["meta"]
        return f"<{type(self).__name__} {meta['name']} {meta['zarr']['data_type']} {self._shape}>"

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of `key`, or the part `byte_range` asks for; None when there is no such key."""
        if key == _DOCUMENT:
            start, stop = _bounds(byte_range, len(self._document))
            return prototype.buffer.from_bytes(self._document[start:stop])
        position = self._position(key)
        if position is None:
            return None
        start, stop = _bounds(byte_range, prod(self._chunks) * self._itemsize)
        data = await asyncio.to_thread(self._chunk, position, start, stop)
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Each key's bytes, or the part of them asked for."""
        jobs = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*jobs))

    async def exists(self, key: str) -> bool:
        """Whether `key` is the document or a chunk inside the grid."""
        return key == _DOCUMENT or self._position(key) is not None

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002 - zarr's signature
        """Refuse: a committed artifact never changes."""
        self._check_writable()

    async def delete(self, key: str) -> None:  # noqa: ARG002 - zarr's signature
        """Refuse: a committed artifact never changes."""
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        """Every key: the document, then the chunks in C order."""
        yield _DOCUMENT
        for position in product(*map(range, self._grid)):
            yield "/".join(("c", *map(str, position)))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins with `prefix`."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names directly below `prefix`."""
        folder = prefix.rstrip("/") + "/" if prefix.rstrip("/") else ""
        seen: set[str] = set()
        async for key in self.list_prefix(folder):
            name = key[len(folder) :].split("/", 1)[0]
            if name not in seen:
                seen.add(name)
                yield name

    def _position(self, key: str) -> tuple[int, ...] | None:
        first, *rest = key.split("/")
        if first != "c" or len(rest) != len(self._grid):
            return None
        if not all(part.isascii() and part.isdigit() and str(int(part)) == part for part in rest):
            return None
        position = tuple(map(int, rest))
        return position if all(at < size for at, size in zip(position, self._grid, strict=True)) else None

    def _chunk(self, position: tuple[int, ...], start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a chunk; what lies beyond the array's edge is zeros.

        A chunk is one run of the flat bytes: only the first axis it cuts can end early,
        and the axes before that one have chunks of length 1.
        """
        base, stride, held = 0, self._itemsize, self._itemsize
        for at, chunk, size in reversed(list(zip(position, self._chunks, self._shape, strict=True))):
            base += at * chunk * stride
            held *= min(chunk, size - at * chunk)
            stride *= size
        data = self._flat(base + min(start, held), base + min(stop, held))
        return data + bytes(stop - start - len(data))

    def _flat(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of the flat buffer."""
        parts = []
        for number in range(start // EXTENT_BYTES, -(-stop // EXTENT_BYTES)):
            first = number * EXTENT_BYTES
            data = self._read_extent(self._extents[number])
            parts.append(data[max(start - first, 0) : stop - first])
        return b"".join(parts)

    def _check_size(self) -> None:
        """The extents must cover the array exactly, each but the last of full length."""
        lengths = [extent.length for extent in self._extents]
        whole = all(length == EXTENT_BYTES for length in lengths[:-1])
        if not whole or sum(lengths) != prod(self._shape) * self._itemsize:
            message = f"the artifact `{self._artifact.digest[:12]}` does not hold the array it describes"
            raise CorruptError(message, kind="corrupt-artifact")


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
