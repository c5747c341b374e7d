"""What executions have cost, and two of them side by side."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.costs import By, costs
from kitaru_nb.engine.diff import ExecutionDiff, diff_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.server.handler import KitaruHandler
from kitaru_nb.stacks.comparing import page
from kitaru_nb.stacks.settings import begun_after

__all__ = ["Cost", "Diff", "DiffPage"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


class Cost(KitaruHandler):
    """What model calls have cost, and what the record has saved."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the document that ``kitaru-nb cost --json`` prints."""
        execution, tag, since = self.text("execution"), self.text("tag"), self.text("since")
        by = _by(self.text("by"))
        moment = None if since is None else begun_after(since, what="since")

        def look(engine: Engine, chosen: ExecutionId | None = None) -> list[dict[str, Any]]:
            found = costs(engine.journal, by=by, execution=chosen, tag=tag, since=moment)
            return [row.to_json(by) for row in found]

        if execution is not None:
            self.reply(await self.look_at(execution, look))
            return
        places, nothing = self.service.places, list[dict[str, Any]]()
        self.reply(await self.service.in_thread(lambda: places.own().found(look, nothing)))


class Diff(KitaruHandler):
    """Two executions side by side."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the document that ``kitaru-nb diff --json`` prints."""
        self.reply((await self.compared()).to_json())

    async def compared(self) -> ExecutionDiff:
        """The two executions that the query names, compared.

        Values whose loading could run code are not loaded: that they differ is told, and what shows how.
        """
        a, b = self.text("a"), self.text("b")
        if a is None or b is None:
            raise UsageError("which two are compared is not said", kind="bad-query", hint="diff?a=ID&b=ID")
        places = self.service.places

        def work() -> ExecutionDiff:
            place = places.of_execution(a)
            with place.reading() as engine:
                one, other = engine.journal.execution(a).id, engine.journal.execution(b).id
            return diff_executions(place.opened, one, other, elsewhere=f"kitaru-nb diff {one} {other}")

        return await self.service.in_thread(work)


class DiffPage(Diff):
    """The same as a page that needs nothing else and runs nothing."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the page that ``kitaru-nb diff --html`` writes."""
        text = page(await self.compared())
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(text, set_content_type="text/html; charset=utf-8")


def _by(text: str | None) -> By:
    try:
        return By(text or By.EXECUTION)
    except ValueError:
        message = f"costs are not added up by `{text}`"
        raise UsageError(message, kind="bad-option", hint=", ".join(By)) from None
