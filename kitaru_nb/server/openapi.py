"""The description of all routes, for programs."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.server.description import described
from kitaru_nb.server.handler import ROOT, KitaruHandler

__all__ = ["OpenApi"]


class OpenApi(KitaruHandler):
    """The OpenAPI document."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the document, which names this server's own address."""
        self.reply(described(f"{self.base_url}{ROOT}"))
