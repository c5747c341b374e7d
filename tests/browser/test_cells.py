"""What a notebook shows of its checkpoints: badges, menu, Resume bar; and that none of it is saved."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, expect

from tests.browser.site import Notebook, Site

LOAD = "%load_ext kitaru_nb"
STEP = "%%checkpoint numbers\nnumbers = [1, 2, 3]\nprint('made')"
SUM = "%%checkpoint total\ntotal = sum(numbers)\ntotal"


def badge(notebook: Notebook, number: int) -> Locator:
    return notebook.cell(number).locator(".jp-kitaru-Badge-line")


def stands(notebook: Notebook, number: int, status: str) -> None:
    expect(badge(notebook, number)).to_have_attribute("data-status", status)


def opened(site: Site, context: BrowserContext, name: str, *cells: str) -> Notebook:
    cells = cells or (LOAD, STEP, SUM)
    notebook = site.open(context, site.write(f"{name}.ipynb", *cells))
    notebook.run_all()
    notebook.has_run(len(cells) - 1)  # when all have run, JupyterLab goes to the last one
    return notebook


def killed(notebook: Notebook) -> None:
    pid = notebook.kernel_pid()
    os.kill(pid, signal.SIGKILL)
    notebook.restarted(pid)


def test_a_checkpoint_is_fresh_after_it_ran_and_stale_with_a_reason_after_an_edit(
    lab: Site, context: BrowserContext
) -> None:
    notebook = opened(lab, context, "badges")
    stands(notebook, 1, "fresh")
    stands(notebook, 2, "fresh")
    expect(badge(notebook, 0)).to_have_count(0)

    notebook.set_source(1, STEP.replace("3]", "4]"))

    stands(notebook, 1, "stale")
    expect(badge(notebook, 1)).to_have_attribute("title", re.compile("source|edited|changed"))


def test_a_restored_cell_says_so_and_nothing_of_it_is_saved(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "quiet")
    notebook.save()
    before = cells_of(lab, "quiet.ipynb")
    killed(notebook)

    notebook.run_all()

    stands(notebook, 2, "restored")
    stands(notebook, 1, "restored")
    notebook.save()
    after = cells_of(lab, "quiet.ipynb")
    assert after == before
    assert "kitaru" not in json.dumps([cell["metadata"] for cell in after])


def gated(gate: Path, name: str) -> str:
    """A checkpoint that shows nothing and runs until its file is there."""
    until = f"while not pathlib.Path({str(gate)!r}).exists():\n    time.sleep(0.1)"
    return f"%%checkpoint {name}\nimport pathlib, time\n{until}"


def test_of_the_cells_that_were_run_only_the_one_runs_that_the_kernel_is_at(
    site: Site, context: BrowserContext
) -> None:
    gates = [site.root / f"queue{number}.gate" for number in range(2)]
    steps = [gated(gate, f"step{number}") for number, gate in enumerate(gates)]
    notebook = opened(site, context, "queue", LOAD, STEP)
    for step in steps:  # known to the server, since the cells were typed and not run
        notebook.page.evaluate(
            """async source => {
                const { commands, shell } = window.jupyterapp;
                await commands.execute('notebook:insert-cell-below');
                shell.currentWidget.content.activeCell.model.sharedModel.setSource(source);
            }""",
            step,
        )
    expect(notebook.cell(3)).to_be_visible()

    notebook.run(2, 3)

    stands(notebook, 2, "running")
    stands(notebook, 3, "queued")
    gates[0].touch()
    stands(notebook, 2, "fresh")
    stands(notebook, 3, "running")
    gates[1].touch()
    stands(notebook, 3, "fresh")


def test_a_page_that_comes_while_a_cell_runs_says_so(lab: Site, context: BrowserContext) -> None:
    gate = lab.root / "later.gate"
    notebook = lab.open(context, lab.write("later.ipynb", LOAD, STEP, gated(gate, "long")))
    notebook.run_all()
    stands(notebook, 2, "running")
    notebook.page.close()

    notebook = lab.look(context, "later.ipynb")

    stands(notebook, 2, "running")
    gate.touch()
    stands(notebook, 2, "fresh")


def test_a_cell_that_fails_says_why(lab: Site, context: BrowserContext) -> None:
    notebook = lab.open(context, lab.write("fails.ipynb", LOAD, "%%checkpoint broken\n1 / 0"))
    notebook.run_all()

    stands(notebook, 1, "failed")
    expect(badge(notebook, 1)).to_contain_text("ZeroDivisionError")


def test_the_context_menu_makes_a_cell_a_checkpoint_and_back(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "menu", LOAD, "x = 1", "x")

    for role, expected in (("menuitem", "%%checkpoint\nx = 1"), ("menuitemcheckbox", "x = 1")):
        notebook.cell(1).locator(".cm-content").click(button="right")
        notebook.page.get_by_role(role, name="Make this a checkpoint").click()
        notebook.has_source(1, expected)


def test_a_checkpoint_that_is_made_a_plain_cell_and_back_keeps_its_options(
    lab: Site, context: BrowserContext
) -> None:
    step = "%%checkpoint load --retries 2\nx = 1"
    notebook = lab.open(context, lab.write("options.ipynb", step))
    notebook.activate(0)

    for expected in ("x = 1", step):
        notebook.command("kitaru-nb:toggle-checkpoint")
        notebook.has_source(0, expected)


def test_after_a_kernel_death_one_click_brings_everything_back(site: Site, context: BrowserContext) -> None:
    notebook = opened(site, context, "died", LOAD, STEP, SUM, "print('back', total)")
    killed(notebook)
    bar = notebook.page.locator(".jp-kitaru-Resume")
    expect(bar).to_contain_text("2 checkpoints can be put back, up to “total”")

    bar.get_by_role("button", name="Resume").click()
    expect(bar).to_contain_text("back: `numbers`, `total`")
    bar.get_by_role("button", name="Show where to go on").click()

    expect(bar).to_be_hidden()
    notebook.run(3)
    expect(notebook.output(3)).to_contain_text("back 6")


def test_rewinding_puts_the_names_back(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "rewind", LOAD, STEP, "numbers.append(9)", "print(numbers)")
    notebook.activate(1)
    stands(notebook, 1, "fresh")

    notebook.command("kitaru-nb:rewind")
    notebook.page.get_by_role("button", name="Rewind").click()
    expect(notebook.page.locator(".jp-toast, .Toastify")).to_contain_text("as of `numbers` again")
    notebook.run(3)

    expect(notebook.output(3)).to_contain_text("[1, 2, 3]\n")


def test_a_checkpoints_name_is_never_run(lab: Site, context: BrowserContext) -> None:
    step = """%%checkpoint "{open('owned', 'w')} it's $HOME"\nx = 1"""
    notebook = opened(lab, context, "braces", LOAD, step, "x = 2", "print(x)")
    notebook.activate(1)
    stands(notebook, 1, "fresh")

    notebook.command("kitaru-nb:why")
    told = notebook.page.locator(".jp-Dialog")
    expect(told).to_contain_text("{open('owned', 'w')} it's $HOME")
    told.get_by_role("button", name="Close").click()
    notebook.activate(1)  # closing it went back to where the keyboard had been
    notebook.command("kitaru-nb:rewind")
    notebook.page.get_by_role("button", name="Rewind").click()
    expect(notebook.page.locator(".jp-toast, .Toastify")).to_contain_text("it's $HOME` again")
    notebook.run(3)

    expect(notebook.output(3)).to_contain_text("1\n")
    assert not (lab.root / "owned").exists()


def test_run_from_here_runs_this_cell_and_all_below(lab: Site, context: BrowserContext) -> None:
    notebook = opened(lab, context, "below", LOAD, "a = 1", "b = 2", "c = 3")
    notebook.has_run(3)
    notebook.activate(2)

    notebook.command("kitaru-nb:run-from-here")

    expect(notebook.prompt(3)).to_have_text("[6]:")
    expect(notebook.prompt(1)).to_have_text("[2]:")


def cells_of(site: Site, name: str) -> list[dict[str, object]]:
    found = json.loads((site.root / name).read_text())["cells"]
    for cell in found:
        cell.pop("execution_count")  # Jupyter's own: how many runs this kernel has seen
        for output in cell["outputs"]:
            output.pop("execution_count", None)
    return list(found)
