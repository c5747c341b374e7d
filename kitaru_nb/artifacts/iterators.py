"""Iterators over dicts and lists, half consumed or not: over the same one, at the same place.

One over a set comes back as one over a list of what was left.

Pickle would make a list of what is left of a dict; then the iterator would not see the dict any
more. And it would move one over a list, where that is not filled yet because it leads back to the
iterator.

The public names here are part of the stored format.
"""

from __future__ import annotations

import collections
import itertools
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kitaru_nb.model.referents import referents

__all__ = ["ITERATORS", "make_dict_iterator", "make_groups", "make_list_iterator", "set_place"]

_WAYS: dict[str, Callable[[dict[Any, Any]], Any]] = {
    "keys": iter,
    "values": lambda d: iter(d.values()),
    "items": lambda d: iter(d.items()),
    "reversed keys": reversed,
    "reversed values": lambda d: reversed(d.values()),
    "reversed items": lambda d: reversed(d.items()),
}
_KINDS = {type(way({})): name for name, way in _WAYS.items()}


def _reduce(iterator: Any) -> Any:
    held = next((held for held in referents(iterator) if type(held) is dict), None)
    left = operator.length_hint(iterator)
    if held is None or not left:
        try:
            return iterator.__reduce__()  # it is at its end
        except RuntimeError:  # the dict has another size now, so that it can only raise
            return make_dict_iterator, (held, _KINDS[type(iterator)], -1)
    return make_dict_iterator, (held, _KINDS[type(iterator)], len(held) - left)


def make_dict_iterator(over: dict[Any, Any], way: str, done: int) -> Any:
    """The iterator again, `done` steps from its start; one that raises, where that is less than none."""
    iterator = _WAYS[way](over)
    if done < 0:
        key = object()
        over[key] = None
        with suppress(RuntimeError):
            next(iterator)  # from now on it remembers that the size was another one
        del over[key]
        return iterator
    collections.deque(itertools.islice(iterator, done), maxlen=0)
    return iterator


def _reduce_list_iterator(iterator: Any) -> Any:
    way, (held, *_), *place = iterator.__reduce__()
    if not isinstance(held, list) or not place:
        return way, (held,)  # it is at its end
    return make_list_iterator, (held, way is reversed), place[0], None, None, set_place


def make_list_iterator(over: list[Any], backwards: bool) -> Any:  # noqa: FBT001 - stored format
    """An iterator over a list; `set_place` moves it."""
    return list.__reversed__(over) if backwards else list.__iter__(over)


def set_place(iterator: Any, place: int) -> None:
    """Move an iterator over a list to its place, also where the list is not that long (yet)."""
    # One that goes backwards over an empty list says since Python 3.13 that it is over another one.
    over = next(held for held in referents(iterator) if isinstance(held, list))
    length = len(over)
    list.extend(over, [None] * (place + 1 - length))
    iterator.__setstate__(place)
    list.__delitem__(over, slice(length, None))


def _reduce_set_iterator(iterator: Any) -> Any:
    # Another process orders the set in another way: what is left is what is left here.
    left = iterator.__reduce__()[1][0]
    return make_list_iterator, (left, False), 0, None, None, set_place


def _reduce_groups(groups: Any) -> Any:
    # Its own way forgets which group it is in, once the first of that was taken.
    way, (source, key), *state = groups.__reduce__()
    held = [part for part in referents(groups) if part is not type(groups)]
    at = next((at for at, part in enumerate(held) if part is source), None)
    if state or at is None or len(held) - at < 3:
        return (way, (source, key), *state)
    return make_groups, (source, key, held[at + 2])


def make_groups(source: Any, key: Any, target: Any) -> Any:
    """An ``itertools.groupby`` within the group of that key, with nothing of it in hand."""
    made = itertools.groupby(source, key)
    made.__setstate__((target, None, target))  # type: ignore[attr-defined] # typeshed lacks it
    next(_GROUP(made, target))
    return made


_GROUP: Any = type(next(itertools.groupby("a"))[1])


ITERATORS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(_KINDS, _reduce),
    type(iter(set())): _reduce_set_iterator,
    type(iter([])): _reduce_list_iterator,
    itertools.groupby: _reduce_groups,
    type(reversed([])): _reduce_list_iterator,
}
"""How each kind of iterator is stored."""
