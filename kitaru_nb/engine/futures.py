"""Calls that run at once: a future that cannot deadlock, and waiting for many."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from kitaru_nb.engine.context import current_scope, inside
from kitaru_nb.errors import ConflictError, CorruptError, StoreError, Suspended, UsageError

__all__ = ["Future", "OnError", "gather", "gather_async", "in_order"]

T = TypeVar("T")
OnError = Literal["raise", "collect"]

_WORKERS = 32
_pool: concurrent.futures.ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


class _Work:
    """How a future comes to its end: no part of it for who looks at what it holds."""

    def __init__(
        self,
        job: Callable[[], Any] | None,
        stop: Callable[[], None] | None,
        dropped: Callable[[], None] | None,
    ) -> None:
        self.done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.job = job
        self.stop = stop
        self.dropped = dropped
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.context = contextvars.copy_context()


class Future(Generic[T]):
    """The result of a call that runs in another thread, or in the running event loop.

    Whoever asks for the result of a call that no thread has taken yet makes it there and then,
    so calls that wait for calls never wait for a thread.

    Args:
        job: Makes the call.
        stop: Tells the call to begin nothing more.
        dropped: Told where the call is never made.
    """

    def __init__(
        self,
        job: Callable[[], T] | None,
        stop: Callable[[], None] | None = None,
        dropped: Callable[[], None] | None = None,
    ) -> None:
        self._awaited = False
        _works[self] = _Work(job, stop, dropped)
        if job is not None:
            with contextlib.suppress(RuntimeError):  # the process ends: whoever asks for it makes it
                _threads().submit(self.take)

    @property
    def _work(self) -> _Work:
        return _works[self]

    def __reduce__(self) -> Any:
        """One whose call has come to its end is stored with what that returned or raised."""
        done = self._work.done
        if not done.done() or done.cancelled():
            raise TypeError("its call has not come to its end")
        error = done.exception()
        return (ended, (self._value, self._awaited)) if error is None else (failed, (error, self._awaited))

    def _end(self, result: T) -> None:
        self._value = result  # for who looks at what shares objects
        self._work.done.set_result(result)

    @classmethod
    def of(cls, value: T, *, awaited: bool = False) -> Future[T]:
        """One whose result is there; `awaited` where it is that of a coroutine."""
        future = cls(None)
        future._end(value)
        future._awaited = awaited
        return future

    @classmethod
    def of_coroutine(cls, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """A coroutine, in the running loop where there is one, else in a loop of its own in a thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return cls(lambda: asyncio.run(make()))
        future = cls(None)
        future._work.loop, future._awaited = loop, True
        task = loop.create_task(make())
        task.add_done_callback(future._follow)
        return future

    def _follow(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._work.done.cancel()
            return
        error = task.exception()
        if error is not None:
            self._work.done.set_exception(error)
        else:
            self._end(task.result())

    def take(self) -> None:
        """Make the call, unless somebody else has taken it."""
        with self._work.lock:
            job, self._work.job = self._work.job, None
        if job is None:
            return
        try:
            result = self._work.context.run(job)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._work.done.set_exception(error)
        else:
            self._end(result)

    def drop(self) -> None:
        """The call is not made any more where no thread has taken it; one that runs begins nothing more."""
        with self._work.lock:
            job, self._work.job = self._work.job, None
        if job is not None:
            self._work.done.cancel()
            if self._work.dropped is not None:
                self._work.dropped()
        if self._work.stop is not None:
            self._work.stop()

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._work.done.done()

    def result(self, timeout: float | None = None) -> T:
        """What the call returned; raises what it raised.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
            UsageError: kind ``would-block``: asked for in the event loop that it runs in.
        """
        self._wait(timeout)
        done: concurrent.futures.Future[T] = self._work.done
        return done.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the call raised, or None."""
        self._wait(timeout)
        return self._work.done.exception(timeout)

    def _wait(self, timeout: float | None) -> None:
        if timeout is None:
            self.take()
        if self._work.loop is not None and not self._work.done.done() and _running() is self._work.loop:
            raise UsageError(
                "the call cannot end while its event loop waits for it", kind="would-block", hint="await it"
            )

    def __await__(self) -> Generator[Any, None, T]:
        """The result, without blocking the event loop."""
        return asyncio.wrap_future(self._work.done).__await__()


_works: weakref.WeakKeyDictionary[Future[Any], _Work] = weakref.WeakKeyDictionary()


def ended(value: object, awaited: bool) -> Future[Any]:  # noqa: FBT001 - as it is stored
    """A future whose result is there; stored ones are made again by this, so its arguments stay."""
    return Future.of(value, awaited=awaited)


def failed(error: BaseException, awaited: bool) -> Future[Any]:  # noqa: FBT001 - as it is stored
    """As `ended`, for one whose call has raised."""
    future: Future[Any] = Future(None)
    future._awaited = awaited  # noqa: SLF001 - same module
    future._work.done.set_exception(error)  # noqa: SLF001 - as above
    return future


def gather(*calls: Future[Any] | Awaitable[Any], on_error: OnError = "raise") -> Any:
    """The results of several futures or coroutines, in their order, once all have ended.

    Coroutines run at once, such as calls of an async checkpoint; what they record lets the next
    attempt make the missing ones only.

    When one failed, the others still come to their end; then the first failure is raised, or
    with ``on_error="collect"`` each failure stands in the place of its result. What could not be
    put on record, such as on a full disk, is no failure of a call and is raised in either case.

    Returns:
        A list; where a coroutine's is among the futures and an event loop runs, what to await for it.
    """
    futures = [
        call if isinstance(call, Future) else Future.of_coroutine(partial(_await, call)) for call in calls
    ]
    if _running() is not None and any(future._awaited for future in futures):  # noqa: SLF001 - same module
        return _gathered(futures, on_error)
    return _told(_outcomes(futures), on_error)


async def _await(call: Awaitable[Any]) -> Any:
    return await call


async def _gathered(futures: Sequence[Future[Any]], on_error: OnError) -> list[Any]:
    return _told([await _awaited(future) for future in futures], on_error)


async def _awaited(future: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    try:
        return await future, None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:  # noqa: BLE001 - told once all have ended
        return None, error


def _outcomes(futures: Sequence[Future[Any]]) -> list[tuple[Any, BaseException | None]]:
    """How each call has ended; raises the stop button, after which no more calls begin."""
    outcomes: list[tuple[Any, BaseException | None]] = []
    try:
        for future in futures:
            outcomes.append(_outcome(future))
            error = outcomes[-1][1]
            if error is not None and _is_stop(error):
                raise error
    except BaseException:
        _drop(futures)
        raise
    return outcomes


def _is_stop(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, (Exception, Suspended))


def _outcome(future: Future[Any]) -> tuple[Any, BaseException | None]:
    error = future.exception()
    return (None, error) if error is not None else (future.result(), None)


def _told(outcomes: Sequence[tuple[Any, BaseException | None]], on_error: OnError) -> list[Any]:
    errors = [error for _, error in outcomes if error is not None]
    stops = [error for error in errors if not isinstance(error, Exception)]
    if stops:  # a wait, or the stop button: never a result
        raise next((error for error in stops if not isinstance(error, Suspended)), stops[0])
    unsaved = [error for error in errors if _is_unsaved(error)]
    if unsaved:  # no failure of the call: the next attempt makes it, once there is room
        raise unsaved[0]
    if errors and on_error == "raise":
        raise errors[0]
    return [value if error is None else error for value, error in outcomes]


def _is_unsaved(error: BaseException) -> bool:
    """Whether a call could not be put on record, and so is neither a result nor a failure."""
    if isinstance(error, ConflictError):
        return error.kind == "superseded"
    return isinstance(error, StoreError) and not isinstance(error, CorruptError)


def in_order(calls: Iterable[Callable[[], Future[Any]]], *, max_workers: int, on_error: OnError) -> list[Any]:
    """Begin calls in their order, at most `max_workers` running at a time, and wait for all."""
    futures: list[Future[Any]] = []
    try:
        _begin(calls, futures, max_workers)
        return _told(_outcomes(futures), on_error)
    except BaseException:  # the stop button: of an error all have ended
        _drop(futures)
        raise


def _begin(calls: Iterable[Callable[[], Future[Any]]], futures: list[Future[Any]], max_workers: int) -> None:
    free = threading.Semaphore(max_workers)
    for call in calls:
        while not free.acquire(blocking=False):
            # Each running call may itself wait for others: a thread that only waited could be the last.
            idle = next((future for future in futures if future._work.job is not None), None)  # noqa: SLF001 - same module
            if idle is None:
                free.acquire()
                break
            idle.take()
            stop = idle.exception() if idle.done() else None
            if stop is not None and _is_stop(stop):
                raise stop
        try:
            future = call()
        except Exception as error:  # noqa: BLE001 - a recorded result that cannot be served is one failure
            future = Future(None)
            future._work.done.set_exception(error)  # noqa: SLF001 - same module
        future._work.done.add_done_callback(lambda _: free.release())  # noqa: SLF001 - same module
        futures.append(future)


def _drop(futures: Iterable[Future[Any]]) -> None:
    """What is not under way is not begun any more."""
    for future in futures:
        future.drop()


async def gather_async(
    calls: Iterable[Callable[[], Future[Any]]], *, max_workers: int, on_error: OnError
) -> list[Any]:
    """As `in_order`, in the running event loop."""
    free = asyncio.Semaphore(max_workers)
    scope = current_scope()
    tasks: list[asyncio.Task[tuple[Any, BaseException | None]]] = []

    async def one(call: Callable[[], Future[Any]]) -> tuple[Any, BaseException | None]:
        try:
            return await _awaited(call())
        except Exception as error:  # noqa: BLE001 - as above
            return None, error
        finally:
            free.release()

    try:
        for call in calls:
            await free.acquire()
            tasks.append(asyncio.create_task(one(call)))
        if scope is None:
            return _told(await asyncio.gather(*tasks), on_error)
        with inside(scope):
            return _told(await asyncio.gather(*tasks), on_error)
    except BaseException:  # as in `in_order`
        for task in tasks:
            task.cancel()
        raise


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _threads() -> concurrent.futures.ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - one a process
    with _pool_lock:
        if _pool is None:
            _pool = concurrent.futures.ThreadPoolExecutor(_WORKERS, thread_name_prefix="kitaru-nb-call")
        return _pool
