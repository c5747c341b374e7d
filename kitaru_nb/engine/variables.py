"""Variables of the project's own modules, classes and functions: which of them the notebook has changed.

A counter that a function of the project moves on, a setting that a cell writes into a dict of
a module, a list that is a parameter's default: these are as much the notebook's state as its
names are. What counts is told relative
to how the import left a variable, so what differs from kernel to kernel by itself (a start time,
a run's id) is no state of the notebook. How the import left it is noted right after the module's
code has run, before any cell can touch it; of a module that was imported before that could be
seen, it is how it is first met.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import BuiltinFunctionType, FunctionType, GeneratorType, ModuleType
from typing import Any, NamedTuple

from kitaru_nb.analysis.reach import OF_MODULES
from kitaru_nb.artifacts.digest import digest_values, is_immutable_atom, opaque_in
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.engine.holders import held_by, holders_of, is_project_code, is_project_file, variables_in
from kitaru_nb.engine.observe import reading, state_of
from kitaru_nb.model.artifact import Digest

__all__ = ["CODE", "Imported", "Unkept", "Variables", "files_read_by", "shadowed_in"]

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
# Of these homes all the same: what they hold can be read and stored.
_HOLD = frozenset(
    {
        "_io.BytesIO",
        "_io.StringIO",
        "_queue.SimpleQueue",
        "_thread._local",
        "functools.partial",
        "queue.LifoQueue",
        "queue.PriorityQueue",
        "queue.Queue",
        "weakref.WeakKeyDictionary",
        "weakref.WeakValueDictionary",
    }
)
_WEAK = frozenset({weakref.WeakKeyDictionary, weakref.WeakSet, weakref.WeakValueDictionary})
CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)
"""What is code, and counts by what is bound there: the import's own, or another one."""
_SMALL = 100  # items of a container that are looked at
_Known = dict[tuple[str, str], tuple[object, Digest | None]]


_READ: dict[str, dict[str, str]] = {}
"""For each module of a project the files that its import read, with what they held."""


def files_read_by(modules: Iterable[str]) -> dict[str, str]:
    """The files that the imports of these modules have read, with their digests at that time.

    What a module made of them is what it is by its import, and no change that a cell has made.
    """
    return {path: digest for name in modules for path, digest in _READ.get(name, {}).items()}


class Imported(NamedTuple):
    """Stands for the code that an import puts into a variable; part of the stored format."""

    owner: str
    name: str


class Unkept:
    """Stands for what an import made, a cell has changed and no other process can have; is stored as it.

    Args:
        kind: Its type, as the user knows it.
        mark: Tells how it stands in this process; not stored.
    """

    def __init__(self, kind: str, mark: str = "") -> None:
        self.kind = kind
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Unkept, (self.kind,)


class Variables:
    """What the variables of project modules hold, and which ones have changed since their import.

    Attributes:
        modules: Names of the project's modules that are loaded.
        names: Those of the notebook. Its functions are read as what has them as globals.
        told: Is told of each module of the project right after its code has run.
    """

    def __init__(self) -> None:
        self.modules: AbstractSet[str] = frozenset()
        self._imported: dict[str, tuple[ModuleType, _Known]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._finder = _Finder(self._has_run)
        self._lost: dict[tuple[str, str], tuple[Unkept, Digest]] = {}
        self.names: dict[str, Any] = {}
        self.told: Callable[[ModuleType], None] = _nobody

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

        The owner is ``module``, or ``module|name`` of a class or function of the project. With
        each comes what it holds and the digest of that, if it was read just now: for use at once,
        since the object may be changed in place at any time.

        A variable that holds an object which a name of the notebook is bound to comes as well: after
        a restore both are to lead to one object.
        """
        bound = set(map(id, self.names.values()))
        looked: dict[tuple[str, str], tuple[object, Digest]] = {}
        for module in self.modules:
            found = sys.modules.get(module)
            if type(found) is not ModuleType:
                continue
            known = self._imported.get(module)
            if known is None or known[0] is not found:
                known = self._note(found)
            looked |= self._look(found, known[1], bound)
        return {place: looked.get(place) for place in self._changed}

    def _look(
        self, module: ModuleType, known: _Known, bound: AbstractSet[int]
    ) -> dict[tuple[str, str], tuple[object, Digest]]:
        """What the variables of one module hold now; notes which have changed."""
        looked: dict[tuple[str, str], tuple[object, Digest]] = {}
        for owner, name, value, is_code in _held(module):
            place = owner, name
            before = known.get(place)
            was = before is not None and before[0] is value
            if is_code and not was:
                self._changed.add(place)
            if is_code or (was and is_immutable_atom(value)):
                continue
            digest, is_kept = self._seen(value)
            if digest is None or not (is_kept or was):
                continue  # such as a connection that is made when it is first asked for
            looked[place] = (value if is_kept else self._unkept(place, value, digest)), digest
            if before is None or before[1] not in (digest, None) or (is_kept and _leads_to(value, bound)):
                self._changed.add(place)
        return looked

    def as_imported(self, owner: str, name: str, absent: object) -> tuple[object, Digest | None] | None:
        """What a variable held after its import, or `absent`, and the digest of that if it can be read.

        None for what is in no project module, or was never seen.
        """
        module = owner.partition("|")[0]
        if module not in self.modules or module not in self._imported:
            return None
        return self._imported[module][1].get((owner, name), (absent, None))

    def lost(self) -> AbstractSet[tuple[str, str]]:
        """Owner and name of what was changed in place and cannot be put back."""
        return self._lost.keys()

    def stored(self, value: object) -> object:
        """What is stored for a value: code that an import made is referred to by where that put it.

        By its own name another function may be found, which a cell has put in its place.
        """
        if isinstance(value, CODE):
            for _, known in self._imported.values():
                for (owner, name), (first, _) in known.items():
                    if first is value:
                        return Imported(owner, name)
        return value

    def loaded(self, value: object) -> object:
        """What `stored` was given, once its module is imported.

        Raises:
            LookupError: the import makes nothing of that name any more.
        """
        if type(value) is not Imported:
            return value
        return self._imported[value.owner.partition("|")[0]][1][value.owner, value.name][0]

    def is_as_imported(self, owner: str, name: str, value: object, *, digest: Digest | None = None) -> bool:
        """Whether that is what the variable held after its import, as after `importlib.reload`.

        `digest` is that of the value, where it was read just now.
        """
        known = self.as_imported(owner, name, value)
        if known is None or isinstance(value, CODE):
            return known is not None and known[0] is value
        return known[1] is not None and known[1] == (digest or self._digest(value))

    def forget(self, places: AbstractSet[tuple[str, str]]) -> None:
        """These variables are as their import left them again."""
        self._changed -= places

    def shadowed(self, modules: AbstractSet[str]) -> Iterator[tuple[MutableMapping[str, Any], list[str]]]:
        """The variables of those among `modules` that are the project's: where they are, and their names.

        Those of a module, and in a mapping of their own those of each class and function in it.
        """
        for module in sorted(self.modules & modules):
            found = sys.modules.get(module)
            if type(found) is ModuleType:
                yield from shadowed_in(found)

    def _has_run(self, module: ModuleType) -> None:
        self._note(module)
        self.told(module)

    def _note(self, module: ModuleType) -> tuple[ModuleType, _Known]:
        noted: _Known = {
            (owner, name): (value, None if is_code else self._seen(value)[0])
            for owner, name, value, is_code in _held(module)
        }
        known = self._imported[module.__name__] = module, noted
        return known

    def _unkept(self, place: tuple[str, str], value: object, digest: Digest) -> Unkept:
        """What stands for a variable's value that cannot be kept: the same as long as that stays as it is."""
        known = self._lost.get(place)
        if known is None or known[1] != digest:
            known = self._lost[place] = Unkept(kind_name(value), digest), digest
        return known[0]

    def _seen(self, value: object) -> tuple[Digest | None, bool]:
        """What tells whether a value is as it was in this process, and whether another can have it."""
        if type(value) is GeneratorType:
            frame = value.gi_frame
            if frame is None:
                return self._raw(None), False
            inside = (self._raw(dict(frame.f_locals)), self._seen(value.gi_yieldfrom)[0])
            return self._raw((frame.f_lasti, *inside)), False
        digest = self._raw(value)
        return digest, digest is not None and type(value) not in _WEAK and not opaque_in(digest)

    def _raw(self, value: object) -> Digest | None:
        try:
            return digest_values({"": value}, namespace=self.names)
        except Exception:  # noqa: BLE001 - a foreign object may raise anything, and then it is no state that is kept
            return None

    def _digest(self, value: object) -> Digest | None:
        """What a variable holds; None where that cannot be read, as of a connection."""
        digest, is_kept = self._seen(value)
        return digest if is_kept else None


def shadowed_in(module: ModuleType) -> Iterator[tuple[MutableMapping[str, Any], list[str]]]:
    """The variables of one module of the project, as `Variables.shadowed` gives them."""
    for _, holder in holders_of(module):
        variables = variables_in(holder)
        if variables is not None:
            yield variables, [name for name, value in held_by(holder) if _is_data(name, value)]


def _nobody(_module: ModuleType) -> None:
    """Nobody wants to be told."""


def _held(module: ModuleType) -> Iterator[tuple[str, str, object, bool]]:
    """Owner and name of each variable, what it holds, and whether that is code."""
    for owner, holder in holders_of(module):
        of_function = type(holder) is FunctionType
        for name, value in held_by(holder):
            if not isinstance(value, CODE):
                if _is_data(name, value):
                    yield owner, name, value, False
            elif not (of_function or name[:2] == "__" or _is_part(module, name, value)):
                yield owner, name, value, True


def _is_part(package: ModuleType, name: str, value: object) -> bool:
    """Whether that is a module which its package is given when it is imported."""
    return isinstance(value, ModuleType) and sys.modules.get(f"{package.__name__}.{name}") is value


def _is_data(name: str, value: object) -> bool:
    """Whether a variable holds data: no code, nothing that is to stay secret, no machinery of a library."""
    kind = type(value)
    if name in OF_MODULES or isinstance(value, CODE) or is_secret_name(name):
        return False
    if f"{kind.__module__}.{kind.__qualname__}" in _HOLD:
        return True
    return not hasattr(kind, "__get__") and _is_of_data(str(kind.__module__))


@lru_cache(maxsize=1024)
def _is_of_data(module: str) -> bool:
    home = module.partition(".")[0]
    if home in _DATA or home in sys.stdlib_module_names:
        return home not in _MACHINERY
    return is_project_code(module)


def _leads_to(value: object, bound: AbstractSet[int]) -> bool:
    """Whether that is one of the objects `bound`, or a small plain container of one."""
    if is_immutable_atom(value):
        return False
    if id(value) in bound:
        return True
    if type(value) is dict:
        inside: Iterable[object] = value.values()
    elif type(value) is list or type(value) is tuple:
        inside = value
    else:
        return False
    return len(value) <= _SMALL and any(id(held) in bound and not is_immutable_atom(held) for held in inside)


@lru_cache(maxsize=1024)
def _may_be_local(folder: str) -> bool:
    return is_project_file(folder)


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
        if not is_project_file(str(spec.origin)):
            return None
        run = spec.loader.exec_module

        def run_and_tell(module: ModuleType) -> None:
            with reading() as read:
                run(module)
            _READ[module.__name__] = {path: state_of(path) for path in read}
            self._loaded(module)

        spec.loader.exec_module = run_and_tell  # type: ignore[method-assign] # of this one loader
        return spec
