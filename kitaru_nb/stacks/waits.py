"""`wait` as users import it, and who is told and asked where it is called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast, overload

from kitaru_nb.engine.context import current_front, current_scope
from kitaru_nb.engine.wait import NO_DEFAULT, Asked, Notify, asked, waiting
from kitaru_nb.errors import UsageError
from kitaru_nb.model.schema import misfit, wanted
from kitaru_nb.model.wait import WaitStatus
from kitaru_nb.stacks.terminal import TerminalFront, ask_there, is_terminal

__all__ = ["Waiting", "wait"]

T = TypeVar("T")
Span = float | str | timedelta | None


class Waiting(Protocol):
    """The type of `wait`."""

    @overload
    def __call__(
        self,
        question: str,
        *,
        name: str | None = None,
        show: object = None,
        timeout: Span = None,
        default: bool = ...,
        notify: Notify | None = None,
        hold: Span = None,
    ) -> bool: ...
    @overload
    def __call__(
        self,
        question: str,
        schema: type[T],
        *,
        name: str | None = None,
        show: object = None,
        timeout: Span = None,
        default: T = ...,
        notify: Notify | None = None,
        hold: Span = None,
    ) -> T: ...
    @overload
    def __call__(
        self,
        question: str,
        schema: Any,
        *,
        name: str | None = None,
        show: object = None,
        timeout: Span = None,
        default: object = ...,
        notify: Notify | None = None,
        hold: Span = None,
    ) -> Any: ...

    async_: Callable[..., Any]


def _wait(
    question: str,
    schema: object = bool,
    *,
    name: str | None = None,
    show: object = None,
    timeout: Span = None,
    default: object = NO_DEFAULT,
    notify: Notify | None = None,
    hold: Span = None,
) -> Any:
    """Ask a person, and go on with the answer, however long it takes.

    The question is on record before anybody is told of it. Nothing lives while nobody has
    answered: the flow, cell or run that asks ends with the status ``waiting`` (exit code 75), and
    running it again after the answer goes on there, with everything before it served from the
    record. The first answer counts, whoever gives it and by what way: ``kitaru-nb approve``,
    ``reject`` or ``answer``, from any process that reaches the journal. In a script at a terminal
    the question is asked there.

    It is the same wait in each attempt: the n-th of its name in that place of the code. An answer
    holds for the question, the schema and what was shown; where one of them has changed, it is
    asked again. Its address ``EXECUTION/NAME`` (``#n`` from the second of a name on) is known
    beforehand, and can be answered before it is reached.

    In a coroutine, ``await wait.async_(...)`` does the same.

    Args:
        question: What is asked, such as ``"Publish?"``.
        schema: What an answer is: a type, an Enum, a Literal, a dataclass, a pydantic model or a
            JSON schema.
        name: What the wait is called; made from question and schema without it.
        show: What is to be approved. It is displayed, and an approval holds for nothing else.
        timeout: Seconds, or text such as ``"2h"``: how long anybody has to answer, counted from
            when it is first asked.
        default: The answer that counts when nobody has answered by then.
        notify: Called with the wait when it is asked; or a command that is run then and gets the
            wait as JSON on its standard input. A crash just before it loses the notice, never the
            question.
        hold: Wait this long in the running process before suspending.

    Returns:
        The answer, as `schema` says.

    Raises:
        Suspended: nobody has answered yet. It is no `Exception`: let it pass.
        TimedOutError: kind ``wait-expired``: nobody answered in time, and there is no default.
        UsageError: an argument cannot be taken; or this is outside any execution, and there is no
            terminal to ask at.
    """
    what = asked(
        question,
        schema,
        name=name,
        show=show,
        timeout=timeout,
        default=default,
        notify=notify,
        hold=hold,
    )
    steps = _steps(what)
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as end:
        return end.value


async def _wait_async(question: str, schema: object = bool, **options: Any) -> Any:
    """As `wait`, for coroutines: while it holds on, the event loop runs."""
    given: dict[str, Any] = {
        **dict.fromkeys(("name", "show", "timeout", "notify", "hold")),
        "default": NO_DEFAULT,
    }
    unknown = options.keys() - given.keys()
    if unknown:
        raise TypeError(f"wait.async_() got an unexpected keyword argument {min(unknown)!r}")
    steps = _steps(asked(question, schema, **{**given, **options}))
    try:
        while True:  # noqa: ASYNC110 - what it waits for is in another process
            await asyncio.sleep(next(steps))
    except StopIteration as end:
        return end.value


def _steps(what: Asked) -> Generator[float, None, Any]:
    scope = current_scope()
    if scope is None:
        return _alone(what)
    journal = scope.book.engine.journal
    front = current_front() or TerminalFront(
        is_over=lambda wait: journal.wait(wait.address).status is not WaitStatus.PENDING
    )
    return waiting(scope, what, front)


def _alone(what: Asked) -> Generator[float, None, Any]:
    """Outside any execution nothing is on record: somebody at the terminal answers, or nobody can."""
    yield from ()
    given: list[Any] = []

    def give(answer: Any) -> None:
        problem = misfit(answer, what.form.schema)
        if problem is not None:
            raise UsageError(f"that is not {wanted(what.form.schema)}: {problem}", kind="invalid-answer")
        given.append(what.form.build(answer))

    schema: Mapping[str, Any] = what.form.schema
    default = (what.default,) if what.has_default else ()
    if is_terminal() and ask_there(what.text, schema, give, show=_shown(what), default=default):
        return given[0]
    raise UsageError(
        f"`{what.text}` is asked outside any execution, so no answer could be kept for it",
        kind="outside-execution",
        hint="@kt.flow above the function that asks, or %load_ext kitaru_nb in a notebook",
    )


def _shown(what: Asked) -> Any:
    from kitaru_nb.engine.showing import displayed  # noqa: PLC0415 - only at a terminal

    return None if what.show is None else displayed(what.show)


wait = cast("Waiting", _wait)
wait.async_ = _wait_async
_wait.__name__ = _wait.__qualname__ = "wait"
_wait_async.__name__ = _wait_async.__qualname__ = "async_"
_wait.__module__ = "kitaru_nb"
