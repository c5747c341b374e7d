"""Objects whose class has a last word: code of it (`__del__`) runs when they die."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from kitaru_nb.artifacts.kinds import plain_meta
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.rollback import last_words_of, reached
from kitaru_nb.engine.state import State

__all__ = ["let_die"]


def let_die(namespace: Namespace, names: AbstractSet[str], state: State) -> None:
    """Unbind those of `names`, which a restore binds anew or deletes, that lead to such objects.

    They die in silence. What was said when the step let one die is on record with the step, and is
    put back; and where the step kept it, what dies here is only the copy that a restore replaces.
    Costs nothing to speak of unless a class of the notebook has `__del__`; then a walk through
    what the names hold now.

    Args:
        namespace: The live namespace.
        names: Whose values are loaded already, where they will have one.
        state: The namespace as it is.
    """
    live = namespace.live
    speaking = {
        cls for name in state.definitions.values() for cls in last_words_of(_class_in(live.get(name)))
    }
    held = {name: live[name] for name in names & live.keys()}
    speaking |= {cls for value in held.values() for cls in last_words_of(type(value))}
    dying = [name for name, value in held.items() if _leads_to(value, speaking)] if speaking else ()
    if dying:
        del held
        namespace.let_go(names, names)
        with _silenced(speaking):
            for name in dying:
                del live[name]


def _class_in(value: object) -> type:
    return value if isinstance(value, type) else object


def _leads_to(value: Any, classes: AbstractSet[type]) -> bool:
    parts = reached(value, lambda _: False)
    return any(not classes.isdisjoint(type(part).__mro__) for part in parts)


@contextmanager
def _silenced(classes: Iterable[type]) -> Iterator[None]:
    words = {cls: vars(cls)["__del__"] for cls in classes}
    for cls in words:
        plain_meta(cls).__setattr__(cls, "__del__", _say_nothing)
    try:
        yield
    finally:
        for cls, word in words.items():
            plain_meta(cls).__setattr__(cls, "__del__", word)


def _say_nothing(_self: object) -> None:
    """Stands for the last word of a class."""
