"""kitaru_nb without anything recorded: what a program would do in one run that nothing disturbs."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import pickle
import zlib
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

__all__ = ["answer"]


def answer(name: str) -> int:
    """What a person answers to the wait of that name."""
    return zlib.crc32(name.encode()) % 100


class _Execution:
    def __init__(self) -> None:
        self.once: dict[str, Any] = {}
        self.saved: dict[str, Any] = {}
        self.streams: defaultdict[str, list[Any]] = defaultdict(list)


_channels: defaultdict[str, list[Any]] = defaultdict(list)
_current: contextvars.ContextVar[_Execution] = contextvars.ContextVar("current")


def _copy(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


class _Future:
    def __init__(self, make: Callable[[], Any]) -> None:
        self._error: Exception | None = None
        try:
            self._value = make()
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


def _execution() -> _Execution:
    if _current.get(None) is None:
        _current.set(_Execution())
    return _current.get()


def checkpoint(function: Any = None, /, **options: Any) -> Any:  # noqa: C901 - one of each kind
    if function is None:
        return functools.partial(checkpoint, **options)
    retries = options.get("retries", 0)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            for left in range(retries, -1, -1):
                try:
                    return await function(*args, **kwargs)
                except Exception:
                    if not left:
                        raise
            return None

        async def begun(make: Any) -> Any:
            return await make

        wrapper.submit = lambda *a, **k: asyncio.ensure_future(wrapper(*a, **k))
        wrapper.map = lambda items, **_: asyncio.gather(*[wrapper(item) for item in items])
        return wrapper

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        for left in range(retries, -1, -1):
            try:
                return function(*args, **kwargs)
            except Exception:
                if not left:
                    raise
        return None

    def map_(items: Any, *, key: Any = None, max_workers: int = 8, on_error: str = "raise") -> Any:
        begun = [_Future(functools.partial(plain, item)) for item in items]
        if on_error == "collect":
            return [each._value if each._error is None else each._error for each in begun]
        return [each.result() for each in begun]

    plain.submit = lambda *a, **k: _Future(functools.partial(plain, *a, **k))  # type: ignore[attr-defined]
    plain.map = map_  # type: ignore[attr-defined]
    return plain


def flow(function: Any) -> Any:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def a_flow(*args: Any, **kwargs: Any) -> Any:
            token = _current.set(_Execution())
            try:
                return await function(*args, **kwargs)
            finally:
                _current.reset(token)

        return a_flow

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        token = _current.set(_Execution())
        try:
            return function(*args, **kwargs)
        finally:
            _current.reset(token)

    wrapper.run = lambda *a, **k: _Future(functools.partial(wrapper, *a, **k))  # type: ignore[attr-defined]
    return wrapper


def gather(*futures: Any) -> Any:
    if futures and inspect.isawaitable(futures[0]):

        async def all_() -> Any:
            return list(await asyncio.gather(*futures))

        return all_()
    return [each.result() for each in futures]


def once(key: str, fn: Any, *args: Any) -> Any:
    known = _execution().once
    if key not in known:
        result = fn(*args)
        known[key] = _copy(result)
        return result
    return _copy(known[key])


def idempotency_key(name: str) -> str:
    return name


def log(**values: Any) -> None:
    pass


def save(name: str, value: Any) -> None:
    _execution().saved[name] = _copy(value)


def load(name: str) -> Any:
    return _copy(_execution().saved[name])


def channel(name: str) -> Any:
    return SimpleNamespace(
        send=lambda value: _channels[name].append(_copy(value)), receive=lambda **_: _channels[name].pop(0)
    )


def stream(name: str) -> Any:
    return _execution().streams[name]


def wait(question: str, schema: Any = int, *, name: str, **options: Any) -> Any:
    return answer(name)


def steps(items: Any, **options: Any) -> Any:
    return iter(items)
