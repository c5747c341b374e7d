"""Waits and cards in JupyterLab and Notebook 7 that have no part of ours: widgets, and nothing but them."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.site import Notebook, Site
from tests.unit.server.test_hostile import HOSTILE

pytest.importorskip("anywidget")

LOAD = "%load_ext kitaru_nb\nimport kitaru_nb as kt"
PUBLISH = "ok = kt.wait('Publish?', show='a draft', name='publish'); print('said', ok)"


def form(notebook: Notebook, number: int) -> Locator:
    return notebook.output(number).locator(".kitaru-card")


def asking(site: Site, context: BrowserContext, name: str, *cells: str) -> Notebook:
    """A notebook whose last cell waits."""
    notebook = site.open(context, site.write(f"{name}.ipynb", LOAD, *cells))
    notebook.run_all()
    expect(form(notebook, len(cells))).to_have_attribute("data-status", "pending")
    notebook.has_run(len(cells))
    return notebook


def waits(site: Site) -> list[dict[str, object]]:
    return list(json.loads(site.cli("waits", "--json")))


def test_an_approval_is_on_record_and_the_next_run_goes_on(plain_site: Site, context: BrowserContext) -> None:
    notebook = asking(plain_site, context, "approve", PUBLISH)
    expect(notebook.output(1)).to_contain_text("a draft")

    form(notebook, 1).get_by_label("Reason").fill("looks right")
    form(notebook, 1).get_by_role("button", name="Approve").click()

    expect(form(notebook, 1)).to_have_attribute("data-status", "answered")
    expect(form(notebook, 1)).to_contain_text("Run the cell again to go on")
    expect(form(notebook, 1).get_by_role("status")).to_be_focused()  # the button that was is gone
    expect(notebook.output(1).locator("text=run this cell again to go on")).to_be_visible()
    [wait] = [wait for wait in waits(plain_site) if wait["name"] == "publish"]
    assert (wait["answer"], wait["reason"]) == (True, "looks right")
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("said True")
    assert notebook.dialogs == []


FORM = """from dataclasses import dataclass
from enum import Enum
from typing import Literal
class Colour(Enum):
    RED = 'red'
    BLUE = 'blue'
@dataclass
class Print:
    copies: int
    paper: Literal['A4', 'A3'] = 'A4'
    colour: Colour = Colour.RED
    glossy: bool = False
    pages: list[int] | None = None
    note: str | None = None"""
ASK_FORM = "got = kt.wait('Print how?', Print, name='print'); print('got', got)"


def test_what_is_no_answer_is_said_at_its_field(plain_lab: Site, context: BrowserContext) -> None:
    notebook = asking(plain_lab, context, "form", FORM, ASK_FORM)
    fields = form(notebook, 2)

    fields.get_by_label("Copies").fill("many")
    fields.get_by_label("Pages").fill("1, 2")
    fields.get_by_role("button", name="Send answer").click()

    expect(fields.get_by_label("Copies")).to_have_accessible_description("is not a number")
    expect(fields.get_by_label("Copies")).to_be_focused()
    expect(fields.get_by_label("Pages")).to_have_attribute("aria-invalid", "true")
    fields.get_by_label("Copies").fill("2.5")
    fields.get_by_label("Pages").fill("[1, 2]")
    fields.get_by_role("button", name="Send answer").click()
    expect(fields.get_by_label("Copies")).to_have_accessible_description("2.5 is not of type 'integer'")
    fields.get_by_label("Copies").fill("3")
    fields.get_by_label("Colour").select_option("blue")
    fields.get_by_label("Glossy").check()
    fields.get_by_role("button", name="Send answer").click()

    expect(fields).to_have_attribute("data-status", "answered")
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text(
        "got Print(copies=3, paper='A4', colour=<Colour.BLUE: 'blue'>, glossy=True, pages=[1, 2], note=None)"
    )


def test_a_late_answer_is_told_who_was_first(plain_lab: Site, context: BrowserContext) -> None:
    notebook = asking(plain_lab, context, "late", "ok = kt.wait('Late?', name='late')")
    plain_lab.cli("reject", "late", "--reason", "too early")

    form(notebook, 1).get_by_role("button", name="Approve").click()

    expect(form(notebook, 1)).to_contain_text("Rejected")
    expect(form(notebook, 1)).to_contain_text("(too early)")


def test_a_form_says_that_its_kernel_is_busy_and_is_answered_later(
    plain_lab: Site, context: BrowserContext
) -> None:
    gate = plain_lab.root / "busy.gate"
    notebook = asking(plain_lab, context, "busy", "ok = kt.wait('Now?', name='busy')")
    notebook.set_source(
        0, f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.1)"
    )
    notebook.run(0)
    expect(notebook.prompt(0)).to_have_text("[*]:")
    approve = form(notebook, 1).get_by_role("button", name="Approve")

    approve.click()

    expect(form(notebook, 1).get_by_text("has not replied yet")).to_be_visible()
    expect(approve).to_be_focused()
    gate.touch()
    expect(form(notebook, 1)).to_have_attribute("data-status", "answered")


def test_two_forms_of_a_page_do_not_mix(plain_lab: Site, context: BrowserContext) -> None:
    cells = ("kt.wait('First?', name='first')", "kt.wait('Second?', name='second')")
    notebook = plain_lab.open(context, plain_lab.write("two.ipynb", LOAD, *cells))
    for number in range(3):  # one by one: a cell that waits stops what is queued behind it
        notebook.run(number)
        notebook.has_run(number)

    form(notebook, 2).get_by_label("Reason").fill("the second")
    form(notebook, 2).get_by_role("button", name="Approve").click()

    expect(form(notebook, 2)).to_have_attribute("data-status", "answered")
    expect(form(notebook, 1).get_by_label("Reason")).to_have_value("")
    [wait] = [wait for wait in waits(plain_lab) if wait["name"] == "second"]
    assert wait["reason"] == "the second"


def test_a_page_that_is_opened_again_shows_how_the_question_stands(
    plain_lab: Site, context: BrowserContext
) -> None:
    notebook = asking(plain_lab, context, "reload", "ok = kt.wait('Still?', name='still')")
    notebook.save()
    plain_lab.cli("approve", "still")

    notebook.reload()

    expect(form(notebook, 1)).to_contain_text("Approved")


def test_no_text_of_a_form_is_markup(plain_lab: Site, context: BrowserContext) -> None:
    schema = {
        "type": "object",
        "title": HOSTILE[0],
        "properties": {
            text: {"type": "string", "enum": [text, "x"], "title": text, "description": text, "default": text}
            for text in HOSTILE
        },
    }
    ask = f"kt.wait('\\n'.join({HOSTILE!r}), {schema!r}, show={HOSTILE!r}, name='hostile')"
    notebook = plain_lab.open(context, plain_lab.write("hostile.ipynb", LOAD, ask))
    notebook.page.evaluate("() => { window.called = []; window.alert = text => window.called.push(text); }")

    notebook.run_all()

    fields = form(notebook, 1)
    expect(fields).to_contain_text(HOSTILE[0])
    fields.get_by_label("Reason").fill(HOSTILE[0])
    fields.get_by_role("button", name="Send answer").click()
    expect(fields).to_have_attribute("data-status", "answered")
    assert fields.locator("img, script, svg, iframe, a, style, object").count() == 0
    assert notebook.page.evaluate("() => window.called") == []
    assert notebook.dialogs == []


def test_the_replay_control_runs_and_compares(plain_lab: Site, context: BrowserContext) -> None:
    cells = ("%%checkpoint load\nrows = [1, 2]", "%%checkpoint fit\nprint(sum(rows))", "%replay")
    notebook = plain_lab.open(context, plain_lab.write("replay.ipynb", LOAD, *cells))
    for number in range(4):
        notebook.run(number)
        notebook.has_run(number)
    control = form(notebook, 3)
    expect(control).to_be_visible(timeout=60_000)

    control.get_by_label("Begin at").select_option("fit")
    expect(control).to_contain_text("It reads rows")
    control.get_by_label("Changes").fill("rows = [40, 2]")
    control.get_by_role("button", name="Run").click()
    expect(control).to_have_attribute("data-status", "completed", timeout=90_000)
    control.get_by_role("button", name="Compare").click()

    frame = control.locator("iframe")
    expect(frame).to_have_attribute("sandbox", "")
    expect(frame.content_frame.get_by_role("heading", name="Two executions")).to_be_visible()


def test_tables_and_plots_are_drawn(plain_lab: Site, context: BrowserContext) -> None:
    cells = ("%%checkpoint load\nrows = [1, 2]", "%kitaru show", "@kt.flow\ndef f():\n    return 1\nf.run()")
    notebook = plain_lab.open(context, plain_lab.write("tables.ipynb", LOAD, *cells))

    notebook.run_all()

    expect(notebook.output(2).get_by_role("cell", name="load", exact=True)).to_be_visible()
    expect(notebook.output(3)).to_contain_text(":f")
