"""Settings that change what a library computes, or draws, and not only how it is printed.

They are told as what differs from how the library begins. So a library that is not loaded yet, one
that was loaded when the kernel began, and one in which nobody has set anything are alike: which of
these it is differs from kernel to kernel, and is no reason to run a step again.
"""

from __future__ import annotations

import decimal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

from kitaru_nb.engine.parts import context_state

__all__ = ["COMPUTING", "libraries_of", "settings_of"]

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_SMALL = 100  # items of a container that are looked at
_DEFINED = (type, FunctionType, BuiltinFunctionType)


def libraries_of(values: Collection[object], modules: Collection[str]) -> frozenset[str]:
    """The packages that `modules` belong to, and that `values`, and what is right inside them, are of."""
    kinds = {*map(type, values)}
    if not modules and kinds <= _PLAIN:
        return frozenset()
    found = {module.partition(".")[0] for module in modules}
    for value in values:
        if isinstance(value, _DEFINED):
            found.add(_home(value))
        kinds.update(map(type, _inside(value)))
    return frozenset(found.union(map(_home, kinds)))


def _home(defined: Any) -> str:
    return str(defined.__module__).partition(".")[0]


def _inside(value: object) -> Iterable[object]:
    if type(value) is dict:
        return value.values() if len(value) <= _SMALL else ()
    if type(value) in (list, tuple, set, frozenset):
        items: Collection[object] = value  # type: ignore[assignment] # by their real type, which mypy does not follow
        return items if len(items) <= _SMALL else ()
    return ()


def settings_of(library: str, process: Mapping[str, Any]) -> Mapping[str, object]:
    """What is set in one of `COMPUTING` where it begins otherwise, in a state of the process."""
    part, set_in = COMPUTING[library]
    held = process.get(part)  # None: the library is not loaded, or all is as it was found
    return {} if held is None else dict(set_in(held))


def _of_decimal(held: tuple[Any, ...]) -> Iterator[tuple[str, object]]:
    if held != context_state(decimal.Context()):
        yield "context", held


def _of_matplotlib(held: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    begins = getattr(sys.modules.get("matplotlib"), "rcParamsOrig", {})
    for name, value in held.items():
        if name not in begins or dict.__getitem__(begins, name) != value:
            yield name, value


def _of_pandas(held: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, object]]:
    begins = getattr(sys.modules.get("pandas._config.config"), "_registered_options", {})
    for prefix in ("compute.", "future.", "mode."):
        for name, value in held.get(prefix, {}).items():
            option = begins.get(prefix + name)
            if option is None or option.defval != value:
                yield prefix + name, value


def _of_warnings(held: list[tuple[Any, ...]]) -> Iterator[tuple[str, object]]:
    # Filters that libraries set when they are imported differ with what is loaded: what counts is
    # which warnings are errors.
    errors = [place for place, (action, *_) in enumerate(held) if action == "error"]
    if errors:
        yield "errors", held[: errors[-1] + 1]


def _whatever(held: object) -> Iterator[tuple[str, object]]:
    yield "all", held


def _differing_from(begins: Mapping[str, Any]) -> Callable[[Any], Iterator[tuple[str, object]]]:
    return lambda held: ((name, held[name]) for name in begins if name in held and held[name] != begins[name])


COMPUTING: Mapping[str, tuple[str, Callable[[Any], Iterator[tuple[str, object]]]]] = {
    "calendar": ("setting first weekday", _whatever),
    "decimal": ("decimal", _of_decimal),
    "locale": ("setting locale", _whatever),
    "matplotlib": ("matplotlib options", _of_matplotlib),
    "numpy": (
        "setting numpy errors",
        _differing_from({"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}),
    ),
    "pandas": ("pandas options", _of_pandas),
    "sklearn": (
        "setting sklearn options",
        _differing_from(
            {
                "array_api_dispatch": False,
                "assume_finite": False,
                "enable_metadata_routing": False,
                "skip_parameter_validation": False,
                "transform_output": "default",
            }
        ),
    ),
    # How many threads it has is the machine's.
    "torch": (
        "setting torch options",
        _differing_from({"dtype": "float32", "grad": True, "deterministic": False}),
    ),
    "warnings": ("warnings", _of_warnings),
}
"""For each library the part of process state that its settings are in, and what of it counts."""
