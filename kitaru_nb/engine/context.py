"""The scope that code runs in: which flow, cell or recorded call a result belongs to.

Tasks and calls in one thread carry it along by a context variable. Threads do not, so a thread
that is started inside a flow or call, or a job handed to a pool there, is given the scope of
whoever started it; `engine.spawned` does the same for processes. Everywhere else the running cell
counts, which the front end provides. Without one, a thread that was there before all this, such as
one that a library keeps, works for the one flow that runs; all else is outside.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kitaru_nb.engine.scope import Scope
    from kitaru_nb.engine.wait import Front

__all__ = [
    "belong",
    "current_front",
    "current_scope",
    "innermost",
    "inside",
    "job_of",
    "provide",
    "provide_front",
    "scope_in_use",
    "turn_now",
    "turn_of",
]

Ask = Callable[[], "Scope | None"]


class _Running(NamedTuple):
    """A flow that runs: its thread, the task or thread of its body, whether it began outside any other."""

    scope: Scope
    thread: int
    turn: object
    alone: bool


_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("kitaru_nb.scope", default=None)
_job: contextvars.ContextVar[Ask | None] = contextvars.ContextVar("kitaru_nb.job", default=None)
_provider: Ask = lambda: None  # noqa: E731 - replaced by the front end's
_in_use: Ask = lambda: None  # noqa: E731 - as above
_worker: Ask = lambda: None  # noqa: E731 - replaced where the process was started as a worker
_front: Callable[[], Front | None] = lambda: None  # noqa: E731 - as above
_flows: list[_Running] = []
_outside: contextvars.ContextVar[bool] = contextvars.ContextVar("kitaru_nb.outside", default=False)
_begun_outside: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_following = False
_INTERPRETERS = "concurrent.futures.interpreter"  # pools of Python 3.14 and later
_lock = threading.Lock()


def current_scope() -> Scope | None:
    """Where a call that is made now belongs; None outside any execution."""
    return _current(_provider)


def scope_in_use() -> Scope | None:
    """As `current_scope`, for somebody who will perhaps not record anything: nothing is begun for that."""
    return _current(_in_use)


def _current(provider: Ask) -> Scope | None:
    mine, job = _scope.get(), _job.get()
    if mine is not None and not mine.book.ended:
        return mine
    if job is not None:
        return job()
    found = provider()
    if found is not None:
        return found
    # What outlives its flow belongs to nobody else's.
    return None if mine is not None else _beside() or _worker()


def _beside() -> Scope | None:
    """The flow that this thread works for without having been told: the only one that runs."""
    flows = list(_flows)
    alone = [flow for flow in flows if flow.alone]
    if len(alone) != 1:
        return None
    here = threading.get_ident()
    if here == alone[0].thread:
        apart = _in_loop()  # a task of the same loop, which the flow did not begin
    else:
        apart = here == threading.main_thread().ident or threading.current_thread() in _begun_outside
    return None if apart or _outside.get() else flows[-1].scope


def _in_loop() -> bool:
    events = sys.modules.get("asyncio.events")
    if events is None:
        return False
    try:
        events.get_running_loop()
    except RuntimeError:
        return False
    return True


def innermost() -> Scope | None:
    """The flow or call that this thread or task is in; None in the plain code of a cell."""
    return _scope.get()


def turn_now() -> object:
    """What makes calls one after the other, this one among them: the task that runs, else the thread."""
    events = sys.modules.get("asyncio")
    if events is not None:
        with suppress(RuntimeError):  # no loop runs here
            return events.current_task() or threading.current_thread()
    return threading.current_thread()


def turn_of(root: Scope) -> object:
    """The task or thread in which the body of a flow runs; of a cell, the main thread."""
    return next((flow.turn for flow in list(_flows) if flow.scope is root), threading.main_thread())


def provide(provider: Ask | None, in_use: Ask | None = None) -> None:
    """Let the front end say which cell runs, where nothing else does; None takes it back.

    `in_use` says so only where something is recorded in this process anyway.
    """
    global _provider, _in_use
    _provider, _in_use = provider or (lambda: None), in_use or (lambda: None)
    if provider is not None:
        _follow()


def belong(scope: Ask) -> None:
    """This process is a worker, and all that has no other scope in it belongs to that one."""
    global _worker  # noqa: PLW0603 - a process is started once
    _worker = scope
    _follow()


@contextmanager
def job_of(scope: Ask) -> Iterator[None]:
    """What runs inside the block belongs to whoever handed it to this process; asked late."""
    was = _scope.set(None), _job.set(scope)
    try:
        yield
    finally:
        _scope.reset(was[0])
        _job.reset(was[1])


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
    _follow()
    around = _scope.get()
    token = _scope.set(scope)
    flow = _Running(scope, threading.get_ident(), turn_now(), around is None or around.book.ended)
    if scope.parent is None:
        _flows.append(flow)
    try:
        yield scope
    finally:
        if scope.parent is None:
            _flows.remove(flow)
        try:
            _scope.reset(token)
        except ValueError:  # an async generator was closed in another context
            _scope.set(None)


def _follow() -> None:
    """Let threads, processes and jobs of pools begin in the scope of whoever starts them, from now on."""
    global _following  # noqa: PLW0603 - once a process
    with _lock:
        if _following:
            return
        _following = True
    _follow_threads()
    from kitaru_nb.engine import spawned  # noqa: PLC0415 - it imports this module

    spawned.follow()


def _follow_threads() -> None:
    start: Any = threading.Thread.start
    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(start)
    def started(thread: threading.Thread) -> None:
        if _scope.get() is not None or _job.get() is not None:
            thread.run = _in_scope(thread.run)  # type: ignore[method-assign] # this thread's own
        elif _flows:
            _begun_outside.add(thread)
        start(thread)

    @functools.wraps(submit)
    def submitted(pool: ThreadPoolExecutor, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if type(pool).__module__ == _INTERPRETERS:  # none of them can have a closure
            return submit(pool, job, *args, **kwargs)
        return submit(pool, _in_scope(job), *args, **kwargs)

    # As tracers do, since neither offers a hook.
    setattr(threading.Thread, "start", started)  # noqa: B010 - as an assignment it is an error of types
    setattr(ThreadPoolExecutor, "submit", submitted)  # noqa: B010 - as above


def _in_scope(job: Callable[..., Any]) -> Callable[..., Any]:
    """`job`, in the scope of whoever calls this now."""
    mine = _scope.get(), _job.get()

    def run(*args: Any, **kwargs: Any) -> Any:
        before = _scope.get(), _job.get(), _outside.get()
        _scope.set(mine[0])
        _job.set(mine[1])
        _outside.set(mine == (None, None))
        try:
            return job(*args, **kwargs)
        finally:
            _scope.set(before[0])
            _job.set(before[1])
            _outside.set(before[2])

    return run
