"""Jupyter servers for tests: one in this process, to be looked into, and one in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from jupyter_server.serverapp import ServerApp
from tornado.routing import Router, Rule
from tornado.web import RequestHandler
from tornado.websocket import websocket_connect

from tests.patience import PATIENCE
from tests.ports import free_ports

__all__ = ["API", "Api", "Leaf", "in_process", "leaves", "quoted", "started"]

API = "kitaru-nb/api/"
_VERBS = ("get", "head", "post", "put", "patch", "delete")
_OTHERS = ("jupyterlab", "notebook", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals", "nbclassic")


def quoted(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


class QuietApp(ServerApp):
    """A server that leaves this process's signals alone."""

    def init_signal(self) -> None:
        pass


class Api:
    """Asks a server, as somebody who has its token.

    Attributes:
        url: The server's address, with a slash at its end.
        token: Its token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"token {token}"}, timeout=PATIENCE
        )

    def get(self, path: str, /, **query: Any) -> httpx.Response:
        return self.client.get(API + path, params=query)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.client.post(API + path, content=json.dumps(body if body is not None else {}))

    def found(self, path: str, /, **query: Any) -> Any:
        """The document at `path`, which must be there."""
        response = self.get(path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, response: httpx.Response) -> tuple[int, str]:
        """The status and the kind of a refusal."""
        return response.status_code, response.json()["error"]["kind"]

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """What comes on the event stream inside the block."""
        heard = Heard(self)
        heard.begin()
        try:
            yield heard
        finally:
            heard.end()


class Heard:
    """The events of a server, heard in a thread."""

    def __init__(self, api: Api) -> None:
        self.events: list[dict[str, Any]] = []
        self._api = api
        self._news = threading.Condition()
        self._open = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()
        assert self._open.wait(PATIENCE), "the event stream did not open"

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    def until(self, fits: Any) -> dict[str, Any]:
        """The first event that fits, heard before or from now on."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                found = next((event for event in self.events if fits(event)), None)
                if found is not None:
                    return found
                assert self._news.wait(deadline - time.monotonic()), f"only heard {self.events}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        self._stop = asyncio.Event()
        address = self._api.url.replace("http", "ws", 1) + f"api/events/subscribe?token={self._api.token}"
        stream = await websocket_connect(address, on_message_callback=self._take)
        self._open.set()
        await self._stop.wait()
        stream.close()

    def _take(self, message: str | bytes | None) -> None:
        if message is None:
            return
        event = json.loads(message)
        if "kitaru" in event["schema_id"]:
            with self._news:
                self.events.append(event)
                self._news.notify_all()


@contextmanager
def in_process(root: Path, **config: Any) -> Iterator[tuple[ServerApp, Api]]:
    """A server in a thread of this process; `config` is of `ServerApp`, by name of the trait.

    It starts no other process: runs that are answered do not go on by themselves.
    """
    token = secrets.token_hex(16)
    ready = threading.Event()
    kept: dict[str, Any] = {}

    def serve() -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        kept["loop"] = loop
        try:
            loop.run_until_complete(_serving(root, token, config, kept, ready))
        except BaseException as error:  # noqa: BLE001 - told where somebody waits
            kept["error"] = error
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    if "error" in kept:
        raise kept["error"]
    api = Api(f"http://127.0.0.1:{kept['app'].port}/", token)
    try:
        yield kept["app"], api
    finally:
        api.client.close()
        kept["loop"].call_soon_threadsafe(kept["over"].set)
        thread.join(PATIENCE)


async def _serving(
    root: Path, token: str, config: Mapping[str, Any], kept: dict[str, Any], ready: threading.Event
) -> None:
    QuietApp.clear_instance()
    app = QuietApp.instance(
        ip="127.0.0.1",
        port=free_ports(1)[0],
        port_retries=0,
        open_browser=False,
        allow_root=True,
        root_dir=str(root),
        jpserver_extensions={"kitaru_nb": True, **dict.fromkeys(_OTHERS, False)},
        **config,
    )
    app.config.IdentityProvider.token = token
    app.config.KitaruServer.resume = False
    app.initialize(argv=[], new_httpserver=True)
    kept["app"], kept["over"] = app, asyncio.Event()
    ready.set()
    await kept["over"].wait()
    app.http_server.stop()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await app._cleanup()
    QuietApp.clear_instance()


class Leaf:
    """A route of a live server.

    Attributes:
        pattern: What its path matches.
        handler: What answers.
    """

    def __init__(self, pattern: str, handler: type[RequestHandler]) -> None:
        self.pattern = pattern
        self.handler = handler

    @property
    def path(self) -> str:
        """A path that matches, without the slash at its beginning."""
        return re.sub(r"\(.*?\)", "x", self.pattern.rstrip("$")).replace("\\", "").lstrip("/")

    @property
    def verbs(self) -> list[str]:
        """What its handler does by itself."""
        nothing = RequestHandler._unimplemented_method
        return [verb for verb in _VERBS if getattr(self.handler, verb) is not nothing]


def leaves(app: ServerApp) -> list[Leaf]:
    """Our routes, as the server's own router has them."""
    return [leaf for leaf in _below(app.web_app.default_router) if "kitaru" in leaf.pattern]


def _below(router: Any) -> Iterator[Leaf]:
    for rule in router.rules:
        assert isinstance(rule, Rule)
        if isinstance(rule.target, Router):
            yield from _below(rule.target)
        elif isinstance(rule.target, type) and hasattr(rule.matcher, "regex"):
            yield Leaf(rule.matcher.regex.pattern, rule.target)


@contextmanager
def started(root: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Api]:
    """A server in a process of its own."""
    (port,), token = free_ports(1), secrets.token_hex(16)
    off = ",".join(f"'{name}': False" for name in _OTHERS)
    words = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.jpserver_extensions={{{off}}}",
        "--no-browser",
        "--allow-root",
        *options,
    ]
    log = root / "jupyter.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            words, cwd=root, env={**os.environ, **(env or {})}, stdout=said, stderr=said
        )
    api = Api(f"http://127.0.0.1:{port}/", token)
    try:
        _wait_for(api, process, log)
        yield api
    finally:
        api.client.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(api: Api, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError):
            if api.client.get("api/status").status_code == 200:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)  # polls, bounded by the deadline
