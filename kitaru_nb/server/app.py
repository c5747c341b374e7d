"""The extension as Jupyter Server loads it: its settings, its routes, its one watcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from traitlets import Float, Unicode
from traitlets.config import LoggingConfigurable

from kitaru_nb.server import executions, waits
from kitaru_nb.server.events import Watcher, register
from kitaru_nb.server.handler import ROOT, KitaruHandler, Service
from kitaru_nb.server.places import Places

__all__ = ["KitaruServer", "routes"]


class KitaruServer(LoggingConfigurable):
    """Settings of the extension, in ``jupyter_server_config.py`` as ``c.KitaruServer``."""

    stack = Unicode(
        "",
        help="The stack whose records are shown; empty for the one that is current where the server runs.",
    ).tag(config=True)
    poll = Float(
        0.2, help="How many seconds pass between two looks for something new, while anybody listens."
    ).tag(config=True)


def routes() -> list[tuple[str, type[KitaruHandler]]]:
    """Every route below the server's base URL, and what answers it."""
    segment = "([^/]+)"
    table: dict[str, type[KitaruHandler]] = {
        "executions": executions.Executions,
        f"executions/{segment}": executions.OneExecution,
        "waits": waits.Waits,
        f"waits/{segment}": waits.OneWait,
        f"waits/{segment}/answer": waits.Answer,
    }
    return [(f"{ROOT}/{path}", handler) for path, handler in table.items()]


def load(server: ServerApp) -> None:
    """Add the routes and the event schema to a server, and begin to watch once its loop runs."""
    own = KitaruServer(parent=server)
    root = Path(server.root_dir).absolute()
    service = Service(Places(root, own.stack or None), root)
    assert server.event_logger is not None
    register(server.event_logger)
    watcher = Watcher(server.event_logger, service, pause=own.poll)
    service.heard = watcher.heard
    base = server.web_app.settings["base_url"]
    options: dict[str, Any] = {"service": service}
    server.web_app.add_handlers(  # type: ignore[no-untyped-call] # tornado has no types there
        ".*$", [(url_path_join(base, path), handler, options) for path, handler in routes()]
    )
    server.io_loop.add_callback(watcher.begin)
    server.log.info("kitaru_nb: executions and waits are at %s", url_path_join(base, ROOT))


_load_jupyter_server_extension = load
