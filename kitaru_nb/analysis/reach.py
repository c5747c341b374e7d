"""What the values a cell reads lead to: further notebook names, and modules of the project.

A function a cell calls reads globals of its own, and the functions it calls read more. So
from the names a cell reads, this follows functions, classes, partials, closures, defaults and
containers down to plain data, without running a line of the user's code: objects are taken
apart by the garbage collector's own view of them (`gc.get_referents`), never by attribute
access, comparison or hashing of theirs.
"""

from __future__ import annotations

import builtins
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress
from pathlib import PurePath
from typing import Any

from kitaru_nb.analysis.code_names import (
    ASK_ARGUMENTS,
    ASK_ENVIRONMENT,
    SUBCLASSES,
    function_names,
    without_data,
    words_of,
)
from kitaru_nb.analysis.modules import IsLocal, LocalModule, is_local_module, local_modules, variables_of
from kitaru_nb.model.referents import referents

__all__ = ["OF_MODULES", "Reach", "is_local_module", "reach"]

OF_MODULES = frozenset(
    [
        *("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__file__", "__path__"),
        *("__builtin__", "__builtins__", "__annotations__", "__annotate__", "__conditional_annotations__"),
        *("__cached__", "__session__", "__vsc_ipynb_file__", "__warningregistry__"),
    ]
)
"""What an interpreter or a front end binds in a module that cells run in; ``__version__`` is the user's."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a cell depends on beyond its own text.

    Attributes:
        names: The names it reads and all that the code they lead to may read. Names of the cell
            itself are kept when nothing is bound to them: that, too, can matter.
        modules: The project's modules it reaches, and all they import in turn, by dotted name.
        dynamic: Some code it reaches may read any name.
        texts: Strings in the code that it reaches, its own aside, and in classes of the notebook.
        variables: Those in code that asks for environment variables.
        arguments: Some code may take what it was not given from ``sys.argv``.
        reads: Some code speaks of reading.
    """

    names: frozenset[str]
    modules: Mapping[str, LocalModule] = field(default_factory=dict)
    dynamic: bool = False
    texts: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    arguments: bool = False
    reads: bool = False


def reach(
    tree_names: Iterable[str],
    namespace: Mapping[str, object],
    *,
    is_local: IsLocal,
    imports: Iterable[str] = (),
    dynamic: bool = False,
    subclasses: bool = False,
    by_text: bool = False,
    texts: Iterable[str] = (),
    stands_for: Callable[[object], object] | None = None,
    is_data: Callable[[str], bool] = lambda _name: False,
    also: Iterable[object] = (),
) -> Reach:
    """Follow the values of `tree_names` to all names and project modules they lead to.

    Costs about as much as pickling the values, arrays and text excepted, which cost nothing.
    Arrays of objects are not looked into.

    Args:
        tree_names: Names the cell reads, see `CellNames.inputs`.
        namespace: The notebook's variables: the very dictionary its functions have as globals.
        is_local: Whether a module is the project's own, see `is_local_module`.
        imports: Modules the cell itself imports, see `CellNames.imports`; they count before
            they are loaded too.
        dynamic: The cell itself may read any name: all of them are followed.
        subclasses: It asks classes for their subclasses.
        by_text: It hands text of others to a library that may look words of it up as names.
        texts: Text in the cell.
        stands_for: Gives for each object the one that counts in its place.
        is_data: Whether a name is known to hold nothing but numbers and text in plain containers,
            which lead nowhere.
        also: Further values that are followed.

    Raises:
        UsageError: the source of a project module cannot be read (kind ``no-source``).
    """
    walk = _Walk(namespace, is_local, is_data, stands_for=stands_for)
    walk.read(tree_names)
    walk.waiting.extend(also)
    walk.dynamic, walk.subclasses, walk.by_text = dynamic, subclasses, by_text
    walk.run()
    if walk.by_text:
        walk.read_texts(texts)
    modules = walk.found_modules(imports)
    if walk.dynamic:
        walk.read(namespace.keys() - OF_MODULES)
        walk.run()
        modules = walk.found_modules(imports)
    elif walk.subclasses and walk.read_subclasses():
        modules = walk.found_modules(imports)
    return walk.told(modules)


_address: Callable[[object], int] = object.__hash__  # `id` would wake audit hooks

_DATA = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray, range, type(...), type(NotImplemented)),
    *(types.CodeType, types.FrameType, types.TracebackType),
    *(types.WrapperDescriptorType, types.MethodDescriptorType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
)

# Instances of these lead to machinery of the process rather than to what a cell computes with.
_MACHINERY = frozenset(
    [
        *("IPython", "comm", "ipykernel", "ipywidgets", "jupyter_client", "tornado", "traitlets", "zmq"),
        *("_asyncio", "_thread", "asyncio", "concurrent", "logging", "multiprocessing", "threading"),
        *("_frozen_importlib", "_frozen_importlib_external", "importlib", "_io", "io", "_weakref", "weakref"),
        *("_socket", "_ssl", "selectors", "socket", "sqlite3", "ssl", "kitaru_nb", "matplotlib"),
    ]
)

_GENERATED = "<attrs generated "  # with a copy of all the notebook's names as their globals
_ONLY_ASKS = ASK_ENVIRONMENT | ASK_ARGUMENTS | {SUBCLASSES}
_LISTS = (list, tuple)
_FEW = 100  # parts of a list that are looked at

_module_of = type.__dict__["__module__"].__get__
_members_of = type.__dict__["__dict__"].__get__
_bases_of = type.__dict__["__bases__"].__get__
_TPFLAGS_HAVE_GC = 1 << 14


@dataclass(slots=True)
class _Walk:
    namespace: Mapping[str, object]
    is_local: IsLocal
    is_data: Callable[[str], bool]
    names: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)
    dynamic: bool = False
    subclasses: bool = False  # some code asks a class for its subclasses
    by_text: bool = False  # some code hands text to a library that may look words of it up
    visited: dict[int, object] = field(default_factory=dict)  # kept alive, so that no address is used twice
    waiting: list[object] = field(default_factory=list)
    kinds: dict[int, Callable[[_Walk, Any], None] | None] = field(default_factory=dict)
    keep: list[type] = field(default_factory=list)  # for the same reason
    classes: dict[int, type] = field(default_factory=dict)
    stands_for: Callable[[object], object] | None = None
    texts: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    asks: set[str] = field(default_factory=set)
    reads: bool = False

    def __post_init__(self) -> None:
        self.visited[_address(self.namespace)] = self.namespace
        self.visited[_address(sys.modules)] = sys.modules
        self.visited[_address(vars(builtins))] = vars(builtins)
        self.kinds.update(_KINDS)

    def read(self, names: Iterable[str]) -> None:
        """Add `names`, and what is bound to them."""
        new = set(names) - self.names
        self.names |= new
        known = [name for name in new if name in self.namespace and not self.is_data(name)]
        self.waiting.extend(map(self.namespace.__getitem__, known))

    def run(self) -> None:
        while self.waiting:
            level, self.waiting = self.waiting, []
            self.waiting.extend(referents(*self._plain(level)))

    def found_modules(self, imports: Iterable[str]) -> dict[str, LocalModule]:
        """The project's modules that are reached; notes what their code may ask for."""
        found = local_modules({*imports, *self.modules}, self.is_local)
        self.subclasses = self.subclasses or any(SUBCLASSES in module.asks for module in found.values())
        self.dynamic = self.dynamic or any(module.asks - _ONLY_ASKS for module in found.values())
        return found

    def told(self, modules: Mapping[str, LocalModule]) -> Reach:
        """What was found."""
        for module in modules.values():
            self.see_texts(module.texts, module.asks)
        return Reach(
            frozenset(self.names),
            modules,
            self.dynamic,
            frozenset(self.texts),
            frozenset(self.variables),
            not ASK_ARGUMENTS.isdisjoint(self.asks),
            self.reads or bool(modules),
        )

    def see_texts(self, texts: Iterable[str], asks: frozenset[str]) -> None:
        """Strings in code, and what it asks for."""
        self.texts.update(texts)
        self.asks |= asks
        if asks & ASK_ENVIRONMENT:
            self.variables.update(texts)

    def read_texts(self, texts: Iterable[str]) -> None:
        """Read what words of `texts`, and of text in what is read, name."""
        waiting, seen = list(texts), 0
        while waiting or seen < len(self.names):
            for text in waiting:
                self.see_text(text)
            self.run()
            seen, held = len(self.names), [self.namespace.get(name) for name in self.names]
            held += [part for value in held if type(value) in _LISTS and len(value) <= _FEW for part in value]  # type: ignore[arg-type, attr-defined]
            waiting = [text for text in held if type(text) is str and not self._has_read(text)]

    def _has_read(self, text: str) -> bool:
        return self.names.issuperset(word for word in words_of(text) if word in self.namespace)

    def read_subclasses(self) -> bool:
        """Read the names of classes that derive from one that is reached; whether there are more."""
        before = len(self.names)
        while True:
            known = len(self.classes)
            self.read(
                [
                    name
                    for name, value in list(self.namespace.items())
                    if issubclass_of(type(value), type) and self._derives(value)
                ]
            )
            self.run()
            if len(self.classes) == known:  # a class that came with another may have subclasses, too
                return len(self.names) > before

    def _derives(self, kind: Any) -> bool:
        bases = type.__dict__["__mro__"].__get__(kind)[1:]
        return any(base is not object and _address(base) in self.classes for base in bases)

    def _plain(self, level: list[object]) -> list[object]:
        """Deal with one level of objects; those returned are to be taken apart as they are."""
        if self.stands_for is not None:
            level = list(map(self.stands_for, level))
        addresses = list(map(_address, map(type, level)))
        present = set(addresses)
        if present - self.kinds.keys():
            for address, kind in dict(zip(addresses, map(type, level), strict=True)).items():
                if address not in self.kinds:
                    self._classify(kind)
        opened = {address for address in present if self.kinds[address] is not None}
        live = list(compress(level, map(opened.__contains__, addresses)))
        fresh = dict(zip(map(_address, live), live, strict=True))
        for known in fresh.keys() & self.visited.keys():
            del fresh[known]
        self.visited.update(fresh)
        special = {address for address in opened if self.kinds[address] is not _take_apart}
        return (
            [value for value in fresh.values() if not self._handled(value)]
            if special
            else list(fresh.values())
        )

    def _handled(self, value: object) -> bool:
        handle = self.kinds[_address(type(value))]
        if handle is None or handle is _take_apart:
            return False
        handle(self, value)
        return True

    def _classify(self, kind: type) -> None:
        self.keep.append(kind)
        handle: Callable[[_Walk, Any], None] | None = _take_apart
        if issubclass_of(kind, type):
            handle = _Walk.see_class
        elif issubclass_of(kind, types.ModuleType):
            handle = _Walk.see_module
        else:
            self.see_class(kind)
            flags = type.__dict__["__flags__"].__get__(kind)
            package = _home(kind).partition(".")[0]
            if package in _MACHINERY or not flags & _TPFLAGS_HAVE_GC:
                handle = None
            elif package == "numba":
                handle = _Walk.see_compiled
        self.kinds[_address(kind)] = handle

    # One kind of value each

    def see_function(self, function: types.FunctionType) -> None:
        scope = function.__globals__
        if scope is self.namespace:
            self.see_code(function.__code__)
            self.see_annotations(_annotations_of(function))
        else:
            module = self.see_home(scope.get("__name__"))
            if function.__code__.co_filename.startswith(_GENERATED):
                names = function_names(function.__code__).names
                self.waiting += [scope[name] for name in names if name in scope]
            elif module is None or variables_of(module) is not scope:
                self.waiting.append(scope)  # a dict of its own, or the names of a module made by hand
        self.waiting += [part for part in referents(function) if part is not scope]

    def see_annotations(self, noted: object) -> None:
        """Annotations in quotes count as those without: what they name is found by who evaluates them."""
        if type(noted) is dict:
            for text in noted.values():
                if type(text) is str:
                    self.see_text(without_data(text))

    def see_text(self, text: str) -> None:
        """What an annotation names."""
        self.read(word for word in words_of(text) if word in self.namespace)

    def see_forward_reference(self, reference: Any) -> None:
        self.see_text(reference.__forward_arg__)

    def see_alias(self, alias: types.GenericAlias) -> None:
        self.see_annotations(dict(enumerate(alias.__args__)))  # `list["Row"]`
        self.waiting += referents(alias)

    def see_code(self, code: types.CodeType) -> None:
        found = function_names(code)
        self.dynamic = self.dynamic or found.dynamic
        self.subclasses = self.subclasses or SUBCLASSES in found.names
        self.by_text = self.by_text or found.by_text
        self.read(name for name in found.names if name in self.namespace)
        self.modules |= found.imports
        self.reads = self.reads or found.reads
        self.see_texts(found.texts, found.asks)

    def see_compiled(self, function: Any) -> None:
        """A function that numba compiles: what it wraps, and not the compiler that it leads to."""
        self.waiting.append(getattr(function, "__wrapped__", None))

    def see_generator(self, generator: Any) -> None:
        for prefix in ("gi", "cr", "ag"):
            code = getattr(generator, f"{prefix}_code", None)
            if type(code) is types.CodeType:
                self.see_code(code)
        self.waiting += referents(generator)

    def see_class(self, kind: type) -> None:
        if _address(kind) in self.classes:
            return
        self.classes[_address(kind)] = kind
        if type(kind) is not type:
            self.see_class(type(kind))
        home = _home(kind)
        module = sys.modules.get(home)
        if home != self.namespace.get("__name__", "__main__") and type(module) is types.ModuleType:
            self.see_home(home)
            return
        members = _members_of(kind)
        self.see_annotations(members.get("__annotations__"))
        held = list(members.values())
        self.texts.update(value for value in held if type(value) is str)
        self.texts.update(str(value) for value in held if isinstance_of(value, PurePath))
        self.waiting += [*held, *_bases_of(kind)]

    def see_home(self, name: object) -> Any:
        found: Any = sys.modules
        module = found.get(name) if type(name) is str else None
        if not isinstance_of(module, types.ModuleType):
            return None
        self.see_module(module)
        return module

    def see_module(self, module: Any) -> None:
        attributes = variables_of(module)
        if not attributes or attributes is self.namespace:
            return
        name = attributes.get("__name__")
        if not _is_imported(module, attributes):
            self.waiting.append(attributes)  # made by hand: a container like any other
            return
        if not self.is_local(module):
            return
        if type(name) is str and name not in self.entered:
            self.entered.add(name)
            self.modules.add(name)
            self.waiting += [value for value in attributes.values() if isinstance_of(value, _MODULE_PARTS)]


def _annotations_of(function: types.FunctionType) -> object:
    try:
        return function.__annotations__
    except Exception:  # noqa: BLE001 - from Python 3.14 on they are evaluated now, and may name anything
        return None


def _is_imported(module: object, attributes: Mapping[str, object]) -> bool:
    """Whether an import gives this module; one made by hand holds what the notebook put into it."""
    name = attributes.get("__name__")
    if type(name) is not str or sys.modules.get(name) is not module:
        return False
    return attributes.get("__spec__") is not None or name.rpartition(".")[0] in sys.modules


_MODULE_PARTS = (types.ModuleType, types.FunctionType, type)


def isinstance_of(value: object, kinds: type | tuple[type, ...]) -> bool:
    """`isinstance` by the real type: `__class__` may lie, or run code."""
    return issubclass_of(type(value), kinds)


def issubclass_of(kind: type, kinds: type | tuple[type, ...]) -> bool:
    """`issubclass` by the real bases: `__subclasscheck__` is not asked."""
    wanted = kinds if type(kinds) is tuple else (kinds,)
    return any(base is each for base in type.__dict__["__mro__"].__get__(kind) for each in wanted)


def _home(kind: type) -> str:
    """The name of the module that defines `kind`, or nothing when it says none."""
    try:
        home = _module_of(kind)
    except AttributeError:
        return ""
    return home if type(home) is str else ""


def _take_apart(_walk: _Walk, _value: object) -> None:
    raise AssertionError("plain values are taken apart a level at a time")


_KINDS: dict[int, Callable[[_Walk, Any], None] | None] = {
    **{_address(kind): None for kind in _DATA},
    _address(types.FunctionType): _Walk.see_function,
    _address(types.GeneratorType): _Walk.see_generator,
    _address(types.CoroutineType): _Walk.see_generator,
    _address(types.AsyncGeneratorType): _Walk.see_generator,
    _address(type): _Walk.see_class,
    _address(types.ModuleType): _Walk.see_module,
    _address(types.GenericAlias): _Walk.see_alias,
    _address(typing.ForwardRef): _Walk.see_forward_reference,
}
