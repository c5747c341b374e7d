"""Every route asks who it is, whether they may, and whether the page that asks is ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.serverapp import ServerApp
from tornado.web import RequestHandler

from kitaru_nb.server.app import routes
from kitaru_nb.server.handler import KitaruHandler
from tests.served import API, Api, Leaf, in_process, leaves


class Nobody(Authorizer):
    """Lets nobody do anything, and notes what was asked."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - one for the test

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return resource != "kitaru-nb"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ServerApp, Api]]:
    with in_process(tmp_path) as found:
        yield found


def unguarded(app: ServerApp, api: Api, headers: dict[str, str]) -> list[str]:
    """Our routes, by verb, that answer a request with these headers with anything but a refusal."""
    found = []
    with httpx.Client(base_url=api.url, headers=headers) as client:
        for leaf in leaves(app):
            for verb in leaf.verbs:
                response = client.request(verb, leaf.path)
                if response.status_code != 403:
                    found.append(f"{verb} {leaf.path}: {response.status_code}")
    return found


def test_every_route_is_in_the_live_router(server: tuple[ServerApp, Api]) -> None:
    app, _ = server

    live = {leaf.pattern.strip("/$") for leaf in leaves(app)}

    assert live == {path for path, _ in routes()} | {"kitaru-nb/api/(.*)"}
    assert len(live) >= 18
    assert all(leaf.verbs for leaf in leaves(app))


def test_no_route_answers_who_is_not_logged_in(server: tuple[ServerApp, Api]) -> None:
    app, api = server

    assert unguarded(app, api, {}) == []
    assert unguarded(app, api, {"Authorization": "token wrong"}) == []


def test_no_route_answers_who_is_not_allowed(tmp_path: Path) -> None:
    with in_process(tmp_path, authorizer_class=Nobody) as (app, api):
        Nobody.asked.clear()

        assert unguarded(app, api, {"Authorization": f"token {api.token}"}) == []

        verbs = [verb for leaf in leaves(app) for verb in leaf.verbs]
        assert [resource for _, resource in Nobody.asked] == ["kitaru-nb"] * len(verbs)


def test_looking_is_reading_and_everything_else_is_writing(tmp_path: Path) -> None:
    with in_process(tmp_path, authorizer_class=Nobody) as (app, api):
        asked = {}
        for leaf in leaves(app):
            for verb in leaf.verbs:
                Nobody.asked.clear()
                api.client.request(verb, leaf.path)
                asked[f"{verb} {leaf.path.removeprefix(API)}"] = Nobody.asked[-1][0]

    assert {what for what, action in asked.items() if action == "write"} == {
        "post executions/x/replay",
        "post executions/x/resume",
        "post executions/x/cancel",
        "post waits/x/answer",
        *(f"{verb} x" for verb in ("post", "put", "patch", "delete")),
    }
    assert set(asked.values()) == {"read", "write"}


def test_nothing_is_taken_from_a_page_that_is_not_the_servers_own(server: tuple[ServerApp, Api]) -> None:
    app, api = server
    with httpx.Client(base_url=api.url, follow_redirects=True) as browser:
        assert browser.get("tree", params={"token": api.token}).status_code in (200, 404)
        assert browser.get(API + "executions").status_code == 200, "the cookie logs in"
        posts = [leaf for leaf in leaves(app) if "post" in leaf.verbs]

        forged = [browser.post(leaf.path, content="{}").status_code for leaf in posts]
        key = browser.cookies["_xsrf"]
        own = [browser.post(leaf.path, content="{}", headers={"X-XSRFToken": key}) for leaf in posts]

    assert len(posts) == 6
    assert forged == [403] * len(posts)
    assert {response.status_code for response in own} <= {400, 404}, [response.text for response in own]


def test_a_page_elsewhere_gets_nothing(server: tuple[ServerApp, Api]) -> None:
    app, api = server
    with httpx.Client(base_url=api.url, follow_redirects=True) as browser:
        browser.get("tree", params={"token": api.token})
        elsewhere = {"Origin": "http://evil.example"}

        found = [browser.request(v, leaf.path, headers=elsewhere) for leaf in leaves(app) for v in leaf.verbs]

    assert {response.status_code for response in found} <= {403, 404}


@pytest.mark.parametrize("missing", ["authenticated", "authorized"])
def test_a_route_without_a_guard_would_be_found(tmp_path: Path, missing: str) -> None:
    class Open(KitaruHandler):
        async def get(self) -> None:
            self.reply({})

    with in_process(tmp_path, authorizer_class=Nobody) as (app, api):
        service = next(leaf for leaf in leaves(app)).handler
        assert issubclass(service, RequestHandler)
        options = {"service": _service_of(app)}
        app.web_app.add_handlers(".*$", [("/kitaru-nb/open", Open, options)])
        headers = {} if missing == "authenticated" else {"Authorization": f"token {api.token}"}

        assert unguarded(app, api, headers) == ["get kitaru-nb/open: 200"]


def _service_of(app: ServerApp) -> Any:
    def options(router: Any) -> Iterator[dict[str, Any]]:
        for rule in router.rules:
            if hasattr(rule.target, "rules"):
                yield from options(rule.target)
            elif "service" in (rule.target_kwargs or {}):
                yield rule.target_kwargs

    return next(options(app.web_app.default_router))["service"]


def test_a_verb_that_a_route_does_not_have_is_refused(server: tuple[ServerApp, Api]) -> None:
    app, api = server

    for leaf in leaves(app):
        others = {"get", "post", "put", "patch", "delete"} - set(leaf.verbs)
        for verb in others:
            response = api.client.request(verb, leaf.path)
            assert (response.status_code, response.json()["error"]["kind"]) == (405, "http-405")


def test_leaves_are_real_routes() -> None:
    leaf = Leaf("/kitaru-nb/api/waits/([^/]+)/answer$", RequestHandler)

    assert (leaf.path, leaf.verbs) == ("kitaru-nb/api/waits/x/answer", [])
