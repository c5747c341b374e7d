"""Executions: the list, one with its checkpoints, its log, a step's inputs, and why it ran."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.describe import execution_json, show_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.live_outputs import shown_by, unended_step
from kitaru_nb.engine.logs import log_of
from kitaru_nb.engine.pages import Wanted
from kitaru_nb.engine.progress import Progress, progress_of
from kitaru_nb.engine.refs import find_step
from kitaru_nb.engine.typeable import Typeable
from kitaru_nb.engine.why import explain
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.server.handler import KitaruHandler, checked
from kitaru_nb.stacks.settings import begun_after

__all__ = ["Executions", "Inputs", "Logs", "OneExecution", "Outputs", "Why"]

_PAGE, _LONGEST = 50, 500
_LINES = 1000
_NUMBERS = (1 << 53) - 1  # what JavaScript can count


class Executions(KitaruHandler):
    """The list, newest first, a page at a time."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with a page."""
        before, since, notebook = self.text("before"), self.text("since"), self.notebook()
        wanted = Wanted(
            status=self.one_of(ExecutionStatus, "status"),
            tag=self.text("tag"),
            since=None if since is None else begun_after(since, what="since"),
            notebook=self.known_as(),
            text=self.text("q"),
            before=None if before is None else ExecutionId(before),
        )
        limit = self.number("limit", least=1, most=_LONGEST) or _PAGE

        places = self.service.places

        def work() -> dict[str, Any]:
            place = places.own() if notebook is None else places.of_notebook(notebook)
            page = place.page(wanted, limit=limit)
            progress = place.progress(page.executions)
            told = [{**execution_json(each), **_progress(progress.get(each.id))} for each in page.executions]
            return {"executions": told, "more": page.more}

        self.reply(await self.service.in_thread(work))


class OneExecution(KitaruHandler):
    """One execution with its checkpoints and waits."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with the document that ``kitaru-nb show --json`` prints, and how far it is while it runs."""
        wanted = checked("execution", execution)

        def look(engine: Engine, chosen: ExecutionId) -> dict[str, Any]:
            journal, found = engine.journal, engine.journal.execution(chosen)
            return {**show_json(journal, found), **_progress(progress_of(journal, found))}

        self.reply(await self.look_at(wanted, look))


class Logs(KitaruHandler):
    """What happened in an execution, line by line."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with the lines after a number, and the number to ask for next."""
        wanted = checked("execution", execution)
        after = self.number("after", least=0, most=_NUMBERS) or 0
        limit = self.number("limit", least=1, most=_LINES) or _LINES

        def look(engine: Engine, chosen: ExecutionId) -> dict[str, Any]:
            return log_of(engine.journal, chosen, after=after, limit=limit).to_json()

        self.reply(await self.look_at(wanted, look))


class Outputs(KitaruHandler):
    """What one step has shown, or shows while it runs."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with its outputs as a notebook has them, and whether they are all."""
        wanted, name = checked("execution", execution), self.text("checkpoint")

        def look(engine: Engine, chosen: ExecutionId) -> dict[str, Any]:
            journal, found = engine.journal, engine.journal.execution(chosen)
            return shown_by(journal, found, name or unended_step(journal, found)).to_json()

        self.reply(await self.look_at(wanted, look))


class Inputs(KitaruHandler):
    """What one step read that a person can type for a replay."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with the names that held plain data, and what they held where that is short."""
        wanted = checked("execution", execution)
        name = self.needed("checkpoint", hint="inputs?checkpoint=train")

        def look(engine: Engine, chosen: ExecutionId) -> dict[str, Any]:
            found = engine.journal.execution(chosen)
            step = find_step(engine.journal, found, name)
            return {
                "checkpoint": name,
                "inputs": [each.to_json() for each in Typeable(engine, found).of(step)],
            }

        self.reply(await self.look_at(wanted, look))


class Why(KitaruHandler):
    """Why one step of an execution was restored or ran."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with the document that ``kitaru-nb why --json`` prints."""
        wanted = checked("execution", execution)
        name = self.needed("checkpoint", hint="why?checkpoint=train")

        def look(engine: Engine, chosen: ExecutionId) -> dict[str, Any]:
            journal = engine.journal
            step = find_step(journal, journal.execution(chosen), name)
            return explain(journal, step).to_json()

        self.reply(await self.look_at(wanted, look))


def _progress(progress: Progress | None) -> dict[str, Any]:
    """What a document has beside those that commands print, while an execution runs or waits."""
    return {} if progress is None else {"progress": progress.to_json()}
