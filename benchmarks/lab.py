"""`python -m benchmarks.lab`: what people feel of the extension in JupyterLab, in a real browser.

It starts a JupyterLab for each round, in chromium. Seconds depend on the machine and on what else it
does, so the load is printed beside them; nothing here decides whether a test passes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from benchmarks.lab_records import fill
from benchmarks.measure import disk_of, spread
from tests.browser.conftest import CHROMIUM, WITHIN
from tests.browser.site import ASSETS, Notebook, Site

EXECUTIONS = 1000
CELLS = 200
IDLE = 150.0  # seconds in which an idle panel's requests are counted
LOAD = "%load_ext kitaru_nb\nimport kitaru_nb as kt"

# From a click until something shows: the page's own clock, from the event to the frame after the change.
CLICK_TO = """async ([button, output, text]) => {
    const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    const began = performance.now();
    button.click();
    while (!output.innerText.includes(text)) {
        await new Promise(done => setTimeout(done, 2));
    }
    await painted();
    return performance.now() - began;
}"""
OPEN_TO_ROWS = """async () => {
    const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    const began = performance.now();
    void window.jupyterapp.commands.execute('kitaru-nb:open-panel');
    while (!document.querySelector('#kitaru-nb-panel .jp-kitaru-Row')) {
        await new Promise(done => setTimeout(done, 2));
    }
    await painted();
    return performance.now() - began;
}"""
RUN_ALL = """async () => {
    const began = performance.now();
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
    return performance.now() - began;
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and perhaps write; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--only", action="append", choices=[*MEASURES], metavar="NAME", help=", ".join(MEASURES)
    )
    asked = parser.parse_args(arguments)
    if CHROMIUM is None:
        print("this needs chromium: apt-get install chromium", file=sys.stderr)
        return 1
    expect.set_options(timeout=WITHIN)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, median of {asked.runs} (lowest-highest)", flush=True)
    found = []
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for name in asked.only or MEASURES:
            for row in MEASURES[name](browser, asked.runs):
                found.append({"name": name, **row, "load": os.getloadavg()[0]})
                print(_line(found[-1]), flush=True)
        browser.close()
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _line(row: dict[str, Any]) -> str:
    middle, low, high = row["figures"]
    figures = f"{middle:,.1f} ({low:,.1f}-{high:,.1f}) {row['unit']}"
    return f"{row['what']:<58} {figures:<34} {row['wanted']:<14} load {row['load']:.1f}"


def _row(what: str, values: Sequence[float], unit: str, wanted: str) -> dict[str, Any]:
    return {"what": what, "figures": spread(values), "unit": unit, "wanted": wanted, "values": [*values]}


@contextmanager
def _lab(browser: Browser) -> Iterator[tuple[Site, BrowserContext]]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-lab-") as folder,
        Site("lab", Path(folder, "work")) as site,
    ):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        yield site, context
        context.close()


def answer(browser: Browser, runs: int) -> Iterator[dict[str, Any]]:
    """From the click on *Approve* until the cell has gone on, and the one behind it."""
    suspended, behind, held = list[float](), list[float](), list[float]()
    with _lab(browser) as (site, context):
        ask = "kt.wait('Go on, {0}?'{1}); print('went', 'on')"
        for number in range(runs):
            for hold, into in ((False, suspended), (True, held)):
                cells = [ask.format(number, ", hold='5m'" if hold else ""), "print('be', 'hind')"]
                notebook = site.open(context, site.write(f"n{number}{hold}.ipynb", LOAD, *cells))
                notebook.run_all()
                expect(notebook.card(1)).to_be_visible()
                if not hold:
                    notebook.has_run(1)
                    notebook.idle()
                row = 1 if hold or number % 2 else 2
                took = _click(notebook, row, "went on" if row == 1 else "be hind")
                (behind if row == 2 else into).append(took)
                notebook.has_run(2)
                notebook.page.close()
    yield _row("click to the cell going on (suspended)", suspended, "ms", "<= 500 ms")
    yield _row("click to the cell behind it having run (suspended)", behind, "ms", "")
    yield _row("click to the cell going on (hold=)", held, "ms", "<= 500 ms")


def _click(notebook: Notebook, row: int, text: str) -> float:
    button = notebook.card(1).get_by_role("button", name="Approve").element_handle()
    output = notebook.cell(row).element_handle()
    return float(notebook.page.evaluate(CLICK_TO, [button, output, text]))


def panel(browser: Browser, runs: int) -> Iterator[dict[str, Any]]:
    """From opening the panel for the first time until the list of many executions is painted."""
    first, again, search = list[float](), list[float](), list[float]()
    with _lab(browser) as (site, context):
        name = site.write("many.ipynb", LOAD)
        fill(Path(site.environment["KITARU_NB_HOME"]), site.root / name, EXECUTIONS)
        for _ in range(runs):
            notebook = site.open(context, name)
            page = notebook.page
            first.append(float(page.evaluate(OPEN_TO_ROWS)))
            page.evaluate("() => window.jupyterapp.commands.execute('filebrowser:activate')")
            again.append(float(page.evaluate(OPEN_TO_ROWS)))
            began = time.perf_counter()
            page.locator("#kitaru-nb-panel").get_by_role("searchbox").fill("seed-3")
            expect(page.locator("#kitaru-nb-panel .jp-kitaru-Row").first).to_contain_text("seed-3")
            search.append((time.perf_counter() - began) * 1000)
            page.close()
    yield _row(f"panel's first paint, {EXECUTIONS:,} executions", first, "ms", "<= 300 ms")
    yield _row("panel shown again", again, "ms", "")
    yield _row("search in it, with its pause of 250 ms", search, "ms", "")


def idle(browser: Browser, _runs: int) -> Iterator[dict[str, Any]]:
    """How much an open panel asks while nothing happens."""
    with _lab(browser) as (site, context):
        notebook = site.open(context, site.write("idle.ipynb", LOAD, "%%checkpoint a\n1"))
        notebook.run_all()
        notebook.has_run(1)
        notebook.page.evaluate(OPEN_TO_ROWS)
        notebook.page.wait_for_timeout(10_000)  # what the run has left to tell is told
        asked: list[str] = []
        notebook.page.on("request", lambda request: asked.append(request.url))
        notebook.page.wait_for_timeout(IDLE * 1000)
    ours = [url for url in asked if "kitaru-nb" in url]
    yield _row("requests of an idle panel", [len(ours) / IDLE * 60], "per minute", "<= 1")
    yield _row(
        "requests of JupyterLab itself meanwhile", [(len(asked) - len(ours)) / IDLE * 60], "per minute", ""
    )


def badges(browser: Browser, runs: int) -> Iterator[dict[str, Any]]:
    """A long notebook of checkpoints, run with badges and without them."""
    walls: dict[bool, list[float]] = {True: [], False: []}
    work: dict[bool, list[float]] = {True: [], False: []}
    with _lab(browser) as (site, context):
        steps = [f"%%checkpoint s{number}\nx{number} = {number}" for number in range(CELLS)]
        for number in range(2 * runs):
            shown = number % 2 == 0
            settings = Path(site.environment["JUPYTERLAB_SETTINGS_DIR"], "kitaru-nb-labextension")
            settings.mkdir(parents=True, exist_ok=True)
            (settings / "kitaru.jupyterlab-settings").write_text(json.dumps({"showBadges": shown}))
            notebook = site.open(context, site.write(f"long{number}.ipynb", LOAD, *steps))
            notebook.page.wait_for_timeout(3000)  # what a page does once it is there
            session = context.new_cdp_session(notebook.page)
            session.send("Performance.enable")
            before = _busy(session)
            walls[shown].append(float(notebook.page.evaluate(RUN_ALL)) / CELLS)
            work[shown].append((_busy(session) - before) * 1000 / CELLS)
            notebook.page.close()
    for shown, word in ((True, "with badges"), (False, "without")):
        yield _row(f"a cell of {CELLS}, {word}: wall", walls[shown], "ms", "")
        yield _row(f"a cell of {CELLS}, {word}: the page's main thread", work[shown], "ms", "no difference")


def _busy(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def assets(_browser: Browser, _runs: int) -> Iterator[dict[str, Any]]:
    """What `pip install` brings for JupyterLab."""
    yield _row("prebuilt assets", [disk_of(ASSETS) / 1000], "kB", "<= 500 kB")


MEASURES: dict[str, Callable[[Browser, int], Iterator[dict[str, Any]]]] = {
    each.__name__: each for each in (assets, answer, panel, idle, badges)
}

if __name__ == "__main__":
    sys.exit(main())
