"""What a recorded function is: its own code, the code it reaches, and the globals that it reads.

Every function and class of the project that it leads to counts by what it does, each in its own
module, so that an edit elsewhere in the file is none of its business. Numbers and text that it
reads count by value. What it may change, objects that it reads and variables that it binds, is
given back by name: whether that counts is told by the record of a call, which knows what it changed.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from blake3 import blake3

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.analysis.modules import is_local_module, variables_of
from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.kinds import is_immutable_atom
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.model.artifact import Digest

__all__ = ["Callee", "Look", "callee_of", "project_folder"]

_identity = object.__hash__
_MAIN = "__main__"
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Look:
    """What a function is at one moment.

    Attributes:
        code: Digest of the code that it reaches, and of the plain values that it only reads.
        data: Objects that it reads and variables that it binds, by a name for messages; a variable
            of an outer function by its cell.
        bindings: Names in its own globals that code it reaches binds or deletes.
        reads: Everything that it reads of its own globals, by name.
    """

    code: Digest
    data: Mapping[str, object]
    bindings: tuple[str, ...] = ()
    reads: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """One walk over a function, with everything that must be unchanged for it to hold still."""

    token: Any = field(default_factory=blake3)
    data: dict[str, object] = field(default_factory=dict)
    bindings: set[str] = field(default_factory=set)
    read: list[tuple[Mapping[str, object], str, object]] = field(default_factory=list)
    functions: list[tuple[FunctionType, CodeType, object, object]] = field(default_factory=list)
    cells: list[tuple[CellType, object]] = field(default_factory=list)
    classes: list[tuple[type, dict[str, object]]] = field(default_factory=list)
    look: Look | None = None

    def still_holds(self) -> bool:
        return (
            all(scope.get(name, _MISSING) is value for scope, name, value in self.read)
            and all(
                function.__code__ is code
                and function.__defaults__ is defaults
                and function.__kwdefaults__ is kw
                for function, code, defaults, kw in self.functions
            )
            and all(_content(cell) is value for cell, value in self.cells)
            and all(_members(cls) == members for cls, members in self.classes)
        )


class Callee:
    """A function whose calls are recorded.

    Args:
        function: The function itself, undecorated.
    """

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        self.signature = inspect.signature(function)
        self._found: _Found | None = None
        self._lock = threading.Lock()

    @property
    def scope(self) -> dict[str, Any]:
        """The function's globals."""
        return self.function.__globals__

    def look(self) -> Look:
        """What the function is now. Microseconds where nothing that it reaches has changed."""
        with self._lock:
            found = self._found
            if found is None or found.look is None or not found.still_holds():
                found = self._found = _Walk(project_folder(self.function)).all(self.function)
            assert found.look is not None
            return found.look

    @functools.cached_property
    def source(self) -> str:
        """The function's source, or nothing where there is none."""
        try:
            return textwrap.dedent(inspect.getsource(self.function))
        except (OSError, TypeError, IndentationError):
            return ""

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
        """The arguments of a call by the names of their parameters, defaults included.

        Raises:
            TypeError: they do not fit, as a call would say.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


_callees: weakref.WeakKeyDictionary[FunctionType, Callee] = weakref.WeakKeyDictionary()


def callee_of(function: FunctionType) -> Callee:
    """The callee of a function, one for each function object."""
    found = _callees.get(function)
    if found is None:
        found = _callees[function] = Callee(function)
    return found


def project_folder(function: FunctionType) -> Path:
    """Where the project of a function is: the folder of its file, or the current one in a notebook."""
    file = function.__globals__.get("__file__")
    return Path(file).absolute().parent if isinstance(file, str) else Path.cwd()


def plain_function(value: object) -> object:
    """What is behind a recorded function; anything else is itself."""
    inner = getattr(value, "__kitaru_function__", None) if type(value) is FunctionType else None
    return value if inner is None else inner


class _Walk:
    def __init__(self, folder: Path) -> None:
        self._folders = [folder, Path.cwd()]
        self._seen: dict[int, object] = {}
        self._found = _Found()
        self._local: dict[str, bool] = {}
        self._own: dict[str, Any] = {}

    def all(self, function: FunctionType) -> _Found:
        self._own = function.__globals__
        self._see(function.__name__, function)
        found = self._found
        reads = {name: value for scope, name, value in found.read if scope is self._own}
        code = Digest(found.token.hexdigest())
        found.look = Look(code, dict(found.data), tuple(sorted(found.bindings)), reads)
        return found

    def _tell(self, *words: object) -> None:
        self._found.token.update(repr(words).encode("utf-8", "surrogatepass"))

    def _see(self, label: str, value: Any) -> None:
        """Take in one value that the code leads to."""
        value = plain_function(value)
        if type(value) is FunctionType:
            if self._is_own(value.__module__, value.__globals__):
                self._once(label, value, self._function)
            else:
                self._tell(label, "function", value.__module__, value.__qualname__)
        elif isinstance(value, type):
            if self._is_own(value.__module__):
                self._once(label, value, self._class)
            else:
                self._tell(label, "class", value.__module__, value.__qualname__)
        elif type(value) is ModuleType:
            self._tell(label, "module", value.__name__)
        elif is_immutable_atom(value):
            self._tell(label, digest_values({"": value}, namespace=self._own))
        elif type(value) in _HOLDERS:
            for part, held in _HOLDERS[type(value)](value):
                self._see(f"{label}.{part}", held)
        else:
            self._found.data.setdefault(label, value)
            if self._is_own(type(value).__module__):
                self._see(f"{label}.__class__", type(value))

    def _see_all(self, label: str, values: Iterable[object]) -> None:
        for number, value in enumerate(values):
            self._see(f"{label}.{number}", value)

    def _once(self, label: str, value: Any, take: Callable[[str, Any], None]) -> None:
        if _identity(value) in self._seen:
            self._tell(label, "seen")
            return
        self._seen[_identity(value)] = value
        take(label, value)

    def _function(self, label: str, function: FunctionType) -> None:
        code = function.__code__
        self._found.functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        self._tell(label, code_token(code), code.co_freevars)
        self._see_all(f"{label}.__defaults__", function.__defaults__ or ())
        self._see_all(f"{label}.__kwdefaults__", (function.__kwdefaults__ or {}).values())
        rebound = _rebound_by(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name in rebound:
                self._found.data.setdefault(f"{label}.{name}", cell)
                continue
            content = _content(cell)
            self._found.cells.append((cell, content))
            if content is not _MISSING:
                self._see(f"{label}.{name}", content)
        scope = function.__globals__
        names = function_names(code)
        bound = _bound_by(code) if scope is self._own else frozenset()
        self._found.bindings |= bound
        where = "" if scope is self._own else f"{scope.get('__name__')}."
        wanted = sorted(names.names & scope.keys())
        if names.dynamic:
            wanted = [name for name in scope if not name.startswith("_")]
        for name in wanted:
            if name in bound and is_immutable_atom(scope[name]):
                continue  # a variable that calls change, such as a counter
            self._read(where, scope, name, names.names)

    def _read(self, where: str, scope: Mapping[str, object], name: str, names: frozenset[str]) -> None:
        value = scope[name]
        if is_marker(value):
            self._found.data[where + name] = value
            return
        self._found.read.append((scope, name, value))
        self._see(where + name, value)
        if type(value) is ModuleType and self._is_local(value):
            # `helpers.rate` mentions both names; which attribute belongs to which is not told.
            attributes = variables_of(value)
            for attribute in sorted(names & attributes.keys()):
                self._found.read.append((attributes, attribute, attributes[attribute]))
                self._see(f"{where}{name}.{attribute}", attributes[attribute])

    def _class(self, label: str, cls: type) -> None:
        members = _members(cls)
        self._found.classes.append((cls, members))
        self._tell(label, cls.__qualname__, sorted(members))
        self._see_all(f"{label}.__bases__", cls.__bases__)
        for name, member in sorted(members.items()):
            self._see(f"{label}.{name}", member)

    def _is_own(self, module: object, scope: Mapping[str, object] | None = None) -> bool:
        if scope is self._own or module == _MAIN or module == self._own.get("__name__"):
            return True
        found = sys.modules.get(module) if isinstance(module, str) else None
        return found is not None and self._is_local(found)

    def _is_local(self, module: ModuleType) -> bool:
        name = module.__name__
        if name not in self._local:
            self._local[name] = is_local_module(module, self._folders)
        return self._local[name]


# What holds functions, and by which parts.
_HOLDERS: dict[type, Callable[[Any], Iterable[tuple[str, object]]]] = {
    functools.partial: lambda held: [
        ("func", held.func),
        *((f"args.{number}", value) for number, value in enumerate(held.args)),
        *held.keywords.items(),
    ],
    MethodType: lambda held: [("__func__", held.__func__), ("__self__", held.__self__)],
    staticmethod: lambda held: [("__func__", held.__func__)],
    classmethod: lambda held: [("__func__", held.__func__)],
    property: lambda held: [
        (name, part) for name in ("fget", "fset", "fdel") if (part := getattr(held, name)) is not None
    ],
}

_NOT_MEMBERS = frozenset(
    [
        *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"),
        *("__annotations__", "__annotate_func__", "__abstractmethods__", "_abc_impl", "__slotnames__"),
    ]
)


def _members(cls: type) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_MEMBERS and not inspect.ismemberdescriptor(value)
    }


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


@functools.lru_cache(maxsize=4096)
def _rebound_by(code: CodeType) -> frozenset[str]:
    """Variables of outer functions that `code`, and code nested in it, binds or deletes."""
    found = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("STORE_DEREF", "DELETE_DEREF")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _rebound_by(constant)
    return frozenset(found) & frozenset(code.co_freevars)


@functools.lru_cache(maxsize=4096)
def _bound_by(code: CodeType) -> frozenset[str]:
    """Globals that `code`, and code nested in it, binds or deletes."""
    found = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _bound_by(constant)
    return frozenset(found)
