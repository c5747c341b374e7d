"""The scope that code runs in: which flow, cell or recorded call a result belongs to.

Tasks and calls in one thread carry it along by a context variable. Threads do not, so a thread
that is started inside a flow or call, or a job handed to a pool there, is given the scope of
whoever started it. Everywhere else the running cell counts, which the front end provides.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitaru_nb.engine.scope import Scope
    from kitaru_nb.engine.wait import Front

__all__ = ["current_front", "current_scope", "innermost", "inside", "provide", "provide_front"]

_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("kitaru_nb.scope", default=None)
_provider: Callable[[], Scope | None] = lambda: None  # noqa: E731 - replaced by the front end's
_front: Callable[[], Front | None] = lambda: None  # noqa: E731 - as above
_outermost: list[Scope] = []
_following = False
_lock = threading.Lock()


def current_scope() -> Scope | None:
    """Where a call that is made now belongs; None outside any execution."""
    found = _scope.get()
    if found is not None:
        return found
    found = _provider()
    if found is not None:
        return found
    return _outermost[-1] if _outermost else None


def innermost() -> Scope | None:
    """The flow or call that this thread or task is in; None in the plain code of a cell."""
    return _scope.get()


def provide(provider: Callable[[], Scope | None] | None) -> None:
    """Let the front end say which cell runs, where nothing else does; None takes it back."""
    global _provider  # noqa: PLW0603 - one front end a process
    _provider = provider or (lambda: None)


def current_front() -> Front | None:
    """Where whoever runs the code is told of a wait; None where nothing but a script runs it."""
    return _front()


def provide_front(provider: Callable[[], Front | None] | None) -> None:
    """Let the front end say where that is; it is asked with the first wait. None takes it back."""
    global _front  # noqa: PLW0603 - one front end a process
    _front = provider or (lambda: None)


@contextmanager
def inside(scope: Scope) -> Iterator[Scope]:
    """What runs inside the block belongs to `scope`, in this thread and in those that it starts."""
    _follow_threads()
    token = _scope.set(scope)
    outermost = scope.parent is None
    if outermost:
        _outermost.append(scope)
    try:
        yield scope
    finally:
        if outermost:
            _outermost.remove(scope)
        try:
            _scope.reset(token)
        except ValueError:  # an async generator was closed in another context
            _scope.set(None)


def _follow_threads() -> None:
    """Let threads and jobs of pools begin in the scope of whoever starts them, from now on."""
    global _following  # noqa: PLW0603 - once a process
    with _lock:
        if _following:
            return
        _following = True
        start: Any = threading.Thread.start
        submit: Any = ThreadPoolExecutor.submit

        @functools.wraps(start)
        def started(thread: threading.Thread) -> None:
            scope = _scope.get()
            if scope is not None:
                thread.run = _in_scope(scope, thread.run)  # type: ignore[method-assign] # this thread's own
            start(thread)

        @functools.wraps(submit)
        def submitted(pool: ThreadPoolExecutor, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return submit(pool, _in_scope(_scope.get(), job), *args, **kwargs)

        # As tracers do, since neither offers a hook.
        setattr(threading.Thread, "start", started)  # noqa: B010 - as an assignment it is an error of types
        setattr(ThreadPoolExecutor, "submit", submitted)  # noqa: B010 - as above


def _in_scope(scope: Scope | None, job: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        before = _scope.get()
        _scope.set(scope)
        try:
            return job(*args, **kwargs)
        finally:
            _scope.set(before)

    return run
