"""`@flow` as users import it: recorded where the settings say."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from kitaru_nb.engine.call import called_name
from kitaru_nb.engine.checkpoint import plain_function_of
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow import as_flow
from kitaru_nb.engine.flow_handle import FlowHandle
from kitaru_nb.engine.meter import install
from kitaru_nb.engine.observe import own_doing
from kitaru_nb.errors import KitaruError, Suspended, SuspendedExit
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["FlowFunction", "Here", "flow", "here"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class FlowFunction(Protocol, Generic[P, R_co]):
    """A flow: it is called as it was written, and each call is an execution."""

    __name__: str
    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run it to its end, going on where an attempt with equal inputs was cut short."""
        ...

    def run(self, *args: P.args, **kwargs: P.kwargs) -> FlowHandle:
        """The same in a thread of its own."""
        ...


class Here:
    """This process's settings and the engine that they lead to, opened with the first flow.

    Args:
        stack: Where to record; the current stack without it.
    """

    def __init__(self, stack: str | None = None) -> None:
        self._stack = stack
        self._engines: dict[tuple[str, str, int], Engine] = {}
        self._lock = threading.Lock()

    def settings(self) -> Settings:
        """As they are now."""
        return resolve(stack=self._stack)

    def engine(self) -> Engine:
        """The engine of the stack that is current now."""
        settings = self.settings()
        key = str(settings.home), settings.stack, os.getpid()
        with self._lock:
            found = self._engines.get(key)
            if found is None:
                found = self._engines[key] = open_engine(settings)
                install()
            return found

    def stack(self) -> str:
        """Its name."""
        return self.settings().stack

    def stopped(self, suspended: Suspended, execution: ExecutionId) -> BaseException:
        """What to raise where an execution waits and nothing of kitaru_nb is around it."""
        if "get_ipython" in vars(sys.modules["builtins"]):
            return suspended
        wait = f" wait={suspended.wait}" if suspended.wait else ""
        print(f"kitaru: {suspended.message}", file=sys.stderr)  # noqa: T201 - a script's last words
        print(f"kitaru: waiting execution={execution}{wait}", file=sys.stderr)  # noqa: T201 - as above
        return SuspendedExit(suspended.message, wait=suspended.wait)

    def ended(
        self,
        engine: Engine,
        execution: ExecutionId,
        status: ExecutionStatus,
        reason: str,
        at: Suspended | None,
    ) -> None:
        """Tell whom the settings name."""
        try:
            settings = self.settings()
        except KitaruError:
            return  # what is wrong with them has been said where the execution was begun
        if not settings.notify.targets:
            return
        from kitaru_nb.stacks.notices import tell  # noqa: PLC0415 - only where somebody is to be told
        from kitaru_nb.stacks.outcome import Exit, Outcome  # noqa: PLC0415 - as above

        codes = {ExecutionStatus.COMPLETED: Exit.COMPLETED, ExecutionStatus.WAITING: Exit.WAITING}
        codes[ExecutionStatus.INTERRUPTED] = Exit.SIGINT
        said, _, hint = reason.partition("\n  Try: ") if at is None else at.message.partition("\n  Try: ")
        wait = None if at is None else at.wait or None
        outcome = Outcome(
            status, codes.get(status, Exit.FAILED), execution, reason=said, wait=wait, hint=hint
        )
        with own_doing():
            tell(engine, outcome, settings=settings)


here = Here()


@overload
def flow(function: Callable[P, R], /) -> FlowFunction[P, R]: ...
@overload
def flow(
    function: None = None, /, *, name: str | None = None
) -> Callable[[Callable[P, R]], FlowFunction[P, R]]: ...
def flow(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make each call of a function an execution that survives a crash.

    The body is ordinary Python. Called again with equal inputs after an attempt that was
    interrupted, failed or waits, it goes on with that execution: the body runs from its top, and
    what it asks of ``@checkpoint`` functions, model calls, ``once`` and ``wait`` that came to
    its end is given from the record. After one that completed, a new execution begins.

    ``f.run(...)`` does the same in the background and gives a handle with ``result()``, ``status``
    and ``cost``. Called inside another execution, it is an execution of its own whose result
    counts there as that of one call.

    Args:
        function: A plain or an ``async`` function.
        name: What its result is called; the function's name without it.

    Raises:
        UsageError: it is no such function.
        ConflictError: from a call: another live process runs this execution.
    """
    if function is None:
        return functools.partial(flow, name=name)
    plain = plain_function_of(function, "flow")
    return as_flow(plain, called_name(plain, name), here)


def recorded(function: FunctionType, name: str) -> Any:
    """The decorated function; stored functions are made again by this, so its arguments stay."""
    return as_flow(function, name, here)
