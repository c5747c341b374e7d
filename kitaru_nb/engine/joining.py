"""What a worker process is told of the run that it works in, and how it comes to work in it.

It opens the engine and a book of its own. What results were given out, it shares with the others.
"""

from __future__ import annotations

import os
import pickle
import secrets
import threading
import weakref
from collections import deque
from dataclasses import dataclass

from kitaru_nb.engine.book import Book
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.scope import Scope
from kitaru_nb.engine.shares import Handle
from kitaru_nb.engine.spawned import Belonging
from kitaru_nb.errors import ConflictError
from kitaru_nb.llm.budget import Budget
from kitaru_nb.model.execution import Attempt, ExecutionId

__all__ = ["belonging_of", "join", "know"]

_BOOKS, _RECENT = 4, 64

_scopes: weakref.WeakValueDictionary[str, Scope] = weakref.WeakValueDictionary()
"""Runs that another process was told of, or this one was, by what they are known by."""

_told: weakref.WeakKeyDictionary[Scope, tuple[Attempt, Belonging]] = weakref.WeakKeyDictionary()
_recent: deque[Scope] = deque(maxlen=_RECENT)  # jobs go on in the same run, with what they were given
_engines: dict[bytes, Engine] = {}
_books: dict[tuple[ExecutionId, int], Book] = {}
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a scope, as it is told."""

    token: str
    path: str
    place: str
    siblings: str | None
    notebook: str | None
    reuse: bool
    repeated: bool
    limits: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class _Told:
    """A run with those around it, the outermost first, and where it is on record."""

    again: bytes
    attempt: Attempt
    shares: Handle
    number: int
    runs: tuple[_Run, ...]


def belonging_of(scope: Scope) -> Belonging | None:
    """What a worker is told that works for a scope; None where none can."""
    book, attempt = scope.book, scope.book.attempt
    known = _told.get(scope)
    if known is not None and known[0] is attempt:
        return known[1]
    shares = book.share(scope.root)
    if shares is None or book.engine.again is None:
        return None
    around: Scope | None = scope
    runs: list[_Run] = []
    while around is not None:
        runs.insert(0, _run(around))
        around = around.parent
    again = pickle.dumps(book.engine.again)
    told = _Told(again, attempt, shares, scope.root.run, tuple(runs))
    belonging = Belonging(scope.token, pickle.dumps(told))
    if not any(each.limits for each in runs):  # what is spent of them goes along
        _told[scope] = attempt, belonging
    return belonging


def know(scope: Scope) -> str:
    """What a run is known by in this process, and in those that it forks and spawns."""
    if not scope.token:
        scope.token = secrets.token_hex(8)
        _scopes[scope.token] = scope
    return scope.token


def _run(scope: Scope) -> _Run:
    return _Run(
        know(scope),
        scope.path,
        scope.place,
        scope.siblings,
        scope.notebook,
        scope.reuse,
        scope.repeated,
        tuple(scope.limits),
    )


def join(token: str, told: bytes) -> Scope:
    """The scope that this process works for.

    Raises:
        ConflictError: kind ``superseded``: the process that the attempt belongs to has ended.
    """
    with _lock:
        found = _scopes.get(token)
        if found is None:
            found = _joined(pickle.loads(told))
        if not _recent or _recent[-1] is not found:
            _recent.append(found)
        return found


def _joined(told: _Told) -> Scope:
    book = _book(told)
    scope: Scope | None = None
    for each in told.runs:
        known = _scopes.get(each.token)
        if known is None:
            if scope is None:
                book.look_again()  # workers of an earlier run may have recorded something since
            known = _scopes[each.token] = _begun(book, each, scope, told.number)
        scope = known
    assert scope is not None
    return scope


def _begun(book: Book, run: _Run, parent: Scope | None, number: int) -> Scope:
    scope = Scope(book, run.path, parent, run.siblings, place=run.place, run=number)
    scope.token, scope.notebook = run.token, run.notebook
    scope.reuse, scope.repeated = run.reuse, run.repeated
    scope.limits = list(run.limits)
    scope.learn_given()
    return scope


def _book(told: _Told) -> Book:
    key = told.attempt.execution, told.attempt.epoch
    found = _books.get(key)
    if found is None:
        found = Book(_engine(told.again), lambda: told.attempt)
        try:
            found.join(told.shares)
        except OSError:
            raise ConflictError(
                f"the process that ran `{key[0]}` has ended, and its workers record nothing more",
                kind="superseded",
                hint=f"kitaru-nb resume {key[0]}",
            ) from None
        while len(_books) >= _BOOKS:
            del _books[next(iter(_books))]
        _books[key] = found
    return found


def _engine(again: bytes) -> Engine:
    found = _engines.get(again)
    if found is None:
        found = _engines[again] = pickle.loads(again)()
    return found


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - a thread that held it is not there in the child
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
