"""Waits: what is asked, and the answers that people give in a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.describe import wait_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.wait import Address, Wait, WaitStatus
from kitaru_nb.server.handler import KitaruHandler, checked, name_of

__all__ = ["Answer", "OneWait", "Waits"]

_SOURCE = "server"


class Waits(KitaruHandler):
    """The list: what is pending first."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with all that fit."""
        execution, status, notebook = self.text("execution"), _status(self.text("status")), self.notebook()

        def look(engine: Engine, chosen: ExecutionId | None = None) -> list[Wait]:
            journal = engine.journal
            if notebook is None:
                found = journal.waits(chosen)
            else:
                own = [each.id for each in journal.executions(notebook=str(notebook))]
                found = [wait for each in reversed(own) for wait in journal.waits(each)]
            return [wait for wait in found if status is None or wait.status is status]

        if execution is not None:
            found = await self.look_at(execution, look)
        else:
            try:
                found = await self.look(look, notebook=notebook)
            except NotFoundError as error:
                if error.kind != "nothing-recorded":
                    raise
                found = []
        found.sort(key=lambda wait: wait.status is not WaitStatus.PENDING)
        self.reply({"waits": [wait_json(wait) for wait in found]})


class OneWait(KitaruHandler):
    """One wait."""

    @authenticated
    @authorized
    async def get(self, address: str) -> None:
        """Answer with the wait as it stands."""
        place = _place(address)

        def look(engine: Engine, found: ExecutionId) -> dict[str, Any]:
            return wait_json(engine.journal.wait(str(replace(place, execution=found))))

        self.reply(await self.look_at(place.execution, look))


class Answer(KitaruHandler):
    """The answer to one wait."""

    @authenticated
    @authorized
    async def post(self, address: str) -> None:
        """Record it under the name of whoever is logged in, whatever the request says."""
        place, body = _place(address), self.body()
        if "answer" not in body:
            raise UsageError("the request holds no `answer`", kind="bad-body", hint='{"answer": true}')
        reason, binding = _text(body, "reason"), _text(body, "binding")
        by = name_of(self.current_user)

        def change(engine: Engine, found: ExecutionId) -> dict[str, Any]:
            return wait_json(
                engine.journal.answer_wait(
                    str(replace(place, execution=found)),
                    body["answer"],
                    by=by,
                    source=_SOURCE,
                    reason=reason,
                    binding=binding,
                )
            )

        self.reply(await self.change(place.execution, change))


def _place(address: str) -> Address:
    """The address in a path.

    Raises:
        UsageError: kinds ``bad-address``, ``too-long``.
    """
    place = Address.parse(checked("address", address))
    if place is None:
        message = f"`{address}` is not the address of a wait"
        raise UsageError(message, kind="bad-address", hint="waits/EXECUTION%2FNAME")
    return place


def _text(body: dict[str, Any], name: str) -> str | None:
    found = body.get(name)
    if found is not None and not isinstance(found, str):
        raise UsageError(f"`{name}` is no text", kind="bad-body", hint=f'{{"answer": true, "{name}": "…"}}')
    return found


def _status(text: str | None) -> WaitStatus | None:
    if text is None:
        return None
    try:
        return WaitStatus(text)
    except ValueError:
        raise UsageError(f"`{text}` is no status", kind="bad-status", hint=", ".join(WaitStatus)) from None
