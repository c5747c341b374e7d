"""Parts of stored arrays and tables: some values, statistics, a small picture; read chunk by chunk.

What is read for one answer is bounded, whatever the size of the array and whatever is asked for.
"""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from kitaru_nb.artifacts.zarr_tree import ArrayNode, GroupNode, Node, Tree
from kitaru_nb.errors import UsageError

__all__ = ["Cut", "picture_of", "rows_of", "statistics_of", "values_of"]

_VALUES = 10_000  # elements in one answer
_ROWS = 500  # of a table in one answer, unless told otherwise
_READ = 64 << 20  # bytes of chunks that are read for one answer
_SAMPLE = 100_000  # elements that a histogram is made from
_BINS = 20
_PIXELS = 256
_TEXT = 2000  # characters of one string
_NUMBERS = "biuf"
_NOT_A_TIME = -(1 << 63)
_FAR = 100_000  # periods from 1970 on that are named; of days those of 273 years
_NANOSECONDS = {
    "W": 604_800 * 10**9,
    "D": 86_400 * 10**9,
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 1000,
    "ns": 1,
}


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part is asked for: along each axis from `start` to `stop`; axes that are not named begin at 0."""

    start: Sequence[int] = ()
    stop: Sequence[int] = ()


def values_of(tree: Tree, path: str, cut: Cut) -> dict[str, Any]:
    """Some elements of an array, as nested lists; fewer than asked for where those would be too many.

    Raises:
        UsageError: kinds ``unknown-path``, ``not-an-array``, ``bad-slice``.
        CorruptError: what they are in is damaged.
    """
    array, node = _array(tree, path)
    shape = tuple(node.document["shape"])
    starts, stops = _bounds(shape, cut, most=_VALUES)
    stops = _affordable(node, starts, stops)
    part = array[tuple(map(slice, starts, stops))] if shape else array[()]
    marks = node.document.get("attributes") or {}
    return {
        "shape": list(shape),
        "start": list(starts),
        "stop": list(stops),
        "values": _marked(_json(part), marks),
        "whole": all(not a for a in starts) and stops == shape,
    }


def rows_of(tree: Tree, cut: Cut, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Some rows of a table, column by column.

    Raises:
        UsageError: kinds ``not-a-table``, ``unknown-path``, ``bad-slice``.
    """
    root = tree.root
    if not isinstance(root, GroupNode) or root.attrs.get("encoding-type") != "dataframe":
        raise UsageError("it is no table", kind="not-a-table", hint="path=MEMBER of the array in it")
    index = str(root.attrs.get("_index", ""))
    known = [name for name in (index, *root.attrs.get("column-order", ())) if name in root.members]
    chosen = [name for name in known if not columns or name in columns or name == index]
    if any(name not in known for name in columns):
        message = f"it has no column `{next(name for name in columns if name not in known)}`"
        raise UsageError(message, kind="unknown-path", hint=", ".join(known[:8]))
    most = min(_ROWS, max(1, _VALUES // max(1, len(chosen))))
    found = {name: _column(tree, name, root.members[name], cut, most) for name in chosen}
    ours = root.attrs.get("kitaru-nb")
    dtypes = ours.get("dtypes") if isinstance(ours, Mapping) else None
    for name, part in found.items():
        if isinstance(dtypes, Mapping) and (each := _time_of_day(dtypes.get(name))) is not None:
            part["values"] = [None if n is None else clock(int(n) * each) for n in part["values"]]
    first = next(iter(found.values()), {"start": [0], "stop": [0], "shape": [0]})
    return {
        "rows": first["shape"][0],
        "start": first["start"][0],
        "stop": first["stop"][0],
        "index": index if index in root.members else None,
        "columns": {name: part["values"] for name, part in found.items()},
    }


def statistics_of(tree: Tree, path: str) -> dict[str, Any]:
    """Smallest, largest, mean, spread, gaps and a histogram of an array of numbers.

    Of whole numbers the smallest and largest are exact, as text where JavaScript could not hold them.
    Of an array that is too large to be read for this, of chunks spread evenly over it; then
    ``sampled`` is true.

    Raises:
        UsageError: kinds ``unknown-path``, ``not-an-array``, ``not-numbers``.
    """
    import numpy as np  # noqa: PLC0415 - a server that nobody asks for a preview does not need it

    array, node = _array(tree, path)
    if array.dtype.kind not in _NUMBERS:
        message = f"an array of `{array.dtype}` has no statistics"
        raise UsageError(message, kind="not-numbers", hint="as=values")
    chunks, sampled = _chunks(node)
    sums, sample = _Sums(), []
    for region in chunks:
        part = np.asarray(array[region]).reshape(-1)
        sums.add(part, np)
        sample.append(part[:: max(1, len(part) * len(chunks) // _SAMPLE)])
    told = np.concatenate(sample) if sample else np.zeros(0)
    told = told[np.isfinite(told)] if told.dtype.kind == "f" else told
    counts, edges = np.histogram(told, bins=_BINS) if len(told) else (np.zeros(0), np.zeros(0))
    return {
        **sums.told(),
        "sampled": sampled,
        "histogram": {"counts": [int(n) for n in counts], "edges": [_finite(edge) for edge in edges]},
    }


def picture_of(tree: Tree, path: str, *, pixels: int = _PIXELS) -> dict[str, Any]:
    """A two-dimensional array of numbers, or one of colours, as a small PNG.

    Raises:
        UsageError: kinds ``unknown-path``, ``not-an-array``, ``not-a-picture``.
    """
    import numpy as np  # noqa: PLC0415 - as above

    array, node = _array(tree, path)
    shape = array.shape
    colours = len(shape) == 3 and shape[2] in (3, 4) and array.dtype == np.uint8
    if array.dtype.kind not in _NUMBERS or not (len(shape) == 2 or colours) or not math.prod(shape):
        message = f"an array of `{array.dtype}` with the shape {shape} is no picture"
        raise UsageError(message, kind="not-a-picture", hint="as=values or as=statistics")
    rows = _affordable_rows(node, min(pixels, shape[0]))
    picked = [round(number * (shape[0] - 1) / max(1, rows - 1)) for number in range(rows)]
    step = max(1, -(-shape[1] // pixels))
    lines = np.concatenate([part[:, ::step] for part in _picked(array, node, picked, np)])
    low, high = None, None
    if not colours:
        lines, low, high = _grey(lines, np)
    data = base64.b64encode(_png(lines, np)).decode()
    size = {"width": lines.shape[1], "height": lines.shape[0]}
    return {"shape": list(shape), "media": "image/png", "data": data, "low": low, "high": high, **size}


class _Sums:
    """Adds up an array part by part."""

    def __init__(self) -> None:
        self._count = self._gaps = self._infinite = 0
        self._least: int | float = math.inf
        self._most: int | float = -math.inf
        self._sum = self._squares = 0.0

    def add(self, part: Any, np: Any) -> None:
        numbers = part.astype("f8")
        finite = numbers[np.isfinite(numbers)]
        self._count += len(numbers)
        self._gaps += int(np.isnan(numbers).sum())
        self._infinite += int(np.isinf(numbers).sum())
        if len(finite):
            exact = part if part.dtype.kind in "biu" else finite
            self._least = min(self._least, exact.min().item())
            self._most = max(self._most, exact.max().item())
            with np.errstate(over="ignore"):
                self._sum += float(finite.sum())
                self._squares += float((finite * finite).sum())

    def told(self) -> dict[str, Any]:
        count = self._count - self._gaps - self._infinite
        mean = self._sum / count if count else None
        spread = None
        if count and mean is not None:
            spread = _finite(math.sqrt(max(0.0, self._squares / count - mean * mean)))
        return {
            "count": self._count,
            "nan": self._gaps,
            "infinite": self._infinite,
            "min": _bound(self._least),
            "max": _bound(self._most),
            "mean": None if mean is None else _finite(mean),
            "std": spread,
        }


def _array(tree: Tree, path: str) -> tuple[Any, ArrayNode]:
    """The array at `path` as zarr reads it, and its node."""
    import zarr  # noqa: PLC0415 - as above

    from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore  # noqa: PLC0415 - imports zarr

    node = _node(tree, path)
    if not isinstance(node, ArrayNode):
        raise UsageError(f"`{path}` is no array", kind="not-an-array", hint=", ".join(list(node.members)[:8]))
    found = zarr.open(store=ArtifactZarrStore(tree, name=path or "value"), path=path, mode="r")
    assert isinstance(found, zarr.Array)
    return found, node


def _node(tree: Tree, path: str) -> Node:
    node: Node = tree.root
    for name in path.split("/") if path else ():
        if not isinstance(node, GroupNode) or name not in node.members:
            known = list(node.members)[:8] if isinstance(node, GroupNode) else []
            raise UsageError(f"there is no `{path}` in it", kind="unknown-path", hint=", ".join(known))
        node = node.members[name]
    return node


def _bounds(shape: tuple[int, ...], cut: Cut, *, most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where a part begins and ends along each axis, with no more than `most` elements between."""
    if len(cut.start) > len(shape) or len(cut.stop) > len(shape):
        message = f"it has {len(shape)} axes"
        raise UsageError(message, kind="bad-slice", hint="start=0,0&stop=10,10, one number for each axis")
    starts = tuple(min(cut.start[a] if a < len(cut.start) else 0, n) for a, n in enumerate(shape))
    stops = [min(cut.stop[a] if a < len(cut.stop) else n, n) for a, n in enumerate(shape)]
    left = most
    for axis in reversed(range(len(shape))):  # the last axis is the closest together
        stops[axis] = max(starts[axis], min(stops[axis], starts[axis] + max(1, left)))
        left //= max(1, stops[axis] - starts[axis])
    return starts, tuple(stops)


def _affordable(node: ArrayNode, starts: Sequence[int], stops: tuple[int, ...]) -> tuple[int, ...]:
    """`stops`, drawn in where too many bytes of chunks would have to be read."""
    sizes = node.document["chunk_grid"]["configuration"]["chunk_shape"]
    each = node.chunk_bytes or 1 << 20
    found = list(stops)
    for axis in range(len(found)):
        bounds = zip(starts, found, sizes, strict=True)
        touched = [max(1, -(-stop // size) - start // size) for start, stop, size in bounds]
        allowed = max(1, _READ // each // max(1, math.prod(touched) // touched[axis]))
        if touched[axis] > allowed:
            found[axis] = (starts[axis] // sizes[axis] + allowed) * sizes[axis]
    return tuple(found)


def _affordable_rows(node: ArrayNode, rows: int) -> int:
    """How many rows can be picked, each from a chunk of its own."""
    grid = node.grid
    across = math.prod(grid[1:]) * (node.chunk_bytes or 1 << 20)
    return rows if grid[0] * across <= _READ else max(1, min(rows, _READ // across))


def _picked(array: Any, node: ArrayNode, rows: Sequence[int], np: Any) -> Iterator[Any]:
    """The rows with these numbers, in order; each chunk is read once."""
    height = node.document["chunk_grid"]["configuration"]["chunk_shape"][0]
    for _, some in groupby(rows, key=lambda row: row // height):
        listed = list(some)
        yield np.asarray(array[listed[0] : listed[-1] + 1])[[row - listed[0] for row in listed]]


def _chunks(node: ArrayNode) -> tuple[list[tuple[slice, ...]], bool]:
    """The regions to read, and whether they are only some of all."""
    sizes = node.document["chunk_grid"]["configuration"]["chunk_shape"]
    grid, shape = node.grid, node.document["shape"]
    total = math.prod(grid)
    count = min(total, max(1, _READ // (node.chunk_bytes or 1 << 20)))
    picked = [number * total // count for number in range(count)]
    return [tuple(_region(number, grid, sizes, shape)) for number in picked], count < total


def _region(number: int, grid: Sequence[int], sizes: Sequence[int], shape: Sequence[int]) -> Iterator[slice]:
    places = []
    for length in reversed(grid):
        number, place = divmod(number, length)
        places.append(place)
    for place, size, whole in zip(reversed(places), sizes, shape, strict=True):
        yield slice(place * size, min((place + 1) * size, whole))


def _column(tree: Tree, path: str, node: Node, cut: Cut, most: int) -> dict[str, Any]:
    """Some entries of a column; categories by their names, gaps as null."""
    if isinstance(node, ArrayNode):
        return _entries(tree, path, cut, most)
    members: Mapping[str, Node] = node.members
    if "codes" in members and "categories" in members:
        found = _entries(tree, f"{path}/codes", cut, most)
        names = _column(tree, f"{path}/categories", members["categories"], Cut(), _VALUES)["values"]
        found["values"] = [names[code] if 0 <= code < len(names) else None for code in found["values"]]
        return found
    if "values" in members and "mask" in members:
        found = _entries(tree, f"{path}/values", cut, most)
        gaps = _entries(tree, f"{path}/mask", cut, most)["values"]
        found["values"] = [None if gap else value for value, gap in zip(found["values"], gaps, strict=True)]
        return found
    raise UsageError(f"the column `{path}` cannot be shown", kind="not-an-array", hint="columns=OTHERS")


def _entries(tree: Tree, path: str, cut: Cut, most: int) -> dict[str, Any]:
    start = cut.start[0] if cut.start else 0
    stop = min(cut.stop[0] if cut.stop else start + most, start + most)
    return values_of(tree, path, Cut((start,), (max(start, stop),)))


def _json(part: Any) -> Any:
    """A numpy array as nested lists of what JSON can hold."""
    import numpy as np  # noqa: PLC0415 - as above

    array = np.asarray(part)
    if array.dtype.kind == "M":
        return _each(np.datetime_as_string(array).tolist(), _plain)
    if array.dtype.kind == "m":
        unit, count = np.datetime_data(array.dtype)
        return _each(array.astype("i8").tolist(), lambda number: _length(number, unit, count))
    return _each(array.tolist(), _plain)


def _each(value: Any, told: Callable[[Any], Any]) -> Any:
    """What `told` makes of each value in nested lists."""
    return [_each(item, told) for item in value] if isinstance(value, list) else told(value)


def _marked(values: Any, marks: Mapping[str, Any]) -> Any:
    """Moments with a time zone as those of UTC that they are stored as, and periods as their names."""
    if marks.get("timezone") is not None:
        return _each(values, lambda text: f"{text}Z" if isinstance(text, str) and text != "NaT" else text)
    period = marks.get("period")
    if isinstance(period, str):
        return _each(values, lambda number: _period(number, period))
    return values


def _period(number: Any, kind: str) -> Any:
    """The period with this number, such as ``2020-01``; with its kind where only pandas knows its name."""
    if number is None or int(number) == _NOT_A_TIME:
        return None if number is None else "NaT"
    match = re.fullmatch(r"period\[(?:(M|D)|([YA]-DEC)|(Q-DEC))\]", kind)
    if match is None or abs(int(number)) > _FAR:
        return f"{number} of {kind}"
    if match[1]:
        import numpy as np  # noqa: PLC0415 - as above

        return str(np.datetime64(int(number), match[1]))  # type: ignore[arg-type] # a unit
    if match[2]:
        return str(1970 + int(number))
    year, quarter = divmod(int(number), 4)
    return f"{1970 + year}Q{quarter + 1}"


def _length(number: int, unit: str, count: int) -> str:
    """A length of time, such as ``2 d 03:00:00``; in its unit where that is no fixed length."""
    if number == _NOT_A_TIME:
        return "NaT"
    each = _NANOSECONDS.get(unit)
    if each is None:
        return f"{number * count} {unit}"
    days, rest = divmod(abs(number) * count * each, _NANOSECONDS["D"])
    sign = "-" if number < 0 else ""
    return f"{sign}{days} d {clock(rest)}" if days else f"{sign}{clock(rest)}"


def clock(nanoseconds: int) -> str:
    """Hours, minutes and seconds, and what of a second there is."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS["s"])
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:09}".rstrip("0") if rest else text


def _time_of_day(dtype: object) -> int | None:
    """How many nanoseconds one is in a column of times of day; None for any other column."""
    if dtype == "Time":
        return 1
    match = re.match(r"time(?:32|64)\[(s|ms|us|ns)\]", dtype) if isinstance(dtype, str) else None
    return None if match is None else _NANOSECONDS[match[1]]


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    text = str(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text):,} characters)"


def _bound(value: float) -> int | float | str | None:
    """The smallest or largest value; None where there is none."""
    return _plain(value) if isinstance(value, int) and not isinstance(value, bool) else _finite(value)


def _finite(value: float) -> float | None:
    found = float(value)
    return found if math.isfinite(found) else None


def _grey(lines: Any, np: Any) -> tuple[Any, float | None, float | None]:
    """Numbers as shades from black (smallest) to white; what is no number is black."""
    numbers = lines.astype("f8")
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    width = high - low if math.isfinite(high - low) and high > low else 1.0
    shades = np.nan_to_num((numbers - low) / width * 255, nan=0.0, posinf=255.0, neginf=0.0)
    return shades.clip(0, 255).astype("u1"), _finite(low), _finite(high)


def _png(lines: Any, np: Any) -> bytes:
    """A picture of grey, RGB or RGBA bytes as PNG."""
    height, width = lines.shape[:2]
    colour = {2: 0, 3: {3: 2, 4: 6}.get(lines.shape[-1], 2)}[lines.ndim]
    raw = b"".join(b"\0" + np.ascontiguousarray(line).tobytes() for line in lines)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
