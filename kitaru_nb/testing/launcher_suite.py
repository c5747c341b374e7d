"""What every launcher must do, against the place that it really starts things in."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.cancelling import cancel, end_job
from kitaru_nb.stacks.following import follow
from kitaru_nb.stacks.launcher import Handle, JobStatus, Launcher, Launchers, RunSpec, launcher_of
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.reconcile import LIMIT, Action, Reconciled, reconcile_one
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import submission_of
from kitaru_nb.stacks.submitting import Submitted, submit
from kitaru_nb.stacks.watch import Signals

__all__ = ["Bench", "LauncherSuite"]

_PATIENCE = 200.0  # seconds; a guard against hanging, not an expectation

_COUNT = "import pathlib, os\ndef tick(name):\n    with open({side!r}, 'a') as f: f.write(name + '\\n')"
_ENDLESS = "tick('endless')\nimport time\nwhile not pathlib.Path({go!r}).exists(): time.sleep(0.05)"


class Bench:
    """A stack with its launcher, a folder of notebooks, and what they have counted.

    Args:
        folder: Where the notebooks are; the workers must reach it under the same path.
        settings: With the stack as the chosen one.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        assert settings.place is not None
        self.folder = folder
        self.settings = settings
        self.side = folder / "side.txt"
        self.go = folder / "go"
        self.launcher: Launcher = launcher_of(settings.place, settings)
        self.engine: Engine = open_engine(settings)

    def notebook(self, *cells: str, name: str = "work") -> Path:
        """A notebook of these cells after one that defines ``tick(NAME)``, which counts in a file."""
        path = self.folder / f"{name}.ipynb"
        sources = [_COUNT.format(side=str(self.side)), *cells]
        cells_of = [nbformat.v4.new_code_cell(text, id=f"c{i}") for i, text in enumerate(sources)]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells_of, metadata={"kernelspec": kernel}), path)
        return path

    @property
    def endless(self) -> str:
        """The source of a cell that runs until the file `go` is there."""
        return _ENDLESS.format(go=str(self.go))

    def submit(self, notebook: Path, retries: int = 0) -> Submitted:
        """Hand it to the launcher."""
        return submit(self.engine, job_of(str(notebook)), self.launcher, retries=retries)

    def follow(self, submitted: Submitted) -> Outcome:
        """Wait for its end, as `kitaru-nb run` does."""
        return follow(self.engine, submitted.execution, Launchers(self.settings), signals=Signals())

    def reconcile(self, execution: ExecutionId) -> Reconciled | None:
        """One look at it, as `kitaru-nb reconcile` does."""
        return reconcile_one(self.engine, self.execution(execution), Launchers(self.settings))

    def execution(self, execution: ExecutionId) -> Execution:
        """How it stands."""
        return self.engine.journal.execution(execution)

    def ticks(self) -> list[str]:
        """What cells have counted."""
        return self.side.read_text().split() if self.side.exists() else []

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + _PATIENCE
        while not holds():
            assert time.monotonic() < limit, f"{what} never came"
            time.sleep(0.05)

    def over(self, handle: Handle) -> None:
        """Wait until the job is over."""
        self.until(lambda: self.launcher.poll(handle).over, "the end of the job")


class _Broken:
    """A launcher whose workers end before they begin."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.capabilities, self.poll, self.cancel = launcher.capabilities, launcher.poll, launcher.cancel
        self.logs = launcher.logs

    def submit(self, spec: RunSpec) -> Handle:
        return self._launcher.submit(replace(spec, words=["-c", "raise SystemExit('no disk')"]))


class _Same(Launchers):
    """One launcher for every stack."""

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        super().__init__(settings)
        self._launcher = launcher

    def __call__(self, _stack: str) -> Launcher:
        return self._launcher


class LauncherSuite:
    """The promises of `kitaru_nb.stacks.launcher.Launcher`, each a test.

    A subclass says where things run::

        class TestMyLauncher(LauncherSuite):
            def stack(self, folder: Path) -> Stack:
                return Stack("mine", launcher="mine", launcher_options={...})

    Workers must run on this machine, or at least reach the folder: notebooks count in a file there.
    """

    def stack(self, folder: Path) -> Stack:
        """The stack to be tried; its journal and store are in the home unless it says otherwise."""
        raise NotImplementedError

    def kill_worker(self, bench: Bench, submitted: Submitted) -> None:
        """SIGKILL the worker; where it is on another machine, or has pids of its own, a subclass does."""
        owner = bench.engine.journal.attempts(submitted.execution)[-1].owner
        assert owner.host == socket.gethostname(), "its pid would be somebody else's here"
        os.kill(owner.pid, signal.SIGKILL)

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        """A stack of the subclass's kind, and a folder of notebooks."""
        folder = tmp_path / "work"
        folder.mkdir()
        bench = Bench(folder, resolve(place=self.stack(folder)))
        with closing(bench.engine):
            yield bench
            bench.go.touch()  # what a failed test has left running ends

    def test_a_notebook_runs_to_its_end(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a'); x = 20", "tick('b'); x + 1"))

        outcome = bench.follow(submitted)

        assert (outcome.status, outcome.exit) == (ExecutionStatus.COMPLETED, Exit.COMPLETED)
        assert bench.ticks() == ["a", "b"]
        saved = nbformat.read(bench.folder / "work.out.ipynb", as_version=4)
        assert saved.cells[-1].outputs[0]["data"]["text/plain"] == "21"
        assert bench.execution(submitted.execution).attempts == 1, "the queue's attempt is the worker's"
        bench.over(submitted.handle)

    def test_what_the_worker_prints_can_be_read_from_any_byte_on(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("1"))
        bench.follow(submitted)
        bench.over(submitted.handle)

        said = bench.launcher.logs(submitted.handle)

        assert f"kitaru: completed execution={submitted.execution}".encode() in said
        assert bench.launcher.logs(submitted.handle, offset=len(said) - 5) == said[-5:]
        assert bench.launcher.logs(submitted.handle, offset=len(said)) == b""

    def test_a_cell_that_raises_is_a_failed_run(self, bench: Bench) -> None:
        outcome = bench.follow(bench.submit(bench.notebook("tick('a')", "1 / 0")))

        assert (outcome.status, outcome.exit) == (ExecutionStatus.FAILED, Exit.FAILED)
        assert "ZeroDivisionError" in outcome.reason
        assert bench.ticks() == ["a"]

    def test_a_failed_run_is_tried_again_by_the_worker(self, bench: Bench) -> None:
        first = f"pathlib.Path({str(bench.go)!r})"
        source = f"tick('b')\nif not {first}.exists():\n    {first}.touch()\n    1 / 0"

        outcome = bench.follow(bench.submit(bench.notebook("tick('a')", source), retries=1))

        assert outcome.exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "b", "b"]

    def test_where_a_killed_worker_was_another_goes_on(self, bench: Bench) -> None:
        """Only the cell that it was killed in runs twice."""
        notebook = bench.notebook("tick('a')", "tick('b')", bench.endless, "tick('c')")
        submitted = bench.submit(notebook)
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        self.kill_worker(bench, submitted)
        bench.until(
            lambda: bench.execution(submitted.execution).status is ExecutionStatus.INTERRUPTED, "the death"
        )
        bench.go.touch()
        outcome = bench.follow(submitted)

        assert outcome.exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "b", "endless", "endless", "c"]

    def test_a_run_that_waits_holds_nothing_and_goes_on_with_its_answer(self, bench: Bench) -> None:
        notebook = bench.notebook(
            "tick('a')", "import kitaru_nb as kt\nok = kt.wait('Publish?', name='publish')", "tick('b'); ok"
        )
        submitted = bench.submit(notebook)
        assert bench.follow(submitted).exit is Exit.WAITING
        bench.over(submitted.handle)
        found = bench.reconcile(submitted.execution)
        assert found is not None
        assert found.action is Action.LEFT, "nobody has answered"

        bench.engine.journal.answer_wait(
            f"{submitted.execution}/publish", answer=True, by="ana", source="test"
        )
        found = bench.reconcile(submitted.execution)

        assert found is not None
        assert found.action is Action.SUBMITTED
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "b"]

    def test_a_worker_that_is_asked_to_end_leaves_a_run_that_goes_on(self, bench: Bench) -> None:
        """As a scheduler asks before it takes the machine away."""
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        bench.launcher.cancel(submitted.handle)
        bench.over(submitted.handle)

        stopped = bench.execution(submitted.execution)
        assert (stopped.status, stopped.reason) == (ExecutionStatus.INTERRUPTED, "stopped by SIGTERM")
        bench.go.touch()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.ticks() == ["a", "endless", "endless", "b"]

    def test_a_cancelled_run_ends_and_is_never_begun_again(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook(bench.endless, "tick('b')"))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")

        now = cancel(bench.engine.journal, submitted.execution, by="ana")
        assert end_job(bench.engine, now, Launchers(bench.settings)) is None
        bench.over(submitted.handle)

        found = bench.reconcile(submitted.execution)
        assert found is not None
        assert found.action is Action.LEFT
        assert bench.follow(submitted).status is ExecutionStatus.CANCELLED
        assert bench.ticks() == ["endless"]

    def test_a_job_that_is_started_twice_runs_once(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')"))
        words = ["-m", "kitaru_nb.stacks", "submitted", submitted.execution, f"--epoch={submitted.epoch}"]
        spec = RunSpec(submitted.execution, words, {"KITARU_NB_PLACE": self._place(bench)})
        second = bench.launcher.submit(replace(spec, env={**spec.env, **self._home(bench)}))

        assert bench.follow(submitted).exit is Exit.COMPLETED
        bench.over(second)

        assert bench.ticks() == ["a"]
        assert bench.execution(submitted.execution).attempts == 1

    def test_many_are_submitted_at_once(self, bench: Bench) -> None:
        notebooks = [bench.notebook(f"tick('n{i}')", name=f"n{i}") for i in range(3)]

        outcomes = [bench.follow(each) for each in [bench.submit(each) for each in notebooks]]

        assert [each.exit for each in outcomes] == [Exit.COMPLETED] * 3
        assert sorted(bench.ticks()) == ["n0", "n1", "n2"]

    def test_of_many_passes_at_once_one_submits(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("tick('a')", bench.endless))
        bench.until(lambda: "endless" in bench.ticks(), "the endless cell")
        self.kill_worker(bench, submitted)
        bench.over(submitted.handle)
        bench.until(
            lambda: bench.execution(submitted.execution).status is ExecutionStatus.INTERRUPTED, "the death"
        )
        found: list[Reconciled | None] = []

        passes = [
            threading.Thread(target=lambda: found.append(bench.reconcile(submitted.execution)))
            for _ in range(4)
        ]
        for each in passes:
            each.start()
        for each in passes:
            each.join()

        assert [each.action for each in found if each is not None].count(Action.SUBMITTED) == 1
        bench.go.touch()
        assert bench.follow(submitted).exit is Exit.COMPLETED
        assert bench.execution(submitted.execution).attempts == 2

    def test_a_job_that_never_begins_is_given_up_with_what_it_said(self, bench: Bench) -> None:
        """As where the worker's Python has no kitaru_nb: after some tries the run is failed, and says why."""
        broken = _Broken(bench.launcher)
        launchers = _Same(bench.settings, broken)
        submitted = submit(bench.engine, job_of(str(bench.notebook("tick('a')"))), broken)

        outcome = follow(bench.engine, submitted.execution, launchers, signals=Signals())

        assert outcome.status is ExecutionStatus.FAILED
        assert f"given up after {LIMIT} attempts that recorded nothing" in outcome.reason
        assert "no disk" in outcome.reason
        assert bench.ticks() == []

    def test_an_unknown_job_is_lost_and_cannot_be_harmed(self, bench: Bench) -> None:
        submitted = bench.submit(bench.notebook("1"))
        bench.follow(submitted)
        bench.over(submitted.handle)

        bench.launcher.cancel(submitted.handle)

        assert bench.launcher.poll(submitted.handle).status in (JobStatus.EXITED, JobStatus.LOST)
        found = submission_of(bench.engine, bench.execution(submitted.execution))
        assert found is not None
        assert (found.handle, found.own) == (submitted.handle, True)

    def _place(self, bench: Bench) -> str:
        assert bench.settings.place is not None
        return json.dumps(bench.settings.place.to_json())

    def _home(self, bench: Bench) -> dict[str, str]:
        return {"KITARU_NB_HOME": str(bench.settings.home)}
