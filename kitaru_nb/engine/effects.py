"""What a call does to objects that were there before it, so that serving its result does the same.

Every object that a call can reach is numbered before it runs, in an order that is the same for
equal arguments in any process. Afterwards the content of those that changed is stored, with
numbers in the place of what was there. To serve the call, the objects that are there now are
numbered alike, the stored content refers to them by number, and each of the changed ones is
given its content: the caller's own objects, so that aliases held elsewhere agree. Then all is
compared with how the call left it; a difference is an error, never wrong data.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.kinds import is_immutable_atom
from kitaru_nb.artifacts.pickle_codec import referring
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.rollback import Kind, kind_of, reached
from kitaru_nb.errors import UnstorableError
from kitaru_nb.model.artifact import Digest

__all__ = ["ABSENT", "Effects", "Left", "put_effects"]

_identity = object.__hash__
_MANY = 1_000_000


class _Absent:
    """Stands for a global that is not bound; part of the stored format."""

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(slots=True)
class Effects:
    """What a call can reach, before it runs.

    Args:
        roots: The call's arguments, and what else it leads to, by a name for messages.
        scope: The globals of the function; None where no binding of it can matter.
        names: Globals that the code it reaches may bind.
        objects: What it can reach, numbered; empty before `take`.
    """

    roots: Mapping[str, object]
    scope: dict[str, Any] | None = None
    names: Iterable[str] = ()
    objects: list[Any] = field(default_factory=list)
    _before: list[tuple[int, Kind, Any]] = field(default_factory=list)
    _bound: dict[str, object] = field(default_factory=dict)
    _before_all: Digest | None = None

    def take(self, *, compare: bool = True) -> None:
        """Number what is there now, and with `compare` note what each object holds."""
        live = [value for value in self.roots.values() if not is_immutable_atom(value)]
        if self.scope is not None:
            self._bound = {name: self.scope.get(name, ABSENT) for name in self.names}
        if not live:
            return
        for level in reached(live):
            self.objects += level
            if len(self.objects) > _MANY:
                break  # a difference is seen by the digests, and cannot be put back
        if compare:
            self._before_all = self.digest()
            for number, obj in enumerate(self.objects):
                kind = _kind_of(obj)
                if kind is not None:
                    self._before.append((number, kind, kind.copy(obj)))

    def digest(self) -> Digest:
        """Digest of all that the call leads to, as it is now."""
        return digest_values(self.roots, namespace=self.scope or {})

    def bind(self, bound: Mapping[str, object]) -> None:
        """Bind globals as the call left them."""
        scope = self.scope if self.scope is not None else {}
        for name, value in bound.items():
            if value is ABSENT:
                scope.pop(name, None)
            else:
                scope[name] = value

    def left(self, called: str) -> Left | None:
        """What the call changed; None where that is nothing.

        Raises:
            UnstorableError: kind ``unseen-change``: it changed something that cannot be put back.
        """
        changed: list[tuple[int, object]] = []
        bound: dict[str, object] = {}
        if self.scope is not None:
            for name, before in self._bound.items():
                now = self.scope.get(name, ABSENT)
                if now is not before:
                    bound[name] = now
        after = self.digest() if self._before_all is not None else None
        if after != self._before_all:
            for number, kind, before in self._before:
                obj = self.objects[number]
                if not kind.same(obj, before):
                    changed.append((number, _apart(kind, obj)))
            if not changed:
                raise _not_back(called, self.roots, "in a way that cannot be put back")
        if not changed and not bound:
            return None
        return Left(self.objects, changed, bound, after)


@dataclass(frozen=True, slots=True)
class Left:
    """What a call changed in objects that were there before it.

    Attributes:
        objects: What it could reach, numbered.
        changed: Numbers of those that changed, with what they hold now.
        bound: Globals that it bound or deleted, with what they hold now.
        after: Digest of the roots after it; None where there is nothing in them that can change.
    """

    objects: Sequence[object]
    changed: Sequence[tuple[int, object]]
    bound: Mapping[str, object]
    after: Digest | None

    def store(
        self, engine: Engine, result: object, *, namespace: dict[str, Any]
    ) -> tuple[Stored, Sequence[int]]:
        """Write the changes and the call's result as one value, in which they share objects.

        Returns:
            What was stored, and the numbers of the objects that it refers to.
        """
        used = _used([*self.changed, self.bound, result], self.objects)
        left = {"changed": list(self.changed), "bound": dict(self.bound), "after": self.after}
        with referring([self.objects[number] for number in used]):
            return engine.put({"result": result, "left": left}, namespace=namespace), used


def put_effects(
    called: str,
    effects: Effects,
    used: Sequence[int],
    load: Callable[[], Mapping[str, Any]],
    *,
    count: int,
) -> object:
    """Do to what is there now what the call did then; its result.

    Args:
        called: What the call is named, for messages.
        effects: What the call would reach now, taken.
        used: Numbers of the objects that the stored value refers to.
        load: Loads the stored value, inside `referring`.
        count: How many objects the call could reach then.

    Raises:
        UnstorableError: kind ``not-put-back``: what is there now is not as it was before the call.
    """
    objects = effects.objects
    if len(objects) != count:
        raise _not_back(called, effects.roots, "which now lead to other objects than when it ran")
    with referring([objects[number] for number in used]):
        stored = load()
    left = stored["left"]
    for number, state in left["changed"]:
        kind = _kind_of(objects[number])
        if kind is None:
            what = type(objects[number]).__name__
            raise _not_back(called, effects.roots, f"and `{what}` cannot be given what it held")
        kind.put(objects[number], _given(kind, state))
    effects.bind(left["bound"])
    if left["after"] is not None and effects.digest() != left["after"]:
        raise _not_back(called, effects.roots, "and putting that back gave something else")
    return stored["result"]


def _not_back(called: str, roots: Iterable[str], why: str) -> UnstorableError:
    names = ", ".join(f"`{name}`" for name in roots)
    message = f"`{called}` changed {names}, {why}"
    hint = f"let `{called}` return what it makes instead of changing its arguments"
    return UnstorableError(message, kind="not-put-back", hint=hint)


def _used(values: Iterable[object], objects: Sequence[object]) -> list[int]:
    """Numbers of those objects that `values` refer to, other than through one another."""
    known = {_identity(obj): number for number, obj in enumerate(objects)}
    found: set[int] = set()
    seen: set[int] = set()
    level: list[object] = list(values)
    while level:
        inside: list[object] = []
        for obj in level:
            key = _identity(obj)
            if key in known:
                found.add(known[key])
            elif key not in seen and not is_immutable_atom(obj):
                seen.add(key)
                inside.append(obj)
        level = _referents(inside)
    return sorted(found)


def _referents(level: list[object]) -> list[object]:
    found = gc.get_referents(*level) if level else []
    for obj in level:
        own = getattr(obj, "__dict__", None)
        if type(own) is dict:
            found.append(own)
        if _is_array(obj) and obj.dtype.hasobject:  # type: ignore[attr-defined] # an array has it
            found += obj.ravel().tolist()  # type: ignore[attr-defined] # as above
    return [obj for obj in found if type(obj) is not type(sys)]


# Arrays and tensors are not copied beforehand: that they changed is told by a digest, and what they
# hold is stored only then.


def _kind_of(obj: Any) -> Kind | None:
    if _is_array(obj) and not obj.dtype.hasobject:
        return _ARRAY
    if _is_tensor(obj):
        return _TENSOR
    return kind_of(obj)


def _is_array(obj: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


def _is_frame(obj: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(obj, (pandas.DataFrame, pandas.Series))


def _is_tensor(obj: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(obj, torch.Tensor)


def _apart(kind: Kind, obj: Any) -> Any:
    """The content of an object, as an object of its own that can be stored."""
    if kind is _ARRAY:
        return obj.view() if type(obj).__module__.partition(".")[0] == "numpy" else obj.copy()
    if kind is _TENSOR:
        return obj.detach().clone()
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


def _mark_of_tensor(tensor: Any) -> tuple[Any, ...]:
    torch: Any = sys.modules["torch"]
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return tuple(tensor.shape), tensor.dtype, tensor.requires_grad, xxhash.xxh3_128_digest(plain)


def _put_tensor(tensor: Any, state: Any) -> None:
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        if tensor.shape == state.shape and tensor.dtype == state.dtype:
            tensor.data.copy_(state)
        else:
            tensor.data = state.to(tensor.device)


_ARRAY = Kind(_mark_of_array, lambda array, before: bool(_mark_of_array(array) == before), _put_array)
_TENSOR = Kind(_mark_of_tensor, lambda tensor, before: bool(_mark_of_tensor(tensor) == before), _put_tensor)
