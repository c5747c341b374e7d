"""`@checkpoint`: a function whose calls are recorded, one by one or many at once."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from types import FunctionType
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.engine.call import Call, Options, called_name
from kitaru_nb.engine.context import current_scope, inside
from kitaru_nb.engine.deadline import late, within
from kitaru_nb.engine.futures import Future, OnError, gather_async, in_order
from kitaru_nb.errors import KitaruError, TimedOutError, UsageError
from kitaru_nb.model.words import seconds_of

__all__ = ["Checkpointed", "checkpoint"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_LONGEST_PAUSE = 30.0


class Checkpointed(Protocol, Generic[P, R_co]):
    """A recorded function: it is called as it was written, and many calls can run at once."""

    __name__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Make the call, or be given its recorded result."""
        ...

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[Any]:
        """Begin the call in another thread (a coroutine: in the running loop)."""
        ...

    def map(
        self,
        items: Iterable[Any],
        *,
        max_workers: int = 8,
        key: Callable[[Any], object] | None = None,
        on_error: OnError = "raise",
    ) -> Any:
        """Call it for each item, several at a time; results in the order of the items."""
        ...


@overload
def checkpoint(function: Callable[P, R], /) -> Checkpointed[P, R]: ...
@overload
def checkpoint(
    function: None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    reuse: bool = False,
    timeout: float | str | timedelta | None = None,
) -> Callable[[Callable[P, R]], Checkpointed[P, R]]: ...
def checkpoint(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retries: int = 0,
    reuse: bool = False,
    timeout: float | str | timedelta | None = None,
) -> Any:
    """Record each call of a function, so that it is never made twice in one execution.

    Inside a flow, a notebook cell or another checkpoint, a call that came to its end is on
    record before it returns: it survives ``kill -9``. In a later attempt the same call is given
    its result; what it changed in its arguments, in globals and in its closure is done again to
    the caller's own objects. Outside any execution the function just runs.

    Calls are told apart by their arguments, by the code that the function reaches and by the
    globals that it reads, and equal calls by their order. An exception is never recorded as a
    result.

    Args:
        function: A plain or an ``async`` function.
        name: What its calls are called; the function's name without it.
        retries: How often a call that raised is tried again, after 1, 2, 4 ... seconds. What the
            try that failed has changed stays changed, as with any retry.
        reuse: Also be given results of other executions.
        timeout: Seconds (or text such as ``"10m"``) that one try may take.

    Raises:
        UsageError: it is no such function, or an option does not fit.
        TimedOutError: from a call: it took longer than `timeout`.
        UnstorableError: from a call: its result cannot be stored, or what it changed not be put
            back.
    """
    if function is None:
        return functools.partial(checkpoint, name=name, retries=retries, reuse=reuse, timeout=timeout)
    plain = plain_function_of(function, "checkpoint")
    if type(retries) is not int or retries < 0:
        message = f"`retries` of `{plain.__name__}` is `{retries}`, which is not a whole number from 0"
        raise UsageError(message, kind="bad-option", hint="@checkpoint(retries=3)")
    options = Options(called_name(plain, name), retries, reuse, seconds_of(timeout, plain.__name__))
    return _recorded(plain, options)


def plain_function_of(function: object, what: str) -> FunctionType:
    """The function that is decorated.

    Raises:
        UsageError: kind ``not-a-function``.
    """
    hint = f"@{what} above def f(...): ..."
    if type(function) is not FunctionType:
        message = f"`{kind_name(function)}` cannot be a {what}: only a plain or an async function can"
        raise UsageError(message, kind="not-a-function", hint=hint)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        message = f"`{function.__name__}` cannot be a {what}: it is a generator, whose result is never whole"
        raise UsageError(message, kind="not-a-function", hint="return a list of what it yields")
    return function


def recorded(
    function: FunctionType,
    name: str,
    retries: int,
    reuse: bool,  # noqa: FBT001 - as it is stored
    timeout: float | None,
) -> Any:
    """The decorated function; stored functions are made again by this, so its arguments stay."""
    return _recorded(function, Options(name, retries, reuse, timeout))


def _recorded(function: FunctionType, options: Options) -> Any:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await call_async(function, options, args, kwargs)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return call(function, options, args, kwargs)

    wrapper.__kitaru_function__ = function  # type: ignore[attr-defined] # how the walk over code finds it
    wrapper.__kitaru_remake__ = (  # type: ignore[attr-defined] # what is stored of it
        "kitaru_nb.engine.checkpoint:recorded",
        *(function, options.name, options.retries, options.reuse, options.timeout),
    )
    wrapper.submit = functools.partial(submit, function, options)  # type: ignore[attr-defined] # see Checkpointed
    wrapper.map = functools.partial(map_all, function, options)  # type: ignore[attr-defined] # see Checkpointed
    return cast("Any", wrapper)


def call(function: FunctionType, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make one call, or serve its record."""
    scope = current_scope()
    if scope is None:
        return _tried(function, options, args, kwargs, None)
    asked = Call(scope, function, options, args, kwargs)
    found = asked.find()
    if found is not None:
        return asked.serve(found)
    asked.begin()
    with asked.running():
        return _tried(function, options, args, kwargs, asked)


async def call_async(
    function: FunctionType, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """As `call`, for a coroutine function."""
    scope = current_scope()
    if scope is None:
        return await _tried_async(function, options, args, kwargs, None)
    asked = Call(scope, function, options, args, kwargs)
    found = asked.find()
    if found is not None:
        return asked.serve(found)
    asked.begin()
    return await _taken_async(asked, function, options, args, kwargs)


def _tried(
    function: FunctionType,
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    asked: Call | None,
) -> Any:
    tries = 0
    while True:
        try:
            if asked is None or asked.inner is None:
                with within(options.timeout, options.name):
                    return function(*args, **kwargs)
            with inside(asked.inner), within(options.timeout, options.name):
                result = function(*args, **kwargs)
        except BaseException as error:
            _failed(asked, error)
            if not _may_retry(error, tries, options):
                raise
        else:
            asked.commit(result)
            return result
        time.sleep(_pause(tries, options))
        tries += 1
        if asked is not None:
            asked.again()


async def _tried_async(
    function: FunctionType,
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    asked: Call | None,
) -> Any:
    tries = 0
    while True:
        try:
            if asked is None or asked.inner is None:
                return await _in_time(function(*args, **kwargs), options)
            with inside(asked.inner):
                result = await _in_time(function(*args, **kwargs), options)
        except BaseException as error:
            _failed(asked, error)
            if not _may_retry(error, tries, options):
                raise
        else:
            asked.commit(result)
            return result
        await asyncio.sleep(_pause(tries, options))
        tries += 1
        if asked is not None:
            asked.again()


async def _in_time(made: Awaitable[Any], options: Options) -> Any:
    if options.timeout is None:
        return await made
    began = time.monotonic()
    deadline = asyncio.timeout(options.timeout)
    try:
        async with deadline:
            result = await made
    except TimeoutError:
        if deadline.expired():
            raise late(options.name, options.timeout) from None
        raise
    if time.monotonic() - began > options.timeout:  # it kept the loop from stopping it
        raise late(options.name, options.timeout, stopped=False)
    return result


def _failed(asked: Call | None, error: BaseException) -> None:
    if asked is None:
        return
    try:
        asked.failed(error)
    except KitaruError:
        if not isinstance(error, Exception):
            return  # it is being stopped: that comes first
        raise


def _may_retry(error: BaseException, tries: int, options: Options) -> bool:
    """Whether a failure is one of the function's own, and there are tries left."""
    if tries >= options.retries or not isinstance(error, Exception):
        return False
    return isinstance(error, TimedOutError) or not isinstance(error, KitaruError)


def _pause(tries: int, options: Options) -> float:
    return min(options.backoff * 2.0**tries, _LONGEST_PAUSE)


# Many at once


def submit(function: FunctionType, options: Options, /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Begin one call in another thread; its place among equal calls is taken now."""
    return _begun(function, options, args, kwargs, identity=None)


def _begun(
    function: FunctionType,
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    identity: str | None,
) -> Future[Any]:
    scope = current_scope()
    asked = None
    if scope is not None:
        asked = Call(scope, function, options, args, kwargs, identity=identity)
        found = asked.find()
        if found is not None:
            return Future.of(asked.serve(found), awaited=inspect.iscoroutinefunction(function))
        asked.begin()
    if inspect.iscoroutinefunction(function):
        return Future.of_coroutine(lambda: _taken_async(asked, function, options, args, kwargs))
    if asked is None:
        return Future(lambda: _tried(function, options, args, kwargs, None))
    begun: list[Future[Any]] = []

    def take() -> None:
        for each in begun:
            each.take()

    asked.hold_end(take)  # before a thread can have made it
    begun.append(Future(lambda: _taken(asked, function, options, args, kwargs), asked.stop, asked.let_end))
    return begun[0]


def _taken(
    asked: Call, function: FunctionType, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A call that was begun for another thread, in that thread."""
    try:
        with asked.running():
            return _tried(function, options, args, kwargs, asked)
    finally:
        asked.let_end()


async def _taken_async(
    asked: Call | None,
    function: FunctionType,
    options: Options,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """A call that was begun for an event loop, in that loop; one that is cancelled before never runs."""
    if asked is None:
        return await _tried_async(function, options, args, kwargs, None)
    with asked.running():
        return await _tried_async(function, options, args, kwargs, asked)


def map_all(
    function: FunctionType,
    options: Options,
    /,
    items: Iterable[Any],
    *,
    max_workers: int = 8,
    key: Callable[[Any], object] | None = None,
    on_error: Literal["raise", "collect"] = "raise",
) -> Any:
    """Call the function for each item, at most `max_workers` at a time.

    All calls are made though one fails; then the first failure is raised, or with
    ``on_error="collect"`` each failure stands in the place of its result. What came to its end is
    on record, so that the next attempt makes the missing calls only. Where nothing can be put on
    record any more, such as on a full disk, no call begins and that is raised in either case.

    Args:
        function: What is called.
        options: How its calls are recorded.
        items: One argument each.
        max_workers: How many run at once.
        key: Tells items apart in place of their value.
        on_error: ``raise`` or ``collect``.

    Returns:
        The results in the order of the items; of a coroutine function in a running loop, what
        to await for them.
    """
    if on_error not in ("raise", "collect"):
        message = f"`on_error` is `{on_error}`"
        raise UsageError(message, kind="bad-option", hint='on_error="raise" or "collect"')
    if max_workers < 1:
        raise UsageError(f"`max_workers` is `{max_workers}`", kind="bad-option", hint="a number from 1")
    calls = [
        functools.partial(
            _begun, function, options, (item,), {}, identity=None if key is None else str(key(item))
        )
        for item in items
    ]
    if inspect.iscoroutinefunction(function):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(gather_async(calls, max_workers=max_workers, on_error=on_error))
        return gather_async(calls, max_workers=max_workers, on_error=on_error)
    return in_order(calls, max_workers=max_workers, on_error=on_error)
