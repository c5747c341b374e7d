"""`Client`: what is on record, for programs: executions, waits, artifacts, costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.costs import By, costs
from kitaru_nb.engine.describe import (
    artifacts_json,
    execution_json,
    show_json,
    wait_json,
)
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.person import this_person
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionStatus
from kitaru_nb.model.wait import WaitStatus
from kitaru_nb.stacks.open import load, load_stored, open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["Client"]


class Client:
    """Looks at what is on record, and answers waits. It runs nothing and needs no kernel.

    What it gives are dictionaries with the fields that the commands print with ``--json``. Each
    method opens the records and closes them again, so that a client can live as long as it likes.

    Args:
        stack: Where to look; the current stack without it.

    Raises:
        NotFoundError: from each method: there is no such execution, wait or value; or nothing
            was ever recorded there.
    """

    def __init__(self, *, stack: str | None = None) -> None:
        self._stack = stack
        self._settings = resolve(stack=stack)

    def executions(
        self, *, status: str | None = None, tag: str | None = None, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Executions, newest first.

        Args:
            status: Only those that are ``running``, ``waiting``, ``completed``, ``failed``,
                ``interrupted`` or ``cancelled``.
            tag: Only those with this tag.
            since: Only those begun since then.

        Raises:
            UsageError: kind ``bad-status``; or ``bad-since``.
        """
        chosen = None
        if since is not None and not isinstance(since, datetime):
            message = f"`since` is `{since!r}`, and has to be a `datetime`"
            raise UsageError(message, kind="bad-since", hint="datetime.now() - timedelta(hours=1)")
        if status is not None:
            try:
                chosen = ExecutionStatus(status)
            except ValueError:
                hint = ", ".join(ExecutionStatus)
                raise UsageError(f"`{status}` is no status", kind="bad-status", hint=hint) from None
        with self._opened() as engine:
            found = engine.journal.executions(status=chosen, tag=tag, since=since)
        return [execution_json(execution) for execution in found]

    def execution(self, execution: str = LATEST) -> dict[str, Any]:
        """One execution with its checkpoints and waits.

        Args:
            execution: An id, the start of one, or ``"latest"``.
        """
        with self._opened() as engine:
            return show_json(engine.journal, find_execution(engine.journal, execution))

    def artifacts(self, execution: str = LATEST) -> list[dict[str, Any]]:
        """What an execution stored, each with the reference that `load` takes."""
        with self._opened() as engine:
            return artifacts_json(engine.journal, find_execution(engine.journal, execution))

    def load(self, ref: str, *, trust: bool = False) -> Any:
        """A stored value, see `kitaru_nb.load`."""
        if self._stack is None:
            return load(ref, trust=trust)
        return load_stored(ref, trust=trust, settings=self._settings)[1]

    def cost(self, execution: str | None = None, *, by: str = "execution") -> list[dict[str, Any]]:
        """What model calls have cost and what was saved.

        Args:
            execution: One execution alone; all of them without it.
            by: Add up by ``execution``, ``checkpoint``, ``tag``, ``model`` or ``day``.

        Raises:
            UsageError: kind ``bad-option``.
        """
        if by not in list(By):
            raise UsageError(f"costs are not added up by `{by}`", kind="bad-option", hint=", ".join(By))
        with self._opened() as engine:
            chosen = None if execution is None else find_execution(engine.journal, execution).id
            rows = costs(engine.journal, by=By(by), execution=chosen)
        return [row.to_json(By(by)) for row in rows]

    def waits(self, *, pending: bool = True) -> list[dict[str, Any]]:
        """Questions to people: those that are pending, or all of them."""
        with self._opened() as engine:
            found = engine.journal.waits()
        return [wait_json(wait) for wait in found if not pending or wait.status is WaitStatus.PENDING]

    def answer(self, address: str, value: object, *, reason: str | None = None) -> dict[str, Any]:
        """Answer a wait; durable when this returns, whether or not a process lives that waits.

        Args:
            address: ``EXECUTION/NAME[#n]``.
            value: A JSON value that its question takes.
            reason: What you say about it.

        Raises:
            UsageError: the question does not take it.
            ConflictError: somebody else answered before, or the deadline has passed.
        """
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            message = f"the answer to `{address}` is no JSON value"
            raise UsageError(
                message, kind="bad-value", hint="True, a number, text, a list or a dict"
            ) from None
        with closing(open_engine(self._settings)) as engine:
            by = this_person()
            return wait_json(
                give_answer(engine.journal, address, plain, by=by, source="python", reason=reason)
            )

    @contextmanager
    def _opened(self) -> Iterator[Engine]:
        with closing(open_engine(self._settings, read_only=True)) as engine:
            yield engine


Client.__module__ = "kitaru_nb"
