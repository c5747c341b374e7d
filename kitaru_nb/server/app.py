"""The extension as Jupyter Server loads it: its settings, its routes, its one watcher."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_path
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from traitlets import Bool, Float, Unicode
from traitlets.config import LoggingConfigurable

from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.server import artifacts, cells, executions, nowhere, openapi, runs, sums, waits
from kitaru_nb.server.description import described
from kitaru_nb.server.events import Watcher, register
from kitaru_nb.server.handler import ROOT, KitaruHandler, Service
from kitaru_nb.server.places import Place, Places

__all__ = ["KitaruServer", "load", "routes"]

_LABEXTENSION = "kitaru-nb-labextension"


class KitaruServer(LoggingConfigurable):
    """Settings of the extension, in ``jupyter_server_config.py`` as ``c.KitaruServer``."""

    stack = Unicode(
        "",
        help="The stack whose records are shown; empty for the one that is current where the server runs.",
    ).tag(config=True)
    poll = Float(
        0.2, help="How many seconds pass between two looks for something new, while anybody listens."
    ).tag(config=True)
    resume = Bool(
        True, help="Whether a run that was suspended on this machine goes on by itself once it is answered."
    ).tag(config=True)


_ROUTES: dict[str, type[KitaruHandler]] = {
    "/executions": executions.Executions,
    "/executions/{execution}": executions.OneExecution,
    "/executions/{execution}/logs": executions.Logs,
    "/executions/{execution}/outputs": executions.Outputs,
    "/executions/{execution}/inputs": executions.Inputs,
    "/executions/{execution}/why": executions.Why,
    "/executions/{execution}/replay": runs.Replay,
    "/executions/{execution}/resume": runs.Resume,
    "/executions/{execution}/cancel": runs.Cancel,
    "/waits": waits.Waits,
    "/waits/{address}": waits.OneWait,
    "/waits/{address}/answer": waits.Answer,
    "/cost": sums.Cost,
    "/diff": sums.Diff,
    "/diff.html": sums.DiffPage,
    "/cells": cells.Cells,
    "/artifacts": artifacts.Artifact,
    "/artifacts/slice": artifacts.Slice,
    "/openapi.json": openapi.OpenApi,
}
"""What answers each path, as the description has it."""


def routes() -> list[tuple[str, type[KitaruHandler]]]:
    """Every route below the server's base URL, and what answers it."""
    return [(_pattern(path), handler) for path, handler in _ROUTES.items()]


def _pattern(path: str) -> str:
    return ROOT + re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(path))


def load(server: ServerApp) -> None:
    """Add the routes and the event schema to a server, and begin to watch once its loop runs."""
    own = KitaruServer(parent=server)
    root = Path(server.root_dir).absolute()
    service = Service(Places(root, own.stack or None), root)
    assert server.event_logger is not None
    register(server.event_logger)
    resumes = _resumes(root, server.log) if own.resume else _leave
    watcher = Watcher(server.event_logger, service, go_on=resumes, pause=own.poll, log=server.log)
    service.heard, service.changed = watcher.heard, watcher.wake
    base = server.web_app.settings["base_url"]
    paths = described("")["paths"]
    table: list[tuple[str, type[KitaruHandler], dict[str, Any]]] = [
        (_pattern(path), handler, {"service": service, "operations": paths[path]})
        for path, handler in _ROUTES.items()
    ]
    table.append((f"{ROOT}/(.*)", nowhere.Nowhere, {"service": service, "paths": list(_ROUTES)}))
    server.web_app.add_handlers(  # type: ignore[no-untyped-call] # tornado has no types there
        ".*$", [(url_path_join(base, path), handler, options) for path, handler, options in table]
    )
    server.io_loop.add_callback(watcher.begin)
    if _has_labextension():
        os.environ["KITARU_NB_LAB"] = "1"  # kernels inherit it: their cells need not say what badges show
    server.log.info("kitaru_nb: executions and waits are at %s", url_path_join(base, ROOT))


def _has_labextension() -> bool:
    """Whether JupyterLab and Notebook find our extension where this server runs."""
    return any(
        Path(folder, _LABEXTENSION, "package.json").is_file() for folder in jupyter_path("labextensions")
    )


_load_jupyter_server_extension = load


def _resumes(root: Path, log: Any) -> Any:
    """Makes runs go on that have their answer, of those that this user has suspended."""

    def go_on_at(place: Place, execution: ExecutionId) -> None:
        from kitaru_nb.stacks.resuming import go_on, has_its_answer  # noqa: PLC0415 - it loads papermill

        try:
            with place.reading() as engine:
                found = has_its_answer(engine.journal, execution)
            if found is None:
                return
            if not place.is_stop_ours(found):
                log.info(
                    "kitaru_nb: %s has its answer and does not go on by itself, since its record is not "
                    "signed with your key; kitaru-nb resume %s makes it go on",
                    found,
                    found,
                )
                return
            with place.writing() as engine:
                go_on(engine, found, folder=root)
            log.info("kitaru_nb: %s has its answer and goes on", found)
        except ConflictError:
            return  # somebody else was quicker: it goes on there
        except KitaruError as error:
            log.warning("kitaru_nb: %s has its answer and cannot go on: %s", execution, error)

    return go_on_at


def _leave(_place: Place, _execution: ExecutionId) -> None:
    """Whoever answers makes it go on: ``kitaru-nb resume``."""
