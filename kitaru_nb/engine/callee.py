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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from blake3 import blake3

from kitaru_nb.analysis.code_names import function_names
from kitaru_nb.analysis.modules import is_local_module, variables_of
from kitaru_nb.artifacts.census import DERIVED_MEMBERS, told_decorators
from kitaru_nb.artifacts.code_digest import code_token
from kitaru_nb.artifacts.digest import digest_values, opaque_in
from kitaru_nb.artifacts.kinds import home_name, home_of, is_immutable_atom, kind_name
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.engine.files import may_write
from kitaru_nb.engine.script import file_of
from kitaru_nb.model.artifact import Digest

__all__ = ["Callee", "Look", "callee_of", "members_of", "project_folder", "variable"]

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
        bindings: Variables of modules, and attributes of classes, that code it reaches binds or
            deletes: where they are, as a dict or class, and their names there.
        reads: Everything that it reads of its own globals, by name.
        classes: The project's classes that it reaches, and functions whose attributes count.
    """

    code: Digest
    data: Mapping[str, object]
    bindings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    reads: Mapping[str, object] = field(default_factory=dict)
    classes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """One walk over a function, with everything that must be unchanged for it to hold still."""

    token: Any = field(default_factory=blake3)
    data: dict[str, object] = field(default_factory=dict)
    bindings: dict[str, tuple[Any, str]] = field(default_factory=dict)
    read: list[tuple[Mapping[str, object], str, object]] = field(default_factory=list)
    functions: list[tuple[FunctionType, CodeType, object, object]] = field(default_factory=list)
    cells: list[tuple[CellType, object]] = field(default_factory=list)
    classes: list[tuple[Any, dict[str, object]]] = field(default_factory=list)
    members: list[tuple[str, Any, str, object]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
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
            and all(_same(members_of(cls), members) for cls, members in self.classes)
        )


class Callee:
    """A function whose calls are recorded.

    Args:
        function: The function itself, undecorated.
    """

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        # Its own: a decorator's wrapper takes what it takes, whatever the function inside it takes.
        self.signature = inspect.signature(function, follow_wrapped=False)
        self._found: _Found | None = None
        self._more: tuple[tuple[int, ...], _Found] = ((), _Found())
        self._owned: dict[str, bool] = {}
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

    def look_at(self, codes: Sequence[Any]) -> Look:
        """As `look`, together with functions and classes that it is given in its arguments and data."""
        if not codes:
            return self.look()
        with self._lock:
            numbers, found = self._more
            if numbers != tuple(map(_identity, codes)) or not found.still_holds():
                found = _Walk(project_folder(self.function)).all(self.function, codes)
                # What closures hold is not kept alive for the sake of a later call.
                kept = not found.cells
                self._more = (tuple(map(_identity, codes)), found) if kept else ((), _Found())
            assert found.look is not None
            return found.look

    def codes_in(self, objects: Iterable[Any]) -> dict[int, Any]:
        """The project's functions and classes among objects, and the classes of instances, by identity."""
        found: dict[int, Any] = {}
        for obj in objects:
            cls = type(obj)
            if cls in _NO_CODE:
                continue
            code = obj if cls is FunctionType or isinstance(obj, type) else cls
            if _identity(code) not in found and self._owns(code):
                found[_identity(code)] = code
        return found

    def _owns(self, code: Any) -> bool:
        module = code.__module__
        if type(code) is FunctionType and code.__globals__ is self.scope:
            return True
        if type(module) is not str:
            return False
        if module not in self._owned:
            self._owned[module] = _is_own(module, self.scope, [project_folder(self.function), Path.cwd()])
        return self._owned[module]

    @functools.cached_property
    def source(self) -> str:
        """The function's source, or nothing where there is none."""
        try:
            return textwrap.dedent(inspect.getsource(self.function))
        except (OSError, TypeError, IndentationError):
            return ""

    @functools.cached_property
    def may_write(self) -> bool:
        """Whether its source speaks of writing files."""
        return may_write(self.source)

    def defaulted(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> set[str]:
        """Parameters that a call leaves to their defaults."""
        return self.signature.parameters.keys() - self.signature.bind(*args, **kwargs).arguments.keys()

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
    file = file_of(function.__globals__)
    return Path.cwd() if file is None else Path(file).absolute().parent


def plain_function(value: object) -> object:
    """What is behind a recorded function; anything else is itself."""
    if type(value) is not FunctionType:
        return value
    inner = getattr(value, "__kitaru_function__", None)
    # A decorator above a recorded function has copied its attributes: that one is no recorded function.
    return value if inner is None or getattr(value, "__wrapped__", None) is not inner else inner


class _Walk:
    def __init__(self, folder: Path) -> None:
        self._folders = [folder, Path.cwd()]
        self._seen: dict[int, object] = {}
        self._found = _Found()
        self._local: dict[str, bool] = {}
        self._own: dict[str, Any] = {}
        self._functions: dict[int, tuple[str, FunctionType]] = {}
        self._mentioned: set[str] = set()

    def all(self, function: FunctionType, codes: Iterable[Any] = ()) -> _Found:
        self._own = function.__globals__
        self._see(function.__name__, function)
        for code in codes:
            self._see(code.__qualname__, code)
        self._see_attributes()
        found = self._found
        reads = {name: _said(name, value) for scope, name, value in found.read if scope is self._own}
        for label, cls, name, value in found.members:
            if name in found.stored:  # such as a counter: what it is counts, but is no part of the code
                found.bindings[f"{_called(cls)}.{name}"] = (cls, name)
            else:
                self._tell(label, name, digest_values({"": value}, namespace=self._own))
        code = Digest(found.token.hexdigest())
        bindings = {label: found.bindings[label] for label in sorted(found.bindings)}
        classes = {_called(cls): cls for cls, _ in found.classes}
        found.look = Look(code, dict(found.data), bindings, reads, classes)
        return found

    def _see_attributes(self) -> None:
        """Attributes of functions that the code mentions: a counter or a cache is often kept there."""
        seen: set[tuple[int, str]] = set()
        size = -1
        while size != len(seen):
            size = len(seen)
            for number, (label, function) in list(self._functions.items()):
                for name, value in members_of(function).items():
                    if name in self._mentioned and (number, name) not in seen:
                        seen.add((number, name))
                        self._member(label, function, name, value)
        for number, (_, function) in self._functions.items():
            if self._found.stored or any(number == holder for holder, _ in seen):
                self._found.classes.append((function, members_of(function)))

    def _member(self, label: str, holder: Any, name: str, value: object) -> None:
        if is_immutable_atom(value) and not _is_code(value):
            self._found.members.append((label, holder, name, value))
        else:
            self._see(f"{label}.{name}", value)

    def _tell(self, *words: object) -> None:
        self._found.token.update(repr(words).encode("utf-8", "surrogatepass"))

    def _see(self, label: str, value: Any) -> None:
        """Take in one value that the code leads to."""
        named, value = value, plain_function(value)
        if type(value) is FunctionType:
            if self._is_own(value.__module__, value.__globals__):
                self._functions.setdefault(_identity(named), (label, named))
                self._once(label, value, self._function)
            else:
                self._tell(label, "function", value.__module__, value.__qualname__)
                self._once(label, value, self._foreign)
        elif isinstance(value, type):
            if self._is_own(value.__module__):
                self._once(label, value, self._class)
            else:
                self._tell(label, "class", value.__module__, value.__qualname__)
        elif type(value) is ModuleType:
            self._tell(label, "module", value.__name__)
        elif is_immutable_atom(value):
            self._atom(label, value)
        elif type(value) in _HOLDERS:
            for part, held in _HOLDERS[type(value)](value):
                self._see(f"{label}.{part}", held)
        else:
            self._found.data.setdefault(label, value)
            if self._is_own(type(value).__module__):
                self._see(f"{label}.__class__", type(value))

    def _atom(self, label: str, value: Any) -> None:
        self._tell(label, digest_values({"": value}, namespace=self._own))
        if type(value) in (tuple, frozenset):
            codes = [each for each in value if _is_code(each)]
            self._see_all(label, sorted(codes, key=lambda each: getattr(each, "__qualname__", "")))

    def _see_all(self, label: str, values: Iterable[object]) -> None:
        for number, value in enumerate(values):
            self._see(f"{label}.{number}", value)

    def _once(self, label: str, value: Any, take: Callable[[str, Any], None]) -> None:
        if _identity(value) in self._seen:
            self._tell(label, "seen")
            return
        self._seen[_identity(value)] = value
        take(label, value)

    def _foreign(self, label: str, function: FunctionType) -> None:
        """What of the project a library's function holds, such as one that its decorator has made."""
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            content = _content(cell)
            held = content.values() if isinstance(content, (dict, MappingProxyType)) else (content,)
            for number, value in enumerate(map(plain_function, held)):
                if isinstance(value, type) or type(value) in (FunctionType, *_HOLDERS):
                    self._see(f"{label}.{name}.{number}", value)

    def _function(self, label: str, function: FunctionType) -> None:
        code = function.__code__
        self._found.stored |= _stored_by(code)
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
        self._mentioned |= names.names
        bound = _bound_by(code)
        where = "" if scope is self._own else f"{home_name(scope.get('__name__', function.__module__))}."
        self._found.bindings.update({where + name: (scope, name) for name in bound})
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
        self._see(where + name, _said(name, value))
        if type(value) is ModuleType and self._is_local(value):
            # `helpers.rate` mentions both names; which attribute belongs to which is not told.
            attributes = variables_of(value)
            for attribute in sorted(names & attributes.keys()):
                self._found.read.append((attributes, attribute, attributes[attribute]))
                self._see(f"{where}{name}.{attribute}", attributes[attribute])

    def _class(self, label: str, cls: type) -> None:
        members = members_of(cls)
        self._found.classes.append((cls, members))
        self._tell(label, cls.__qualname__, sorted(members))
        self._see_all(f"{label}.__bases__", cls.__bases__)
        for name, member in sorted(members.items()):
            if name.startswith("_") and name.endswith("_") and not _is_code(member):
                # What a decorator or a metaclass has noted of the class: it does not change any more.
                told = digest_values({"": told_decorators(member)}, namespace=self._own)
                self._tell(label, name, kind_name(member) if opaque_in(told) else told)
            else:
                self._member(label, cls, name, member)

    def _is_own(self, module: object, scope: Mapping[str, object] | None = None) -> bool:
        return scope is self._own or _is_own(module, self._own, self._folders)

    def _is_local(self, module: ModuleType) -> bool:
        name = module.__name__
        if name not in self._local:
            self._local[name] = is_local_module(module, self._folders)
        return self._local[name]


def _is_own(module: object, scope: Mapping[str, object], folders: Sequence[Path]) -> bool:
    if module in (_MAIN, scope.get("__name__")):
        return True
    found = sys.modules.get(module) if isinstance(module, str) else None
    return found is not None and is_local_module(found, folders)


def _said(name: str, value: object) -> object:
    """What a global says: ``__name__`` says the same in the workers that a script spawns."""
    return home_name(value) if name == "__name__" else value


def _called(cls: Any) -> str:
    return f"{home_of(cls)}:{cls.__qualname__}"


def variable(holder: Any, name: str, missing: object = None) -> Any:
    """What a variable of a module, or an attribute of a class or function itself, is bound to now."""
    return (holder if type(holder) is dict else vars(holder)).get(name, missing)


def _is_code(value: object) -> bool:
    return isinstance(value, type) or type(value) in (FunctionType, *_HOLDERS)


def _same(now: Mapping[str, object], then: Mapping[str, object]) -> bool:
    return len(now) == len(then) and all(now.get(name, _MISSING) is value for name, value in then.items())


# Met at every call, and without code of the project's.
_NO_CODE = frozenset([list, dict, tuple, set, frozenset, bytearray, CellType, ModuleType])

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
    type(functools.lru_cache(len)): lambda held: [("__wrapped__", held.__wrapped__)],
    functools.cached_property: lambda held: [("func", held.func)],
    property: lambda held: [
        (name, part) for name in ("fget", "fset", "fdel") if (part := getattr(held, name)) is not None
    ],
}

# What decorators, ours among them, note on a function.
_RECORDED = frozenset(
    ["__kitaru_function__", "__kitaru_remake__", "__wrapped__", "submit", "map", "run", "cache_info"]
)

_NOT_MEMBERS = frozenset(
    [
        *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"),
        *("__annotations__", "__annotate_func__", "__abstractmethods__", "_abc_impl", "__slotnames__"),
        *DERIVED_MEMBERS,
    ]
)


def members_of(cls: Any) -> dict[str, object]:
    """The attributes of a class that are written in it, or of a function, or that were assigned since."""
    if type(cls) is FunctionType:
        own = vars(cls)
        return {name: own[name] for name in own.keys() - _RECORDED} if own else {}
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
def _stored_by(code: CodeType) -> frozenset[str]:
    """Attributes that `code`, and code nested in it, assigns or deletes, of whatever object."""
    found = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("STORE_ATTR", "DELETE_ATTR")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _stored_by(constant)
    return frozenset(found)


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
