"""A process of its own that runs a notebook for somebody who does not wait for it.

It is started first and told what to run when that has been put on record in its name, so that
from its first moment the execution has the owner that will run it: nobody else takes it over
meanwhile, and if either process dies then, the execution is seen as interrupted and can go on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.errors import KernelError
from kitaru_nb.model.execution import Attempt, ExecutionId, Owner, owner_of
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.local import Job, run
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.outcome import status_line
from kitaru_nb.stacks.settings import resolve

__all__ = ["Background", "leave", "log_of"]

_LOGS = "logs"


def log_of(home: Path, execution: ExecutionId) -> Path:
    """Where what a run in the background prints goes."""
    return home / _LOGS / f"{execution}.log"


_left: list[subprocess.Popen[Any]] = []


def leave(process: subprocess.Popen[Any]) -> None:
    """Nobody waits for this process any more: it is reaped when it has ended, at some later call of this."""
    _left[:] = [each for each in (*_left, process) if each.poll() is None]


class Background:
    """The process, from its start on.

    Raises:
        KernelError: kind ``no-process``: it could not be started.
    """

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kitaru_nb.stacks", "background"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # neither Ctrl-C here nor this process's end reaches it
            )
        except OSError as error:
            message = f"no process could be started to run it in the background: {error.strerror or error}"
            raise KernelError(
                message, kind="no-process", hint="kitaru-nb replay, which runs it here"
            ) from error

    @property
    def owner(self) -> Owner:
        """The process, as the owner of an execution."""
        return owner_of(self._process.pid)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def run(self, job: Job, settings: Settings) -> None:
        """Let it run a job whose attempt was begun in its name.

        Raises:
            KernelError: kind ``no-process``: it has died meanwhile. The execution is on record, as
                interrupted, and can be gone on with.
        """
        assert job.attempt is not None
        assert self._process.stdin is not None
        own = {each.name: getattr(job, each.name) for each in fields(job) if each.name != "attempt"}
        told = {
            "job": own,
            "execution": job.attempt.execution,
            "epoch": job.attempt.epoch,
            "home": str(settings.home),
            "stack": chosen_stack(settings).to_json(),
            "secrets": VAULT.met(),
        }
        try:
            with self._process.stdin as standard_input:
                standard_input.write(json.dumps(told, default=str) + "\n")
        except OSError as error:
            code = self._process.wait()
            message = f"the process that was to run it in the background ended before that, with code {code}"
            hint = f"kitaru-nb resume {job.attempt.execution}"
            raise KernelError(message, kind="no-process", hint=hint) from error
        finally:
            leave(self._process)

    def give_up(self) -> None:
        """There is nothing to run after all: it ends by itself, unless it has died already."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # nothing was written to it, so that nothing can fail here
        self._process.wait()


def main() -> int:
    """Wait to be told what to run, and run it; the exit code."""
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return 0  # whoever was to tell has given up, or died
    told: dict[str, Any] = json.loads(line)
    execution = ExecutionId(told["execution"])
    home = Path(told["home"])
    _print_to(log_of(home, execution))
    for label, value in told["secrets"]:
        VAULT.meet_as(label, value)
    settings = resolve(place=Stack(**told["stack"]), home=str(home))
    engine = open_engine(settings)
    attempt = _attempt(engine.journal.attempts(execution), told["epoch"])
    engine.close()
    outcome = run(Job(**{**told["job"], "attempt": attempt}), settings=settings)
    if outcome.traceback:
        print(VAULT.mask_shown(outcome.traceback), file=sys.stderr)  # noqa: T201 - as below
    print(status_line(outcome), file=sys.stderr)  # noqa: T201 - the last line of its log
    return int(outcome.exit)


def _attempt(attempts: list[Attempt], epoch: int) -> Attempt:
    return next(attempt for attempt in attempts if attempt.epoch == epoch)


def _print_to(log: Path) -> None:
    log.parent.mkdir(mode=0o700, exist_ok=True)
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(number, 1)
    os.dup2(number, 2)
    os.close(number)
