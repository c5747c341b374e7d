"""What stands for a value that raises when it is looked at."""

from __future__ import annotations

from typing import Any, NoReturn

from kitaru_nb.artifacts.anew import Unstorable

__all__ = ["unseen"]


class _Unseen:
    """Is known by its identity, and cannot be stored."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __reduce__(self) -> NoReturn:
        raise Unstorable(self._reason)


def unseen(value: object, error: Exception) -> object:
    """An object of a type of the same name, which becomes a marker when it is stored."""
    cls = type(value)
    # asked of `type` itself: the class may answer for itself in any way
    name: str = type.__dict__["__qualname__"].__get__(cls)
    module = type.__dict__["__module__"].__get__(cls)
    reason = f"looking at it raises {type(error).__name__}: {error}"
    made: Any = type(name.rpartition(".")[2], (_Unseen,), {"__module__": module, "__qualname__": name})
    return made(reason)
