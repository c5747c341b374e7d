"""A wait in a cell: its form, its answer, and the cells that go on."""

from __future__ import annotations

import os
import re
import signal

from playwright.sync_api import Browser, BrowserContext, Route, expect

from tests.browser.site import Notebook, Site, eventually, reach

ANSWER = re.compile(r"/answer(\?|$)")
LOAD = "%load_ext kitaru_nb\nimport kitaru_nb as kt"
STEP = "%%checkpoint numbers\nnumbers = [1, 2, 3]"
PUBLISH = "ok = kt.wait('Publish?'); print('said', ok, sum(numbers))"


def waiting(site: Site, context: BrowserContext, name: str, *more: str) -> Notebook:
    """A notebook whose third cell waits, with one queued behind it."""
    file = site.write(f"{name}.ipynb", LOAD, STEP, *(more or (PUBLISH, "print('after', ok)")))
    notebook = site.open(context, file)
    notebook.run_all()
    expect(notebook.card(2)).to_have_attribute("data-status", "pending")
    notebook.has_run(2)
    return notebook


def decided(tab: Notebook) -> None:
    """Wait until a tab has nothing more to ask its kernel before it would run a cell, and that has run.

    A kernel answers one after the other: when it has answered us, it has answered what was asked before.
    """
    for _ in range(4):
        tab.kernel_pid()
    tab.idle()


def pending(site: Site, name: str) -> list[dict[str, object]]:
    found = site.api(f"waits?status=pending&notebook={name}")
    return list(found["waits"])


def answered(site: Site, question: str, name: str) -> list[dict[str, object]]:
    found = site.api(f"waits?status=answered&notebook={name}")
    return [wait for wait in found["waits"] if wait["question"] == question]


def test_an_approval_makes_the_cell_and_those_behind_it_go_on(site: Site, context: BrowserContext) -> None:
    notebook = waiting(site, context, "approve")

    notebook.card(2).get_by_role("button", name="Approve").click()

    expect(notebook.output(2)).to_contain_text("said True 6")
    expect(notebook.output(3)).to_contain_text("after True")
    assert notebook.dialogs == []


def test_a_rejection_is_recorded_with_its_reason(lab: Site, context: BrowserContext) -> None:
    notebook = waiting(lab, context, "reject")
    card = notebook.card(2)

    card.get_by_role("button", name="Add a reason").click()
    card.get_by_label("Reason").fill("too early")
    card.get_by_role("button", name="Reject").click()

    expect(notebook.output(2)).to_contain_text("said False")
    [wait] = answered(lab, "Publish?", "reject.ipynb")
    assert wait["answer"] is False
    assert wait["reason"] == "too early"
    assert wait["answered_by"]


def test_what_is_no_answer_is_said_at_its_field(lab: Site, context: BrowserContext) -> None:
    model = (
        "from typing import Literal\nfrom pydantic import BaseModel, Field\n"
        "class Refund(BaseModel):\n"
        "    amount: int = Field(40, ge=1, title='Amount (USD)')\n"
        "    tier: Literal['low', 'high'] = 'low'\n"
        "    note: str | None = None"
    )
    ask = "got = kt.wait('Refund?', Refund); print('got', got.amount, got.tier, got.note)"
    file = lab.write("invalid.ipynb", LOAD, model, ask)
    notebook = lab.open(context, file)
    notebook.run_all()
    card = notebook.card(2)

    card.get_by_label("Amount (USD)").fill("0")
    card.get_by_role("button", name="Send answer").click()

    expect(card.get_by_role("alert")).to_contain_text("1")
    expect(card.get_by_label("Amount (USD)")).to_have_accessible_description(
        "0 is less than the minimum of 1"
    )
    expect(card.get_by_label("Amount (USD)")).to_be_focused()
    card.get_by_label("Amount (USD)").fill("25")
    card.get_by_label("tier").select_option("high")
    card.get_by_role("button", name="Send answer").click()
    expect(notebook.output(2)).to_contain_text("got 25 high None")


def test_what_no_single_field_holds_is_asked_place_by_place_or_as_json(
    lab: Site, context: BrowserContext
) -> None:
    asks = ("at = kt.wait('Where?', tuple[float, float]); print('at', at)",)
    more = ("any = kt.wait('What?', {}); print('got', any)",)
    notebook = waiting(lab, context, "shapes", *asks, *more)
    card = notebook.card(2)

    card.get_by_label("Number 1").fill("1.5")
    card.get_by_role("button", name="Send answer").click()
    expect(card.get_by_role("alert")).to_have_text("is required")
    card.get_by_label("Number 2").fill("-2")
    card.get_by_role("button", name="Send answer").click()

    expect(notebook.output(2)).to_contain_text("at (1.5, -2.0)")
    card = notebook.card(3)
    card.get_by_role("button", name="Send answer").click()
    expect(card.get_by_role("alert")).to_have_text("is required")
    card.get_by_label("Answer").fill('{"a": [1, null')
    card.get_by_role("button", name="Send answer").click()
    expect(card).to_contain_text("This is no JSON yet")
    card.get_by_label("Answer").fill('{"a": [1, null]}')
    card.get_by_role("button", name="Send answer").click()
    expect(notebook.output(3)).to_contain_text("got {'a': [1, None]}")


def test_the_wait_is_still_there_after_a_reload(site: Site, context: BrowserContext) -> None:
    notebook = waiting(site, context, "reload")
    notebook.save()

    notebook.reload()
    notebook.card(2).get_by_role("button", name="Approve").click()

    expect(notebook.output(2)).to_contain_text("said True 6")
    expect(notebook.output(3)).to_contain_text("after True")


def test_an_answer_counts_though_the_kernel_was_killed_meanwhile(lab: Site, context: BrowserContext) -> None:
    notebook = waiting(lab, context, "killed")
    pid = notebook.kernel_pid()

    os.kill(pid, signal.SIGKILL)
    notebook.restarted(pid)
    notebook.card(2).get_by_role("button", name="Approve").click()

    expect(notebook.output(2)).to_contain_text("said True 6")  # `numbers` is back
    expect(notebook.output(3)).to_contain_text("after True")


def test_a_second_tab_may_answer_and_the_cell_runs_once(lab: Site, context: BrowserContext) -> None:
    count = "with open('runs.txt', 'a') as runs: runs.write('x')"
    notebook = waiting(lab, context, "tabs", PUBLISH, count)
    notebook.save()
    page = context.new_page()
    page.clock.install()
    other = lab.open(context, "tabs.ipynb", page=page)

    other.card(2).get_by_role("button", name="Approve").click()

    expect(notebook.output(2)).to_contain_text("said True 6")
    expect(other.card(2)).to_have_attribute("data-status", "answered")
    page.clock.run_for(10_000)  # longer than a tab that is not the owner waits before it goes on
    decided(other)
    assert (lab.root / "runs.txt").read_text() == "x"


def test_of_a_tab_and_its_double_one_goes_on(lab: Site, context: BrowserContext) -> None:
    count = "with open('twins.txt', 'a') as runs: runs.write('x')"
    notebook = waiting(lab, context, "twins", PUBLISH, count)
    notebook.save()
    double = context.new_page()
    kept = notebook.page.evaluate("JSON.stringify({...sessionStorage})")
    double.add_init_script(
        f"Object.entries({kept}).forEach(([key, value]) => sessionStorage.setItem(key, value))"
    )
    other = lab.open(context, "twins.ipynb", page=double)
    expect(other.card(2)).to_have_attribute("data-status", "pending")
    [wait] = pending(lab, "twins.ipynb")

    lab.cli("approve", wait["address"])

    ran = lab.root / "twins.txt"
    eventually(ran.exists)
    for tab in (notebook, other):
        decided(tab)
    [loser] = [tab for tab in (notebook, other) if tab.card(2).is_visible()]
    expect(loser.card(2)).to_have_attribute("data-status", "answered")
    decided(loser)
    assert ran.read_text() == "x"


def test_of_two_different_answers_the_first_counts_and_the_second_is_told_whose_it_was(
    lab: Site, context: BrowserContext, browser: Browser
) -> None:
    notebook = waiting(lab, context, "race")
    notebook.save()
    elsewhere = browser.new_context()  # somebody else: a name of their own
    other = lab.open(elsewhere, "race.ipynb")
    expect(other.card(2)).to_have_attribute("data-status", "pending")
    on_the_way: list[Route] = []

    def hold(route: Route) -> None:
        on_the_way.append(route)

    other.page.route(ANSWER, hold)

    with other.page.expect_request(ANSWER):
        other.card(2).get_by_role("button", name="Reject").click()
    notebook.card(2).get_by_role("button", name="Approve").click()
    expect(notebook.output(2)).to_contain_text("said True 6")
    with other.page.expect_response(ANSWER) as late:
        on_the_way[0].continue_()

    assert late.value.status == 409
    [wait] = answered(lab, "Publish?", "race.ipynb")
    assert wait["answer"] is True
    assert str(wait["answered_by"]) in late.value.json()["error"]["message"]
    expect(other.card(2)).to_contain_text("Approved")
    expect(other.card(2)).to_contain_text(str(wait["answered_by"]))
    elsewhere.close()


def test_an_answer_from_a_terminal_makes_the_cell_go_on(lab: Site, context: BrowserContext) -> None:
    notebook = waiting(lab, context, "terminal")
    [wait] = pending(lab, "terminal.ipynb")

    lab.cli("approve", wait["address"])

    expect(notebook.output(2)).to_contain_text("said True 6")
    expect(notebook.output(3)).to_contain_text("after True")


def test_a_cell_that_holds_on_goes_on_by_itself(lab: Site, context: BrowserContext) -> None:
    ask = "ok = kt.wait('Now?', hold='5m'); print('said', ok)"
    file = lab.write("hold.ipynb", LOAD, ask)
    notebook = lab.open(context, file)
    notebook.run_all()

    notebook.card(1).get_by_role("button", name="Approve").click()

    expect(notebook.output(1)).to_contain_text("said True")
    expect(notebook.prompt(1)).to_have_text("[2]:")  # it ran once


def test_a_checkpoint_that_holds_on_shows_its_form_and_waits(site: Site, context: BrowserContext) -> None:
    ask = "%%checkpoint asked\nok = kt.wait('Now?', show={'rows': 3}, hold='5m'); print('said', ok)"
    notebook = site.open(context, site.write("held.ipynb", LOAD, STEP, ask, "print('after', ok)"))
    notebook.run_all()
    expect(notebook.card(2)).to_contain_text("rows")
    badge = notebook.cell(2).locator(".jp-kitaru-Badge-line")
    expect(badge).to_have_attribute("data-status", "waiting")

    notebook.card(2).get_by_role("button", name="Reject").click()

    expect(notebook.output(2)).to_contain_text("said False")
    expect(notebook.output(3)).to_contain_text("after False")
    expect(badge).to_have_attribute("data-status", "fresh")


def test_a_cell_that_has_held_on_long_enough_suspends_and_goes_on_after_the_answer(
    lab: Site, context: BrowserContext
) -> None:
    ask = "ok = kt.wait('Soon?', hold=1); print('said', ok)"
    notebook = lab.open(context, lab.write("held-long.ipynb", LOAD, ask, "print('after', ok)"))
    notebook.run_all()
    notebook.has_run(1)

    notebook.card(1).get_by_role("button", name="Approve").click()

    expect(notebook.output(1)).to_contain_text("said True")
    expect(notebook.output(2)).to_contain_text("after True")


def test_the_keyboard_alone_is_enough(lab: Site, context: BrowserContext) -> None:
    notebook = waiting(lab, context, "keyboard")
    page = notebook.page

    page.keyboard.press("Control+Alt+w")
    reach(page, notebook.card(2).get_by_role("button", name="Approve"))
    page.keyboard.press("Enter")

    expect(notebook.output(2)).to_contain_text("said True 6")


def test_a_hostile_output_cannot_put_its_words_over_a_wait(lab: Site, context: BrowserContext) -> None:
    waiting(lab, context, "hostile")
    [wait] = pending(lab, "hostile.ipynb")
    show = (
        "from IPython.display import publish_display_data\n"
        "publish_display_data({'application/vnd.kitaru-nb.wait+json': "
        f"{{'address': {wait['address']!r}, 'question': 'Free cake?', 'schema': {{}}}}, 'text/plain': 'x'}})"
    )
    name = lab.write("cake.ipynb", show)

    other = lab.open(context, name)
    other.run(0)

    expect(other.card(0)).to_contain_text("Publish?")
    expect(other.card(0)).not_to_contain_text("cake")
    lab.cli("approve", str(wait["address"]))  # the server is everybody's: nothing is left in its inbox


def test_a_large_number_is_shown_typed_and_returned_to_the_last_digit(
    lab: Site, context: BrowserContext
) -> None:
    schema = "{'type': 'object', 'properties': {'to': {'type': 'integer', 'default': 9007199254740993}, "
    schema += "'more': {'type': 'array', 'items': {'type': 'integer'}}}}"
    ask = f"paid = kt.wait('Pay \\u202e001$?', {schema}, show={{'account': 9007199254740993}})"
    notebook = waiting(lab, context, "large", f"{ask}; print(paid)")
    form = notebook.card(2)

    expect(form).to_contain_text(re.compile(r"Pay .U\+202E.001\$\?"))
    expect(form.locator("dd")).to_have_text("9007199254740993")
    expect(form.get_by_label("to")).to_have_value("9007199254740993")
    form.get_by_role("button", name="Add one").click()
    form.get_by_role("spinbutton", name="Number 1").fill("9007199254740995")
    form.get_by_role("button", name="Send answer").click()

    expect(notebook.output(2)).to_contain_text("{'to': 9007199254740993, 'more': [9007199254740995]}")


def test_a_figure_that_is_to_be_approved_is_drawn_in_its_form(lab: Site, context: BrowserContext) -> None:
    draw = "from PIL import Image\npicture = Image.new('RGB', (40, 30), 'teal')"
    ask = "ok = kt.wait('Publish it?', show=picture); print('said', ok)"
    notebook = waiting(lab, context, "picture", draw.replace("\n", "; ") + "; " + ask)

    picture = notebook.card(2).get_by_role("img")

    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    notebook.card(2).get_by_role("button", name="Approve").click()
    expect(notebook.output(2)).to_contain_text("said True")


def test_a_question_that_comes_up_out_of_sight_is_told_and_found(lab: Site, context: BrowserContext) -> None:
    gate = lab.root / "sight.gate"
    ask = (
        f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.1)\n"
        "print('said', kt.wait('Out of sight?'))"
    )
    notebook = lab.open(context, lab.write("sight.ipynb", LOAD, ask))
    notebook.run(0, 1)
    notebook.command("launcher:create")
    expect(notebook.card(1)).to_be_hidden()
    gate.touch()

    told = notebook.page.locator(".Toastify__toast", has_text="“Out of sight?” waits for an answer")
    told.get_by_role("button", name="Show").click()

    expect(notebook.card(1)).to_be_visible()
    expect(notebook.card(1)).to_contain_text("Out of sight?")
    notebook.card(1).get_by_role("button", name="Approve").click()
    expect(told).to_have_count(0)
    expect(notebook.output(1)).to_contain_text("said True")
