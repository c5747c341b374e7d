"""A worker process of a batch: it takes one task after another from standard input and answers each.

When its standard input ends while it works, whoever it worked for is gone: it then ends as on
SIGTERM, so that the execution is on record as interrupted and no kernel computes for nobody.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.execution import queue_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.batch_protocol import Again, Replayed, answer_told, work_heard
from kitaru_nb.stacks.elsewhere import run_there
from kitaru_nb.stacks.flow_runs import resume_flow, run_flow
from kitaru_nb.stacks.flows import Here
from kitaru_nb.stacks.html_page import write_html
from kitaru_nb.stacks.local import Job, formatted, run
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.replay_notebook import Wanted, begin_notebook
from kitaru_nb.stacks.replays import replay_flow
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.warm import Warm
from kitaru_nb.stacks.whereabouts import is_elsewhere

__all__ = ["main"]


class _Said(io.TextIOBase):
    """What the task writes to standard error, handed on line by line, in order with its answer."""

    def __init__(self, answers: TextIO, lock: threading.RLock) -> None:
        super().__init__()
        self._answers = answers
        self._lock = lock
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                # where the batch has died nobody hears it, and the task is to be ended all the same
                with suppress(OSError):
                    _tell(self._answers, self._lock, {"said": VAULT.mask(line)})
        return len(text)


class _Tasks:
    """The lines of standard input, as they come.

    Attributes:
        busy: Whether a task is worked at.
    """

    def __init__(self) -> None:
        self.busy = False
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._over = False
        threading.Thread(target=self._listen, name="kitaru-nb-tasks", daemon=True).start()

    def next(self) -> str | None:
        """The next line; None when there is nobody who waits for an answer."""
        line = self._lines.get()
        self.busy = line is not None
        # after `busy`: the end of the input is seen here, or the listener sees that there is work
        return None if self._over else line

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.endswith("\n"):
                self._lines.put(line)
        self._over = True
        self._lines.put(None)
        if self.busy:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Work until standard input ends; the exit code."""
    lock = threading.RLock()
    # what prints to standard output by mistake must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stderr = _Said(answers, lock)
    tasks = _Tasks()
    try:
        with Warm() as warm:
            while (line := tasks.next()) is not None:
                told = json.loads(line)
                warm.more = told["more"]
                answer = answer_told(_done(told))
                tasks.busy = False
                _tell(answers, lock, answer)
    except (KeyboardInterrupt, BrokenPipeError):
        return 128 + signal.SIGINT
    return 0


def _tell(answers: TextIO, lock: threading.RLock, document: dict[str, Any]) -> None:
    with lock:
        answers.write(json.dumps(document) + "\n")
        answers.flush()


def _done(told: dict[str, Any]) -> Outcome | KitaruError:
    """Do a task to its end; how it ended, or why it could not begin."""
    for label, value in told["secrets"]:
        VAULT.meet_as(label, value)
    try:
        settings = resolve(place=Stack(**told["stack"]), home=str(Path(told["home"])))
        return _worked(work_heard(told), settings, html=told["html"])
    except KitaruError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a defect must not take the other points with it
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        return KitaruError(message, kind="unexpected", hint="report it with the traceback above")


def _worked(work: Job | Replayed | Again, settings: Settings, *, html: bool) -> Outcome:
    place = Here(settings.stack)
    if isinstance(work, Again):
        outcome, _ = resume_flow(place.engine().journal.execution(work.execution), budget=work.budget)
        return outcome
    if isinstance(work, Job):
        return _ran(work, settings, html=html)
    engine = place.engine()
    original = find_execution(engine.journal, work.of)
    if original.identity.flow is None:
        wanted = Wanted(work.from_, typed=work.typed, output=work.output, tags=work.tags, budget=work.budget)
        owner = queue_owner(settings.stack) if is_elsewhere(settings) else None
        begun = begin_notebook(engine, original, wanted, namespace={}, owner=owner)
        return _ran(begun.job, settings, html=html)
    turn = replay_flow(engine, original, work.from_, typed=work.typed, tags=work.tags, place=place).turn
    if work.budget is not None:
        turn.book.set_limit(work.budget)
    outcome, _ = run_flow(turn)
    return outcome


def _ran(job: Job, settings: Settings, *, html: bool) -> Outcome:
    outcome = run_there(job, settings, warn=_warn) if is_elsewhere(settings) else run(job, settings=settings)
    problem = write_html(formatted(job.output, job.parameters)) if html else ""
    if problem:
        print(f"warning: {problem}", file=sys.stderr)  # noqa: T201 - the batch hands it on
    return outcome


def _warn(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - the batch hands it on
