"""The side panel: executions, one of them closely, what it stored; replays and comparisons."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Locator, Request, expect

from tests.browser.site import Notebook, Site

LOAD = "%load_ext kitaru_nb\nimport numpy as np"
STEP = "%%checkpoint load\nscale = 2\nsignal = np.sin(np.linspace(0, 9, 300))\nnote = 'drafted by the agent'"
SUM = "%%checkpoint total\ntotal = float(signal.sum()) * scale"


def panel_of(notebook: Notebook) -> Locator:
    notebook.command("kitaru-nb:open-panel")
    panel = notebook.page.locator("#kitaru-nb-panel")
    expect(panel).to_be_visible()
    return panel


def opened(site: Site, context: BrowserContext, name: str) -> Notebook:
    notebook = site.open(context, site.write(f"{name}.ipynb", LOAD, STEP, SUM))
    notebook.run_all()
    notebook.has_run(2)
    return notebook


def test_a_notebook_without_executions_says_what_to_do(site: Site, context: BrowserContext) -> None:
    notebook = site.open(context, site.write("nothing.ipynb", "1"))

    panel = panel_of(notebook)

    expect(panel).to_contain_text("%%checkpoint on top of a cell")
    expect(panel).to_contain_text("A cell or flow that calls wait() shows here.")


def test_an_execution_opens_to_its_checkpoints_and_what_they_stored(
    site: Site, context: BrowserContext
) -> None:
    notebook = opened(site, context, "timeline")
    panel = panel_of(notebook)

    panel.locator(".jp-kitaru-Row", has_text="timeline.ipynb").click()
    panel.locator(".jp-kitaru-Step-head", has_text="load").click()
    panel.locator(".jp-kitaru-Artifact-head", has_text="signal").click()
    panel.locator(".jp-kitaru-Artifact-head", has_text="note").click()

    expect(panel.get_by_role("img", name="The values in order")).to_be_visible()
    expect(panel).to_contain_text("drafted by the agent")
    panel.get_by_role("button", name="All executions").click()
    expect(panel.locator(".jp-kitaru-Row", has_text="timeline.ipynb")).to_be_visible()


def test_what_cells_showed_is_on_record_also_where_the_page_lost_it(
    lab: Site, context: BrowserContext
) -> None:
    notebook = lab.open(context, lab.write("lost.ipynb", LOAD, "%%checkpoint told\nprint('a long story')"))
    notebook.run_all()
    notebook.has_run(1)
    notebook.reload()  # nothing was saved: the output is gone from the page
    expect(notebook.output(1)).not_to_contain_text("a long story")
    expect(notebook.cell(1).locator(".jp-kitaru-Badge-line")).to_be_visible()

    notebook.command("kitaru-nb:open-execution")
    panel = notebook.page.locator("#kitaru-nb-panel")
    panel.get_by_role("button", name="Show the log").click()

    expect(panel.get_by_role("log")).to_contain_text("a long story")


def test_search_narrows_the_list_and_says_when_nothing_fits(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "searched")
    panel = panel_of(notebook)
    row = panel.locator(".jp-kitaru-Row", has_text="searched.ipynb")
    expect(row).to_be_visible()

    panel.get_by_role("searchbox").fill("no such thing")
    expect(panel).to_contain_text("No execution fits")
    panel.get_by_role("searchbox").fill("search")
    expect(row).to_be_visible()
    panel.get_by_label("Status").select_option("failed")

    expect(panel).to_contain_text("No execution fits")


def test_an_idle_panel_asks_nothing(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "idle")
    panel = panel_of(notebook)
    expect(panel.locator(".jp-kitaru-Row", has_text="idle.ipynb")).to_be_visible()
    notebook.page.wait_for_timeout(5000)  # what the run has left to tell is told
    asked: list[str] = []

    def note(request: Request) -> None:
        if "kitaru-nb/api" in request.url:
            asked.append(request.url)

    notebook.page.on("request", note)
    notebook.page.wait_for_timeout(15_000)

    assert asked == []


def test_a_replay_with_another_value_runs_and_is_compared(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "replayed")
    notebook.save()
    notebook.activate(2)
    expect(notebook.cell(2).locator(".jp-kitaru-Badge-line")).to_have_attribute("data-status", "fresh")
    page = notebook.page

    notebook.command("kitaru-nb:replay")
    form = page.get_by_role("form", name="Replay")
    expect(form.get_by_label("From checkpoint")).to_have_value("total")
    form.get_by_label("Value of scale").fill("5")
    form.get_by_role("button", name="Replay", exact=True).click()
    expect(form.get_by_role("status")).to_contain_text("completed", timeout=90_000)
    form.get_by_role("button", name="Compare with the original").click()

    expect(page.frame_locator("iframe.jp-kitaru-Frame").locator("body")).to_contain_text("total")


@pytest.mark.parametrize(
    "command", ["kitaru-nb:open-panel", "kitaru-nb:answer", "kitaru-nb:replay", "kitaru-nb:compare"]
)
def test_a_command_describes_its_arguments(lab: Site, context: BrowserContext, command: str) -> None:
    notebook = lab.open(context, lab.write("commands.ipynb", "1"))

    described = notebook.page.evaluate("id => window.jupyterapp.commands.describedBy(id)", command)

    assert described["args"]["type"] == "object"
