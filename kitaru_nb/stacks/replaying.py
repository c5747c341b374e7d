"""`replay` as users import it: of a flow in this process, of a notebook in one of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kitaru_nb.engine.card import card
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow import defining
from kitaru_nb.engine.flow_handle import FlowHandle, in_background
from kitaru_nb.engine.refs import FLOW, LATEST, find_execution
from kitaru_nb.errors import KitaruError, Suspended, UsageError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.stacks.background import Background, log_of
from kitaru_nb.stacks.flows import here
from kitaru_nb.stacks.replay_notebook import NotebookBegun, Wanted, begin_notebook
from kitaru_nb.stacks.replays import replay_flow

__all__ = ["NotebookHandle", "replay", "replay_notebook"]

_POLL = 0.1  # seconds


def replay(
    execution: str | Execution | FlowHandle | NotebookHandle = LATEST,
    *,
    from_: str,
    inputs: Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> FlowHandle | NotebookHandle:
    """Run an execution again from one of its steps on, as a new execution.

    What was on record before the named step began is given to the new execution and not done
    again: cells, calls, model calls, effects done ``once``, answers of people. The step itself
    really runs, though nothing about it has changed, and so does everything after it. Of what is
    before it in a flow, that runs again which a changed input, or changed code, reaches.

    The original stays as it is, whether it completed, failed, waits or runs. The new execution
    names it as its parent, and goes on as itself after a crash.

    Args:
        execution: An id, the start of one, ``"latest"``, or a handle.
        from_: The step to begin at: a checkpoint's name, ``NAME#n`` for the n-th of that name.
        inputs: Inputs of the flow that get another value; for a notebook, names that are bound
            right before the step.
        overrides: What is given instead of being run: ``{"fetch": value}`` for all calls of a
            checkpoint, ``{"fetch#2": value}`` for one, ``{"load": {"rows": rows}}`` for names that a
            cell gives, ``{"wait.publish": answer}`` for what a person is asked.

    Returns:
        A handle of the execution, which runs in the background: a flow in this process, a notebook
        in a kernel of its own, which outlives this process.

    Raises:
        NotFoundError: there is no such execution or checkpoint.
        UsageError: a name stands for nothing, or could be two things.
        UnstorableError: a value cannot be stored.
        StoreError: kind ``values-removed``: what would be given to it was removed by `gc`.
    """
    defining.refuse()
    scope = current_scope()
    if scope is not None and (scope.parent is not None or scope.path.partition("@")[0] == FLOW):
        message = "`replay` inside an execution would begin another replay in each of its attempts"
        raise UsageError(message, kind="bad-place", hint="kt.replay(...) outside flows and checkpoints")
    engine = here.engine() if scope is None else scope.book.engine
    original = find_execution(engine.journal, _id_of(execution))
    if original.identity.flow is not None:
        return in_background(replay_flow(engine, original, from_, inputs=inputs, overrides=overrides).turn)
    return replay_notebook(engine, original, Wanted(from_, inputs, overrides), namespace=_namespace())


def _id_of(execution: object) -> str:
    if isinstance(execution, FlowHandle | NotebookHandle):
        return execution.execution
    return execution.id if isinstance(execution, Execution) else str(execution)


def _namespace() -> dict[str, Any]:
    """Where the functions of the running notebook or script read their globals."""
    import __main__  # noqa: PLC0415 - whatever runs now

    return vars(__main__)


def replay_notebook(
    engine: Engine, original: Execution, wanted: Wanted, *, namespace: dict[str, Any]
) -> NotebookHandle:
    """Begin the replay of a notebook and let a process of its own run it.

    Raises:
        KitaruError: as `replay`. Nothing was begun.
    """
    process = Background()
    try:
        begun = begin_notebook(engine, original, wanted, namespace=namespace, owner=process.owner)
    except BaseException:
        process.give_up()
        raise
    process.run(begun.job, engine.settings)
    return NotebookHandle(engine, begun, process)


class NotebookHandle:
    """A replay of a notebook, which runs in a process and a kernel of its own.

    Attributes:
        execution: Its id.
        output: Where the executed notebook is.
        begun: What was asked for, and what is reused.
    """

    def __init__(self, engine: Engine, begun: NotebookBegun, process: Background) -> None:
        self.execution: ExecutionId = begun.attempt.execution
        self.output = str(engine.journal.execution(self.execution).identity.output)
        self.begun = begun
        self._engine = engine
        self._process = process

    @property
    def status(self) -> ExecutionStatus:
        """How the execution stands."""
        return self._now().status

    @property
    def cost(self) -> float | None:
        """What it has cost so far in US dollars; None where nothing of it has a price."""
        return self._now().cost

    def done(self) -> bool:
        """Whether it has ended, or waits for somebody."""
        return self.status is not ExecutionStatus.RUNNING

    def result(self, timeout: float | None = None) -> str:
        """The path of the executed notebook, once it has completed.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds.
            KitaruError: kind ``replay-failed``: it did not complete, and why.
            Suspended: it waits for a person or a budget.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self._process.is_alive():
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{self.execution} has not ended within {timeout:g} s")
            time.sleep(_POLL)
        ended = self._now()
        if ended.status is ExecutionStatus.WAITING:
            raise Suspended(ended.reason or "waits")
        if ended.status is not ExecutionStatus.COMPLETED:
            message = (
                f"the replay `{self.execution}` is {ended.status}: {ended.reason or 'no reason is known'}"
            )
            log = log_of(self._engine.settings.home, self.execution)
            hint = f"kitaru-nb show {self.execution}; its log is {log}"
            raise KitaruError(message, kind="replay-failed", hint=hint)
        return self.output

    def _now(self) -> Execution:
        return self._engine.journal.execution(self.execution)

    def __repr__(self) -> str:
        """Its id, how it stands, and where its notebook is."""
        return f"<replay {self.execution}: {self.status.value}, {self.output}>"

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        return card(self._engine.journal, self.execution, [f"output {self.output}", *self.begun.notes])
