"""The demonstration: a real notebook, its kernel killed half-way, and the same command again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import psutil  # type: ignore[import-untyped] # published without types

from kitaru_nb.engine.refs import LATEST, steps
from kitaru_nb.errors import KernelError, NotFoundError, StoreError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["NOTEBOOK", "Demo", "run_demo"]

NOTEBOOK = "01_survive_a_crash.ipynb"

_MARK = ".kitaru-demo"
_LAST_SAFE = "search-svm"  # id of the cell that must be on record before the kernel is killed
_KILLED = "search-trees"  # id of the cell that is running then
_INTO_CELL = 1.0  # seconds that cell gets, so that the kill lands in the middle of its work
_PATIENCE = 300.0  # seconds until the kill; a slow machine needs one minute
_LOOK = 0.05
_NEEDED = {"matplotlib": "matplotlib", "pandas": "pandas", "sklearn": "scikit-learn"}


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration did.

    Attributes:
        folder: Where everything is; `home` below it holds journal and store.
        notebook: The copy that was run, and `output` the executed notebook.
        execution: Id of the one execution that both attempts belong to.
        exits: Exit codes of the first and the second command.
        checkpoints: Its steps in order, each with its status in the second attempt.
        first: Seconds the first command took, and `second` the second.
        saved: Seconds that the restored steps took when they ran.
    """

    folder: Path
    home: Path
    notebook: Path
    output: Path
    execution: str
    exits: tuple[int, int]
    checkpoints: Sequence[Checkpoint]
    first: float
    second: float
    saved: float


def run_demo(folder: Path, *, say: Callable[[str], None]) -> Demo:
    """Run the notebook, kill its kernel with SIGKILL, and run it again.

    Args:
        folder: Where to work; made when missing, made anew when it is of an earlier demo.
        say: Told in a line what is happening, as it happens.

    Raises:
        UsageError: kind ``missing-packages``, ``folder-in-use``.
        StoreError: kind ``demo-folder``: the folder cannot be made.
        KernelError: kind ``demo-failed``: a run did not end as it should; the log is named.
    """
    _check_packages()
    folder = folder.absolute()
    notebook = _set_up(folder)
    home, output = folder / "home", notebook.with_suffix(".out.ipynb")
    command = [sys.executable, "-m", "kitaru_nb", "run", str(notebook), "-o", str(output)]
    environment = {**os.environ, "KITARU_NB_HOME": str(home)}
    say(f"running {NOTEBOOK} …")
    first, begun = _Command(command, environment, folder / "first-run.log"), time.monotonic()
    kernel = first.kill_half_way(home, say)
    first_exit, first_took = first.wait(), time.monotonic() - begun
    say(f"kernel {kernel} is dead. Running the same command again …")
    second, begun = _Command(command, environment, folder / "second-run.log"), time.monotonic()
    second_exit, second_took = second.wait(), time.monotonic() - begun
    if second_exit != 0:
        raise second.failed(f"the second run ended with exit code {second_exit}")
    with closing(open_engine(resolve(home=home), read_only=True)) as engine:
        execution = engine.journal.execution(LATEST)
        found = steps(engine.journal, execution.id)
    return Demo(
        folder,
        home,
        notebook,
        output,
        execution.id,
        (first_exit, second_exit),
        found,
        first_took,
        second_took,
        execution.saved_duration,
    )


class _Command:
    """A `kitaru-nb run` that is going on, its output in a log file."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    def kill_half_way(self, home: Path, say: Callable[[str], None]) -> int:
        """Kill the kernel once the cell before `_KILLED` is on record; the kernel's process id."""
        try:
            name = self._await_checkpoint(home)
            time.sleep(_INTO_CELL)
            kernel = self._kernel()
            say(f"`{name}` is on record and the next cell is at work: kill -9 {kernel}")
            os.kill(kernel, signal.SIGKILL)
        except BaseException:
            self._process.terminate()
            raise
        return kernel

    def wait(self) -> int:
        """The exit code."""
        try:
            return self._process.wait()
        except BaseException:
            self._process.terminate()
            raise

    def failed(self, what: str) -> KernelError:
        """The error that says `what` went wrong, with the end of the log."""
        lines = self._log.read_text("utf-8", "replace").replace("\r", "\n").strip().splitlines()
        why = f": {lines[-1]}" if lines else ""
        return KernelError(f"{what}{why}", kind="demo-failed", hint=f"cat {quote(str(self._log))}")

    def _await_checkpoint(self, home: Path) -> str:
        """The name of the checkpoint waited for, once it is on record."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self.failed(f"the first run ended by itself with exit code {self._process.returncode}")
            try:
                with closing(open_engine(resolve(home=home), read_only=True)) as engine:
                    if (name := _recorded_name(engine.journal)) is not None:
                        return name
            except (NotFoundError, StoreError):
                pass  # the journal is being made
            time.sleep(_LOOK)
        raise self.failed(f"cell `{_LAST_SAFE}` was not done after {_PATIENCE:g} s")

    def _kernel(self) -> int:
        children = psutil.Process(self._process.pid).children(recursive=True)
        for child in children:
            if any("ipykernel" in word for word in child.cmdline()):
                return int(child.pid)
        raise self.failed("the first run has no kernel")


def _recorded_name(journal: Journal) -> str | None:
    drafts = [step.draft for step in journal.checkpoints(journal.execution(LATEST).id)]
    return next((draft.name for draft in drafts if draft.step == f"cell:{_LAST_SAFE}"), None)


def _check_packages() -> None:
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"the demo works on real data and needs {', '.join(missing)}",
            kind="missing-packages",
            hint=f"{sys.executable} -m pip install 'kitaru-nb[demo]'",
        )


def _set_up(folder: Path) -> Path:
    """An empty folder with a fresh copy of the notebook; only what an earlier demo made is removed."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UsageError(
            f"`{folder}` holds other files, which the demo leaves alone",
            kind="folder-in-use",
            hint="kitaru-nb demo --keep /another/folder",
        )
    notebook = folder / NOTEBOOK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
        if (folder / "home").exists():
            shutil.rmtree(folder / "home")
        notebook.with_suffix(".out.ipynb").unlink(missing_ok=True)
        notebook.write_text(_source().read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the demo's folder `{folder}` cannot be made: {error.strerror or error}",
            kind="demo-folder",
            hint="kitaru-nb demo --keep /another/folder",
        ) from error
    return notebook


def _source() -> Path:
    """The notebook as it was installed, or in a source tree beside the package."""
    package = Path(__file__).parents[1]
    installed = package / "notebooks" / NOTEBOOK
    return installed if installed.exists() else package.parent / "notebooks" / NOTEBOOK
