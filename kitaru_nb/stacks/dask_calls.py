"""Calls to a Dask scheduler: each a connection of its own, answered or refused within bounded seconds.

Dask's client goes on trying, and says so on stderr, for as long as it lives; so none lives longer than
one call. It runs in a thread of its own, since who calls may be inside an event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from distributed import Client, LocalCluster

from kitaru_nb.errors import StackError

__all__ = ["own_cluster", "talk"]

_CONNECT = 5.0  # seconds
_ANSWER = 15.0  # seconds, connecting included
_QUIETED = ("distributed", "tornado", "asyncio")

Answer = TypeVar("Answer")

_own: dict[int, Any] = {}
_own_lock = threading.Lock()


def talk(scheduler: str | Any, call: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """What `call` answers, given a client of the scheduler at that address, or of that cluster.

    Raises:
        StackError: kind ``stack-unreachable``: no answer came.
    """

    async def ask(address: str) -> Answer:
        async with Client(address, asynchronous=True, timeout=_CONNECT, set_as_default=False) as client:
            return await call(client)

    with _quiet():
        if isinstance(scheduler, str):
            answer = _in_thread(ask(scheduler))
        else:
            # what is in this process answers in its own loop only
            loop = scheduler.loop.asyncio_loop
            answer = asyncio.run_coroutine_threadsafe(ask(scheduler.scheduler_address), loop)
        try:
            return answer.result(_ANSWER)
        except (OSError, FutureTimeoutError, TimeoutError, asyncio.CancelledError) as error:
            where = scheduler if isinstance(scheduler, str) else "of this process"
            raise StackError(
                f"the Dask scheduler {where} does not answer: {str(error) or 'it took too long'}",
                kind="stack-unreachable",
                hint="is it running, and can it be reached from here? then the same command again",
            ) from error


def own_cluster(workers: int) -> Any:
    """The cluster of that many workers that this process has; begun at its first use, gone with it.

    It is threads of this process and opens no port, since each only watches a process of ours.
    """
    with _own_lock, _quiet():
        if workers not in _own:
            _own[workers] = LocalCluster(
                n_workers=1,
                threads_per_worker=workers,
                processes=False,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        return _own[workers]


def _in_thread(coroutine: Coroutine[Any, Any, Answer]) -> Future[Answer]:
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(asyncio.run(_alone(coroutine)))
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True, name="kitaru-nb-dask").start()
    return answer


async def _alone(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """What `coroutine` gives, and nothing of what Dask's client leaves lying in its loop.

    A reply that came too late for anybody is told of when the loop is thrown away, which may be after the
    last line that a command prints.
    """
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    return await coroutine


class _Quiet:
    """Keeps what Dask logs and warns of from whoever asked: what matters is raised, in our words.

    Filters of warnings and switches of loggers are the process's, so of several calls at once the first
    sets them and the last puts back what was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._undo = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
                for logger in _loggers():
                    self._undo.callback(setattr, logger, "disabled", logger.disabled)
                    logger.disabled = True
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if self._depth == 0:
                    self._undo.close()


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.items()
    return [
        logger
        for name, logger in known
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _QUIETED
    ]


_quiet = _Quiet()
