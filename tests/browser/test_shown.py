"""What cells show while no page is there: it is in the notebook that is opened again."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.browser.site import Notebook, Site, eventually

LOAD = "%load_ext kitaru_nb"
SHORT = "%%checkpoint short\nimport os, pathlib\npathlib.Path({pid!r}).write_text(str(os.getpid()))"


def long_step(gate: Path) -> str:
    """A checkpoint that shows something, waits for a file, and shows more."""
    return (
        "%%checkpoint long\n"
        "import pathlib, time\n"
        "from IPython.display import HTML, display\n"
        "print('at first')\n"
        "display(HTML('<b>drawn</b><img src=x onerror=\"window.owned = 1\">'))\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n"
        "    time.sleep(0.1)\n"
        "print('at last')\n"
        "done = True"
    )


def noted(site: Site, name: str) -> None:
    """Wait until something that a running checkpoint of a notebook has shown is on record."""

    def is_noted() -> bool:
        listed = site.api(f"executions?notebook={name}")["executions"]
        return bool(listed) and "at first" in str(site.api(f"executions/{listed[0]['id']}/logs")["lines"])

    eventually(is_noted, what=lambda: site.log)


def begun(site: Site, context: BrowserContext, name: str) -> tuple[Notebook, Path]:
    """A notebook whose third cell runs until its file is there."""
    gate = site.root / f"{name}.gate"
    notebook = site.open(
        context,
        site.write(f"{name}.ipynb", LOAD, SHORT.format(pid=str(gate.with_suffix(".pid"))), long_step(gate)),
    )
    notebook.run(0, 1, 2)
    expect(notebook.output(2)).to_contain_text("at first")
    noted(site, f"{name}.ipynb")
    return notebook, gate


def test_a_notebook_that_is_opened_while_its_cell_runs_shows_what_it_has_shown(
    site: Site, context: BrowserContext
) -> None:
    notebook, gate = begun(site, context, "lid")
    notebook.page.close()

    notebook = site.look(context, "lid.ipynb")

    expect(notebook.output(2)).to_contain_text(re.compile(r"at first\s+drawn"))
    gate.touch()
    expect(notebook.output(2)).to_contain_text(re.compile(r"at first\s+drawn\s*at last"))
    expect(notebook.output(2).locator("b")).to_have_text("drawn")
    assert notebook.page.evaluate("() => window.owned") is None


def test_what_ended_while_nobody_looked_is_there_too(lab: Site, context: BrowserContext) -> None:
    notebook, gate = begun(lab, context, "ended")
    notebook.page.close()
    gate.touch()
    eventually(lambda: "at last" in lab.cli("logs", "latest"))

    notebook = lab.look(context, "ended.ipynb")

    expect(notebook.output(2)).to_contain_text(re.compile(r"at first\s+drawn\s*at last"))


def test_what_was_shown_before_the_kernel_died_is_there_too(lab: Site, context: BrowserContext) -> None:
    notebook, _ = begun(lab, context, "killed")
    pid = int((lab.root / "killed.pid").read_text())
    notebook.page.close()
    os.kill(pid, signal.SIGKILL)

    notebook = lab.look(context, "killed.ipynb")

    expect(notebook.output(2)).to_contain_text(re.compile(r"at first\s+drawn"))


def test_the_command_shows_it_over_what_is_there_and_never_twice(lab: Site, context: BrowserContext) -> None:
    notebook, gate = begun(lab, context, "twice")
    notebook.activate(2)

    notebook.command("kitaru-nb:show-shown")

    told = notebook.page.locator(".jp-toast, .Toastify")
    expect(told).to_contain_text("runs on this page")
    gate.touch()
    notebook.has_run(2)
    text = notebook.output(2).inner_text()
    assert text.count("at first") == text.count("at last") == 1

    scripted = notebook.output(2).locator("img[onerror]")
    expect(scripted).to_have_count(1)  # what was run on this page is trusted

    notebook.activate(2)
    notebook.command("notebook:clear-cell-output")
    expect(notebook.output(2)).not_to_contain_text("at first")
    for _ in range(2):
        notebook.page.evaluate("() => window.jupyterapp.commands.execute('kitaru-nb:show-shown')")
        expect(notebook.output(2)).to_contain_text(re.compile(r"at first\s+drawn\s*at last"))
    text = notebook.output(2).inner_text()
    assert text.count("at first") == text.count("at last") == 1
    expect(scripted).to_have_count(0)
