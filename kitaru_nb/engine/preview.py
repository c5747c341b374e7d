"""What a stored value is like, told from its record and its bytes: nothing of it is unpickled.

Arrays and tables are read chunk by chunk where the record says how they lie; text, numbers and
nested data from the stream. All else is named and not shown.
"""

from __future__ import annotations

import base64
import itertools
import math
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.plain_stream import MOST_BYTES, NotPlainError, Opaque, plain_names
from kitaru_nb.artifacts.values import checked_buffers, extents_reader
from kitaru_nb.artifacts.zarr_tree import ArrayNode, GroupNode, Node, Tree
from kitaru_nb.artifacts.zarr_view import stored_tree
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import Found
from kitaru_nb.errors import UntrustedError, UsageError

__all__ = ["Preview", "plain_value", "preview_of"]

_TEXT = 20_000  # characters of a text that are shown
_ITEMS = 2000  # values of nested data that are shown
_CHARACTERS = 200_000  # of all of its text together
_DEPTH = 20
_BITS = 10_000
_LARGEST = 1 << 53  # of the whole numbers that JavaScript can hold
_IMAGE = 4 << 20  # bytes of a picture that are sent
_PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_TABLE = "dataframe"
_MARKER = f"{Marker.__module__}.{Marker.__qualname__}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a value is like.

    Attributes:
        kind: ``array``, ``table``, ``group``, ``text``, ``json``, ``image``, or ``opaque``.
        fields: What there is to say about that kind, as JSON values.
        tree: For arrays, tables and groups: what reads them.
    """

    kind: str
    fields: Mapping[str, Any]
    tree: Tree | None = None


def preview_of(engine: Engine, found: Found, *, title: str) -> Preview:
    """What the value that was found is like; at most a megabyte is read.

    Args:
        engine: Where it is.
        found: Which one.
        title: What to call it in an error.

    Raises:
        CorruptError: it is damaged.
        StoreError: it cannot be read, or was removed.
    """
    tree, notes = _tree(engine, found, title)
    if tree is not None:
        return _of_node(tree, notes)
    value = plain_value(engine, found)
    preview = _of_value(value)
    if not found.lost:
        return preview
    left_out = [*preview.fields.get("left_out", ()), f"not stored: {found.lost}"]
    marker = {"marker": True} if isinstance(value, Opaque) and value.name == _MARKER else {}
    return replace(preview, fields={**preview.fields, **marker, "left_out": left_out})


def _tree(engine: Engine, found: Found, title: str) -> tuple[Tree | None, list[str]]:
    """What reads the arrays of a value, and what of it is left out; None where it has none on record."""

    def refuse() -> object:
        raise UntrustedError("reading more of it would unpickle it", kind="not-loaded")

    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", UserWarning)
        try:
            tree = stored_tree(
                found.artifact, found.name, store=engine.store, index=engine.journal, load=refuse, title=title
            )
        except (UntrustedError, UsageError):
            return None, []
    return tree, [str(warning.message) for warning in left_out]


def plain_value(engine: Engine, found: Found) -> object:
    """The value, where it is plain data, whoever recorded it; else an `Opaque` with what is known of it.

    Raises:
        CorruptError: it is damaged.
        StoreError: it cannot be read, or was removed.
    """
    artifact = found.artifact
    codec = artifact.manifest.get("codec")
    if codec == "scalar":
        return found.pick(engine.get(artifact.digest, namespace={}))
    rows = checked_buffers(artifact)
    if codec != "pickle5" or not rows or sum(extent.length for extent in rows[0]) > MOST_BYTES:
        return Opaque("")
    stream = bytes(extents_reader(artifact, store=engine.store, index=engine.journal)(rows[0]))
    try:
        values = plain_names(stream)
    except NotPlainError:
        return Opaque("")
    if found.name is not None:
        return values.get(found.name, Opaque(""))
    return next(iter(values.values())) if len(values) == 1 else values


def _of_value(value: object) -> Preview:
    match value:
        case Opaque(name=name):
            return Preview("opaque", {"type": _made_by(name) or None})
        case str():
            told = {"type": "str", "length": len(value), "preview": value[:_TEXT]}
            if len(value) > _TEXT:
                told["left_out"] = [f"the first {_TEXT:,} of {len(value):,} characters"]
            return Preview("text", told)
        case bytes() | bytearray():
            media = next((m for start, m in _PICTURES.items() if value.startswith(start)), None)
            told = {"type": type(value).__name__, "length": len(value)}
            if media is None or len(value) > _IMAGE:
                return Preview("opaque", told)
            return Preview("image", {**told, "media": media, "data": base64.b64encode(value).decode()})
    document = _Document()
    told = {"type": type(value).__name__, "preview": document.of(value), "whole": document.whole}
    if isinstance(value, dict | list | tuple | set | frozenset):
        told["length"] = len(value)
    if not document.whole:
        told["left_out"] = ["only its beginning is shown"]
    return Preview("json", told)


class _Document:
    """Turns values into JSON, cut where they are long or deep; of what is no data the name is told."""

    def __init__(self) -> None:
        self._left = _ITEMS
        self._text = _CHARACTERS

    @property
    def whole(self) -> bool:
        """Whether nothing was cut for its number."""
        return self._left > 0 and self._text > 0

    def of(self, value: object, depth: int = 0) -> Any:
        """`value` as JSON."""
        self._left -= 1
        if not self.whole or depth > _DEPTH:
            return "…"
        if value is None or isinstance(value, bool | int | float):
            return _number(value)
        if isinstance(value, str):
            self._text -= len(value)
            return value if len(value) <= _TEXT else value[:_TEXT] + "…"
        if isinstance(value, dict):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return list(self._items(value, depth + 1))
        if isinstance(value, bytes | bytearray):
            return f"<{len(value)} bytes>"
        return f"<{_made_by(value.name) if isinstance(value, Opaque) else type(value).__name__}>"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        texts = {key for key in value if isinstance(key, str)}
        found: dict[str, Any] = {}
        for key, item in value.items():
            if not self.whole:
                break
            name = key if isinstance(key, str) else str(self.of(key, depth))
            if not isinstance(key, str) and (name in texts or name in found):
                name = _unlike(f"{name} ({type(key).__name__})", texts | found.keys())
            found[name] = self.of(item, depth)
        return found

    def _items(self, value: Iterable[Any], depth: int) -> Iterator[Any]:
        for item in value:
            if not self.whole:
                return
            yield self.of(item, depth)


def _unlike(name: str, taken: Container[str]) -> str:
    """`name`, with a number where it is taken: 1 and "1" are two keys in Python, and one in JSON."""
    numbered = (f"{name} {number}" for number in itertools.count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _made_by(name: str) -> str:
    """What is called `name` in a stream, as whoever made the value knows it."""
    if name.startswith("kitaru_nb.artifacts."):
        return "numpy.ndarray" if name.endswith((".make_array", ".make_subclass")) else ""
    return name


def _number(value: Any) -> Any:
    """A number as JavaScript can hold it; text where it cannot."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and value.bit_length() > _BITS:  # Python refuses to write it in digits
        return f"<a number of {value.bit_length()} bits>"
    return value if value is None or -_LARGEST < value < _LARGEST else str(value)


def _of_node(tree: Tree, notes: list[str]) -> Preview:
    root = tree.root
    fields: dict[str, Any] = {"left_out": notes} if notes else {}
    if isinstance(root, ArrayNode):
        return Preview("array", {**_array(root), **fields}, tree)
    kind = _mapping(root.attrs.get("kitaru-nb")).get("type")
    if root.attrs.get("encoding-type") == _TABLE:
        fields = _with_columns_left_out(root, fields)
        return Preview("table", {"type": kind, **_table(root), **fields}, tree)
    members = {name: _member(node) for name, node in root.members.items()}
    told = kind or root.attrs.get("encoding-type")
    return Preview("group", {"type": told, "members": members, **fields}, tree)


def _with_columns_left_out(root: GroupNode, fields: dict[str, Any]) -> dict[str, Any]:
    """`fields`, and why there are columns of the table that its arrays do not hold."""
    ours = _mapping(root.attrs.get("kitaru-nb"))
    labels = _mapping(ours.get("labels"))
    gone = _mapping(ours.get("left-out"))
    told = [f"the column `{labels.get(name, name)}` is not shown: {why}" for name, why in gone.items()]
    return {**fields, "left_out": [*told, *fields.get("left_out", [])]} if told else fields


def _array(node: ArrayNode) -> dict[str, Any]:
    return {"shape": list(node.document["shape"]), "dtype": _dtype(node), "dims": _dims(node)}


def _dtype(node: ArrayNode) -> str:
    kind = node.document["data_type"]
    return kind if isinstance(kind, str) else str(kind.get("name", "unknown"))


def _dims(node: ArrayNode) -> list[str] | None:
    dims = node.document.get("dimension_names")
    return None if dims is None else list(dims)


def _member(node: Node) -> dict[str, Any]:
    if isinstance(node, ArrayNode):
        return {"kind": "array", **_array(node)}
    return {"kind": "group", "type": node.attrs.get("encoding-type"), "members": sorted(node.members)}


def _table(root: GroupNode) -> dict[str, Any]:
    index = str(root.attrs.get("_index"))
    listed = root.attrs.get("column-order")
    order = [str(name) for name in listed] if isinstance(listed, list) else []
    order = [name for name in order if name in root.members]
    ours = _mapping(root.attrs.get("kitaru-nb"))
    dtypes, labels = _mapping(ours.get("dtypes")), _mapping(ours.get("labels"))
    rows = _rows(root.members[index]) if index in root.members else None
    if rows is None and order:
        rows = _rows(root.members[order[0]])
    columns = [
        {
            "path": name,
            "name": labels.get(name, name),
            "dtype": dtypes.get(name) or _column_type(root.members[name]),
        }
        for name in order
    ]
    return {"rows": rows, "index": index, "columns": columns, "shape": [rows, len(columns)]}


def _mapping(value: object) -> Mapping[str, Any]:
    """What a manifest has where a mapping belongs: whoever wrote it may have put anything there."""
    return value if isinstance(value, Mapping) else {}


def _rows(node: Node) -> int | None:
    """How many entries a column has; of categories their codes, of one with gaps its values."""
    if isinstance(node, ArrayNode):
        return int(node.document["shape"][0]) if node.document["shape"] else None
    inner = next((node.members[name] for name in ("codes", "values", "mask") if name in node.members), None)
    return None if inner is None else _rows(inner)


def _column_type(node: Node) -> str:
    return _dtype(node) if isinstance(node, ArrayNode) else str(node.attrs.get("encoding-type", "unknown"))
