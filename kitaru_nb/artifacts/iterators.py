"""Iterators over dicts, half consumed or not: over the same dict, at the same place.

One over a set comes back as one over a list of what was left.

Pickle would make a list of what is left; then the iterator would not see the dict any more.

The public names here are part of the stored format.
"""

from __future__ import annotations

import collections
import gc
import itertools
import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["ITERATORS", "make_dict_iterator"]

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
    held = next((held for held in gc.get_referents(iterator) if type(held) is dict), None)
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


def _reduce_set_iterator(iterator: Any) -> Any:
    # Another process orders the set in another way: what is left is what is left here.
    return *iterator.__reduce__()[:2], 0


ITERATORS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(_KINDS, _reduce),
    type(iter(set())): _reduce_set_iterator,
}
"""How each kind of iterator is stored."""
