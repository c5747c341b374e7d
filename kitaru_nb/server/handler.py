"""What every route has: who asks, JSON in and out, errors as documents, and work in threads."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import responses
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import (
    ConflictError,
    KernelError,
    KitaruError,
    NotFoundError,
    StoreError,
    UntrustedError,
    UsageError,
)
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.server.places import Places

__all__ = ["RESOURCE", "ROOT", "KitaruHandler", "Service", "name_of"]

ROOT = "kitaru-nb/api"
"""Where the routes are, below the server's base URL."""

RESOURCE = "kitaru-nb"
"""What a Jupyter authorizer is asked about: reading it, or writing it."""

MAX_BODY = 1 << 20
MAX_TEXT = 1000  # characters of a name, an address or a search in a URL
_THREADS = 4
_SHOWN = 60
_OTHERS = ("token", "_xsrf", "_")  # who asks, and what keeps a browser from remembering; so do bare numbers
_ANONYMOUS = 32  # hexadecimal digits: what Jupyter calls somebody whom no identity provider knows
_MADE_UP = "Anonymous "  # what it shows of them begins like this

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass
class Service:
    """What the handlers share.

    Attributes:
        places: Opens the records.
        root: The folder that the server serves.
        threads: Where all work is done that can block.
        heard: Called when somebody has asked for something.
        changed: Called when something was recorded here.
    """

    places: Places
    root: Path
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="kitaru-nb")
    )
    heard: Callable[[], None] = lambda: None
    changed: Callable[[], None] = lambda: None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` gives, run where it does not hold up the server."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def name_of(user: User) -> str:
    """Whom the record names: what the identity provider shows, and its own name for them where it has one.

    People may choose what is shown of them, also those whom no provider knows: only the name that
    Jupyter has made up for these stands alone.
    """
    shown = _in_line(user.display_name or user.name or user.username)
    known = _in_line(user.username)
    numbered = len(known) == _ANONYMOUS and all(c in "0123456789abcdef" for c in known)
    anonymous = numbered and shown.startswith(_MADE_UP)
    return shown if anonymous or known == shown else f"{shown} ({known})"


def _in_line(name: str) -> str:
    """`name` in one line, with nothing in it that is not seen."""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())


class KitaruHandler(APIHandler):
    """The base of all handlers. Each of their methods is authenticated and authorized by itself."""

    auth_resource = RESOURCE
    service: Service

    def initialize(self, service: Service, operations: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Take what the handlers share, and what the description says of this one's verbs."""
        self.service = service
        self.operations = operations

    async def prepare(self) -> None:  # type: ignore[override] # as in its base, whose own base redirects
        """Refuse what is too large, then who may not ask, then what nobody knows."""
        await super().prepare()
        if len(self.request.body) > MAX_BODY:
            raise HTTPError(413, f"the request has more than {MAX_BODY} bytes")
        if self.current_user:
            self.service.heard()
            self._refuse_unknown()

    def _refuse_unknown(self) -> None:
        """Refuse a parameter of the query that would count for nothing: most are mistyped.

        Raises:
            UsageError: kind ``unknown-query``.
        """
        operation = self.operations.get((self.request.method or "").lower())
        if operation is None:
            return  # a verb that it does not have is refused as that
        known = [each["name"] for each in operation["parameters"]]
        for name, values in self.request.query_arguments.items():
            if name in known or name in _OTHERS or (name.isdigit() and not any(values)):
                continue
            close = difflib.get_close_matches(name, known, n=1)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise UsageError(
                f"the query has `{name[:_SHOWN]}`, which means nothing here",
                kind="unknown-query",
                hint=f"{close[0]}=…" if close else takes,
            )

    async def look(self, look: Callable[[Engine], T]) -> T:
        """What `look` finds in the server's own records; it only reads."""

        def work() -> T:
            with self.service.places.own().reading() as engine:
                return look(engine)

        return await self.service.in_thread(work)

    async def look_at(self, execution: str, look: Callable[[Engine, ExecutionId], T]) -> T:
        """What `look` finds about one execution, where that is recorded; it only reads.

        Raises:
            NotFoundError: kind ``unknown-execution``.
        """

        def work() -> T:
            with self.service.places.of_execution(execution).reading() as engine:
                return look(engine, engine.journal.execution(execution).id)

        return await self.service.in_thread(work)

    async def change(self, execution: str, change: Callable[[Engine, ExecutionId], T]) -> T:
        """What `change` gives, done with the records of one execution opened for writing.

        Raises:
            NotFoundError: kind ``unknown-execution``.
        """

        def work() -> T:
            with self.service.places.of_execution(execution).writing() as engine:
                return change(engine, engine.journal.execution(execution).id)

        found = await self.service.in_thread(work)
        self.service.changed()
        return found

    def reply(self, document: Any) -> None:
        """Answer with a JSON document."""
        self.finish(json.dumps(document, allow_nan=False))

    def text(self, name: str) -> str | None:
        """A parameter of the query; None where it is not given or empty.

        Raises:
            UsageError: kind ``too-long``.
        """
        # tornado's own way makes blanks of control characters, which a name may have
        given = self.request.query_arguments.get(name, [b""])[-1]
        try:
            found = given.decode("utf-8")
        except UnicodeDecodeError:
            message = f"`{name}` is not in UTF-8"
            raise UsageError(message, kind="bad-query", hint=f"{name}=TEXT, quoted") from None
        return checked(name, found) if found else None

    def needed(self, name: str, *, hint: str) -> str:
        """A parameter of the query that has to be given.

        Raises:
            UsageError: kinds ``bad-query``, ``too-long``.
        """
        found = self.text(name)
        if found is None:
            raise UsageError(f"which `{name}` is not said", kind="bad-query", hint=hint)
        return found

    def notebook(self) -> Path | None:
        """The notebook in the query as the records know it, from its path below the server's folder.

        Raises:
            UsageError: kind ``bad-path``.
        """
        path = self.text("notebook")
        return None if path is None else below(self.service.root, path)

    def known_as(self) -> str | None:
        """What the notebook in the query is called where it is recorded; None where none is in the query.

        That is its path on this machine, unless its kernel is known to call it something else.
        """
        notebook = self.notebook()
        return None if notebook is None else self.text("known_as") or str(notebook)

    def number(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number in the query.

        Raises:
            UsageError: kind ``bad-number``.
        """
        found = self.text(name)
        if found is None:
            return None
        if not (found.isascii() and found.isdigit() and least <= int(found) <= most):
            raise UsageError(
                f"`{name}` is `{found}`, which is no number from {least} to {most}",
                kind="bad-number",
                hint=f"{name}={least}",
            )
        return int(found)

    def one_of(self, kind: type[E], name: str) -> E | None:
        """A parameter of the query that is one of a few words; None where it is not given.

        Raises:
            UsageError: kind ``bad-NAME``.
        """
        found = self.text(name)
        try:
            return None if found is None else kind(found)
        except ValueError:
            message = f"`{found}` is no {name}"
            raise UsageError(message, kind=f"bad-{name}", hint=", ".join(kind)) from None

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent.

        Raises:
            UsageError: kind ``bad-body``.
        """
        try:
            text = self.request.body.decode("utf-8")
            found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
        except UsageError:
            raise
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UsageError("the request holds no JSON object", kind="bad-body", hint='{"answer": true}')
        return found

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as the document that the command line prints."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, KitaruError):
            status_code, document = status_of(error), error.document
        else:
            told = error.log_message if isinstance(error, HTTPError) else None
            message = told or responses.get(status_code, "unknown error").lower()
            document = KitaruError(message, kind=f"http-{status_code}").document
        self.set_status(status_code)
        self.finish(json.dumps(document))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is an answer, not an accident: it leaves no traceback in the server's log."""
        if not isinstance(value, KitaruError):
            super().log_exception(typ, value, tb)


def checked(what: str, text: str) -> str:
    """`text`, unless it is longer than any name is.

    Raises:
        UsageError: kind ``too-long``.
    """
    if len(text) > MAX_TEXT:
        raise UsageError(f"`{what}` has more than {MAX_TEXT} characters", kind="too-long", hint=f"a {what}")
    return text


def below(root: Path, path: str) -> Path:
    """The file that the contents API calls `path`.

    Raises:
        UsageError: kind ``bad-path``: it is not below the server's folder.
    """
    parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(
            f"`{path}` is no file below the server's folder", kind="bad-path", hint="folder/a.ipynb"
        )
    return root.joinpath(*parts)


def status_of(error: KitaruError) -> int:
    """The HTTP status that an error is answered with."""
    if error.kind == "invalid-answer":
        return 422
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    return 500


_STATUS: dict[type[KitaruError], int] = {
    UsageError: 400,
    NotFoundError: 404,
    ConflictError: 409,
    UntrustedError: 409,
    KernelError: 502,
    StoreError: 503,
}


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless it says two things under one name: readers differ in which of them counts.

    Raises:
        UsageError: kind ``bad-body``.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            message = f"the request names `{name[:_SHOWN]}` twice"
            raise UsageError(message, kind="bad-body", hint="each name once")
        found[name] = value
    return found
