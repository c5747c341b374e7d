"""A real JupyterLab or Notebook 7 for tests, and a page of it in a browser.

Everything a server or a kernel writes lands in one folder, so that two tests cannot meet there, and
nothing in the home folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import nbformat
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.jupyter_config import without_extensions
from tests.ports import free_ports

TOKEN = "for-tests-only"
PATIENCE = 90.0
LOST = "Server Connection Error"
ASSETS = Path(__file__).parents[2] / "labextension" / "assets"
DIALOGS = """
window.kitaruDialogs = [];
new MutationObserver(() => document.querySelectorAll('.jp-Dialog').forEach(dialog => {
  if (!dialog.dataset.seen && dialog.innerText) {
    dialog.dataset.seen = 'yes';
    window.kitaruDialogs.push(dialog.innerText);
  }
})).observe(document, {childList: true, subtree: true});
"""


def eventually(
    holds: Callable[[], object], *, within: float = PATIENCE, what: Callable[[], str] = str
) -> None:
    """Ask again and again until it holds; where it does not in time, `what` says how things stand."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, what()
        time.sleep(0.1)


def _dismiss(dialog: Locator) -> None:
    """JupyterLab's word on a poll of its own that failed: it covers the page, and takes the next click.

    Its managers of kernels, sessions and terminals say it where a poll does not come through at all;
    a request of ours that fails never does, which `test_panel` tries.
    """
    dialog.get_by_role("button", name="Close").click()


@dataclass
class Site:
    """One server, its folder, and how to ask it."""

    app: str
    root: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False  # a server and a front end without any part of ours
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of the server, its kernels, and of commands that are to see the same records."""
        private = self.root.parent / f"{self.root.name}-private"
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "JUPYTER_PATH": "share",
            "KITARU_NB_HOME": "kitaru",
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KITARU_NB_")}
        # Else what is installed beside the tests' own Python would count before the private folders.
        kept |= {"PATH": path, "JUPYTER_PREFER_ENV_PATH": "0"}
        return {**kept, **{name: str(private / folder) for name, folder in folders.items()}}

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        told = {
            "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}
        }
        for plugin, values in {**told, **self.settings}.items():
            file = Path(self.environment["JUPYTERLAB_SETTINGS_DIR"], f"{plugin}.jupyterlab-settings")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        config = Path(self.environment["JUPYTER_CONFIG_DIR"])
        fronts, servers = ["kitaru-nb-labextension"], ["kitaru_nb"]
        without_extensions(config, fronts if self.plain else [], servers if self.plain else [])
        # The assets as they are built now: an installed copy may be older.
        extension = Path(self.environment["JUPYTER_PATH"], "labextensions", "kitaru-nb-labextension")
        extension.parent.mkdir(parents=True, exist_ok=True)
        extension.symlink_to(ASSETS, target_is_directory=True)
        exposed = "LabApp" if self.app == "lab" else "JupyterNotebookApp"
        self._log = (self.root.parent / f"{self.root.name}-server.log").open("w")
        self._process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "jupyterlab" if self.app == "lab" else "notebook"),
                *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}"),
                *("--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"),
                *(f"--ServerApp.root_dir={self.root}", f"--{exposed}.expose_app_in_browser=True"),
            ],
            stdout=self._log,
            stderr=self._log,
            env=self.environment,
            cwd=self.root,
        )
        self._wait_until_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def api(self, path: str, body: object = None) -> Any:
        """What a route of ours answers; with a body it is a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.base}/kitaru-nb/api/{path}", data=data, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def cli(self, *words: str) -> str:
        """What `kitaru-nb` prints, on the same records."""
        done = subprocess.run(
            [sys.executable, "-m", "kitaru_nb", *words],
            env=self.environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def add_kernel(self, name: str, **environment: str) -> None:
        """Another kernel, which has these environment variables."""
        folder = Path(self.environment["JUPYTER_DATA_DIR"], "kernels", name)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": command, "display_name": name, "language": "python", "env": environment}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def write(self, name: str, *cells: str, kernel: str = "python3") -> str:
        """A notebook of code cells, with ids that say which is which."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
        notebook.cells = [
            nbformat.v4.new_code_cell(cell, id=f"cell-{number}") for number, cell in enumerate(cells)
        ]
        nbformat.write(notebook, self.root / name)
        return name

    def open(self, context: BrowserContext, name: str, *, page: Page | None = None) -> Notebook:
        """The notebook in a page, its kernel idle."""
        notebook = self.look(context, name, page=page).ready()
        assert notebook.dialogs == []  # one would cover the page: this says whose it is
        return notebook

    def look(self, context: BrowserContext, name: str, *, page: Page | None = None) -> Notebook:
        """The notebook in a page, whatever its kernel does."""
        page = page or context.new_page()
        page.add_init_script(DIALOGS)
        # A layout of its own: a second page with the same would be sent to another one, and load twice.
        layout = f"lab/workspaces/{uuid.uuid4().hex}/tree" if self.app == "lab" else "notebooks"
        page.add_locator_handler(page.locator(".jp-Dialog", has_text=LOST), _dismiss)
        page.goto(f"{self.base}/{layout}/{name}?token={TOKEN}")
        notebook = Notebook(self, page)
        expect(notebook.cell(0)).to_be_visible(timeout=120_000)
        return notebook

    def _wait_until_up(self) -> None:
        def is_up() -> bool:
            assert self._process.poll() is None, self.log
            try:
                urllib.request.urlopen(f"{self.base}/api/status?token={TOKEN}", timeout=5).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False
            return True

        eventually(is_up, within=200, what=lambda: self.log)


@dataclass
class Notebook:
    """A notebook that is open in a page."""

    site: Site
    page: Page

    def ready(self) -> Self:
        """Once its kernel can run something."""
        expect(self.cell(0)).to_be_visible(timeout=120_000)
        self.page.wait_for_function(
            """() => {
                const shell = window.jupyterapp?.shell;
                const widget = shell?.currentWidget ?? shell?.widgets('main').next().value;
                return widget?.sessionContext?.session?.kernel?.status === 'idle';
            }""",
            timeout=120_000,
        )
        return self

    def cell(self, number: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Locator:
        return self.cell(number).locator(".jp-Cell-outputArea")

    def card(self, number: int) -> Locator:
        """The wait in a cell's output."""
        return self.output(number).locator(".jp-kitaru-Wait")

    def command(self, name: str, **arguments: object) -> Any:
        return self.page.evaluate(
            "([name, args]) => { void window.jupyterapp.commands.execute(name, args); }", [name, arguments]
        )

    def run(self, *numbers: int) -> None:
        """Give cells to the kernel in one go, as Run All does."""
        self.page.evaluate(
            """numbers => {
                const notebook = window.jupyterapp.shell.currentWidget.content;
                notebook.deselectAll();
                notebook.activeCellIndex = numbers[0];
                numbers.slice(1).forEach(number => notebook.select(notebook.widgets[number]));
                void window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            list(numbers),
        )

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def activate(self, number: int) -> None:
        self.page.evaluate(
            "number => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = number; }", number
        )

    def widen(self, width: int) -> None:
        """Give the left side of JupyterLab this many pixels."""
        box = self.page.locator("#jp-left-stack").bounding_box()
        assert box is not None
        edge, middle = box["x"] + box["width"] + 1, box["y"] + box["height"] / 2
        self.page.mouse.move(edge, middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + width, middle, steps=4)
        self.page.mouse.up()

    def has_source(self, number: int, source: str) -> None:
        """Wait until a cell holds this."""
        self.page.wait_for_function(
            """([number, source]) => {
                const cell = window.jupyterapp.shell.currentWidget.content.widgets[number];
                return cell.model.sharedModel.getSource() === source;
            }""",
            arg=[number, source],
        )

    def set_source(self, number: int, source: str) -> None:
        self.page.evaluate(
            """([number, source]) => {
                const cell = window.jupyterapp.shell.currentWidget.content.widgets[number];
                cell.model.sharedModel.setSource(source);
            }""",
            [number, source],
        )

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")

    def reload(self) -> None:
        self.page.reload()
        self.ready()

    def prompt(self, number: int) -> Locator:
        return self.cell(number).locator(".jp-InputPrompt")

    def has_run(self, number: int) -> None:
        """Wait until a cell has come to its end."""
        expect(self.prompt(number)).to_have_text(re.compile(r"\[\d+\]"), timeout=PATIENCE * 1000)

    def idle(self) -> None:
        """Wait until the kernel says that it has nothing to do; it may say so between two messages."""
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        )

    def restarted(self, pid: int) -> None:
        """Wait until another kernel has taken the place of the one with this process id."""
        told = self.page.locator(".jp-Dialog", has_text="Kernel Restarting")
        told.get_by_role("button").click()  # Jupyter's own word on it; it covers the page until it is read
        # It shows as starting until somebody asks it something, so it is asked.
        eventually(lambda: self._asked_pid() not in (None, pid), what=lambda: f"still kernel {pid}")

    def kernel_pid(self) -> int:
        """The process id of the kernel, asked without leaving a trace in the notebook."""
        found = self._asked_pid()
        assert found is not None
        return found

    def _asked_pid(self) -> int | None:
        """None where the kernel does not answer: one that dies leaves the question open."""
        found = self.page.evaluate(
            """async () => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({
                    code: '', silent: true, user_expressions: {pid: "__import__('os').getpid()"}
                });
                const late = new Promise(resolve => setTimeout(resolve, 5000));
                const reply = await Promise.race([future.done, late]).catch(() => undefined);
                return reply?.content.user_expressions?.pid?.data['text/plain'];
            }"""
        )
        return None if found is None else int(found)

    @property
    def dialogs(self) -> Sequence[str]:
        """The modal dialogs that this page has shown, without those that are dismissed for a test."""
        found: Sequence[str] = self.page.evaluate("() => window.kitaruDialogs")
        return [text for text in found if LOST not in text]


def reach(page: Page, target: Locator) -> None:
    """Go on with Tab until the keyboard is there."""
    for _ in range(60):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("not reached from the keyboard")
