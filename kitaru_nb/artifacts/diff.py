"""How two values differ, in lines for a person: text, data, frames, arrays, pictures, parameters."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.kinds import kind_name

__all__ = ["ValueDiff", "diff_text", "diff_values"]

_LINES = 40  # of a difference that are told; more is said to be there
_WIDTH = 160
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class ValueDiff:
    """What differs between two values.

    Attributes:
        kind: What was compared: ``text``, ``data``, ``array``, ``frame``, ``picture``, ``parameters``,
            or ``value``.
        lines: The difference; a line that begins with ``-`` or ``+`` is of one side only.
        pictures: For pictures both of them as PNG, for whoever can show them.
    """

    kind: str
    lines: tuple[str, ...]
    pictures: tuple[bytes, bytes] | None = None


def diff_values(before: object, after: object) -> ValueDiff:
    """What differs between two values of any kind. Nothing of either is changed or called but its `repr`."""
    for kind, fits, differ in _KINDS:
        if fits(before) and fits(after):
            return ValueDiff(kind, _cut(differ(before, after)))
    pictures = _png(before), _png(after)
    if pictures[0] is not None and pictures[1] is not None:
        return ValueDiff("picture", _cut(_picture_lines(before, after)), (pictures[0], pictures[1]))
    parameters = _parameters(before), _parameters(after)
    if parameters[0] and parameters[1]:
        return ValueDiff("parameters", _cut(_parameter_lines(*parameters)))
    if isinstance(before, _DATA) or isinstance(after, _DATA):
        return ValueDiff("data", _cut(_data_lines(before, after, "", 0)))
    own = getattr(before, "__dict__", None), getattr(after, "__dict__", None)
    if type(before) is type(after) and isinstance(own[0], dict) and isinstance(own[1], dict):
        return ValueDiff("data", _cut(_data_lines(own[0], own[1], "", 0)))
    return ValueDiff("value", (f"- {_short(before)}", f"+ {_short(after)}"))


def diff_text(before: str, after: str) -> tuple[str, ...]:
    """The lines that differ, with two lines around each."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
    return _cut(line for line in found if not line.startswith(("---", "+++")))


def _cut(lines: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    found = [line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in lines]
    if len(found) > _LINES:
        found = [*found[:_LINES], f"… and {len(found) - _LINES} lines more"]
    return tuple(found) or ("no difference that can be told",)


def _short(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # noqa: BLE001 - a class may do anything when it is shown
        return f"a {kind_name(value)} that cannot be shown: {type(error).__name__}"
    return text if len(text) <= _WIDTH // 2 else text[: _WIDTH // 2 - 1] + "…"


_DATA = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bool, type(None))


def _data_lines(before: Any, after: Any, path: str, depth: int) -> Iterator[str]:
    """Each place in nested data that differs."""
    if type(before) is type(after) and depth < _DEPTH:
        if isinstance(before, dict):
            yield from _mapping_lines(before, after, path, depth)
            return
        if isinstance(before, list | tuple):
            for number in range(max(len(before), len(after))):
                here = f"{path}[{number}]"
                if number >= len(after):
                    yield f"- {here}: {_short(before[number])}"
                elif number >= len(before):
                    yield f"+ {here}: {_short(after[number])}"
                else:
                    yield from _data_lines(before[number], after[number], here, depth + 1)
            return
    if _differ(before, after):
        label = f"{path}: " if path else ""
        yield f"- {label}{_short(before)}"
        yield f"+ {label}{_short(after)}"


def _mapping_lines(
    before: Mapping[Any, Any], after: Mapping[Any, Any], path: str, depth: int
) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        here = f"{path}.{key}" if path and isinstance(key, str) else f"{path}[{key!r}]" if path else str(key)
        if key not in after:
            yield f"- {here}: {_short(before[key])}"
        elif key not in before:
            yield f"+ {here}: {_short(after[key])}"
        else:
            yield from _data_lines(before[key], after[key], here, depth + 1)


def _differ(before: object, after: object) -> bool:
    if before is after:
        return False
    if _is_array(before) or _is_array(after) or _is_frame(before) or _is_frame(after):
        return _short(before) != _short(after)
    try:
        return type(before) is not type(after) or bool(before != after)
    except Exception:  # noqa: BLE001 - as above
        return _short(before) != _short(after)


def _is_text(value: object) -> bool:
    return type(value) is str


def _text_lines(before: Any, after: Any) -> Sequence[str]:
    if "\n" in before or "\n" in after or len(before) + len(after) > _WIDTH:
        return diff_text(before, after)
    return [f"- {before!r}", f"+ {after!r}"]


def _module(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _is_array(value: object) -> bool:
    return _module(value) == "numpy" and hasattr(value, "dtype") and hasattr(value, "shape")


def _array_lines(before: Any, after: Any) -> Iterator[str]:
    if before.shape != after.shape or before.dtype != after.dtype:
        yield f"- {before.dtype} {before.shape}"
        yield f"+ {after.dtype} {after.shape}"
    yield from (f"- {line}" for line in _statistics(before))
    yield from (f"+ {line}" for line in _statistics(after))
    if before.shape == after.shape and before.dtype.kind in "biufc" and after.dtype.kind in "biufc":
        changed = int((before != after).sum())
        part = f"{changed:,} of {before.size:,} elements differ"
        if before.dtype.kind in "iuf" and after.dtype.kind in "iuf" and changed:
            apart = abs(before.astype("float64") - after.astype("float64"))
            part += f", by {_number(float(apart[apart == apart].max(initial=0.0)))} at most"  # noqa: PLR0124 - not NaN
        yield part


def _statistics(array: Any) -> Iterator[str]:
    if array.dtype.kind in "iufb" and array.size:
        plain = array.astype("float64")
        told = [f"{name} {_number(float(getattr(plain, name)()))}" for name in ("min", "mean", "max", "std")]
        yield ", ".join(told)


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def _is_frame(value: object) -> bool:
    return _module(value) == "pandas" and type(value).__name__ in ("DataFrame", "Series")


def _frame_lines(before: Any, after: Any) -> Iterator[str]:
    one, other = (value.to_frame() if value.ndim == 1 else value for value in (before, after))
    if one.shape != other.shape:
        yield f"- {one.shape[0]:,} rows, {one.shape[1]} columns"
        yield f"+ {other.shape[0]:,} rows, {other.shape[1]} columns"
    for column in dict.fromkeys([*one.columns, *other.columns]):
        if column not in other.columns:
            yield f"- column {column}"
        elif column not in one.columns:
            yield f"+ column {column} ({other[column].dtype})"
        else:
            yield from _column_lines(column, one[column], other[column])


def _column_lines(column: object, before: Any, after: Any) -> Iterator[str]:
    if before.dtype != after.dtype:
        yield f"- column {column}: {before.dtype}"
        yield f"+ column {column}: {after.dtype}"
        return
    if len(before) == len(after):
        one, other = before.reset_index(drop=True), after.reset_index(drop=True)
        changed = int(((one != other) & ~(one.isna() & other.isna())).sum())
        if not changed:
            return
        told = f"column {column}: {changed:,} of {len(one):,} values differ"
    else:
        told = f"column {column}:"
    if before.dtype.kind in "iuf":
        told += f", mean {_number(float(before.mean()))} became {_number(float(after.mean()))}"
    yield told


def _png(value: object) -> bytes | None:
    """A picture as PNG: one of PIL's, or bytes that are one."""
    if isinstance(value, bytes):
        return value if value.startswith(b"\x89PNG\r\n\x1a\n") else None
    if _module(value) != "PIL" or not hasattr(value, "save"):
        return None
    import io  # noqa: PLC0415 - only for a picture

    target = io.BytesIO()
    try:
        value.save(target, format="PNG")
    except (OSError, ValueError):
        return None
    return target.getvalue()


def _picture_lines(before: Any, after: Any) -> Iterator[str]:
    for mark, value in (("-", before), ("+", after)):
        size = getattr(value, "size", None)
        yield f"{mark} {size[0]} x {size[1]} {value.mode}" if size else f"{mark} PNG of {len(value):,} bytes"


def _parameters(value: Any) -> dict[str, Any]:
    """Arrays of parameters by name: of a torch module or state dict, or of a fitted estimator."""
    state = value
    if _module(value) != "builtins" and callable(getattr(value, "state_dict", None)):
        state = value.state_dict()
    elif hasattr(value, "get_params") and hasattr(value, "__dict__"):
        state = {name: held for name, held in vars(value).items() if name.endswith("_") and _is_array(held)}
        state |= {f"({name})": given for name, given in value.get_params(deep=False).items()}
        return state
    if not isinstance(state, Mapping) or not state:
        return {}
    found = {}
    for name, held in state.items():
        if _module(held) == "torch" and hasattr(held, "detach"):
            found[str(name)] = held.detach().cpu().float().numpy()
    return found if len(found) == len(state) else {}


def _parameter_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield f"- {name}"
        elif name not in before:
            yield f"+ {name}"
        elif _is_array(before[name]) and _is_array(after[name]):
            one, other = before[name], after[name]
            if one.shape != other.shape:
                yield f"- {name}: {one.shape}"
                yield f"+ {name}: {other.shape}"
            elif one.dtype.kind in "iufb":
                apart = float(abs(one.astype("float64") - other.astype("float64")).max(initial=0.0))
                if apart:
                    norm = f"norm {_number(_norm(one))} became {_number(_norm(other))}"
                    yield f"{name} {one.shape}: {norm}, elements differ by {_number(apart)} at most"
        elif _differ(before[name], after[name]):
            yield f"- {name}: {_short(before[name])}"
            yield f"+ {name}: {_short(after[name])}"


def _norm(array: Any) -> float:
    return math.sqrt(float((array.astype("float64") ** 2).sum()))


_KINDS = (
    ("text", _is_text, _text_lines),
    ("array", _is_array, _array_lines),
    ("frame", _is_frame, _frame_lines),
)
