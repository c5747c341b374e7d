"""How two arrays differ, in lines for a person: shapes, statistics, how many elements, which first."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from kitaru_nb.artifacts.kinds import package_of

__all__ = ["array_lines", "as_array", "differing", "is_array", "labelled", "number"]

_FEW = 60  # characters of one element


def is_array(value: object) -> bool:
    """Whether it is an array or a number of numpy's, or a tensor of torch's."""
    module = package_of(type(value))
    if module == "torch":
        return hasattr(value, "detach") and hasattr(value, "shape")
    return module == "numpy" and hasattr(value, "dtype") and hasattr(value, "shape")


def as_array(value: Any) -> Any:
    """The same elements as an array of numpy's; of a tensor whose type numpy does not have, as floats."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    if tensor.layout != sys.modules["torch"].strided:
        tensor = tensor.to_dense()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16 and the like
        return tensor.float().numpy()


def array_lines(before: Any, after: Any) -> Iterator[str]:
    """What differs between two arrays; nothing where they are equal. NaN equals NaN."""
    before, after = as_array(before), as_array(after)
    if before.shape != after.shape or before.dtype != after.dtype:
        yield f"- {before.dtype} {before.shape}"
        yield f"+ {after.dtype} {after.shape}"
    if before.shape != after.shape:
        yield from _both_statistics(before, after)
        return
    if before.dtype.names is not None and before.dtype.names == after.dtype.names:
        for name in before.dtype.names:
            yield from labelled(name, array_lines(before[name], after[name]))
        return
    apart = _apart(before, after)
    if not apart.any():
        return
    if not before.ndim:
        yield f"- {_element(before)}"
        yield f"+ {_element(after)}"
        return
    yield from _both_statistics(before, after)
    yield _counted(before, after, apart)
    place = tuple(int(axis[0]) for axis in apart.nonzero())
    where = ", ".join(map(str, place))
    yield f"the first at [{where}]: {_element(before[place])} became {_element(after[place])}"


def differing(before: Any, after: Any) -> str:
    """How many elements of two arrays of one shape differ, and by how much; empty where none does."""
    apart = _apart(before, after)
    return _counted(before, after, apart) if apart.any() else ""


def _counted(before: Any, after: Any, apart: Any) -> str:
    return f"{int(apart.sum()):,} of {before.size:,} elements differ{_by(before, after, apart)}"


def labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    """The same lines, each with what it is about."""
    for line in lines:
        mark, rest = (line[:2], line[2:]) if line[:2] in ("- ", "+ ") else ("", line)
        yield f"{mark}{label}: {rest}"


def _apart(before: Any, after: Any) -> Any:
    """Where two arrays of one shape differ; what is missing in both is equal."""
    import numpy as np  # noqa: PLC0415 - the arrays have brought it

    one, other = np.ma.getdata(before), np.ma.getdata(after)
    if "O" in (one.dtype.kind, other.dtype.kind):
        apart = _objects_apart(one, other)
    else:
        apart = (one != other) & ~((one != one) & (other != other))  # noqa: PLR0124 - NaN and NaT are not themselves
    gone = np.ma.getmaskarray(before), np.ma.getmaskarray(after)
    apart = np.where(gone[0] | gone[1], gone[0] != gone[1], apart)
    return np.broadcast_to(apart, before.shape)


def _objects_apart(one: Any, other: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - as above

    pairs = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
    return np.array([_differ(*pair) for pair in pairs], dtype=bool).reshape(one.shape)


def _differ(one: object, other: object) -> bool:
    try:
        equal = one is other or bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - as above
        return type(one) is not type(other) or not equal
    except Exception:  # noqa: BLE001 - a class may do anything when it is compared
        return repr(one) != repr(other)


def _by(before: Any, after: Any, apart: Any) -> str:
    if not (before.dtype.kind in "iuf" and after.dtype.kind in "iuf"):
        return ""
    one, other = (_plain(side[apart]) for side in (before, after))
    both = abs(one) + abs(other) < math.inf
    one, other = one[both], other[both]
    return f", by {number(float(abs(one - other).max()))} at most" if one.size else ""


def _plain(array: Any) -> Any:
    """The numbers as floats, NaN where one is masked."""
    plain = array.astype("float64")
    return plain.filled(math.nan) if hasattr(plain, "filled") else plain


def _both_statistics(before: Any, after: Any) -> Iterator[str]:
    yield from (f"- {line}" for line in _statistics(before))
    yield from (f"+ {line}" for line in _statistics(after))


def _statistics(array: Any) -> Iterator[str]:
    """The range of the finite numbers in an array in one line; nothing of what holds no numbers."""
    if array.dtype.kind not in "iufb" or not array.size:
        return
    plain = _plain(array)
    finite = plain[abs(plain) < math.inf]
    told = []
    if finite.size:
        told = [f"{name} {number(float(getattr(finite, name)()))}" for name in ("min", "mean", "max", "std")]
    if finite.size < plain.size:
        told.append(f"{plain.size - finite.size:,} not finite")
    yield ", ".join(told)


def number(value: float) -> str:
    """Six digits of it."""
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def _element(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _FEW else text[: _FEW - 1] + "…"
