"""Variables of the project's own modules and classes: which of them the notebook has changed.

A counter that a function of the project moves on, a setting that a cell writes into a dict of
a module: these are as much the notebook's state as its names are. What counts is told relative
to how the import left a variable, so what differs from kernel to kernel by itself (a start time,
a run's id) is no state of the notebook. How the import left it is noted right after the module's
code has run, before any cell can touch it; of a module that was imported before that could be
seen, it is how it is first met.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from enum import EnumMeta
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from kitaru_nb.analysis.modules import is_local_file, variables_of
from kitaru_nb.artifacts.digest import digest_values, is_immutable_atom, opaque_in
from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.model.artifact import Digest

__all__ = ["Variables"]

_ANYWHERE = [Path("/")]
_DATA = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_MACHINERY = frozenset(
    {"_abc", "_io", "_thread", "asyncio", "concurrent", "ctypes", "functools", "io", "logging"}
    | {
        "multiprocessing",
        "queue",
        "re",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "threading",
        "typing",
        "weakref",
        "_weakref",
    }
)
_CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)
_Known = dict[tuple[str, str], tuple[object, Digest | None]]


class Variables:
    """What the variables of project modules hold, and which ones have changed since their import.

    Attributes:
        modules: Names of the project's modules that are loaded.
    """

    def __init__(self) -> None:
        self.modules: AbstractSet[str] = frozenset()
        self._imported: dict[str, tuple[ModuleType, _Known]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._finder = _Finder(self._note)

    def install(self) -> None:
        """Note from now on how imports leave the variables of modules that are not installed packages."""
        # In the place of the finder that it asks: what comes before that one still comes first.
        own = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(own, self._finder)

    def remove(self) -> None:
        """Stop that."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)

    def changed(self) -> Mapping[tuple[str, str], tuple[object, Digest] | None]:
        """Owner and name of each variable that is not, or once was not, as its import left it.

        The owner is ``module``, or ``module|Class`` of an attribute of a class of the project. With
        each comes what it holds and the digest of that, if it was read just now: for use at once,
        since the object may be changed in place at any time.
        """
        looked: dict[tuple[str, str], tuple[object, Digest]] = {}
        for module in self.modules:
            found = sys.modules.get(module)
            if type(found) is not ModuleType:
                continue
            known = self._imported.get(module)
            if known is None or known[0] is not found:
                self._note(found)
                continue
            for owner, name, value in _variables(found):
                before = known[1].get((owner, name))
                if before is not None and before[0] is value and is_immutable_atom(value):
                    continue
                digest = _digest(value)
                if digest is not None:
                    looked[owner, name] = value, digest
                if digest is not None and (before is None or before[1] not in (digest, None)):
                    self._changed.add((owner, name))
        return {place: looked.get(place) for place in self._changed}

    def as_imported(self, owner: str, name: str, absent: object) -> tuple[object, Digest | None] | None:
        """What a variable held after its import, or `absent`, and the digest of that if it can be read.

        None for what is in no project module, or was never seen.
        """
        module = owner.partition("|")[0]
        if module not in self.modules or module not in self._imported:
            return None
        return self._imported[module][1].get((owner, name), (absent, None))

    def is_as_imported(self, owner: str, name: str, value: object, *, digest: Digest | None = None) -> bool:
        """Whether that is what the variable held after its import, as after `importlib.reload`.

        `digest` is that of the value, where it was read just now.
        """
        known = self.as_imported(owner, name, value)
        return known is not None and known[1] is not None and known[1] == (digest or _digest(value))

    def forget(self, places: AbstractSet[tuple[str, str]]) -> None:
        """These variables are as their import left them again."""
        self._changed -= places

    def shadowed(self, modules: AbstractSet[str]) -> Iterator[tuple[MutableMapping[str, Any], list[str]]]:
        """The variables of those among `modules` that are the project's: where they are, and their names.

        Those of a module, and in a mapping of their own those of each class that it defines.
        """
        for module in sorted(self.modules & modules):
            found = sys.modules.get(module)
            if type(found) is not ModuleType:
                continue
            for _, holder in _holders(found):
                variables = variables_of(found) if holder is found else _Attributes(holder)
                yield variables, [name for name, _ in _data(variables)]

    def _note(self, module: ModuleType) -> None:
        noted: _Known = {(owner, name): (value, _digest(value)) for owner, name, value in _variables(module)}
        self._imported[module.__name__] = module, noted


def _variables(module: ModuleType) -> Iterator[tuple[str, str, object]]:
    for owner, holder in _holders(module):
        found = variables_of(module) if holder is module else vars(holder)
        yield from ((owner, name, value) for name, value in _data(found))


def _holders(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The module, and the classes that it defines; members of an enumeration never change."""
    yield module.__name__, module
    for value in list(variables_of(module).values()):
        if issubclass(type(value), type) and not issubclass(type(value), EnumMeta):
            cls: Any = value
            if cls.__module__ == module.__name__ and "." not in cls.__qualname__:
                yield f"{module.__name__}|{cls.__qualname__}", cls


def _data(variables: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The variables that hold data: no code, nothing that is to stay secret, no machinery of a library."""
    for name, value in list(variables.items()):
        kind = type(value)
        if name[:2] == "__" or issubclass(kind, _CODE) or hasattr(kind, "__get__") or is_secret_name(name):
            continue
        if _is_of_data(str(kind.__module__)):
            yield name, value


@lru_cache(maxsize=1024)
def _is_of_data(module: str) -> bool:
    home = module.partition(".")[0]
    if home in _DATA or home in sys.stdlib_module_names:
        return home not in _MACHINERY
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and is_local_file(Path(file), _ANYWHERE)


def _digest(value: object) -> Digest | None:
    """What a variable holds; None where that cannot be read, as of a connection."""
    try:
        digest = digest_values({"": value}, namespace={})
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and then it is no state that is kept
        return None
    return None if opaque_in(digest) else digest


class _Attributes(MutableMapping[str, Any]):
    """The plain attributes of a class, bound past what its metaclass does when one is set."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __getitem__(self, name: str) -> Any:
        return vars(self._cls)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        type.__setattr__(self._cls, name, value)

    def __delitem__(self, name: str) -> None:
        type.__delattr__(self._cls, name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in list(vars(self._cls)) if name[:2] != "__")

    def __len__(self) -> int:
        return sum(1 for _ in self)


@lru_cache(maxsize=1024)
def _may_be_local(folder: str) -> bool:
    return is_local_file(Path(folder), _ANYWHERE)


class _Finder(MetaPathFinder):
    """Finds nothing of its own: has it told when the code of a project module has run."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec that Python's own finder gives for source files of a project; None for all else."""
        if path is not None and not any(map(_may_be_local, path)):
            return None  # of an installed package, which may have thousands
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not (spec.origin or "").endswith(".py") or spec.loader is None:
            return None
        if not is_local_file(Path(str(spec.origin)), _ANYWHERE):
            return None
        run = spec.loader.exec_module

        def run_and_tell(module: ModuleType) -> None:
            run(module)
            self._loaded(module)

        spec.loader.exec_module = run_and_tell  # type: ignore[method-assign] # of this one loader
        return spec
