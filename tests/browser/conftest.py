"""Fixtures: one JupyterLab and one Notebook 7 for all tests, one browser, a context for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from tests.browser.site import Site  # noqa: E402 - needs playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WITHIN = 90_000  # milliseconds: how long a busy machine may take over anything


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium")
    playwright.expect.set_options(timeout=WITHIN)
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@pytest.fixture
def context(browser: playwright.Browser) -> Iterator[playwright.BrowserContext]:
    found = browser.new_context(viewport={"width": 1280, "height": 800})
    found.set_default_timeout(WITHIN)
    yield found
    found.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site("lab", tmp_path_factory.mktemp("lab") / "work") as site:
        yield site


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site("notebook", tmp_path_factory.mktemp("notebook") / "work") as site:
        yield site


@pytest.fixture(scope="session")
def plain_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """JupyterLab as it is where kitaru_nb is installed in the kernel's environment alone."""
    with Site("lab", tmp_path_factory.mktemp("plain") / "work", plain=True) as site:
        yield site


@pytest.fixture(scope="session")
def plain_classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site("notebook", tmp_path_factory.mktemp("plain-notebook") / "work", plain=True) as site:
        yield site


@pytest.fixture(params=["plain_lab", "plain_classic"])
def plain_site(request: pytest.FixtureRequest) -> Site:
    """Each of the two, without any part of ours but in the kernel."""
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["lab", "classic"])
def site(request: pytest.FixtureRequest) -> Site:
    """Each of the two front ends that one build is for."""
    found: Site = request.getfixturevalue(request.param)
    return found
