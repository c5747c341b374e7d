"""A team's stack, broken: values in a bucket, records in PostgreSQL, laptops that die and come back.

Run as a program it is one laptop: ``python -m tests.chaos.team STACK FOLDER LAPTOP`` runs the
notebook of `scenario` and says on its output how many steps are on record.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kitaru_nb.artifacts.bucket import Bucket
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.stack import Stack
from tests.chaos import damage, scenario
from tests.patience import PATIENCE
from tests.unit.engine.kernel import Kernel

__all__ = ["Team", "damages"]

WIDE = "wide = np.arange(700_000.0)"
CELLS = (*scenario.CELLS, WIDE)


@dataclass(frozen=True, slots=True)
class Team:
    """Laptops that share a stack and have the project at one path."""

    folder: Path
    stack: Stack
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def kernel(self, laptop: str, *, notebook: str = "train") -> Kernel:
        """A new kernel at a notebook on a laptop."""
        settings = {"paranoid": False, "place": self.stack, "stack": self.stack.name}
        return Kernel(self.folder / laptop, notebook=self.folder / f"{notebook}.ipynb", settings=settings)

    def process(self, laptop: str, *, program: str = "run", **environment: str) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        stack = json.dumps([self.stack.store, self.stack.journal, dict(self.stack.options)])
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.team", stack, str(self.folder), laptop, program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """End what a test left running because it failed: some of it would go on for ever."""
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    @property
    def bucket(self) -> Bucket:
        """What is in the bucket, behind everybody's back."""
        return Bucket(str(self.stack.store), self.stack.options)

    def finished(self, laptop: str) -> tuple[int, list[dict[str, str]]]:
        """Run all on a laptop that takes over: how many steps were restored, and each state on the way."""
        kernel = self.kernel(laptop).take_over()
        states = [scenario.end_state(kernel)]
        restored = 0
        for number, cell in enumerate(CELLS):
            restored += kernel.cell(cell, step=str(number)) == "restored"
            states.append(scenario.end_state(kernel))
        kernel.stop()
        return restored, states


def damages(team: Team, found: list[object], *, count: int, seed: int) -> Iterator[str]:
    """What goes wrong when a laptop resumes while one object is damaged, `count` times."""
    chance = random.Random(seed)
    bucket = team.bucket
    whole = {key: bytes(bucket.get(key, 0, 1 << 30)) for key, _ in bucket.files("")}
    names = sorted(whole)
    for number in range(count):
        name = names[number % len(names)]
        how, content = damage.damaged(whole[name], chance)
        bucket.remove(name)
        if content is not None:
            bucket.put_new(name, memoryview(content))
        laptop = f"damaged-{number % 2}-{secrets.token_hex(2)}"
        for text in damage.wrong(found, lambda laptop=laptop: team.kernel(laptop)):
            yield f"{name}, {how}: {text}"
        bucket.remove(name)
        bucket.put_new(name, memoryview(whole[name]))


def _run(team: Team, laptop: str) -> None:
    kernel = team.kernel(laptop).take_over()
    for number, cell in enumerate(CELLS):
        kernel.cell(cell, step=str(number))
        print(number + 1, flush=True)
    kernel.stop()


def _save(team: Team, laptop: str) -> None:
    """Save ever new values, and some that others have too, in an execution that is never ended."""
    kernel = team.kernel(laptop, notebook=laptop)
    kernel.session.open()
    kernel.cell("import numpy as np, os", step="imports")
    for number in range(6):
        shared = f"shared = np.arange({number % 3}, 60_000.0 + {number % 3})"
        _insisting(kernel, f"{shared}\nown = np.frombuffer(os.urandom(24 << 20), 'u1')", step=f"s{number}")
        print(number + 1, flush=True)
    print(json.dumps(scenario.end_state(kernel)), flush=True)
    kernel.engine.close()


def _insisting(kernel: Kernel, cell: str, *, step: str) -> None:
    """Run a cell again, as the error says, while those who collect without pause outrun its saves."""
    deadline = time.monotonic() + PATIENCE
    saved = False
    while not saved:
        try:
            kernel.cell(cell, step=step)
            saved = True
        except ConflictError as error:
            if error.kind != "values-removed" or time.monotonic() > deadline:
                raise


def _collect(team: Team, laptop: str) -> None:
    """Collect again and again: nothing is young, whatever a clock says."""
    kernel = team.kernel(laptop)
    print("begun", flush=True)
    while True:
        collect(kernel.engine.journal, kernel.engine.store, Policy(keep_days=0), grace=-7200)
        print("collected", flush=True)


PROGRAMS: dict[str, Callable[[Team, str], None]] = {"run": _run, "save": _save, "collect": _collect}


def main(stack: str, folder: str, laptop: str, program: str) -> Iterable[str]:
    """One laptop's process; the errors of ours that it ended with."""
    store, journal, options = json.loads(stack)
    team = Team(Path(folder), Stack("team", store=store, journal=journal, options=options, source=folder))
    try:
        PROGRAMS[program](team, laptop)
    except KitaruError as error:
        yield f"{type(error).__name__} {error.kind}: {error}"


if __name__ == "__main__":
    said = list(main(*sys.argv[1:]))
    print("\n".join(said), file=sys.stderr, flush=True)
    os._exit(len(said))
