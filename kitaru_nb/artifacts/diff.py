"""How two values differ, in lines for a person: text, data, frames, arrays, pictures, parameters."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.artifacts.diff_arrays import array_lines, as_array, differing, is_array, labelled, number
from kitaru_nb.artifacts.diff_tables import is_table, table_lines
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
    """What differs between two values of any kind. Neither is changed; both are read whole."""
    try:
        return _compared(before, after)
    except Exception as error:  # noqa: BLE001 - their classes may do anything when they are looked at
        told = f"looking closer raises {type(error).__name__}: {error}"
        return ValueDiff("value", _cut([f"- {_short(before)}", f"+ {_short(after)}", told]))


def _compared(before: object, after: object) -> ValueDiff:
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
    for _, fits, differ in _KINDS[1:]:
        if fits(before) and fits(after):
            yield from labelled(path, differ(before, after)) if path else differ(before, after)
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


def _is_labelled(value: object) -> bool:
    return _module(value) == "xarray" and type(value).__name__ in ("Dataset", "DataArray")


def _labelled_lines(before: Any, after: Any) -> Iterator[str]:
    """What differs between two of xarray's, variable by variable."""
    yield from _data_lines(_parts(before), _parts(after), "", 0)


def _parts(value: Any) -> dict[str, Any]:
    whole = value if type(value).__name__ == "Dataset" else value.to_dataset(name=str(value.name or "values"))
    parts: dict[str, Any] = {f"size of {name}": size for name, size in whole.sizes.items()}
    return {**parts, **{str(name): each.values for name, each in whole.variables.items()}, **whole.attrs}


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
        state = {name: held for name, held in vars(value).items() if name.endswith("_") and is_array(held)}
        state |= {f"({name})": given for name, given in value.get_params(deep=False).items()}
        return state
    if not isinstance(state, Mapping) or not state:
        return {}
    found = {}
    for name, held in state.items():
        if _module(held) == "torch" and hasattr(held, "detach"):
            found[str(name)] = as_array(held)
    return found if len(found) == len(state) else {}


def _parameter_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield f"- {name}"
        elif name not in before:
            yield f"+ {name}"
        elif is_array(before[name]) and is_array(after[name]):
            one, other = before[name], after[name]
            if one.shape != other.shape:
                yield f"- {name}: {one.shape}"
                yield f"+ {name}: {other.shape}"
            elif told := differing(one, other):
                norm = f"norm {number(_norm(one))} became {number(_norm(other))}"
                yield f"{name} {one.shape}: {norm}, {told}" if one.dtype.kind in "iufb" else f"{name}: {told}"
        elif _differ(before[name], after[name]):
            yield f"- {name}: {_short(before[name])}"
            yield f"+ {name}: {_short(after[name])}"


def _norm(array: Any) -> float:
    return math.sqrt(float((array.astype("float64") ** 2).sum()))


_KINDS = (
    ("text", _is_text, _text_lines),
    ("array", is_array, array_lines),
    ("frame", is_table, table_lines),
    ("data", _is_labelled, _labelled_lines),
)
