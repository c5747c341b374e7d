"""A tree of zarr nodes over bytes that are somewhere else: what a key of a zarr store holds.

A chunk inside an array's grid is never missing, which zarr would read as zeros: it is made
of verified bytes, or making it raises. Nor is one of an array that is not here: whoever asks for
it has opened the value where more of it could be read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from kitaru_nb.artifacts.zarr_codec import chunk_shape
from kitaru_nb.artifacts.zarr_document import document_of, group_document, strings_document
from kitaru_nb.errors import KitaruError, StoreError

__all__ = [
    "ROWS",
    "ArrayNode",
    "GroupNode",
    "Node",
    "ReadBytes",
    "Tree",
    "counted",
    "in_memory",
    "strided",
    "strings",
]

ReadBytes = Callable[[int, int], bytes]
"""Gives bytes `start` to `stop` of a stored run of bytes, verified."""

ROWS = 1 << 16
"""Strings in one chunk."""

_DOCUMENT = "zarr.json"


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """A zarr array.

    Attributes:
        document: Its ``zarr.json``.
        chunk: Gives the bytes of a chunk inside the grid, padded to the full size.
        chunk_bytes: What every chunk has, or None where that depends on the content.
    """

    document: Mapping[str, Any]
    chunk: Callable[[tuple[int, ...]], bytes]
    chunk_bytes: int | None

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        chunks = self.document["chunk_grid"]["configuration"]["chunk_shape"]
        return tuple(-(-size // chunk) for size, chunk in zip(self.document["shape"], chunks, strict=True))


@dataclass(frozen=True, slots=True)
class GroupNode:
    """A zarr group: nodes by name, and attributes that say what they are together."""

    members: Mapping[str, Node]
    attrs: Mapping[str, Any] = field(default_factory=dict)


Node = ArrayNode | GroupNode


class Tree:
    """The keys of a zarr store with `root` at its top, and what each holds.

    Args:
        root: The node at the top.
        title: What to call the value in an error.
        lost: Why a part of the value is not in the tree, if one is not.
    """

    def __init__(self, root: Node, *, title: str, lost: KitaruError | None = None) -> None:
        self.root = root
        self._title = title
        self._lost = lost
        self._nodes = dict(_walk(root, ""))
        self._documents: dict[str, bytes] = {}

    def __contains__(self, key: str) -> bool:
        """Whether `key` is a document or a chunk inside a grid."""
        return self._split(key) is not None

    def read(self, key: str) -> bytes | None:
        """What `key` holds; None when there is no such key.

        Raises:
            StoreError: what it holds is damaged or cannot be read. Kind ``not-here``: it is a chunk of
                an array that the value does not have here.
            KitaruError: what kept that array from being read here.
        """
        match self._split(key):
            case None:
                self._refuse_lost(key)
                return None
            case (path, None):
                return self._document(path)
            case (path, position):
                node = self._nodes[path]
                assert isinstance(node, ArrayNode)
                return node.chunk(position)

    def size(self, key: str) -> int | None:
        """The bytes of `key`: without reading it, where it is a chunk of numbers."""
        found = self._split(key)
        node = self._nodes[found[0]] if found is not None else None
        if found is not None and found[1] is not None and isinstance(node, ArrayNode) and node.chunk_bytes:
            return node.chunk_bytes
        data = None if found is None else self.read(key)
        return None if data is None else len(data)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Every key that begins with `prefix`: documents first, chunks in C order."""
        for path, node in self._nodes.items():
            above = f"{path}/" if path else ""
            if (above + _DOCUMENT).startswith(prefix):
                yield above + _DOCUMENT
            if isinstance(node, ArrayNode) and _may_begin(f"{above}c", prefix):
                for position in product(*map(range, node.grid)):
                    key = above + "/".join(("c", *map(str, position)))
                    if key.startswith(prefix):
                        yield key

    def names(self, folder: str) -> dict[str, bool]:
        """The names directly in `folder`, each with whether it is a folder; none where there is no folder."""
        folder = folder.strip("/")
        node = self._nodes.get(folder)
        if isinstance(node, GroupNode):
            return {_DOCUMENT: False} | dict.fromkeys(node.members, True)
        if isinstance(node, ArrayNode):
            some = bool(prod(node.grid))
            return {_DOCUMENT: False} | ({"c": bool(node.grid)} if some else {})
        for path, array in self._nodes.items():
            first = f"{path}/c" if path else "c"
            if isinstance(array, ArrayNode) and (folder + "/").startswith(first + "/"):
                return _inside(array.grid, folder[len(first) :].strip("/"))
        return {}

    def _refuse_lost(self, key: str) -> None:
        """Raise where `key` is a chunk of an array that is not here: zarr would read it as zeros."""
        parts = key.split("/")
        first = max((at for at, part in enumerate(parts) if part == "c"), default=None)
        if first is None or key in self._nodes or not all(part.isdecimal() for part in parts[first + 1 :]):
            return
        array = "/".join(parts[:first])
        if isinstance(self._nodes.get(array), ArrayNode):
            return
        if self._lost is not None:
            message = f"`{array}` of {self._title} cannot be read here: {self._lost.message}"
            raise type(self._lost)(message, kind=self._lost.kind, hint=self._lost.hint) from self._lost
        raise StoreError(
            f"{self._title} has no array `{array}` here: it was opened where it looks otherwise",
            kind="not-here",
            hint="open it again here; both places need the same versions of kitaru_nb and pandas",
        )

    def _document(self, path: str) -> bytes:
        if path not in self._documents:
            self._documents[path] = json.dumps(_whole(self._nodes[path]), indent=2).encode()
        return self._documents[path]

    def _split(self, key: str) -> tuple[str, tuple[int, ...] | None] | None:
        if key == _DOCUMENT or key.endswith("/" + _DOCUMENT):
            path = key[: -len(_DOCUMENT)].rstrip("/")
            return (path, None) if path in self._nodes else None
        parts = key.split("/")
        for at in [at for at, part in enumerate(parts) if part == "c"]:
            path = "/".join(parts[:at])
            node = self._nodes.get(path)
            if isinstance(node, ArrayNode):
                position = _position(parts[at + 1 :], node.grid)
                return (path, position) if position is not None else None
        return None


def strided(
    read: ReadBytes,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    offset: int = 0,
    dims: Iterable[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> ArrayNode:
    """An array whose elements lie in a run of bytes as numpy's do, whatever their order.

    Args:
        read: Gives the bytes.
        dtype: The elements' numpy type.
        shape: The array's shape.
        strides: The bytes from one element to the next along each axis.
        offset: Where the element ``[0, 0, …]`` begins.
        dims: Names of the axes.
        attrs: The array's attributes.
    """

    def cut(starts: tuple[int, ...], held: tuple[int, ...]) -> Any:
        import numpy as np  # noqa: PLC0415 - a process that reads no chunk does not need it

        first = offset + sum(s * step for s, step in zip(starts, strides, strict=True))
        reach = [(n - 1) * step for n, step in zip(held, strides, strict=True)]
        low = first + sum(r for r in reach if r < 0)
        data = read(low, first + sum(r for r in reach if r > 0) + dtype.itemsize)
        return np.ndarray(held, f"V{dtype.itemsize}", buffer=data, offset=first - low, strides=strides)

    return _numbers(cut, dtype, shape, strides, dims=dims, attrs=attrs)


def in_memory(
    array: Any, *, dims: Iterable[str] | None = None, attrs: Mapping[str, Any] | None = None
) -> ArrayNode:
    """A numpy array of this process as a zarr array; it is not copied."""

    def cut(starts: tuple[int, ...], held: tuple[int, ...]) -> Any:
        return array[tuple(slice(at, at + size) for at, size in zip(starts, held, strict=True))]

    return _numbers(cut, array.dtype, array.shape, array.strides, dims=dims, attrs=attrs)


def counted(
    numbers: range, *, dims: Iterable[str] | None = None, attrs: Mapping[str, Any] | None = None
) -> ArrayNode:
    """A range as a zarr array, made when it is read."""
    import numpy as np  # noqa: PLC0415 - a process that opens no frame does not need it

    def cut(starts: tuple[int, ...], held: tuple[int, ...]) -> Any:
        some = numbers[starts[0] : starts[0] + held[0]]
        return np.arange(some.start, some.stop, some.step, dtype="i8")

    return _numbers(cut, np.dtype("i8"), (len(numbers),), (8,), dims=dims, attrs=attrs)


def strings(
    shape: tuple[int, ...],
    read: Callable[[int, int], list[bytes]],
    *,
    dims: Iterable[str] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> ArrayNode:
    """An array of strings; `read` gives those from one place to another in C order, in UTF-8."""
    rows = prod(shape)
    per_chunk = max(1, min(rows, ROWS)) if len(shape) == 1 else prod(max(1, size) for size in shape)
    chunks = (per_chunk,) if len(shape) == 1 else tuple(max(1, size) for size in shape)
    named = None if dims is None else list(dims)
    document = strings_document(shape, chunks=chunks, dims=named, attrs=attrs)

    def chunk(position: tuple[int, ...]) -> bytes:
        start = (position[0] if position else 0) * per_chunk
        found = read(start, min(start + per_chunk, rows))
        return _encoded(found + [b""] * (per_chunk - len(found)))

    return ArrayNode(document, chunk, None)


def _encoded(values: list[bytes]) -> bytes:
    """Strings as zarr's codec ``vlen-utf8`` has them: how many, then each with its length before it."""
    parts = [len(values).to_bytes(4, "little")]
    for value in values:
        parts += (len(value).to_bytes(4, "little"), value)
    return b"".join(parts)


def _numbers(
    cut: Callable[[tuple[int, ...], tuple[int, ...]], Any],
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    dims: Iterable[str] | None,
    attrs: Mapping[str, Any] | None,
) -> ArrayNode:
    """An array of numbers. Chunks follow the memory: of a Fortran-ordered one they are runs of columns."""
    chunks = _chunks(shape, strides, dtype.itemsize)
    document = document_of(
        shape, dtype, chunks=chunks, dims=None if dims is None else list(dims), attrs=attrs
    )

    def chunk(position: tuple[int, ...]) -> bytes:
        starts = tuple(at * size for at, size in zip(position, chunks, strict=True))
        held = tuple(min(c, n - s) for c, n, s in zip(chunks, shape, starts, strict=True))
        piece = cut(starts, held)
        if held != chunks:
            import numpy as np  # noqa: PLC0415 - a process that reads no chunk does not need it

            whole = np.zeros(chunks, piece.dtype)
            whole[tuple(map(slice, held))] = piece
            piece = whole
        found: bytes = piece.tobytes()
        return found

    return ArrayNode(document, chunk, prod(chunks) * dtype.itemsize)


def _chunks(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunks that are as close to one run of the bytes as `strides` allow."""
    if not shape or not prod(shape):
        return tuple(max(1, size) for size in shape)
    order = sorted(range(len(shape)), key=lambda axis: -abs(strides[axis]))
    # Elements that lie apart cost what lies between them, too, when they are read.
    apart = max(itemsize, abs(strides[order[-1]]) if shape[order[-1]] > 1 else 0)
    sizes = chunk_shape(tuple(shape[axis] for axis in order), apart)
    found = dict(zip(order, sizes, strict=True))
    return tuple(found[axis] for axis in range(len(shape)))


def _walk(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    yield path, node
    if isinstance(node, GroupNode):
        for name, member in node.members.items():
            yield from _walk(member, f"{path}/{name}" if path else name)


def _whole(node: Node) -> Mapping[str, Any]:
    """The document of a node; that of a group has those of all below it."""
    if isinstance(node, ArrayNode):
        return node.document
    below = {
        path: inner.document if isinstance(inner, ArrayNode) else group_document(inner.attrs, {})
        for path, inner in _walk(node, "")
        if path
    }
    return group_document(node.attrs, below)


def _position(parts: list[str], grid: tuple[int, ...]) -> tuple[int, ...] | None:
    if len(parts) != len(grid):
        return None
    if not all(part.isascii() and part.isdigit() and str(int(part)) == part for part in parts):
        return None
    position = tuple(map(int, parts))
    return position if all(at < size for at, size in zip(position, grid, strict=True)) else None


def _may_begin(path: str, prefix: str) -> bool:
    """Whether a key at or below `path` may begin with `prefix`."""
    return path.startswith(prefix) or prefix.startswith(path)


def _inside(grid: tuple[int, ...], folder: str) -> dict[str, bool]:
    """The names in a folder of chunks; `folder` is relative to the array's ``c``."""
    above = folder.split("/") if folder else []
    if len(above) >= len(grid) or _position(above, grid[: len(above)]) is None or not prod(grid):
        return {}
    deeper = len(above) + 1 < len(grid)
    return {str(number): deeper for number in range(grid[len(above)])}
