"""The worker that every launcher starts: ``python -m kitaru_nb.stacks submitted EXECUTION --epoch=N``.

It begins the attempt that the queue holds, runs the notebook and says how it ended. A scheduler may
start it twice, or again after its machine died: only one process gets an attempt, and one that comes
when the attempt has ended begins the next one itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import ConflictError, KitaruError, StoreError
from kitaru_nb.model.execution import Attempt, Execution, ExecutionId, ExecutionStatus, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.bundle import Bundle, kept
from kitaru_nb.stacks.environment import Environment, compared
from kitaru_nb.stacks.local import Job, formatted, literal, run
from kitaru_nb.stacks.notebooks import is_remote
from kitaru_nb.stacks.notices import tell
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.orphans import end_with_parent
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of, status_line
from kitaru_nb.stacks.resuming import job_again
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import (
    Submission,
    note_exit,
    note_queued,
    note_submitted,
    submission_of,
    with_options,
)
from kitaru_nb.stacks.submitting import PLACE
from kitaru_nb.stacks.watch import Signals

__all__ = ["main", "settings_told"]

PARENT = "KITARU_NB_PARENT"
"""The variable in which a launcher names the process that the worker is to end with."""

_RUNS = "runs"
_LOOK = 0.3  # seconds
_RETRIED = (Exit.FAILED, Exit.TIMED_OUT, Exit.KERNEL_DIED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one submitted attempt; the exit code, 0 where there is nothing (more) to run."""
    parser = ArgumentParser(prog="kitaru_nb.stacks submitted")
    parser.add_argument("execution")
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--suspend-exit", type=int, default=int(Exit.WAITING))
    told = parser.parse_args(argv)
    try:
        # a signal that comes before the attempt is begun must not leave it in the queue, and one that
        # comes before its first cell not without a word
        with Signals() as signals:
            _end_with_parent()
            settings = settings_told()
            begun = _begin(settings, ExecutionId(told.execution), told.epoch, signals)
            if begun is None:
                return 0
            if signals.noted is not None:
                return _give_back(settings, begun[0], signals.noted)
            outcome = _run(settings, *begun, trust=told.trust)
    except KitaruError as error:
        print(f"error: {VAULT.mask(str(error))}", file=sys.stderr)  # noqa: T201 - the launcher's log
        return int(exit_code_of(error))
    return told.suspend_exit if outcome.exit is Exit.WAITING else int(outcome.exit)


def settings_told() -> Settings:
    """The settings of a worker: the stack is told by whoever submitted it."""
    place = os.environ.get(PLACE)
    return resolve() if place is None else resolve(place=Stack(**json.loads(place)))


def _end_with_parent() -> None:
    """Be asked to end when the process dies that a launcher says we work for; our kernel ends with us."""
    parent = os.environ.pop(PARENT, "")
    if parent:
        end_with_parent(int(parent), signum=signal.SIGTERM)


def _begin(
    settings: Settings, execution: ExecutionId, epoch: int, signals: Signals
) -> tuple[Attempt, Execution, Submission | None] | None:
    """Take the attempt that was submitted, or the next one where that has died; None where all is done."""
    with closing(open_engine(settings, awaited=True)) as engine:
        _outwait(engine, execution, epoch, signals)
        found = engine.journal.execution(execution)
        newest = engine.journal.attempts(execution)[-1]
        submission = submission_of(engine, found, epoch)
        if newest.epoch != epoch or not _is_open(found, newest):
            print(f"{execution}: {found.status}, nothing is left to run here", file=sys.stderr)  # noqa: T201 - as above
            return None
        if newest.owner.is_queue:
            return engine.journal.adopt(newest, owner=current_owner()), found, submission
        return _next(engine, found, submission), found, submission


def _outwait(engine: Engine, execution: ExecutionId, epoch: int, signals: Signals) -> None:
    """Let an earlier process of the same job end, for as long as a lease may last.

    A scheduler that starts a job again has lost sight of the first process: that may be closing its
    journal, or be dead on a machine that cannot be seen from here until its lease has run out.
    """
    until = time.monotonic() + engine.settings.lease + engine.settings.heartbeat
    while time.monotonic() < until and signals.noted is None:
        newest = engine.journal.attempts(execution)[-1]
        runs = engine.journal.execution(execution).status is ExecutionStatus.RUNNING
        if newest.epoch != epoch or newest.owner.is_queue or not runs:
            return
        time.sleep(_LOOK)


def _is_open(execution: Execution, attempt: Attempt) -> bool:
    """Whether the attempt is in the queue, or was cut short: then a scheduler has started its job again."""
    waits = attempt.owner.is_queue and attempt.ended_at is None
    return waits or execution.status is ExecutionStatus.INTERRUPTED


def _next(engine: Engine, found: Execution, submission: Submission | None) -> Attempt:
    """A further attempt by the same job, on record as that."""
    attempt = engine.journal.resume(found.id, owner=current_owner())
    if submission is not None:  # whoever submitted it may have learnt the handle since
        submission = submission_of(engine, found, submission.epoch) or submission
        note_queued(engine, attempt, submission.stack, submission.options)
        if submission.handle is not None:
            note_submitted(engine, attempt, submission.stack, submission.handle)
    return attempt


def _run(
    settings: Settings, attempt: Attempt, found: Execution, submission: Submission | None, *, trust: bool
) -> Outcome:
    options = {} if submission is None else submission.options
    left = int(options.get("retries", 0))
    while True:
        outcome = _attempt(settings, attempt, found, options, retried=left > 0, trust=trust)
        print(status_line(outcome), file=sys.stderr, flush=True)  # noqa: T201 - the last line of the log
        if outcome.exit not in _RETRIED or left <= 0:
            return outcome
        left -= 1
        with closing(open_engine(settings, awaited=True)) as engine:
            try:
                attempt = _next(engine, found, submission)
            except ConflictError:  # somebody else goes on with it
                return outcome


def _attempt(
    settings: Settings,
    attempt: Attempt,
    found: Execution,
    options: Mapping[str, Any],
    *,
    retried: bool,
    trust: bool,
) -> Outcome:
    """Run one attempt, and put on record how it ended whatever happens."""
    unpacked = False
    try:
        job = replace(with_options(job_again(found), options), attempt=attempt, retried=retried, trust=trust)
        with closing(open_engine(settings, awaited=True)) as engine:
            job = _as_here(job, kept(engine, found), settings.home / _RUNS / found.id)
        unpacked = job.notebook != found.identity.notebook
        outcome = run(job, settings=settings)
        if options.get("html") and not unpacked and not (retried and outcome.exit in _RETRIED):
            _make_page(job)
    except KitaruError as error:
        # it never came to a cell: nothing but this process knows why
        said = VAULT.mask(error.message)
        outcome = Outcome(ExecutionStatus.FAILED, exit_code_of(error), found.id, reason=said, hint=error.hint)
        with closing(open_engine(settings, awaited=True)) as engine:
            engine.journal.finish(attempt, ExecutionStatus.FAILED, reason=said)
            tell(engine, outcome, retried=retried)
    try:
        with closing(open_engine(settings, awaited=True)) as engine:
            again = retried and outcome.exit in _RETRIED
            note_exit(engine, attempt.epoch, outcome, unpacked=unpacked, tries_again=again)
    except StoreError as error:  # the status is on record, and the exit code says the rest
        said = f"warning: how it ended could not be put on record: {VAULT.mask(str(error))}"
        print(said, file=sys.stderr)  # noqa: T201 - the launcher's log
    return outcome


def _make_page(job: Job) -> None:
    """Make the page of an output. One that was unpacked lies where nobody looks: its page comes with it."""
    from kitaru_nb.stacks.html_page import write_html  # noqa: PLC0415 - few ask for a page

    problem = write_html(formatted(job.output, job.parameters))
    if problem:
        print(f"warning: {problem}", file=sys.stderr)  # noqa: T201 - the launcher's log


def _as_here(job: Job, bundle: Bundle | None, folder: Path) -> Job:
    """`job` with the notebook where it is on this machine: at its own path, else out of the bundle.

    Raises:
        StackError: kind ``environment-differs``: this Python cannot run it.
    """
    if bundle is None:
        return job
    for line in compared(bundle, Environment.here(bundle.packages)):
        print(f"warning: {line}", file=sys.stderr)  # noqa: T201 - the launcher's log
    if bundle.is_at(job.notebook):
        return job
    notebook = bundle.unpack(folder)
    paths = [str(Path(os.path.normpath(folder / each))) for each in bundle.paths]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*paths, os.environ.get("PYTHONPATH")]))
    output = job.output if is_remote(job.output) else literal(str(notebook.parent / Path(job.output).name))
    return replace(job, notebook=str(notebook), output=output)


def _give_back(settings: Settings, attempt: Attempt, signum: int) -> int:
    reason = f"stopped by {signal.Signals(signum).name} before its first cell"
    with closing(open_engine(settings, awaited=True)) as engine:
        engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason=reason)
    return 128 + signum
