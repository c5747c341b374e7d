"""What people type to name a wait, and where things go on once it is answered."""

from __future__ import annotations

import difflib
import shlex

from kitaru_nb.engine.refs import find_execution
from kitaru_nb.errors import NotFoundError, Suspended, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.schema import wanted
from kitaru_nb.model.wait import Address, Wait, WaitStatus

__all__ = ["find_wait", "going_on", "held_up_by", "how_to_answer", "outermost", "waiting_cells"]

_SHOWN = 8


def find_wait(journal: Journal, text: str) -> Address:
    """The wait that `text` names: its address, or the name alone of exactly one that is pending.

    In an address the execution may be the start of an id, or ``latest``. Nobody needs to have
    asked it yet. By the name alone of waits that are all over, the newest is meant: whoever comes
    late is told how it ended.

    Raises:
        NotFoundError: kinds ``unknown-execution``, ``unknown-wait``.
        UsageError: kinds ``bad-address``, ``ambiguous-execution``, ``ambiguous-wait``.
    """
    if "/" in text:
        typed = Address.parse(text)
        if typed is None:
            message = f"`{text}` is not the address of a wait"
            raise UsageError(message, kind="bad-address", hint="EXECUTION/NAME, such as latest/publish")
        return Address(find_execution(journal, typed.execution).id, typed.name, typed.number)
    known = journal.waits()
    pending = [wait for wait in known if wait.status is WaitStatus.PENDING]
    named = [wait for wait in pending if text in (wait.label, f"{wait.label}#1")]
    named = named or [wait for wait in known if text in (wait.label, f"{wait.label}#1")][:1]
    if len(named) == 1:
        return Address(named[0].execution, named[0].name, named[0].number)
    if named:
        listed = ", ".join(f"`{wait.address}`" for wait in named[:_SHOWN])
        message = f"`{text}` could be any of {len(named)} waits: {listed}"
        raise UsageError(message, kind="ambiguous-wait", hint=named[0].address)
    raise _nothing_named(text, pending)


def _nothing_named(text: str, pending: list[Wait]) -> NotFoundError:
    close = difflib.get_close_matches(text, [wait.label for wait in pending], n=1)
    listed = ", ".join(f"`{wait.address}`" for wait in pending[:_SHOWN]) or "nothing"
    message = f"nothing waits under the name `{text}`; waiting for an answer: {listed}"
    hint = close[0] if close else "EXECUTION/NAME, which may also be answered ahead of time"
    return NotFoundError(message, kind="unknown-wait", hint=hint)


def outermost(journal: Journal, execution: Execution) -> Execution:
    """The execution that is run and gone on with: `execution`, or the one that calls it in the end."""
    while execution.identity.within is not None and execution.parent is not None:
        execution = journal.execution(execution.parent)
    return execution


def going_on(journal: Journal, execution: Execution) -> str:
    """What makes an execution go on once its wait is answered, for a person."""
    whole = outermost(journal, execution)
    if whole.identity.interactive:
        return f"run the cell again in {whole.identity.notebook}"
    if whole.status is ExecutionStatus.RUNNING:
        return "the process that runs it goes on by itself"
    return f"kitaru-nb resume {whole.id}"


def waiting_cells(journal: Journal, execution: ExecutionId) -> dict[str, Suspended]:
    """What the cells of an execution wait for that earlier kernels left waiting, by where they are."""
    found = {
        _cell_of(wait.scope): Suspended(f"waits for an answer: {wait.question}", wait=wait.address)
        for wait in journal.waits(execution)
        if wait.status is WaitStatus.PENDING
    }
    held_up = held_up_by(journal, execution)
    event = journal.suspended(execution)
    if held_up is not None and event is not None:  # perhaps in a flow that a cell calls
        stopped = Suspended(event.data["message"], wait=held_up.address)
        found.setdefault(_cell_of(event.data["scope"]), stopped)
    return found


def _cell_of(scope: str) -> str:
    return scope.partition("/")[0].partition("@")[0]


def held_up_by(journal: Journal, execution: ExecutionId) -> Wait | None:
    """The wait at which the execution stopped last, while nobody has answered it."""
    event = journal.suspended(execution)
    if event is None or not event.data["wait"]:
        return None
    wait = journal.wait(event.data["wait"])
    return wait if wait.status is WaitStatus.PENDING else None


def how_to_answer(wait: Wait) -> str:
    """The command that answers a wait."""
    address = shlex.quote(wait.address)
    if wait.schema == {"type": "boolean"}:
        return f"kitaru-nb approve {address}, or reject"
    return f"kitaru-nb answer {address} --value JSON ({wanted(wait.schema)})"
