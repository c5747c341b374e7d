"""A flow in the background, as whoever has begun it sees it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from kitaru_nb.engine.awaited import start
from kitaru_nb.engine.card import card
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import Suspended
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus

if TYPE_CHECKING:
    from kitaru_nb.engine.flow import Flow, Turn

__all__ = ["FlowHandle", "in_background"]


class _Work:
    """How a flow in the background comes to its end: no part of its handle for who looks into that."""

    def __init__(self, flow: Flow, engine: Engine, outcome: tuple[Any, BaseException | None]) -> None:
        self.flow = flow
        self.engine = engine
        self.outcome = outcome
        self.thread: threading.Thread | None = None

    def begin(self, work: Callable[[], Any], *, name: str) -> None:
        """Do it in a thread."""
        self.thread = threading.Thread(target=self._do, args=(work,), name=name)
        start(self.thread)

    def _do(self, work: Callable[[], Any]) -> None:
        try:
            self.outcome = work(), None
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self.outcome = None, error


class FlowHandle(ProcessBound):
    """An execution of a flow that runs in a thread of this process, or has run.

    Args:
        flow: What runs.
        engine: Where it is on record.
        execution: Its id.
        work: Runs it to its end; None where that has been.
        result: What it has returned, where that has been.

    Attributes:
        execution: Its id.
    """

    def __init__(
        self,
        flow: Flow,
        engine: Engine,
        execution: ExecutionId,
        work: Callable[[], Any] | None = None,
        *,
        result: object = None,
    ) -> None:
        self.execution = execution
        _works[self] = mine = _Work(flow, engine, (result, None))
        if work is not None:
            mine.begin(work, name=f"kitaru-nb-{execution}")

    @property
    def _work(self) -> _Work:
        return _works[self]

    def done(self) -> bool:
        """Whether this attempt has ended."""
        return self._work.thread is None or not self._work.thread.is_alive()

    def result(self, timeout: float | None = None) -> Any:
        """What the flow returned; raises what it raised.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
            Suspended: it waits, for a person or a budget, and holds no compute.
        """
        if self._work.thread is not None:
            self._work.thread.join(timeout)
        if not self.done():
            raise TimeoutError(f"{self.execution} has not ended within {timeout:g} s")
        value, error = self._work.outcome
        if isinstance(error, Suspended) and current_scope() is None:
            raise self._work.flow.place.stopped(error, self.execution) from None
        if error is not None:
            raise error
        return value

    @property
    def status(self) -> ExecutionStatus:
        """How the execution stands."""
        return self._work.engine.journal.execution(self.execution).status

    @property
    def cost(self) -> float | None:
        """What it has cost so far in US dollars; None where nothing of it has a price."""
        return self._work.engine.journal.execution(self.execution).cost

    def __repr__(self) -> str:
        """Its id and how it stands."""
        return f"<{self._work.flow.name} {self.execution}: {self.status.value}>"

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        return card(self._work.engine.journal, self.execution)


_works: weakref.WeakKeyDictionary[FlowHandle, _Work] = weakref.WeakKeyDictionary()


def in_background(turn: Turn, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> FlowHandle:
    """Run an attempt in a thread of its own, inside what `around` gives."""

    def work() -> Any:
        with around():
            return turn.run_here()

    return FlowHandle(turn.flow, turn.engine, turn.execution, work)
