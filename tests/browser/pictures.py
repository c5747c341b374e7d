"""The documentation's pictures of JupyterLab: ``python -m tests.browser.pictures`` takes them anew.

They show a real server, kernel and journal. Look at them after they were taken.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, WITHIN
from tests.browser.site import Notebook, Site

PLACE = Path(__file__).parents[2] / "docs" / "_static"
THEMES = {"light": {}, "dark": {"@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"}}}

LOAD = "%load_ext kitaru_nb\nimport kitaru_nb as kt\nimport numpy as np"
FIGURES = """%%checkpoint figures
import time
weeks = np.linspace(0, 20, 400)
orders = np.sin(weeks) * np.exp(-weeks / 9)
contrast = 0.8
regions = [{'region': 'north', 'orders': 1204}, {'region': 'south', 'orders': 987}]
time.sleep(1.5)"""
HEAT = """%%checkpoint heatmap
heatmap = np.outer(orders[:200], orders[200:]) * contrast
time.sleep(0.6)"""
PUBLISH = """draft = '''--- report.md
+++ report.md
@@ -1,3 +1,3 @@
 # Orders by region
-north 1,190
+north 1,204
 south   987'''
if kt.wait('Publish the quarterly report?', show=draft, name='publish'):
    print('published')"""
REFUND = """from typing import Literal
from pydantic import BaseModel, Field

class Refund(BaseModel):
    amount: int = Field(40, ge=1, title='Amount (USD)', description='At most what was paid')
    tier: Literal['low', 'high'] = 'low'
    mail: bool = Field(True, title='Send a mail to the customer')
    note: str | None = None

refund = kt.wait('Refund the customer?', Refund, show=regions, name='refund')"""
DONE = "print('refunded', refund.amount)"


def main() -> int:
    PLACE.mkdir(exist_ok=True)
    expect.set_options(timeout=WITHIN)
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for theme, settings in THEMES.items():
            with tempfile.TemporaryDirectory() as folder, Site("lab", Path(folder, "work"), settings) as site:
                context = browser.new_context(viewport={"width": 1180, "height": 760})
                context.set_default_timeout(WITHIN)
                take(site, context, theme)
                context.close()
            with (
                tempfile.TemporaryDirectory() as folder,
                Site("lab", Path(folder, "work"), settings, plain=True) as plain,
            ):
                context = browser.new_context(viewport={"width": 900, "height": 900})
                context.set_default_timeout(WITHIN)
                take_widgets(plain, context, theme)
                context.close()
        browser.close()
    return 0


def take(site: Site, context: BrowserContext, theme: str) -> None:
    name = site.write("report.ipynb", LOAD, FIGURES, HEAT, PUBLISH, REFUND, DONE)
    notebook = site.open(context, name)
    page = notebook.page
    notebook.run_all()
    expect(notebook.card(3)).to_be_visible()
    notebook.has_run(3)
    notebook.idle()
    notebook.command("kitaru-nb:open-panel")
    panel = page.locator("#kitaru-nb-panel")
    expect(panel.locator(".jp-kitaru-Row")).to_be_visible()
    expect(notebook.cell(2).locator(".jp-kitaru-Badge-line")).to_be_visible()
    notebook.widen(340)
    picture(notebook, f"lab-wait-{theme}")

    notebook.card(3).get_by_role("button", name="Approve").click()
    expect(notebook.card(4)).to_be_visible()
    notebook.card(4).get_by_label("Amount (USD)").fill("0")
    notebook.card(4).get_by_role("button", name="Send answer").click()
    expect(notebook.card(4).get_by_role("alert")).to_be_visible()
    notebook.card(4).scroll_into_view_if_needed()
    picture(notebook, f"lab-form-{theme}")

    notebook.card(4).get_by_label("Amount (USD)").fill("25")
    notebook.card(4).get_by_role("button", name="Send answer").click()
    notebook.has_run(5)
    panel.locator(".jp-kitaru-Row").first.click()
    panel.locator(".jp-kitaru-Step-head", has_text="figures").click()
    panel.locator(".jp-kitaru-Artifact-head", has_text="orders").click()
    expect(panel.get_by_role("img", name="The values in order")).to_be_visible()
    expect(panel.get_by_role("img", name="How the values are spread")).to_be_visible()
    picture(notebook, f"lab-timeline-{theme}")

    pid = notebook.kernel_pid()
    os.kill(pid, signal.SIGKILL)
    notebook.restarted(pid)
    notebook.activate(0)
    expect(page.locator(".jp-kitaru-Resume")).to_be_visible()
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(0)")
    picture(notebook, f"lab-resume-{theme}")

    page.locator(".jp-kitaru-Resume").get_by_role("button", name="Not now").click()
    notebook.command("kitaru-nb:replay", **{"from": "heatmap"})
    form = page.get_by_role("form", name="Replay")
    form.get_by_label("Value of contrast").fill("0.5")
    picture(notebook, f"lab-replay-{theme}")


def take_widgets(site: Site, context: BrowserContext, theme: str) -> None:
    """Where there is no part of ours but in the kernel."""
    kind, _, ask = REFUND.partition("\n\nrefund = ")
    publish = "draft = 'north 1,204\\nsouth 987'\nkt.wait('Publish this report?', show=draft, name='publish')"
    cells = ("%load_ext kitaru_nb\nimport kitaru_nb as kt", kind, publish, f"regions = []\nrefund = {ask}")
    notebook = site.open(context, site.write("report.ipynb", *cells))
    notebook.command("application:toggle-left-area")
    for number in range(len(cells)):
        notebook.run(number)
        notebook.has_run(number)
    form = notebook.output(3).locator(".kitaru-card")
    form.get_by_label("Amount (USD)").fill("0")
    form.get_by_role("button", name="Send answer").click()
    expect(form.locator("[aria-invalid=true]")).to_have_count(1)
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(2)")
    picture(notebook, f"widget-wait-{theme}")


def picture(notebook: Notebook, name: str) -> None:
    """Small enough to lie in a repository: 128 colours are enough for a user interface."""
    notebook.page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(notebook.page.screenshot()))
    shot.convert("RGB").quantize(128).save(PLACE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
