"""Paths below ours that are none: answered as all errors are, and not with Jupyter's page."""

from __future__ import annotations

import difflib
from typing import NoReturn

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.errors import NotFoundError
from kitaru_nb.server.handler import ROOT, KitaruHandler, Service

__all__ = ["Nowhere"]

_SHOWN = 100


class Nowhere(KitaruHandler):
    """Says that there is nothing, and what there is that is called like it."""

    def initialize(self, service: Service, paths: list[str]) -> None:  # type: ignore[override] # no operations
        """Take what the handlers share, and the paths that there are."""
        super().initialize(service)
        self.paths = paths

    @authenticated
    @authorized
    async def get(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    @authenticated
    @authorized
    async def head(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    @authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    @authenticated
    @authorized
    async def put(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    @authenticated
    @authorized
    async def patch(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    @authenticated
    @authorized
    async def delete(self, path: str) -> None:
        """Refuse it."""
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        close = difflib.get_close_matches(f"/{path.rstrip('/')}", self.paths, n=1)
        known = f"{ROOT}{close[0]}, or " if close else ""
        message = f"there is nothing at `{ROOT}/{path[:_SHOWN]}`"
        raise NotFoundError(
            message, kind="unknown-route", hint=f"{known}{ROOT}/openapi.json, which lists all"
        )
