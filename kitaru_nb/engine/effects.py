"""What a call does to objects that were there before it, so that serving its result does the same.

Every object that a call can reach is numbered before it runs, in an order that is the same for
equal arguments in any process. Afterwards the content of those that changed is stored, with
numbers in the place of what was there. To serve the call, the objects that are there now are
numbered alike, the stored content refers to them by number, and each of the changed ones is
given its content: the caller's own objects, so that aliases held elsewhere agree. Then all is
compared with how the call left it; a difference is an error, never wrong data.
"""

from __future__ import annotations

import functools
import io
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

import xxhash

from kitaru_nb.artifacts.anew import RUNTIME, is_shared
from kitaru_nb.artifacts.clients import is_client
from kitaru_nb.artifacts.kinds import is_immutable_atom, package_of
from kitaru_nb.artifacts.owners import looked_into
from kitaru_nb.artifacts.pickle_codec import referring
from kitaru_nb.artifacts.tensors import is_tensor, parts_of, storage_of
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.engine.callee import Look, members_of, variable
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.rollback import STATED, Kind, kind_of, reached
from kitaru_nb.engine.tensor_kinds import mark_of, put_back, same_as_mark, state_of
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.referents import referents

__all__ = ["ABSENT", "Effects", "Left", "Place", "objects_in"]

_identity = object.__hash__
_MANY = 1_000_000


class _Absent:
    """Stands for a global that is not bound; part of the stored format."""

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()

_CODE = (type, FunctionType, ModuleType, CellType)


Place = tuple[str, int]
"""Where an object is: what leads to it, and its number among all that is reached from there."""


class Effects:
    """What a call can reach, before it runs.

    Args:
        roots: The call's arguments, and what else it leads to, by a name for messages.
        digests: For each of them what tells whether it has changed.
        digest: Gives that for a root as it is now.
        objects: What roots lead to, numbered by their place, where that is known already.
        look: What the function reaches: which variables and attributes of classes it may bind.
    """

    def __init__(
        self,
        roots: Mapping[str, object],
        digests: Mapping[str, str],
        digest: Callable[[object], str],
        objects: Mapping[str, Sequence[Any]],
        look: Look,
    ) -> None:
        self.roots = roots
        self._digests = digests
        self._digest = digest
        self._look = look
        self._bound: dict[str, object] = {}
        self._members: dict[str, dict[str, object]] = {}
        self._objects = dict(objects)
        self._before: dict[str, list[tuple[int, Kind, Any]]] = {}
        self._present: list[Place] = []
        self._positions: dict[str, int] = {}

    def take(self) -> None:
        """Number what is there now, and note what each object holds."""
        self._bound = {label: variable(*place, ABSENT) for label, place in self._look.bindings.items()}
        self._members = {label: _own_members(cls) for label, cls in self._look.classes.items()}
        for name, root in self.roots.items():
            position = _position(root) if isinstance(root, io.IOBase) else None
            if position is not None and type(root) not in _IN_MEMORY:
                self._positions[name] = position
            if not is_immutable_atom(root) and not is_closed(type(root)):
                kinds = ((number, _kind_of(obj), obj) for number, obj in enumerate(self.objects(name)))
                self._before[name] = [(n, kind, kind.copy(obj)) for n, kind, obj in kinds if kind is not None]

    def objects(self, root: str) -> Sequence[Any]:
        """All that a root leads to, numbered by their place in the list."""
        found = self._objects.get(root)
        if found is None:
            found = self._objects[root] = objects_in(self.roots[root])
        return found

    def left(self, called: str) -> Left | None:
        """What the call changed; None where that is nothing.

        Raises:
            UnstorableError: kind ``not-put-back``: it changed something that cannot be put back.
        """
        moved = [name for name, before in self._positions.items() if _position(self.roots[name]) != before]
        if moved:
            raise _not_back(called, moved, "an open file, by reading or writing it")
        bound = self._rebound()
        changed: list[tuple[Place, object]] = []
        after: dict[str, str] = {}
        seen: set[int] = set()
        for root, before in self._before.items():
            now = self._digest(self.roots[root])
            if now == self._digests[root]:
                continue
            after[root] = now
            found = [
                ((root, number), _apart(kind, obj))
                for number, kind, held in before
                if not kind.same(obj := self._objects[root][number], held) and _identity(obj) not in seen
            ]
            if not found and not seen:
                raise _not_back(called, [root], "in a way that cannot be put back")
            seen.update(_identity(self._objects[root][number]) for (_, number), _ in found)
            changed += found
        return Left(self._objects, changed, bound, after) if after or bound else None

    def _rebound(self) -> dict[str, object]:
        """Variables and attributes of classes that are bound to something else than before."""
        bound = {
            label: now
            for label, before in self._bound.items()
            if (now := variable(*self._look.bindings[label], ABSENT)) is not before
        }
        for label, before in self._members.items():
            after = _own_members(self._look.classes[label])
            for name in before.keys() | after.keys():
                if (now := after.get(name, ABSENT)) is not before.get(name, ABSENT):
                    bound[f"{label}.{name}"] = now
        return bound

    def _bind(self, called: str, label: str, value: object) -> None:
        holder, name = self._look.bindings.get(label, (None, ""))
        if holder is None:
            owner, _, name = label.rpartition(".")
            holder = self._look.classes.get(owner)
        if holder is None:
            raise _not_back(called, [label], "and that is not here any more")
        if not isinstance(holder, dict):
            if value is not ABSENT:
                setattr(holder, name, value)
            elif name in vars(holder):
                delattr(holder, name)
        elif value is ABSENT:
            holder.pop(name, None)
        else:
            holder[name] = value

    def shared(self, result: object) -> Left | None:
        """What ties the result of a call that changed nothing to what was there; None where nothing does.

        Such as an argument that is returned, or a view of its memory.
        """
        objects = {name: found for name, found in self._objects.items() if found}
        if not objects or is_immutable_atom(result):
            return None
        places = _used([result], objects)
        tied = (self._objects[root][number] for root, number in places)
        if all(is_immutable_atom(obj) or isinstance(obj, _CODE) for obj in tied):
            return None
        return Left(objects, [], {}, {})

    def put(self, called: str, left: Mapping[str, Any], moved: AbstractSet[str]) -> None:
        """Do to what is there now what the call did then; `left` refers to what is there now.

        What is `moved` was changed by an earlier attempt in this process: it is given what the
        call left where that is told by itself, and else is as that attempt has left it.

        Raises:
            UnstorableError: kind ``not-put-back``: that gives something else than the call left.
        """
        for (root, number), state in left["changed"]:
            if root in moved and not self._is_whole(root, left):
                continue
            obj = self.objects(root)[number]
            kind = _kind_of(obj)
            if kind is None:
                raise _not_back(called, [root], f"and `{type(obj).__name__}` cannot be given what it held")
            kind.put(obj, _given(kind, state))
        for label, value in left["bound"].items():
            self._bind(called, label, value)
        wrong = [
            root
            for root, then in left["after"].items()
            if root not in moved and self._digest(self.roots[root]) != then
        ]
        if wrong:
            raise _not_back(called, wrong, "and putting that back gave something else")

    def _is_whole(self, root: str, left: Mapping[str, Any]) -> bool:
        """Whether of a root only the object itself changed, and that refers to nothing that was there."""
        numbers = {number for (where, number), _ in left["changed"] if where == root}
        return numbers == {0} and not any(where == root and number for where, number in self._present)

    def present(
        self, called: str, places: Sequence[Place], counts: Mapping[str, int], moved: AbstractSet[str]
    ) -> list[Any]:
        """The objects at these places now, where roots lead to as many objects as then.

        Of what is `moved` objects may be missing; nothing stands for them.

        Raises:
            UnstorableError: kind ``not-put-back``.
        """
        self._present = [(root, number) for root, number in places]
        for root, count in counts.items():
            if root not in moved and len(self.objects(root)) != count:
                raise _not_back(called, [root], "which now leads to other objects than when it ran")
        return [
            self.objects(root)[number] if number < len(self.objects(root)) else None
            for root, number in places
        ]


@dataclass(frozen=True, slots=True)
class Left:
    """What a call changed in objects that were there before it.

    Attributes:
        objects: For each root what it leads to, numbered.
        changed: Places of those that changed, with what they hold now.
        bound: Globals that it bound or deleted, with what they hold now.
        after: For each root that has changed, what tells how it is now.
    """

    objects: Mapping[str, Sequence[object]]
    changed: Sequence[tuple[Place, object]]
    bound: Mapping[str, object]
    after: Mapping[str, str]

    def store(
        self, engine: Engine, result: object, *, namespace: dict[str, Any]
    ) -> tuple[Stored, dict[str, Any]]:
        """Write the changes and the call's result as one value, in which they share objects.

        Returns:
            What was stored, and what the record of the call needs besides.
        """
        places = _used([*self.changed, self.bound, result], self.objects)
        left = {"changed": list(self.changed), "bound": dict(self.bound), "after": dict(self.after)}
        with referring([self.objects[root][number] for root, number in places]):
            stored = engine.put({"result": result, "left": left}, namespace=namespace)
        roots = {root for root, _ in [*places, *(place for place, _ in self.changed)]}
        counts = {root: len(self.objects[root]) for root in sorted(roots)}
        return stored, {"present": [list(place) for place in places], "counts": counts}


def objects_in(root: object) -> list[Any]:
    """All that a root leads to and that can change or hold what can, numbered by its place."""
    return list(itertools.islice(reached(root, is_closed), _MANY))


def _own_members(cls: Any) -> dict[str, object]:
    """What a call may have assigned to a class or function; what Python and libraries note is no effect."""
    return {
        name: value for name, value in members_of(cls).items() if not (name[:1] == "_" and name[-1:] == "_")
    }


def _not_back(called: str, roots: Iterable[str], why: str) -> UnstorableError:
    names = ", ".join(f"`{name}`" for name in roots)
    message = f"`{called}` changed {names}, {why}"
    hint = f"let `{called}` return what it makes instead of changing its arguments"
    return UnstorableError(message, kind="not-put-back", hint=hint)


def _used(values: Iterable[object], objects: Mapping[str, Sequence[object]]) -> list[Place]:
    """Places of those objects that `values` refer to, other than through one another."""
    known: dict[int, Place] = {}
    kept: list[object] = []
    arrays = [obj for found in objects.values() for obj in found if _is_array(obj)]
    for root, found in objects.items():
        for number, obj in enumerate(found):
            known.setdefault(_identity(obj), (root, number))
            storage = storage_of(obj) if is_tensor(obj) else None
            if storage is not None:  # another one that looks into its memory leads to it
                kept.append(storage)
                known.setdefault(_identity(storage), (root, number))
    places: set[Place] = set()
    seen: set[int] = set()
    level: list[object] = list(values)
    while level:
        inside: list[object] = []
        for obj in level:
            key = _identity(obj)
            if key in known:
                places.add(known[key])
            elif key not in seen and not is_immutable_atom(obj):
                seen.add(key)
                inside.append(obj)
                there = looked_into(obj, arrays) if arrays and _is_array(obj) else None
                if there is not None:
                    places.add(known[_identity(there)])
        level = _referents(inside)
    return sorted(places)


def _referents(level: list[object]) -> list[object]:
    found = referents(*level) if level else []
    for obj in level:
        # Asked for its `__dict__` a partial would get one, and pickle otherwise.
        own = None if type(obj) is functools.partial else getattr(obj, "__dict__", None)
        if type(own) is dict:
            found.append(own)
        if is_tensor(obj):
            found += [storage_of(obj), *parts_of(obj).values()]
        if _is_array(obj):
            found += obj.ravel().tolist() if obj.dtype.hasobject else ()  # type: ignore[attr-defined] # an array has it
            found.append(obj.base)  # type: ignore[attr-defined] # as above
    return [obj for obj in found if type(obj) is not type(sys)]


def is_closed(cls: type) -> bool:
    """Whether what instances of `cls` hold is none of a call's effects: clients, locks, connections.

    They are made again in another process, and what they hold changes with every use.
    """
    if cls in _IN_MEMORY:
        return False
    module = package_of(cls)
    return module in _MACHINERY or is_client(cls) or cls in RUNTIME or is_shared(cls)


_MACHINERY = frozenset(
    [
        *(
            "kitaru_nb",
            "sqlite3",
            "socket",
            "ssl",
            "selectors",
            "asyncio",
            "_asyncio",
            "_thread",
            "threading",
        ),
        *(
            "logging",
            "concurrent",
            "multiprocessing",
            "subprocess",
            "_io",
            "io",
            "IPython",
            "ipykernel",
            "zmq",
        ),
    ]
)

# Arrays and tensors are not copied beforehand: that they changed is told by a digest, and what they
# hold is stored only then.


def _kind_of(obj: Any) -> Kind | None:
    if _is_array(obj) and not obj.dtype.hasobject:
        return _ARRAY
    if is_tensor(obj):
        return _TENSOR
    if type(obj) in _IN_MEMORY:
        return _MEMORY
    kind = kind_of(obj)
    # An iterator within another one (`enumerate`) is not all that this is: what a call reads on is an error.
    return kind if kind is not STATED or package_of(type(obj)) == "numpy" else None


def _position(file: Any) -> int | None:
    """How far an open file was read or written; None where that cannot be told."""
    for where in (file, getattr(file, "buffer", file)):  # while a text file is gone through, the latter knows
        with suppress(OSError, ValueError):
            return int(where.tell())
    return None


def _is_array(obj: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


def _is_frame(obj: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(obj, (pandas.DataFrame, pandas.Series))


def _apart(kind: Kind, obj: Any) -> Any:
    """The content of an object, as an object of its own that can be stored."""
    if kind is _ARRAY:
        if package_of(type(obj)) != "numpy" or obj.dtype.kind not in "biufc":
            return obj.copy()
        # The same memory, and yet no view of `obj`, which would be stored as one.
        return sys.modules["numpy"].asarray(memoryview(obj))
    if kind is _TENSOR:
        return state_of(obj)
    state = kind.copy(obj)
    return (state[0], None) if _is_frame(obj) else state


def _given(kind: Kind, state: Any) -> Any:
    return (state, None) if kind is _ARRAY else state


def _mark_of_array(array: Any) -> tuple[Any, ...]:
    content = array if array.flags.c_contiguous else array.tobytes()
    return array.shape, array.strides, array.dtype.str, xxhash.xxh3_128_digest(content)


def _put_array(array: Any, given: tuple[Any, None]) -> None:
    state = given[0]
    if array.shape != state.shape or array.dtype != state.dtype:
        if array.base is not None or not array.flags.owndata:
            raise UnstorableError("an array that shares memory has got another shape", kind="not-put-back")
        array.resize(state.shape, refcheck=False) if array.dtype == state.dtype else array.__setstate__(
            (1, state.shape, state.dtype, state.flags.fnc, state.tobytes("A"))
        )
    writeable = array.flags.writeable
    array.flags.writeable = True
    array[...] = state
    array.flags.writeable = writeable


_IN_MEMORY = (io.StringIO, io.BytesIO)
_MEMORY = Kind(
    lambda file: None if file.closed else file.__getstate__(),
    lambda file, before: bool((None if file.closed else file.__getstate__()) == before),
    lambda file, state: file.close() if state is None else file.__setstate__(state),
)
_ARRAY = Kind(_mark_of_array, lambda array, before: bool(_mark_of_array(array) == before), _put_array)
_TENSOR = Kind(mark_of, same_as_mark, put_back)
