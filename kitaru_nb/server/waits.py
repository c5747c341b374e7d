"""Waits: what is asked, and the answers that people give in a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.describe import wait_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.renamed import recorded_name
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.schema import misfits
from kitaru_nb.model.wait import Address, Wait, WaitStatus
from kitaru_nb.server.handler import KitaruHandler, checked, name_of
from kitaru_nb.server.places import Place

__all__ = ["Answer", "OneWait", "Waits"]

_SOURCE = "server"
_LONGEST = 500


class Waits(KitaruHandler):
    """The list: what is pending first."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with all that fit."""
        execution, status = self.text("execution"), self.one_of(WaitStatus, "status")
        notebook, known_as = self.notebook(), self.known_as()
        limit = self.number("limit", least=1, most=_LONGEST) or _LONGEST
        places = self.service.places

        def work() -> list[Wait]:
            own: set[ExecutionId] | None = None
            if execution is not None:
                place = places.of_execution(execution)
                with place.reading() as engine:
                    own = {engine.journal.execution(execution).id}
            elif notebook is not None:
                place = places.of_notebook(notebook)
                own = _of_notebook(place, known_as or str(notebook))
            else:
                place = places.own()
            return [
                wait
                for wait in place.waits()
                if (own is None or wait.execution in own) and (status is None or wait.status is status)
            ]

        found = await self.service.in_thread(work)
        listed = [wait_json(wait) for wait in found[:limit]]
        self.reply({"waits": listed, "more": len(found) > limit})


def _of_notebook(place: Place, notebook: str) -> set[ExecutionId]:
    def look(engine: Engine) -> set[ExecutionId]:
        name = recorded_name(engine.journal, notebook)
        return {each.id for each in engine.journal.executions(notebook=name)}

    return place.found(look, set())


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
            wanted = str(replace(place, execution=found))
            try:
                given = give_answer(
                    engine.journal,
                    wanted,
                    body["answer"],
                    by=by,
                    source=_SOURCE,
                    reason=reason,
                    binding=binding,
                )
            except UsageError as error:
                if error.kind != "invalid-answer":
                    raise
                schema = engine.journal.wait(wanted).schema or {}
                return {**error.document, "fields": misfits(body["answer"], schema)}
            return wait_json(given)

        found = await self.change(place.execution, change)
        self.set_status(422 if "error" in found else 200)
        self.reply(found)


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
