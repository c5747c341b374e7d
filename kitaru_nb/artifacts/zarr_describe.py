"""What a value looks like to zarr: arrays by name, and attributes that say how they belong together.

Frames, sparse matrices and categories follow the conventions of anndata's files, xarray its
own. The same description serves two ends: a value in memory is read through it, and when a
value is stored it tells which stored bytes are which array.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.artifacts.kinds import package_of
from kitaru_nb.artifacts.tensors import array_of, is_tensor
from kitaru_nb.artifacts.zarr_document import NoZarrFormError

__all__ = [
    "NUMBERS",
    "TEXT",
    "Branch",
    "LaterError",
    "Leaf",
    "Run",
    "Strings",
    "as_members",
    "described",
    "json_form",
    "member_key",
    "run_strings",
]

NUMBERS: Mapping[str, Any] = {"encoding-type": "array", "encoding-version": "0.2.0"}
TEXT: Mapping[str, Any] = {"encoding-type": "string-array", "encoding-version": "0.2.0"}
"""What anndata's files say of an array of numbers, and of strings."""

_DEPTH = 16


class LaterError(Exception):
    """What this is like is known only when it is loaded: looking now would cost the save."""


@dataclass(frozen=True, slots=True)
class Strings:
    """Strings of any length: some runs of Arrow's memory, or Python's own.

    Attributes:
        shape: Of the array they are.
        runs: For each run its rows, its offsets and its bytes, the last two as numpy arrays.
        values: The strings themselves, where they are not in Arrow's memory; in C order.
    """

    shape: tuple[int, ...]
    runs: tuple[tuple[int, Any, Any], ...] = ()
    values: Any = None

    def read(self, start: int, stop: int) -> list[bytes]:
        """Those from `start` to `stop`, in UTF-8."""
        if self.values is not None:
            return [value.encode("utf-8", "surrogatepass") for value in self.values[start:stop]]
        return list(run_strings(map(_live, self.runs), start, stop))


Run = tuple[int, Callable[[int, int], Any], Callable[[int, int], bytes]]
"""Rows; offsets from one row to another; bytes from one place to another."""


def run_strings(runs: Iterable[Run], start: int, stop: int) -> Iterator[bytes]:
    """The strings from `start` to `stop` out of runs of Arrow's memory."""
    at = 0
    for rows, offsets_of, data_of in runs:
        first, last = max(start - at, 0), min(stop - at, rows)
        at += rows
        if first >= last:
            continue
        offsets = [int(offset) for offset in offsets_of(first, last + 1)]
        data = data_of(offsets[0], offsets[-1])
        for low, high in itertools.pairwise(offsets):
            yield data[low - offsets[0] : high - offsets[0]]


def _live(run: tuple[int, Any, Any]) -> Run:
    rows, offsets, data = run
    return rows, lambda first, last: offsets[first:last], lambda low, high: data[low:high].tobytes()


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array: a numpy array, a range of integers, or strings."""

    values: Any
    dims: tuple[str, ...] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Branch:
    """Arrays and branches by name.

    Attributes:
        members: What is in it; None where only loading will tell.
        attrs: What it says of itself.
        along: The name of the axis of its arrays, where they do not name their own.
    """

    members: Mapping[str, Leaf | Branch | None]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    along: str | None = None


def described(value: Any, *, saving: int = 0, depth: int = 0) -> Leaf | Branch:
    """What `value` looks like to zarr.

    Args:
        value: Of any type.
        saving: At most how many members to look at, while a value is being stored; 0 at any
            other time. While it is stored nothing is looked at that costs: no element, no
            copy, nothing in files.
        depth: How deep in containers `value` is.

    Raises:
        NoZarrFormError: it has no zarr form.
        LaterError: `saving`, and it would cost too much to tell.
    """
    if depth > _DEPTH:
        raise NoZarrFormError("it is nested too deeply")
    np = sys.modules.get("numpy")
    if np is not None and isinstance(value, np.ndarray):
        return _array(value, np, saving=saving)
    package = package_of(type(value))
    if package in _TABLES:
        from kitaru_nb.artifacts import zarr_tables  # noqa: PLC0415 - no frame, no need

        return zarr_tables.described_table(value, saving=saving)
    if package == "xarray":
        from kitaru_nb.artifacts import zarr_xarray  # noqa: PLC0415 - no xarray, no need

        return zarr_xarray.described_xarray(value, saving=saving)
    if package == "scipy":
        return _sparse(value)
    if package == "torch":
        return _tensor(value)
    for base in type(value).__mro__[1:]:  # a subclass of a frame, say, is one
        if package_of(base) in _TABLES and base.__name__ in _FRAMES:
            from kitaru_nb.artifacts import zarr_tables  # noqa: PLC0415 - no frame, no need

            return zarr_tables.described_table(value, saving=saving)
    return _container(value, saving=saving, depth=depth)


_TABLES = frozenset(("pandas", "polars", "pyarrow"))
_FRAMES = frozenset(("DataFrame", "Series", "Index"))


def as_members(
    items: Iterable[tuple[str, Any]], describe: Callable[[Any], Leaf | Branch]
) -> tuple[dict[str, Leaf | Branch | None], dict[str, str]]:
    """Each of `items` as `describe` has it, and for those without a zarr form the reason."""
    members: dict[str, Leaf | Branch | None] = {}
    left_out = {}
    for name, value in items:
        try:
            members[name] = describe(value)
        except LaterError:
            members[name] = None
        except NoZarrFormError as reason:
            left_out[name] = str(reason)
    return members, left_out


def member_key(label: object, taken: Iterable[str], number: int) -> str:
    """A name in a zarr group for `label`: the label itself where zarr can have it."""
    key = label.replace("/", "%2F") if isinstance(label, str) else str(label)
    bad = not key or key in (".", "..", "zarr.json") or "/" in key or not key.isprintable()
    return f"member_{number}" if bad or key in taken else key


def json_form(value: Any) -> Any:
    """`value` as JSON has it.

    Raises:
        NoZarrFormError: JSON cannot have it.
    """
    np = sys.modules.get("numpy")
    if type(value) in _JSON:
        return value
    if isinstance(value, str | int | float) and not (np is not None and isinstance(value, np.generic)):
        return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
    if isinstance(value, list | tuple):
        return [json_form(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): json_form(item) for key, item in value.items()}
    if np is not None and isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        return value.tolist()
    raise NoZarrFormError(f"JSON has no form for a {type(value).__name__}")


_JSON = frozenset((str, bool, int, float, type(None)))


def _array(array: Any, np: Any, *, saving: int) -> Leaf:
    from kitaru_nb.artifacts.zarr_document import zarr_type  # noqa: PLC0415

    if isinstance(array, np.ma.MaskedArray):
        raise NoZarrFormError("zarr has no masked arrays")
    plain = array.view(np.ndarray)
    if plain.dtype.kind in {"O", "T"}:
        if saving:
            raise LaterError
        values = plain.reshape(-1).tolist()
        if not all(type(value) is str for value in values):
            raise NoZarrFormError("it holds objects that are not strings")
        return Leaf(Strings(plain.shape, values=values))
    zarr_type(plain.dtype)
    return Leaf(plain)


def _sparse(matrix: Any) -> Branch:
    kinds = {
        "csr": ("data", "indices", "indptr"),
        "csc": ("data", "indices", "indptr"),
        "bsr": ("data", "indices", "indptr"),
        "dia": ("data", "offsets"),
    }
    kind = getattr(matrix, "format", None)
    parts = {name: getattr(matrix, name) for name in kinds.get(str(kind), ())}
    if kind == "coo":
        parts = {"data": matrix.data, **{f"axis_{n}": axis for n, axis in enumerate(matrix.coords)}}
    if not parts or not hasattr(matrix, "tocsr"):
        raise NoZarrFormError(
            f"a {type(matrix).__name__} is no array and no csr, csc, bsr, coo or dia matrix"
        )
    leaves = {name: _array(part, sys.modules["numpy"], saving=1) for name, part in parts.items()}
    attrs = {
        "encoding-type": f"{kind}_matrix",
        "encoding-version": "0.1.0",
        "shape": [int(size) for size in matrix.shape],
    }
    return Branch(leaves, attrs)


def _tensor(tensor: Any) -> Leaf:
    if not is_tensor(tensor):
        raise NoZarrFormError(f"a {type(tensor).__name__} is no array")
    array = array_of(tensor)
    if array is None:
        raise NoZarrFormError(f"zarr has no type for {tensor.dtype}")
    return _array(array, sys.modules["numpy"], saving=1)


def _container(value: Any, *, saving: int, depth: int) -> Branch:
    """A dict, a list, a tuple or a dataclass that holds arrays."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif type(value) in {list, tuple}:
        items = [(str(number), item) for number, item in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(one.name, getattr(value, one.name, None)) for one in dataclasses.fields(value)]
    else:
        raise NoZarrFormError(f"a {type(value).__name__} is no array and no group of arrays")
    if saving and len(items) > saving:
        raise LaterError
    keys: dict[str, Any] = {}
    labels, plain = {}, {}
    for number, (label, item) in enumerate(items):
        key = member_key(label, keys, number)
        if key != label:
            labels[key] = str(label)
        if item is None or isinstance(item, str | bool | int | float):
            plain[key] = json_form(item)
        else:
            keys[key] = item
    members, left_out = as_members(keys.items(), lambda item: described(item, saving=saving, depth=depth + 1))
    if not members:
        raise NoZarrFormError(f"the {type(value).__name__} holds no arrays")
    ours = {"type": type(value).__name__, "labels": labels, "left-out": left_out}
    return Branch(members, {**plain, "kitaru-nb": {key: item for key, item in ours.items() if item}})
