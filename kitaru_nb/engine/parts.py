"""The parts of process state: what each is read from, and how it is put back.

A part is read in full only when its mark differs from the one at the last look. A mark covers
all that the part is read from, so what is told is exact.
"""

# ruff: noqa: SLF001, PTH109 - looks inside on purpose: the public ways take a hundred times as long

from __future__ import annotations
import __future__

import ctypes
import decimal
import importlib
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from kitaru_nb.engine.loggers import LOGGERS

__all__ = ["CELLS", "PARTS", "context_state", "mark_of"]

Mark = tuple[Callable[[Any], Any], Callable[[Any, Any], bool]]
"""How a mark is taken from the module, and whether it still fits."""

# One part each: the module it belongs to, how it is read, how it is put back.


def _read_numpy(module: Any) -> Any:
    if type(module.mtrand._rand._bit_generator).__name__ != "MT19937":
        return None  # a generator that the user chose; it has no such form
    kind, keys, *rest = module.get_state()
    return (kind, keys.tobytes(), *rest)


def _put_numpy(module: Any, value: Any) -> None:
    if value is None:
        raise ValueError("numpy's global generator was replaced by one that is not stored")
    kind, keys, *rest = value
    numpy: Any = importlib.import_module("numpy")
    module.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))


def _read_torch(module: Any) -> bytes:
    state: bytes = module.get_rng_state().numpy().tobytes()
    return state


def _put_torch(module: Any, value: bytes) -> None:
    module.set_rng_state(module.frombuffer(bytearray(value), dtype=module.uint8))


def _put_levels(_module: Any, value: Mapping[str, tuple[int, bool, bool]]) -> None:
    for name, (level, disabled, propagate) in value.items():
        logger = logging.getLogger(None if name == "root" else name)
        logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate


def context_state(context: decimal.Context) -> tuple[Any, ...]:
    """What a context computes with."""
    traps = tuple(kind.__name__ for kind, trapped in context.traps.items() if trapped)
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps


def _put_decimal(_module: Any, value: tuple[Any, ...]) -> None:
    context = decimal.getcontext()
    context.prec, context.rounding, *rest = value
    if rest:
        context.Emin, context.Emax, context.capitals, context.clamp, traps = rest
        for kind in context.traps:
            context.traps[kind] = kind.__name__ in traps


def _read_pandas(module: Any) -> dict[str, Any]:
    return {name: options.copy() for name, options in _flat(module._global_config).items()}


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found = {prefix: {key: value for key, value in options.items() if not isinstance(value, dict)}}
    for key, value in options.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
    return found


def _put_pandas(module: Any, value: Mapping[str, Mapping[str, Any]]) -> None:
    now = _read_pandas(module)
    for prefix, options in value.items():
        for key, option in options.items():
            if now.get(prefix, {}).get(key) != option:
                module.set_option(prefix + key, option)


def _read_matplotlib(module: Any) -> dict[str, Any]:
    # The backend belongs to the front end, and asking for it by `[]` would choose one.
    return {key: value for key, value in dict.items(module.rcParams) if "backend" not in key}


def _put_matplotlib(module: Any, value: Mapping[str, Any]) -> None:
    dict.update(module.rcParams, value)


def _read_warnings(module: Any) -> list[tuple[Any, ...]]:
    return [
        (action, getattr(message, "pattern", message), category, getattr(where, "pattern", where), line)
        for action, message, category, where, line in module.filters
    ]


def _put_warnings(module: Any, value: list[tuple[Any, ...]]) -> None:
    module.resetwarnings()
    for action, message, category, where, line in reversed(value):
        module.filterwarnings(action, message or "", category, where or "", line)


class _Cells:
    """The cells' compiler: what a cell imports from ``__future__`` holds for all cells after it.

    Attributes:
        compiler: The front end's own, a `codeop.Compile`; None where there is none.
    """

    compiler: Any = None

    def imports(self, _module: Any) -> tuple[str, ...]:
        """What is imported from ``__future__``."""
        flags = getattr(self.compiler, "flags", 0)
        return tuple(name for name, flag in _FUTURE.items() if flags & flag) if flags & _ANY_FUTURE else ()

    def put_imports(self, _module: Any, names: tuple[str, ...]) -> None:
        """Have exactly these."""
        if self.compiler is not None:
            self.compiler.flags &= ~_ANY_FUTURE
            self.compiler.flags |= sum(_FUTURE[name] for name in names if name in _FUTURE)


CELLS = _Cells()
_FUTURE = {name: getattr(__future__, name).compiler_flag for name in ("annotations", "barry_as_FLUFL")}
_ANY_FUTURE = sum(_FUTURE.values())  # all others are in force anyway


PARTS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    "cwd": ("os", lambda _: os.getcwd(), lambda _, folder: os.chdir(folder)),
    "random": ("random", lambda _: random.getstate(), lambda _, state: random.setstate(state)),
    "numpy": ("numpy.random", _read_numpy, _put_numpy),
    "torch": ("torch", _read_torch, _put_torch),
    "logging": ("logging", lambda _: LOGGERS.levels(), _put_levels),
    "warnings": ("warnings", _read_warnings, _put_warnings),
    "recursion limit": (
        "sys",
        lambda _: sys.getrecursionlimit(),
        lambda _, limit: sys.setrecursionlimit(limit),
    ),
    "decimal": ("decimal", lambda _: context_state(decimal.getcontext()), _put_decimal),
    "future imports": ("codeop", CELLS.imports, CELLS.put_imports),
    "numpy options": (
        "numpy",
        lambda numpy: numpy.get_printoptions(),
        lambda numpy, o: numpy.set_printoptions(**o),
    ),
    "pandas options": ("pandas._config.config", _read_pandas, _put_pandas),
    "matplotlib options": ("matplotlib", _read_matplotlib, _put_matplotlib),
}


def _memory(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


# A Random keeps its state right behind the object's head: an int, then 624 words.
_HEAD = object.__basicsize__
_STATE_BYTES = 4 * 625


_Words = ctypes.c_char * _STATE_BYTES
_random: list[Any] = [None, None]  # the generator looked at last, which is held, and its words


def _mark_random(module: Any) -> tuple[object, ...]:
    generator = module._inst
    if generator is not _random[0]:
        _random[:] = generator, _Words.from_address(id(generator) + _HEAD)
    return generator, generator.gauss_next, bytes(_random[1])


def _shows_random() -> bool:
    """Whether the memory looked at is the state, in this build of Python."""
    if sys.implementation.name != "cpython":
        return False
    generator = random.Random(7)  # noqa: S311 - no secret
    version, state, _ = generator.getstate()
    words = (ctypes.c_uint32 * 625).from_buffer_copy(_memory(id(generator) + _HEAD, _STATE_BYTES))
    return bool(version == 3 and (*words[1:], words[0]) == state)


def _mark_numpy(module: Any) -> tuple[object, ...]:
    """The generator's own state, and the object that keeps the second half of a normal draw."""
    legacy = module.mtrand._rand
    bits = legacy._bit_generator
    words = _memory(bits.ctypes.state_address, _STATE_BYTES)
    return id(bits), words, _memory(id(legacy) + _HEAD, type(legacy).__basicsize__ - _HEAD)


def _shows_numpy(module: Any) -> bool:
    """Whether the memory looked at changes with everything that `get_state` tells."""
    try:
        legacy = module.RandomState(7)
        if type(legacy._bit_generator).__name__ != "MT19937" or sys.implementation.name != "cpython":
            return False
        inside, before = type(legacy).__basicsize__ - _HEAD, legacy.get_state()
        words = _memory(legacy._bit_generator.ctypes.state_address, _STATE_BYTES)
        if words != before[1].tobytes() + before[2].to_bytes(4, sys.byteorder):
            return False
        legacy.standard_normal()
        first = _memory(id(legacy) + _HEAD, inside)
        legacy.standard_normal()  # takes the half that was kept, and no new bits
        return first != _memory(id(legacy) + _HEAD, inside)
    except (AttributeError, TypeError, ValueError):
        return False


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in options.items()}


def _marks(mark: Callable[[Any], tuple[object, ...]]) -> Mark:
    return mark, lambda module, known: bool(mark(module) == known)


SAME: dict[str, Mark | None] = {
    "decimal": _marks(lambda module: (repr(module.getcontext()),)),
    "pandas options": (
        lambda module: _copied(module._global_config),
        lambda module, known: bool(module._global_config == known),
    ),
    "matplotlib options": (
        lambda module: dict(dict.items(module.rcParams)),
        lambda module, known: bool(dict(dict.items(module.rcParams)) == known),
    ),
}
if _shows_random():
    SAME["random"] = _marks(_mark_random)
_NUMPY = _marks(_mark_numpy)


def mark_of(part: str, module: Any) -> Mark | None:
    """How to see that a part of a loaded module is as it was; None where it has to be read."""
    if part == "numpy" and part not in SAME:
        SAME[part] = _NUMPY if _shows_numpy(module) else None
    if part == "numpy" and type(module.mtrand._rand._bit_generator).__name__ != "MT19937":
        return None
    return SAME.get(part)
