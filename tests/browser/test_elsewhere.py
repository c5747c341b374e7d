"""Kernels that are not where the server is: their paths differ, or they keep their own records."""

from __future__ import annotations

import os
import re
import signal

from playwright.sync_api import BrowserContext, expect

from tests.browser.site import Site
from tests.browser.test_cells import LOAD, STEP, stands
from tests.browser.test_panel import panel_of

ASK = "import kitaru_nb as kt\nok = kt.wait('Publish?', show='a draft', name='publish'); print('said', ok)"


def test_a_notebook_that_its_kernel_calls_by_another_path_is_known(
    lab: Site, context: BrowserContext
) -> None:
    lab.add_kernel("remote", KITARU_NB_NOTEBOOK="/mnt/team/it's \u00e9t\u00e9.ipynb")
    name = lab.write("remote.ipynb", LOAD, STEP, ASK, kernel="remote")
    notebook = lab.open(context, name)
    notebook.run_all()

    stands(notebook, 1, "fresh")
    stands(notebook, 2, "waiting")
    row = panel_of(notebook).locator(".jp-kitaru-Row")
    expect(row).to_have_count(1)
    expect(row).to_have_attribute("aria-label", re.compile("^it's \u00e9t\u00e9.ipynb"))
    notebook.card(2).get_by_role("button", name="Approve").click()
    expect(notebook.output(2)).to_contain_text("said True")

    pid = notebook.kernel_pid()
    os.kill(pid, signal.SIGKILL)
    notebook.restarted(pid)
    bar = notebook.page.locator(".jp-kitaru-Resume")
    bar.get_by_role("button", name="Resume").click()
    expect(bar).to_contain_text(re.compile("back: .*numbers"))


def test_a_question_of_a_kernel_with_records_of_its_own_is_asked_by_the_kernels_own_form(
    lab: Site, context: BrowserContext
) -> None:
    lab.add_kernel("apart", KITARU_NB_HOME=str(lab.root.parent / "apart"), KITARU_NB_LAB="")
    notebook = lab.open(context, lab.write("apart.ipynb", LOAD, ASK, kernel="apart"))
    notebook.run_all()
    expect(notebook.output(1)).to_contain_text("This server has no record of the question")
    form = notebook.output(1).locator(".kitaru-card")

    form.get_by_role("button", name="Approve").click()

    expect(form).to_have_attribute("data-status", "answered")
    notebook.run(1)
    expect(notebook.output(1)).to_contain_text("said True")


def test_what_such_a_kernel_says_while_it_holds_on_is_there_to_be_read(
    lab: Site, context: BrowserContext
) -> None:
    lab.add_kernel("held", KITARU_NB_HOME=str(lab.root.parent / "held"), KITARU_NB_LAB="1")
    ask = "import kitaru_nb as kt\nkt.wait('Publish?', hold=1, name='publish')"
    notebook = lab.open(context, lab.write("held-apart.ipynb", LOAD, ask, kernel="held"))

    notebook.run_all()

    expect(notebook.output(1)).to_contain_text("%kitaru approve")
    expect(notebook.output(1)).to_contain_text("This server has no record of the question")
