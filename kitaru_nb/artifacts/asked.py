"""Objects of libraries that say themselves what is stored of them, asked whether they say the same.

Their attributes are more than their state, or something else: matplotlib's objects drop windows
and what they were drawn with. What they give as their state is therefore compared, not what
they hold.
"""

from __future__ import annotations

import copyreg
import types
from collections.abc import Sequence
from itertools import compress
from operator import is_, is_not
from typing import Any

from kitaru_nb.artifacts.instances import make_instance
from kitaru_nb.artifacts.kinds import by_reference, is_immutable_atom, package_of
from kitaru_nb.artifacts.observers import may_be_observed, set_observed, with_observers
from kitaru_nb.artifacts.reducers import is_made_of_state, reduce_object
from kitaru_nb.artifacts.varying import without_varying

__all__ = ["Asked"]

_MAKERS = (copyreg.__newobj__, make_instance)  # type: ignore[attr-defined] # typeshed lacks it
_OWN_WAYS = frozenset(["pandas", "xarray", "polars", "torch"])  # stored in ways of our own
_POINTER = tuple.__itemsize__


class Asked:
    """How objects of one class are asked.

    Args:
        obj: The first one met. Of it what is stored is compared with what it answers.
        namespace: The live notebook namespace.
    """

    def __init__(self, obj: Any, namespace: dict[str, Any]) -> None:
        self._unfit = True
        self._observed = may_be_observed(type(obj))
        self._dropped: frozenset[str] = frozenset()

        def stored(asked: Any) -> Any:
            return reduce_object(asked, namespace)

        value = without_varying(obj, stored(obj), stored)
        if not (isinstance(value, tuple) and value[0] in _MAKERS and value[1] == (type(obj),)):
            return
        if len(value) < 3 or value[3:] not in ((), (None, None), (None, None, set_observed)):
            return
        answer = self.answer(obj)
        if type(answer) is dict and type(value[2]) is dict:
            self._dropped = frozenset(answer) - frozenset(value[2])
            answer = self._without_dropped(answer)
        self._unfit = not _agree(answer, value[2], [])

    @staticmethod
    def can_be(kind: type) -> bool:
        """Whether instances of `kind` are what their attributes are, and say themselves what counts."""
        room = object.__basicsize__
        room += _POINTER * ((kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0))
        return (
            by_reference(kind)
            and type(getattr(kind, "__getstate__", None)) is types.FunctionType
            and kind.__basicsize__ == room
            and package_of(kind) not in _OWN_WAYS
            and not hasattr(kind, "_instance")
            and is_made_of_state(kind)
        )

    def answer(self, obj: Any) -> Any:
        """What is stored of `obj` now."""
        state = obj.__getstate__()
        if self._observed:
            state = with_observers(obj, (None, None, state))[2]
        return self._without_dropped(state) if self._dropped and type(state) is dict else state

    def agrees(self, now: Any, before: Any) -> bool:
        """Whether two answers say the same, with the same objects."""
        return _agree(now, before, None)

    def held(self, obj: Any, answer: Any) -> list[Any] | None:
        """The objects that `obj` gives in its `answer`; None where that cannot be told."""
        found: list[Any] = []
        if self._unfit or not _agree(self.answer(obj), answer, found):
            return None
        return found

    def _without_dropped(self, state: dict[str, Any]) -> dict[str, Any]:
        return {name: held for name, held in state.items() if name not in self._dropped}


def _agree(one: Any, other: Any, held: list[Any] | None) -> bool:
    """Whether what was made to answer is alike, down to the very same objects, which go into `held`."""
    if one is other:
        if held is not None:
            held.append(one)
        return True
    cls = type(one)
    if cls is not type(other):
        return False
    if cls is dict:
        return _all_agree([*one], [*other], held) and _all_agree([*one.values()], [*other.values()], held)
    if cls is list or cls is tuple:
        return _all_agree(one, other, held)
    if cls is set or cls is frozenset:
        alike = {*map(id, one)} == {*map(id, other)}
        if alike and held is not None:
            held += one
        return alike
    if cls is types.MethodType:
        return _all_agree([one.__func__, one.__self__], [other.__func__, other.__self__], held)
    if cls is str or cls is bytes:
        return bool(one == other)
    return is_immutable_atom(one) and repr(one) == repr(other)


def _all_agree(some: Sequence[Any], others: Sequence[Any], held: list[Any] | None) -> bool:
    if len(some) != len(others):
        return False
    if held is not None:
        return all(_agree(one, other, held) for one, other in zip(some, others, strict=True))
    if all(map(is_, some, others)):
        return True
    differing = compress(zip(some, others, strict=True), map(is_not, some, others))
    return all(_agree(one, other, None) for one, other in differing)
