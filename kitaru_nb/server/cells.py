"""The cells of an open notebook: fresh or stale, as they stand in the editor, with no kernel."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.renamed import recorded_name
from kitaru_nb.errors import UsageError
from kitaru_nb.server.handler import KitaruHandler, below, checked

__all__ = ["Cells"]

_MOST = 5000
_BODY = '{"notebook": "folder/a.ipynb", "cells": [{"id": "…", "source": "…"}]}'


class Cells(KitaruHandler):
    """How each cell stands. It only looks; it is posted since sources are too long for a URL."""

    @authenticated
    @authorized(action="read")  # type: ignore[untyped-decorator] # typed where it takes nothing only
    async def post(self) -> None:
        """Answer with the state of each cell that is a checkpoint."""
        from kitaru_nb.stacks.cell_states import TypedCell, cell_states  # noqa: PLC0415 - it loads papermill

        body = self.body()
        path, listed = body.get("notebook"), body.get("cells")
        if not (isinstance(path, str) and path and isinstance(listed, list) and len(listed) <= _MOST):
            raise UsageError("the request holds no notebook with its cells", kind="bad-body", hint=_BODY)
        notebook, places = below(self.service.root, checked("notebook", path)), self.service.places
        called = body.get("known_as", str(notebook))
        if not isinstance(called, str):
            raise UsageError("`known_as` is no path", kind="bad-body", hint=_BODY)
        known_as = checked("known_as", called)
        cells = [TypedCell(*_typed(each)) for each in listed]

        nothing: dict[str, Any] = {"execution": None, "cells": {}, "dead": None}

        def look(engine: Engine) -> dict[str, Any]:
            return cell_states(engine, recorded_name(engine.journal, known_as), cells)

        def work() -> dict[str, Any]:
            place = places.of_notebook(notebook)
            return place.found(look, nothing, inert=False)

        self.reply(await self.service.in_thread(work))


def _typed(cell: Any) -> tuple[str, str, tuple[str, ...]]:
    match cell:
        case {"id": str(number), "source": str(source)}:
            tags = cell.get("tags", [])
            if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
                return number, source, tuple(tags)
    raise UsageError("a cell in the request has no `id` and `source`", kind="bad-body", hint=_BODY)
