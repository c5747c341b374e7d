"""Versions of what a step's code uses, and the modules it imported.

A record carries both. Another version where it is restored is said, and with ``--strict-env``
makes the cell run again; modules that its code imported are imported again, so that
``import a.b.c`` in a restored cell is there for the cells after it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["changed_versions", "import_again", "imports_of", "said_versions", "versions_of"]

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_NO_PACKAGE = sys.stdlib_module_names | {"__main__", "__mp_main__", "kitaru_nb"}


def versions_of(modules: Iterable[str], values: Iterable[object] = ()) -> dict[str, str]:
    """The versions of Python and of the packages that `modules` and the types of `values` come from.

    A package without a version, such as the project's own, is left out. The first look at a
    package costs up to a millisecond, each later one next to nothing.
    """
    tops = {name.partition(".")[0] for name in modules}
    tops |= {_home(value).partition(".")[0] for value in values}
    found = {"python": _PYTHON}
    for top in sorted(tops - _NO_PACKAGE):
        version = _version(top)
        if version is not None:
            found[top] = version
    return found


def changed_versions(recorded: Mapping[str, str], *, load: bool = False) -> dict[str, tuple[str, str | None]]:
    """The packages of a record that have another version now: the old one and the new one.

    Args:
        recorded: What `versions_of` gave when the step ran.
        load: Import a package whose version is not known otherwise.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for name, old in recorded.items():
        new = _PYTHON if name == "python" else _version(name)
        if new is None and load:
            import_again([name])
            new = _version(name)
        if new != old and (new is not None or load):
            found[name] = (old, new)
    return found


def said_versions(recorded: Mapping[str, str]) -> list[str]:
    """A sentence for the packages that have another version than when a step ran."""
    changed = changed_versions(recorded)
    return [
        f"`{name}` was {old} when it ran and is {new} now; --strict-env would run it again"
        for name, (old, new) in sorted(changed.items())
    ]


def imports_of(named: Iterable[str], seen: Mapping[str, bool], live: Mapping[str, object]) -> tuple[str, ...]:
    """Modules that a step imported and that a cell after it can reach.

    Args:
        named: What its import statements name.
        seen: Modules that its code had loaded, each with whether the cell itself did, and not
            a function that it called.
        live: The namespace after it.
    """
    wanted = {name for name in named if "." in name}
    wanted |= {name for name, direct in seen.items() if direct}
    inner = {name for name, direct in seen.items() if "." in name and not direct} | wanted
    if not inner:
        return ()
    bound = {value.__name__.partition(".")[0] for value in live.values() if type(value) is ModuleType}
    direct_ones = {name for name, direct in seen.items() if direct}
    return tuple(
        sorted(
            name
            for name in inner
            if name in sys.modules and (name in direct_ones or name.partition(".")[0] in bound)
        )
    )


def import_again(modules: Iterable[str]) -> list[str]:
    """Import modules that are not loaded; a sentence for each that cannot be."""
    failed = []
    for name in modules:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a module may raise anything while it is loaded
            failed.append(f"`import {name}` failed: {type(error).__name__}: {error}")
    return failed


def _home(value: object) -> str:
    """The module that a value's type, or a function or class, is defined in."""
    cls = type(value)  # asked for its `__class__` it may say anything
    kind = value if issubclass(cls, (FunctionType, BuiltinFunctionType, type)) else cls
    module = getattr(kind, "__module__", None)
    return module if isinstance(module, str) else ""


def _version(top: str) -> str | None:
    known = _metadata_version(top)
    if known is not None:
        return known
    module = sys.modules.get(top)
    if type(module) is not ModuleType:
        return None
    version = vars(module).get("__version__")
    if isinstance(version, str):
        return version
    place = vars(module).get("__file__") or str(vars(module).get("__path__", ""))
    return _version_of_file(top) if "-packages" in place else None


@lru_cache(maxsize=1024)
def _version_of_file(top: str) -> str | None:
    """The version of the distribution that an installed module came with; a look at all of them."""
    names = importlib.metadata.packages_distributions().get(top, [])
    return _metadata_version(names[0]) if names else None


@lru_cache(maxsize=1024)
def _metadata_version(top: str) -> str | None:
    """The version of the distribution called like the module, where there is one."""
    try:
        return importlib.metadata.version(top)
    except Exception:  # noqa: BLE001 - not installed under that name, or its metadata is damaged
        return None
