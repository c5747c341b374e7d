"""Executions: the list, and one with its checkpoints."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.describe import execution_json, show_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.pages import Wanted, page
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.server.handler import KitaruHandler, checked
from kitaru_nb.stacks.settings import begun_after

__all__ = ["Executions", "OneExecution"]

_PAGE, _LONGEST = 50, 500


class Executions(KitaruHandler):
    """The list, newest first, a page at a time."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with a page."""
        before, since = self.text("before"), self.text("since")
        wanted = Wanted(
            status=_status(self.text("status")),
            tag=self.text("tag"),
            since=None if since is None else begun_after(since, what="since"),
            notebook=self.notebook(),
            text=self.text("q"),
            before=None if before is None else ExecutionId(before),
        )
        limit = self.number("limit", least=1, most=_LONGEST) or _PAGE

        def look(engine: Engine) -> dict[str, Any]:
            found = page(engine.journal, wanted, limit=limit)
            return {"executions": [execution_json(each) for each in found.executions], "more": found.more}

        try:
            self.reply(await self.look(look))
        except NotFoundError as error:
            if error.kind != "nothing-recorded":
                raise
            self.reply({"executions": [], "more": False})


class OneExecution(KitaruHandler):
    """One execution with its checkpoints and waits."""

    @authenticated
    @authorized
    async def get(self, execution: str) -> None:
        """Answer with the document that ``kitaru-nb show --json`` prints."""
        wanted = checked("execution", execution)
        self.reply(
            await self.look(lambda engine: show_json(engine.journal, engine.journal.execution(wanted)))
        )


def _status(text: str | None) -> ExecutionStatus | None:
    if text is None:
        return None
    try:
        return ExecutionStatus(text)
    except ValueError:
        raise UsageError(
            f"`{text}` is no status", kind="bad-status", hint=", ".join(ExecutionStatus)
        ) from None
