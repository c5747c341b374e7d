"""Instances of subclasses of builtin kinds: made by the builtin kind itself, and filled by it.

Pickle calls the class, its ``append``, its ``__setitem__``. Where a notebook wrote these itself,
what already went through them would do so a second time: doubled, logged again, or refused.
So content and attributes are taken and put back past the class, unless it says itself how it
is pickled.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import collections
import enum
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from kitaru_nb.artifacts.instances import shares_dict
from kitaru_nb.artifacts.kinds import is_immutable_atom

__all__ = [
    "fill_kind",
    "is_passed_by",
    "make_by_base",
    "make_kind",
    "make_member",
    "put_attributes",
    "reduce_by_base",
    "reduce_kind",
    "set_by_base",
    "slots_of",
    "with_cached",
]

_WAYS = frozenset(
    ["__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs_ex__", "__getnewargs__"]
)
_RUN = frozenset(
    ["__new__", "__getattribute__", "__iter__", "__setitem__", "items", "append", "extend"],
)
"""What pickle runs of a class on the way out or in, with arguments that are content."""
_RUN_CALLED = _RUN | {"__init__", "update"}
"""The same for a kind that pickle makes by calling the class."""
_HEAP_TYPE = 1 << 9
_FACTORY: Any = vars(collections.defaultdict)["default_factory"]
_LENGTH: Any = vars(collections.deque)["maxlen"]


class _Kind(NamedTuple):
    """How the content of a builtin kind is taken and given back.

    Attributes:
        base: The kind.
        take: Gives the content of an instance.
        put: Fills an empty instance; None where the content is given when it is made.
    """

    base: Any
    take: Callable[[Any], Any]
    put: Callable[[Any, Any], None] | None


def _pairs(content: Iterable[Any]) -> Iterator[Any]:
    each = iter(content)
    return zip(each, each, strict=True)


def _put_ordered(obj: Any, content: list[Any]) -> None:
    for key, value in _pairs(content):
        collections.OrderedDict.__setitem__(obj, key, value)


def _take_default(obj: Any) -> Any:
    return _FACTORY.__get__(obj), [*chain(*dict.items(obj))]


def _put_default(obj: Any, content: Any) -> None:
    factory, held = content
    _FACTORY.__set__(obj, factory)
    dict.update(obj, _pairs(held))


_KINDS = (
    _Kind(collections.OrderedDict, lambda obj: [*chain(*collections.OrderedDict.items(obj))], _put_ordered),
    _Kind(collections.defaultdict, _take_default, _put_default),
    _Kind(
        dict,
        lambda obj: [*chain(*dict.items(obj))],
        lambda obj, content: dict.update(obj, _pairs(content)),
    ),
    _Kind(list, lambda obj: [*list.__iter__(obj)], list.extend),
    _Kind(collections.deque, lambda obj: [*collections.deque.__iter__(obj)], collections.deque.extend),
    _Kind(set, lambda obj: {*set.__iter__(obj)}, set.update),
    _Kind(frozenset, lambda obj: {*frozenset.__iter__(obj)}, None),
    _Kind(tuple, lambda obj: [*tuple.__iter__(obj)], None),
)
"""Subclasses of others come first."""
_NEWLY = (dict, list, tuple)  # pickle makes these by ``__new__``


def reduce_kind(obj: Any) -> Any:
    """How an instance of a subclass of a builtin container is stored; None to leave it to pickle."""
    cls = type(obj)
    known = _passing(cls)
    kind = known.kind
    if kind is None or not known.newly:
        return None
    content = kind.take(obj)
    attributes, slots = _attributes(obj), slots_of(obj)
    given: tuple[Any, ...] = (_LENGTH.__get__(obj),) if kind.base is collections.deque else ()
    if kind.put is None:
        given, content = (content,), None
    own = shares_dict(cls) and cls.__dictoffset__ != 0
    if own:  # another object may have it, also while it is empty
        attributes = object.__getattribute__(obj, "__dict__")
    own = own or type(attributes) not in (dict, types.NoneType)
    return make_kind, (cls, kind.base, *given), (content, attributes, slots, own), None, None, fill_kind


def make_kind(cls: Any, base: Any, *given: Any) -> Any:
    """An instance without content, or with that of a kind which cannot change; without attributes."""
    if base is collections.deque:
        made = base.__new__(cls)
        base.__init__(made, (), *given)
        return made
    return base.__new__(cls, *given)


def fill_kind(obj: Any, state: tuple[Any, ...]) -> None:
    """Give an instance its content and its attributes, past its class."""
    content, attributes, slots, own = state
    kind = _kind(type(obj))
    if kind is not None and kind.put is not None:
        kind.put(obj, content)
    if own:
        object.__setattr__(obj, "__dict__", attributes)
        attributes = None
    put_attributes(obj, attributes, slots)


def put_attributes(obj: Any, attributes: dict[str, Any] | None, slots: dict[str, Any] | None) -> None:
    """Give an instance attributes, past its class."""
    if attributes:
        object.__getattribute__(obj, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def reduce_by_base(obj: Any, value: Any) -> Any:
    """`value`, a call of the class of `obj` that the standard library asks for, as one of its own class."""
    cls = type(obj)
    if isinstance(obj, enum.Enum):
        return _reduce_member(obj, value)
    if not (isinstance(value, tuple) and value[0] is cls and len(value) <= 3 and is_passed_by(cls)):
        return value
    base = _passing(cls).base
    if base is None or base is BaseException:  # exceptions have a way of their own
        return value
    state = value[2] if len(value) > 2 else None
    if state is None and not hasattr(cls, "__setstate__"):
        state = _attributes(obj) or None
    slots = slots_of(obj)
    if slots is None:
        return make_by_base, (cls, base, value[1]), state
    return make_by_base, (cls, base, value[1]), (state, slots), None, None, set_by_base


def make_by_base(cls: Any, base: Any, arguments: tuple[Any, ...]) -> Any:
    """An instance of `cls` as `base` makes it, without the ``__new__`` and ``__init__`` of `cls`."""
    bare = base.__new__ is object.__new__
    made = base.__new__(cls) if bare else base.__new__(cls, *arguments)
    if base.__init__ is not object.__init__:
        base.__init__(made, *arguments)
    return made


def _reduce_member(member: enum.Enum, value: Any) -> Any:
    """`value`, or by its name what its class does not find again by its value, which will be another."""
    held: Any = member._value_
    name, cls = member._name_, type(member)
    if not (isinstance(value, tuple) and value[0] is cls and value[1] == (held,) and value[1][0] is held):
        return value
    named = cls._member_map_.get(name) is member
    found = is_immutable_atom(held) and held == held  # noqa: PLR0124 - NaN is not
    return value if found or not named else (make_member, (cls, name))


def make_member(cls: Any, name: str) -> Any:
    """The member of an enumeration that has this name."""
    return cls._member_map_[name]


def with_cached(obj: Any, value: Any) -> Any:
    """`value`, as attrs stores an instance with slots, with the cached properties that it forgets."""
    way = getattr(type(obj), "__getstate__", None)
    if getattr(getattr(way, "__code__", None), "co_name", "") != "slots_getstate":
        return value
    if not (isinstance(value, tuple) and len(value) in (3, 5) and type(value[2]) is dict):
        return value
    slots = slots_of(obj) or {}
    cached = {k: v for k, v in slots.items() if k not in value[2] and k != "_attrs_cached_hash"}
    return (*value[:2], (value[2], cached), None, None, set_by_base) if cached else value


def set_by_base(obj: Any, state: tuple[Any, dict[str, Any]]) -> None:
    """Give an instance its state as its class has it, and its slots."""
    held, slots = state
    if held is not None and hasattr(type(obj), "__setstate__"):
        obj.__setstate__(held)
        held = None
    put_attributes(obj, held, slots)


def is_passed_by(cls: type) -> bool:
    """Whether storing an instance that pickle makes by calling `cls` has to go past the class.

    So it is where a class outside the standard library has a method of its own that pickle would
    run, or slots, which the builtin kinds forget; and where it has none for pickle.
    """
    return _passing(cls).called


def slots_of(obj: Any) -> dict[str, Any] | None:
    """What stands in the slots that classes outside the standard library gave `obj`."""
    found: dict[str, Any] = {}
    for base in type(obj).__mro__:
        if _is_stdlib(base) or "__slots__" not in vars(base):
            continue
        for name, member in vars(base).items():
            if type(member) is types.MemberDescriptorType and name not in found:
                try:
                    found[name] = member.__get__(obj)
                except AttributeError:
                    continue
    return found or None


class _Passing(NamedTuple):
    """What is known of a class, until it gets other bases or another attribute.

    Attributes:
        cls: It, weakly.
        mro: Its bases.
        size: How many attributes these have.
        kind: The builtin container it derives from.
        newly: Whether an instance is stored past the class, where pickle makes it as it makes the container.
        called: The same for one that pickle makes by calling the class.
        base: The class of the standard library that says how instances are pickled.
    """

    cls: weakref.ref[type]
    mro: tuple[type, ...]
    size: int
    kind: _Kind | None
    newly: bool
    called: bool
    base: type | None


_known: dict[int, _Passing] = {}


def _passing(cls: type) -> _Passing:
    known = _known.get(id(cls))
    size = sum(map(len, map(vars, cls.__mro__)))
    if known is None or known.cls() is not cls or known.mro is not cls.__mro__ or known.size != size:
        kind = _kind(cls)
        users = [base for base in cls.__mro__ if not _is_stdlib(base)]
        free = all(map(_is_written, users)) and not any(map(_says_itself, users))
        called = free and any(vars(base).get("__slots__") or _runs(base, _RUN_CALLED) for base in users)
        new = kind is not None and kind.base in _NEWLY and not issubclass(cls, collections.Counter)
        newly = free and any(_runs(base, _RUN) for base in users) if new else called
        known = _Passing(weakref.ref(cls), cls.__mro__, size, kind, newly, called, _reduced_by(cls))
        _known[id(cls)] = known
    return known


def _says_itself(cls: type) -> bool:
    return any(not _is_of_namedtuple(vars(cls)[way]) for way in _WAYS & vars(cls).keys())


def _runs(cls: type, methods: frozenset[str]) -> bool:
    return any(not _is_of_namedtuple(vars(cls)[name]) for name in methods & vars(cls).keys())


def _kind(cls: type) -> _Kind | None:
    return next((kind for kind in _KINDS if issubclass(cls, kind.base)), None)


def _attributes(obj: Any) -> Any:
    try:
        held = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return None
    return None if type(held) is dict and not held else held


def _reduced_by(cls: type) -> type | None:
    """The class that says how instances of `cls` are pickled, where it is one of the standard library's."""
    for base in cls.__mro__:
        if base is not object and not {"__reduce__", "__reduce_ex__"}.isdisjoint(vars(base)):
            return base if _is_stdlib(base) else None
    return None


def _is_stdlib(cls: type) -> bool:
    return str(cls.__module__).partition(".")[0] in sys.stdlib_module_names


def _is_written(cls: type) -> bool:
    """Whether a class statement made it: what is written in C may keep more than can be seen."""
    made = vars(cls).get("__new__")
    return cls.__flags__ & _HEAP_TYPE != 0 and not isinstance(made, types.BuiltinFunctionType)


def _is_of_namedtuple(method: Any) -> bool:
    """Whether ``collections.namedtuple`` wrote a method, and not the notebook."""
    function = getattr(method, "__func__", method)
    if not isinstance(function, types.FunctionType):
        return False
    home = str(function.__globals__.get("__name__"))
    return home == "collections" or home.startswith("namedtuple_")
