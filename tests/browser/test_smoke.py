"""Whether the extension that is committed works at all, in half a minute: what CI runs of these tests."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, expect

from tests.browser.site import Site

LOAD = "%load_ext kitaru_nb\nimport kitaru_nb as kt"
STEP = "%%checkpoint numbers\nnumbers = [1, 2, 3]"
ASK = "ok = kt.wait('Publish?', show={'rows': 3}); print('said', ok, sum(numbers))"


def test_a_question_is_approved_in_its_form_and_the_cells_go_on(lab: Site, context: BrowserContext) -> None:
    notebook = lab.open(context, lab.write("smoke.ipynb", LOAD, STEP, ASK, "print('after', ok)"))
    notebook.run_all()
    expect(notebook.card(2)).to_contain_text("rows")
    notebook.has_run(2)

    notebook.card(2).get_by_role("button", name="Approve").click()

    expect(notebook.output(2)).to_contain_text("said True 6")
    expect(notebook.output(3)).to_contain_text("after True")
    badge = notebook.cell(1).locator(".jp-kitaru-Badge-line")
    expect(badge).to_have_attribute("data-status", "fresh")


def test_the_panel_opens_to_an_execution_and_its_checkpoints(lab: Site, context: BrowserContext) -> None:
    notebook = lab.open(context, lab.write("panel.ipynb", LOAD, STEP))
    notebook.run_all()
    notebook.has_run(1)

    notebook.command("kitaru-nb:open-panel")
    panel = notebook.page.locator("#kitaru-nb-panel")
    panel.locator(".jp-kitaru-Row").click()
    panel.locator(".jp-kitaru-Step-head", has_text="numbers").click()

    expect(panel.locator(".jp-kitaru-Artifact-head", has_text="numbers")).to_be_visible()
