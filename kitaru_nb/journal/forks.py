"""What a fork does to open connections: none of them may be used on both sides."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forked", "leave_open", "minding_forks"]


class Forked(Protocol):
    """Something with a connection and a lock."""

    def before_fork(self) -> None:
        """Take the lock, and give up what must not cross a fork."""
        ...

    def after_fork(self) -> None:
        """Release the lock, in the parent."""
        ...

    def in_child(self) -> None:
        """Begin anew, with a lock of its own, in the child."""
        ...


_minded: weakref.WeakSet[Forked] = weakref.WeakSet()
_forking: list[Forked] = []
_left_open: list[object] = []
_registered = False


def minding_forks(session: Forked) -> None:
    """Have the session told of every fork for as long as it lives."""
    global _registered  # noqa: PLW0603 - one registration for the process; there is no way to take it back
    _minded.add(session)
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
        _registered = True


def leave_open(connection: object) -> None:
    """Keep a connection of the parent from being closed by the child's garbage collector."""
    _left_open.append(connection)


def _before() -> None:
    for session in list(_minded):
        session.before_fork()
        _forking.append(session)


def _in_parent() -> None:
    while _forking:
        _forking.pop().after_fork()


def _in_child() -> None:
    while _forking:
        _forking.pop().in_child()
