"""How two values differ, in lines for a person: text, data, frames, arrays, pictures, parameters."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

from kitaru_nb.artifacts.diff_arrays import array_lines, as_array, differing, is_array, labelled, number
from kitaru_nb.artifacts.diff_figures import drawn, is_figure
from kitaru_nb.artifacts.diff_tables import is_table, table_lines
from kitaru_nb.artifacts.kinds import kind_name, package_of

__all__ = ["ValueDiff", "diff_text", "diff_values"]

_LINES = 40  # of a difference that are told; more is said to be there
_WIDTH = 160
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class ValueDiff:
    """What differs between two values.

    Attributes:
        kind: What was compared: ``text``, ``data``, ``array``, ``frame``, ``picture``, ``figure``,
            ``parameters``, or ``value``.
        lines: The difference; a line that begins with ``-`` or ``+`` is of one side only.
        pictures: For pictures both of them as PNG, for whoever can show them.
    """

    kind: str
    lines: tuple[str, ...]
    pictures: tuple[bytes, bytes] | None = None

    @property
    def looks_same(self) -> bool:
        """Whether they are figures that are drawn alike: nobody sees a difference."""
        return self.kind == "figure" and self.pictures is not None and self.pictures[0] == self.pictures[1]


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
    if is_figure(before) and is_figure(after):
        return ValueDiff("figure", (_figure_line(before, after),), (drawn(before), drawn(after)))
    pictures = _png(before), _png(after)
    if pictures[0] is not None and pictures[1] is not None:
        return ValueDiff("picture", _cut(_picture_lines(before, after)), (pictures[0], pictures[1]))
    parameters = _parameters(before), _parameters(after)
    if parameters[0] and parameters[1]:
        return ValueDiff("parameters", _cut(_parameter_lines(*parameters)))
    if isinstance(before, _DATA) or isinstance(after, _DATA):
        return ValueDiff("data", _cut(_data_lines(before, after, "", 0, set())))
    if _are_alike(before, after):
        name = type(before).__qualname__.rpartition(".")[2]
        return ValueDiff("data", _cut(_data_lines(before, after, name, 0, set())))
    return ValueDiff("value", _cut(_two_lines(before, after, "")))


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
    """A value in one short line; never where it is in memory."""
    try:
        plain = type(value).__repr__ is object.__repr__
        text = _attributes_told(value) if plain else " ".join(repr(value).split())
    except Exception as error:  # noqa: BLE001 - a class may do anything when it is shown
        return f"a {kind_name(value)} that cannot be shown: {type(error).__name__}"
    text = _ADDRESS.sub("", text)
    return text if len(text) <= _WIDTH // 2 else text[: _WIDTH // 2 - 1] + "…"


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _attributes_told(value: object) -> str:
    told = ", ".join(f"{name}={_ADDRESS.sub('', repr(held))}" for name, held in _attributes(value).items())
    return f"{type(value).__qualname__.rpartition('.')[2]}({told})"


def _attributes(value: object) -> dict[str, Any]:
    slots = [name for cls in type(value).__mro__ for name in _slots_of(cls)]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**held, **getattr(value, "__dict__", {})}


def _slots_of(cls: type) -> list[str]:
    slots = vars(cls).get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if not name.startswith("__")]


_Pairs = set[tuple[int, int]]
_DATA = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bool, type(None))


def _are_alike(before: object, after: object) -> bool:
    """Whether both are instances of one class, whose attributes say what differs.

    The class may be there twice: it came back from each execution by itself.
    """
    if isinstance(before, (*_DATA, type, FunctionType, ModuleType, Enum)) or not _attributes(before):
        return False
    own = type(before).__eq__ is object.__eq__ or is_dataclass(before) or bool(getattr(before, "__dict__", 0))
    return own and kind_name(before) == kind_name(after)


def _data_lines(before: Any, after: Any, path: str, depth: int, seen: _Pairs) -> Iterator[str]:
    """Each place in nested data that differs; a pair of objects that was met before is not told again."""
    deeper = type(before) is type(after) and depth < _DEPTH
    if deeper and isinstance(before, dict):
        yield from _mapping_lines(before, after, path, depth, seen)
        return
    if deeper and isinstance(before, list | tuple):
        yield from _item_lines(before, after, path, depth, seen)
        return
    for _, fits, differ in _KINDS[1:]:
        if fits(before) and fits(after):
            yield from labelled(path, differ(before, after)) if path else differ(before, after)
            return
    if is_figure(before) and is_figure(after):
        yield from labelled(path, [] if drawn(before) == drawn(after) else [_figure_line(before, after)])
    elif not _differ(before, after):
        return
    elif not _are_alike(before, after):
        yield from _two_lines(before, after, f"{path}: " if path else "")
    elif depth < _DEPTH and (id(before), id(after)) not in seen:
        seen.add((id(before), id(after)))
        yield from _mapping_lines(_attributes(before), _attributes(after), path, depth + 1, seen)


def _item_lines(
    before: Sequence[Any], after: Sequence[Any], path: str, depth: int, seen: _Pairs
) -> Iterator[str]:
    for place in range(max(len(before), len(after))):
        here = f"{path}[{place}]"
        if place >= len(after):
            yield f"- {here}: {_short(before[place])}"
        elif place >= len(before):
            yield f"+ {here}: {_short(after[place])}"
        else:
            yield from _data_lines(before[place], after[place], here, depth + 1, seen)


def _two_lines(before: object, after: object, label: str) -> Iterator[str]:
    one, other = _short(before), _short(after)
    if one == other:
        yield f"{label}{one} differs in what this does not show"
    else:
        yield f"- {label}{one}"
        yield f"+ {label}{other}"


def _mapping_lines(
    before: Mapping[Any, Any], after: Mapping[Any, Any], path: str, depth: int, seen: _Pairs
) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        here = f"{path}.{key}" if path and isinstance(key, str) else f"{path}[{key!r}]" if path else str(key)
        if key not in after:
            yield f"- {here}: {_short(before[key])}"
        elif key not in before:
            yield f"+ {here}: {_short(after[key])}"
        else:
            yield from _data_lines(before[key], after[key], here, depth + 1, seen)


def _differ(before: Any, after: Any) -> bool:
    if before is after:
        return False
    if isinstance(before, Enum) and isinstance(after, Enum) and kind_name(before) == kind_name(after):
        return before.name != after.name or bool(before.value != after.value)
    try:
        both_missing = bool(before != before) and bool(after != after)  # noqa: PLR0124 - NaN is not itself
        return type(before) is not type(after) or (bool(before != after) and not both_missing)
    except Exception:  # noqa: BLE001 - as above
        return _are_alike(before, after) or _short(before) != _short(after)


def _figure_line(before: Any, after: Any) -> str:
    if drawn(before) == drawn(after):
        return "the figure looks the same in both"
    sizes = [
        " x ".join(f"{round(side * each.dpi)}" for side in each.get_size_inches()) for each in (before, after)
    ]
    return f"the figure looks different, {sizes[0]}" + (f" became {sizes[1]}" if sizes[0] != sizes[1] else "")


def _is_text(value: object) -> bool:
    return type(value) is str


def _text_lines(before: Any, after: Any) -> Sequence[str]:
    if "\n" in before or "\n" in after or len(before) + len(after) > _WIDTH:
        return diff_text(before, after)
    return [f"- {before!r}", f"+ {after!r}"]


def _module(value: object) -> str:
    return package_of(type(value))


def _is_labelled(value: object) -> bool:
    return _module(value) == "xarray" and type(value).__name__ in ("Dataset", "DataArray")


def _labelled_lines(before: Any, after: Any) -> Iterator[str]:
    """What differs between two of xarray's, variable by variable."""
    yield from _data_lines(_parts(before), _parts(after), "", 0, set())


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
