"""What can be done with an execution: replay it, go on with it, cancel it. Nothing of it runs here."""

from __future__ import annotations

import ast
import asyncio
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.server.handler import KitaruHandler, checked, name_of

if TYPE_CHECKING:
    from kitaru_nb.stacks.beginning import Beginning

__all__ = ["Cancel", "Replay", "Resume"]

_POLL = 0.1  # seconds between two looks for what another process has begun

_BODY = '{"from": "train", "inputs": {"lr": 0.1}, "overrides": {}}'


class Replay(KitaruHandler):
    """A new execution from one of the steps of this one on."""

    @authenticated
    @authorized
    async def post(self, execution: str) -> None:
        """Begin it, in a process of its own, and answer with its id."""
        from kitaru_nb.server.replays import begin_replay  # noqa: PLC0415 - it loads papermill

        wanted, body = checked("execution", execution), self.body()
        step = body.get("from")
        if not isinstance(step, str) or not step:
            raise UsageError("the request does not say `from` which step", kind="bad-body", hint=_BODY)
        inputs, overrides = _changes(body, "inputs"), _changes(body, "overrides")
        service = self.service

        def change(engine: Engine, found: ExecutionId) -> ExecutionId | Beginning:
            original = engine.journal.execution(found)
            return begin_replay(engine, original, step, inputs, overrides, folder=service.root)

        begun = await self.change(wanted, change)
        self.reply({"execution": begun if isinstance(begun, str) else await self._begun_by(wanted, begun)})

    async def _begun_by(self, original: str, beginning: Beginning) -> ExecutionId:
        """The id of a replay once its process has begun it; meanwhile no thread waits."""
        while True:
            found = await self.look_at(original, lambda engine, _: beginning.begun(engine.journal))
            if found is not None:
                self.service.changed()
                return found
            await asyncio.sleep(_POLL)


class Resume(KitaruHandler):
    """The execution goes on."""

    @authenticated
    @authorized
    async def post(self, execution: str) -> None:
        """Let a process of its own go on with it."""
        from kitaru_nb.stacks.resuming import go_on  # noqa: PLC0415 - it loads papermill

        wanted, service = checked("execution", execution), self.service

        def change(engine: Engine, found: ExecutionId) -> Execution:
            return engine.journal.execution(go_on(engine, found, folder=service.root))

        self.reply(_standing(await self.change(wanted, change)))


class Cancel(KitaruHandler):
    """The execution ends for good."""

    @authenticated
    @authorized
    async def post(self, execution: str) -> None:
        """Mark it as cancelled, and ask its process to end."""
        from kitaru_nb.stacks.cancelling import cancel, end_job  # noqa: PLC0415 - as above
        from kitaru_nb.stacks.launcher import Launchers  # noqa: PLC0415 - as above

        wanted, by = checked("execution", execution), name_of(self.current_user)

        def change(engine: Engine, found: ExecutionId) -> Execution:
            now = cancel(engine.journal, found, by=by)
            end_job(engine, now, Launchers(engine.settings))
            return now

        self.reply(_standing(await self.change(wanted, change)))


def _standing(execution: Execution) -> dict[str, Any]:
    return {"execution": execution.id, "status": execution.status.value}


def _changes(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Names with new values: JSON, or ``{"expr": "…"}`` with a Python literal such as a tuple.

    Raises:
        UsageError: kinds ``bad-body``, ``bad-change``.
    """
    found = body.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"`{name}` holds no names with values", kind="bad-body", hint=_BODY)
    return {key: _value(key, value) for key, value in found.items()}


def _value(name: str, value: Any) -> Any:
    match value:
        case {"expr": str(text), **rest} if not rest:
            try:
                return ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                message = f"`{name}` is an expression that only a kernel can evaluate"
                hint = f"%replay --from STEP --set {name}=EXPRESSION in the notebook"
                raise UsageError(message, kind="bad-change", hint=hint) from None
    return value
