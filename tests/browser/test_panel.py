"""The side panel: executions, one of them closely, what it stored; replays and comparisons."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.site import Notebook, Site, reach

LOAD = "%load_ext kitaru_nb\nimport numpy as np"
STEP = "%%checkpoint load\nscale = 2\nsignal = np.sin(np.linspace(0, 9, 300))\nnote = 'drafted by the agent'"
SUM = "%%checkpoint total\ntotal = float(signal.sum()) * scale"


def panel_of(notebook: Notebook) -> Locator:
    notebook.command("kitaru-nb:open-panel")
    panel = notebook.page.locator("#kitaru-nb-panel")
    expect(panel).to_be_visible()
    return panel


def opened(site: Site, context: BrowserContext, name: str, *, page: Page | None = None) -> Notebook:
    notebook = site.open(context, site.write(f"{name}.ipynb", LOAD, STEP, SUM), page=page)
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

    panel.locator('.jp-kitaru-Row[aria-label*="timeline.ipynb"]').click()
    panel.locator(".jp-kitaru-Step-head", has_text="load").click()
    panel.locator(".jp-kitaru-Artifact-head", has_text="signal").click()
    panel.locator(".jp-kitaru-Artifact-head", has_text="note").click()

    expect(panel.get_by_role("img", name="The values in order")).to_be_visible()
    expect(panel).to_contain_text("drafted by the agent")
    panel.get_by_role("button", name="All executions").click()
    expect(panel.locator('.jp-kitaru-Row[aria-label*="timeline.ipynb"]')).to_be_visible()


def test_a_table_is_shown_row_by_row(lab: Site, context: BrowserContext) -> None:
    columns = "{'town': ['Ulm', 'Bonn'] * 8, 'n': range(16)}"
    make = f"%%checkpoint make\nimport pandas as pd\ntable = pd.DataFrame({columns})"
    notebook = lab.open(context, lab.write("table.ipynb", LOAD, make))
    notebook.run_all()
    notebook.has_run(1)
    panel = panel_of(notebook)
    panel.locator('.jp-kitaru-Row[aria-label*="table.ipynb"]').click()
    panel.locator(".jp-kitaru-Step-head", has_text="make").click()

    panel.locator(".jp-kitaru-Artifact-head", has_text="table").click()

    expect(panel.get_by_role("columnheader", name="town")).to_be_visible()
    expect(panel.get_by_role("row")).to_have_count(11)
    panel.get_by_role("button", name="Later rows").click()
    expect(panel).to_contain_text("11 to 16 of 16")
    expect(panel.get_by_role("row").last).to_contain_text("15")


def test_columns_of_a_table_stay_apart_and_in_their_order(lab: Site, context: BrowserContext) -> None:
    make = "%%checkpoint make\nimport pandas as pd\n"
    make += "table = pd.DataFrame([[1, 2, 3, 4]], columns=['10', '2', '2', ''], index=['r1'])"
    notebook = lab.open(context, lab.write("columns.ipynb", LOAD, make))
    notebook.run_all()
    notebook.has_run(1)
    panel = panel_of(notebook)
    panel.locator('.jp-kitaru-Row[aria-label*="columns.ipynb"]').click()
    panel.locator(".jp-kitaru-Step-head", has_text="make").click()

    panel.locator(".jp-kitaru-Artifact-head", has_text="table").click()

    expect(panel.get_by_role("columnheader")).to_have_text(["", "10", "2", "2", ""])
    expect(panel.get_by_role("cell")).to_have_text(["r1", "1", "2", "3", "4"])


def test_a_run_that_a_terminal_approved_goes_on_and_the_panel_says_who_it_was(
    lab: Site, context: BrowserContext
) -> None:
    ask = "import kitaru_nb as kt\nok = kt.wait('Send it?', name='send'); print('sent', ok)"
    lab.cli("run", lab.write("headless.ipynb", "x = 1", ask), "--suspend-exit", "0")
    notebook = lab.open(context, lab.write("beside.ipynb", "1"))
    panel = panel_of(notebook)
    panel.get_by_text("All", exact=True).click()
    row = panel.locator('.jp-kitaru-Row[aria-label*="headless.ipynb"]')
    expect(row).to_have_attribute("aria-label", re.compile("waiting"))

    lab.cli("approve", "send")

    expect(row).to_have_attribute("aria-label", re.compile("completed"), timeout=90_000)
    row.click()
    [wait] = [wait for wait in lab.api("waits?status=answered")["waits"] if wait["name"] == "send"]
    expect(panel).to_contain_text(f"approved · {wait['answered_by']}")
    assert "sent True" in (lab.root / "headless.out.ipynb").read_text()


def test_a_run_shows_how_far_it_is_while_it_runs(lab: Site, context: BrowserContext) -> None:
    gate = "import pathlib, time\nwhile not pathlib.Path('{}').exists():\n    time.sleep(0.05)"
    cells = ("x = 1", "y = x + 1", gate.format("first"), "z = y", gate.format("second"))
    notebook = lab.open(context, lab.write("watching.ipynb", "1"))
    panel = panel_of(notebook)
    panel.get_by_text("All", exact=True).click()

    lab.cli("run", lab.write("long.ipynb", *cells), "--detach")

    row = panel.locator('.jp-kitaru-Row[aria-label*="long.ipynb"]')
    bar = panel.get_by_role("progressbar", name="Progress of long.ipynb")
    expect(row).to_have_attribute("aria-label", re.compile("running · 2 of 5"))
    expect(bar).to_have_attribute("aria-valuenow", "2")
    row.click()
    expect(panel.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuetext", "2 of 5")
    (lab.root / "first").touch()
    expect(panel.locator(".jp-kitaru-Detail-progress")).to_have_text("4 of 5")
    (lab.root / "second").touch()
    expect(panel.get_by_role("progressbar")).to_have_count(0)
    panel.get_by_role("button", name="All executions").click()
    expect(row).to_have_attribute("aria-label", re.compile("completed"))


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
    row = panel.locator('.jp-kitaru-Row[aria-label*="searched.ipynb"]')
    expect(row).to_be_visible()

    panel.get_by_role("searchbox").fill("no such thing")
    expect(panel).to_contain_text("No execution fits")
    panel.get_by_role("searchbox").fill("search")
    expect(row).to_be_visible()
    panel.get_by_label("Status").select_option("failed")

    expect(panel).to_contain_text("No execution fits")


def test_an_idle_panel_asks_nothing(lab: Site, context: BrowserContext) -> None:
    page = context.new_page()
    page.clock.install()
    notebook = opened(lab, context, "idle", page=page)
    panel = panel_of(notebook)
    expect(panel.locator('.jp-kitaru-Row[aria-label*="idle.ipynb"]')).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "kitaru-nb/api" in request.url else None)

    for _ in range(10):
        page.clock.run_for(5_000)  # what the run has left to tell is told, and asked about
        asked.clear()
        page.clock.run_for(180_000)
        if not asked:  # else there was news, or the heartbeat fell into it
            break
    assert asked == []

    with page.expect_request("**/kitaru-nb/api/**"):  # a slow heartbeat, for news that were lost
        page.clock.run_for(120_000)


def test_a_replay_with_another_value_runs_and_is_compared(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "replayed")
    notebook.save()
    notebook.activate(2)
    expect(notebook.cell(2).locator(".jp-kitaru-Badge-line")).to_have_attribute("data-status", "fresh")
    page = notebook.page

    notebook.command("kitaru-nb:replay")
    form = page.get_by_role("form", name="Replay")
    expect(form.get_by_label("From checkpoint")).to_have_value("total")
    expect(form.get_by_label("Value of scale")).to_have_attribute("placeholder", "2")
    expect(form.get_by_label("Value of")).to_have_count(1)  # `signal` is an array, which nobody types
    form.get_by_label("From checkpoint").select_option("load")
    expect(form.get_by_label("Value of")).to_have_count(0)  # it reads numpy, and nothing else
    form.get_by_label("From checkpoint").select_option("total")
    form.get_by_label("Value of scale").fill("5")
    form.get_by_role("button", name="Replay", exact=True).click()
    expect(form.get_by_role("status")).to_contain_text("completed", timeout=90_000)
    form.get_by_role("button", name="Compare with the original").click()

    compared = page.frame_locator("iframe.jp-kitaru-Frame").locator("body")
    theme(page, "JupyterLab Dark")
    expect(compared.locator("xpath=..")).to_have_css("color-scheme", "dark")
    theme(page, "JupyterLab Light")
    expect(compared.locator("xpath=..")).to_have_css("color-scheme", "light")
    expect(compared).to_contain_text("The first difference is in total.")
    expect(compared).to_contain_text("input scale")
    before, after = re.findall(r"^[-+] (-?\d+\.\d+)$", compared.inner_text(), re.MULTILINE)
    assert float(after) == pytest.approx(float(before) / 2 * 5)
    found = lab.api("executions?notebook=replayed.ipynb")["executions"]
    assert len([each for each in found if each["parent"]]) == 1  # to compare begins no other one


def test_a_notebook_that_is_renamed_while_it_runs_shows_what_is_on_record(
    lab: Site, context: BrowserContext
) -> None:
    gate = lab.root / "named.gate"
    until = f"while not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.1)"
    slow = f"%%checkpoint slow\nimport pathlib, time\n{until}"
    notebook = lab.open(context, lab.write("named.ipynb", LOAD, "%%checkpoint one\none = 1", slow))
    notebook.run_all()
    panel = panel_of(notebook)
    expect(panel.locator('.jp-kitaru-Row[aria-label*="named.ipynb"]')).to_be_visible()

    notebook.page.evaluate(
        "() => window.jupyterapp.serviceManager.contents.rename('named.ipynb', 'called.ipynb')"
    )

    line = notebook.cell(1).locator(".jp-kitaru-Badge-line")
    with notebook.page.expect_response("**/cells*"):
        notebook.set_source(1, "%%checkpoint one\none = 2")  # asks how the cells stand, under the new name
    expect(line).to_have_attribute("data-status", "stale")
    expect(panel.locator('.jp-kitaru-Row[aria-label*="named.ipynb"]')).to_be_visible()
    gate.touch()


def test_a_request_of_ours_that_fails_is_told_in_the_panel_and_covers_nothing(
    lab: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    page.route("**/kitaru-nb/api/**", lambda route: route.abort())
    notebook = lab.open(context, lab.write("cut-off.ipynb", LOAD, STEP), page=page)
    notebook.run_all()
    notebook.has_run(1)

    panel = panel_of(notebook)

    expect(panel.get_by_role("alert").first).to_contain_text("See that the server runs and can be reached")
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    assert page.evaluate("() => window.kitaruDialogs") == []
    page.unroute("**/kitaru-nb/api/**")
    again = panel.get_by_role("button", name="Try again")
    for _ in range(again.count()):
        again.first.click()
    expect(panel.get_by_role("alert")).to_have_count(0)
    expect(panel.locator('.jp-kitaru-Row[aria-label*="cut-off.ipynb"]')).to_be_visible()


def test_the_keyboard_alone_opens_an_execution(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "keys")
    page = notebook.page
    panel = page.locator("#kitaru-nb-panel")
    row = panel.locator('.jp-kitaru-Row[aria-label*="keys.ipynb"]')

    page.keyboard.press("Control+Alt+k")
    expect(row).to_be_visible()
    reach(page, row)
    page.keyboard.press("Enter")
    step = panel.locator(".jp-kitaru-Step-head", has_text="load")
    expect(step).to_be_visible()
    expect(panel.get_by_role("button", name="All executions")).to_be_focused()
    reach(page, step)
    page.keyboard.press("Enter")

    expect(step).to_have_attribute("aria-expanded", "true")


# What is drawn in a theme's colours: a form, the panel, and what stands in them.
COLOURED = (
    ".jp-kitaru-Wait",
    ".jp-kitaru-Wait-question",
    ".jp-kitaru-Show",
    ".jp-kitaru-Field input",
    ".jp-kitaru-Field-label",
    ".jp-kitaru-Wait-foot",
    "#kitaru-nb-panel",
    "#kitaru-nb-panel .jp-kitaru-Panel-head",
    "#kitaru-nb-panel .jp-kitaru-Filter input",
    "#kitaru-nb-panel .jp-kitaru-Row-title",
    "#kitaru-nb-panel .jp-kitaru-Row-more",
)


def test_panel_and_form_take_the_colours_of_the_theme(lab: Site, context: BrowserContext) -> None:
    ask = (
        "from pydantic import BaseModel\nimport kitaru_nb as kt\n"
        "class Refund(BaseModel):\n    amount: int = 40\n    note: str = ''\n"
        "kt.wait('Refund?', Refund, show={'amount': 40})"
    )
    notebook = lab.open(context, lab.write("colours.ipynb", LOAD, ask))
    notebook.run_all()
    panel = panel_of(notebook)
    expect(notebook.card(1).get_by_label("amount")).to_be_visible()
    expect(panel.locator('.jp-kitaru-Row[aria-label*="colours.ipynb"]')).to_be_visible()

    seen = {name: colours(notebook.page, name) for name in ("JupyterLab Light", "JupyterLab Dark")}

    light, dark = seen.values()
    assert [name for name in COLOURED if light[name]["text"] == dark[name]["text"]] == []
    drawn = [name for name in COLOURED if light[name]["ground"] != "rgba(0, 0, 0, 0)"]
    assert ".jp-kitaru-Wait" in drawn
    assert [name for name in drawn if light[name]["ground"] == dark[name]["ground"]] == []
    assert {name: faint(notebook.page, name) for name in seen} == {name: [] for name in seen}
    notebook.card(1).get_by_role("button", name="Send answer").click()
    expect(notebook.card(1)).to_have_count(0)


def faint(page: Page, name: str) -> list[str]:
    """The texts of the panel that stand out too little from what is behind them (WCAG AA), in a theme."""
    theme(page, name)
    found: list[str] = page.evaluate(
        """() => {
            const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const pixel = colour => {
                pen.clearRect(0, 0, 1, 1);
                pen.fillStyle = colour;
                pen.fillRect(0, 0, 1, 1);
                return [...pen.getImageData(0, 0, 1, 1).data];
            };
            const light = ([red, green, blue]) => [red, green, blue]
                .map(each => each / 255)
                .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
                .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0.05);
            const ground = node => {
                const colour = pixel(getComputedStyle(node).backgroundColor);
                return colour[3] > 230 ? colour : ground(node.parentElement);
            };
            return [...document.querySelectorAll('#kitaru-nb-panel *')].filter(node => {
                const texts = [...node.childNodes].filter(each => each.nodeType === 3);
                const hasText = texts.some(each => each.textContent.trim());
                if (!hasText || !node.offsetParent || node.closest(':disabled')) {
                    return false;
                }
                const [one, other] = [light(pixel(getComputedStyle(node).color)), light(ground(node))];
                return Math.max(one, other) / Math.min(one, other) < 4.5;
            }).map(node => `${node.className}: ${node.textContent.trim()}`);
        }"""
    )
    return found


def theme(page: Page, name: str) -> None:
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    expect(page.locator("body")).to_have_attribute("data-jp-theme-name", name)


def colours(page: Page, name: str) -> dict[str, dict[str, str]]:
    theme(page, name)
    found: dict[str, dict[str, str]] = page.evaluate(
        """names => Object.fromEntries(names.map(name => {
            const style = window.getComputedStyle(document.querySelector(name));
            return [name, {text: style.color, ground: style.backgroundColor}];
        }))""",
        list(COLOURED),
    )
    return found


@pytest.mark.parametrize(
    "command", ["kitaru-nb:open-panel", "kitaru-nb:answer", "kitaru-nb:replay", "kitaru-nb:compare"]
)
def test_a_command_describes_its_arguments(lab: Site, context: BrowserContext, command: str) -> None:
    notebook = lab.open(context, lab.write("commands.ipynb", "1"))

    described = notebook.page.evaluate("id => window.jupyterapp.commands.describedBy(id)", command)

    assert described["args"]["type"] == "object"
