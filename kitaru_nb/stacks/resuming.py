"""Which executions a process without a person can go on with, and one that does so in the background."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from kitaru_nb.engine.addresses import held_up_by, how_to_answer, outermost
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import ConflictError, KernelError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.background import Background, leave, log_of
from kitaru_nb.stacks.begun import note_begun
from kitaru_nb.stacks.launcher import Launchers
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.masking import filled_parameters
from kitaru_nb.stacks.notebooks import is_remote
from kitaru_nb.stacks.submissions import was_submitted
from kitaru_nb.stacks.submitting import go_on_there

__all__ = [
    "can_go_on",
    "go_on",
    "has_its_answer",
    "is_by_hand",
    "job_again",
    "refuse_waiting",
    "resumable",
    "start_command",
    "start_process",
]


def can_go_on(execution: Execution) -> bool:
    """Whether `resume` without a name would consider it."""
    if execution.identity.flow is not None:
        return execution.status.continues and execution.identity.within is None
    return execution.status.continues and execution.identity.is_headless and _has_files(execution)


def is_by_hand(execution: Execution) -> bool:
    """Whether a person runs it, cell by cell, in a kernel."""
    return execution.identity.flow is None and not execution.identity.is_headless


def resumable(execution: Execution) -> Execution:
    """`execution`, when it is one that a command can go on with.

    Raises:
        UsageError: kinds ``interactive-execution``, ``unknown-files``, ``nothing-to-resume``.
    """
    if execution.identity.flow is not None and execution.status.continues:
        return execution
    if is_by_hand(execution):
        raise UsageError(
            f"`{execution.id}` is run by hand in a kernel, not by a command",
            kind="interactive-execution",
            hint="open its notebook and type %resume",
        )
    if execution.identity.flow is None and not _has_files(execution):
        raise UsageError(
            f"`{execution.id}` was run from memory or to standard output, so its files are not known here",
            kind="unknown-files",
            hint="run the program that began it again",
        )
    if execution.status in (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED):
        raise UsageError(
            f"`{execution.id}` is {execution.status}, so there is nothing to go on with",
            kind="nothing-to-resume",
            hint=f"kitaru-nb run {shlex.quote(str(execution.identity.notebook))}, for a new execution"
            if execution.identity.flow is None
            else f"call `{execution.identity.flow}` again, for a new execution",
        )
    return execution


def job_again(
    execution: Execution, *, timeout: float | None = None, log_output: bool = False, progress: bool = False
) -> Job:
    """What runs a notebook's execution once more, as it was begun."""
    identity = execution.identity
    return Job(
        str(identity.notebook),
        str(identity.output).replace("{", "{{").replace("}", "}}"),
        parameters=filled_parameters(identity.parameters),
        execution=execution.id,
        timeout=timeout,
        log_output=log_output,
        progress=progress,
    )


def refuse_waiting(journal: Journal, execution: ExecutionId) -> None:
    """Raise while it would only stop again at the wait that it stopped at.

    Raises:
        ConflictError: kind ``still-waiting``.
    """
    wait = held_up_by(journal, execution)
    if wait is not None:
        message = f"`{execution}` waits for an answer to `{wait.address}`: {wait.question}"
        raise ConflictError(message, kind="still-waiting", hint=how_to_answer(wait))


def go_on(engine: Engine, execution: ExecutionId, *, folder: Path) -> ExecutionId:
    """Let a process of its own go on with an execution; which one that is, where a flow calls another.

    That counts as having begun it oneself, see `begun`: whoever calls this was told its name by a person,
    or has looked whether it is one's own.

    What was submitted to a stack goes on there; anything else in a process on this machine. When this
    returns the lease is taken in the name of that queue or process, so that of any number who ask for
    it at the same time one begins.

    Args:
        engine: Where it is recorded.
        execution: Which one.
        folder: Where the process of a flow begins.

    Raises:
        UsageError: see `resumable`.
        ConflictError: kinds ``execution-held``, ``still-waiting``.
        KernelError: kind ``no-process``.
    """
    whole = resumable(outermost(engine.journal, engine.journal.execution(execution)))
    refuse_waiting(engine.journal, whole.id)
    if whole.identity.flow is None:
        if go_on_there(engine, whole, Launchers(engine.settings)) is None:
            _run_notebook(engine, whole.id)
    else:
        start_command(engine.settings, ["resume", whole.id], execution=whole.id, folder=folder)
    return whole.id


def has_its_answer(journal: Journal, execution: ExecutionId) -> ExecutionId | None:
    """The run to go on with now that its wait is over; None where nothing here is to go on by itself.

    That is a run that a process on this machine or a stack suspended at a wait, not at a budget, which
    only more money ends, and that no person runs by hand. Whether its record is one's own is not asked
    here, see `engine.suspensions.is_own_stop`: without that it must not go on by itself.
    """
    whole = outermost(journal, journal.execution(execution))
    if whole.status is not ExecutionStatus.WAITING or not can_go_on(whole):
        return None
    stopped = journal.suspended(whole.id)
    if stopped is None or not stopped.data["wait"] or held_up_by(journal, whole.id) is not None:
        return None
    notebook = whole.identity.notebook
    if was_submitted(journal, whole):
        here = there = True  # on its stack, which has all that it needs
    else:
        here = journal.attempts(whole.id)[-1].owner.host == socket.gethostname()
        there = notebook is None or is_remote(notebook) or Path(notebook).is_file()  # hosts may share a name
    return whole.id if here and there and whole.id not in journal.guests() else None


def _run_notebook(engine: Engine, execution: ExecutionId) -> None:
    process = Background()
    try:
        with (
            engine.journal.holding()
        ):  # nobody ends it, answers it or takes it between the look and the lease
            found = resumable(engine.journal.execution(execution))
            refuse_waiting(engine.journal, execution)
            attempt = engine.journal.resume(execution, owner=process.owner)
            note_begun(engine, execution)
    except BaseException:
        process.give_up()
        raise
    process.run(replace(job_again(found), attempt=attempt), engine.settings)


def start_command(
    settings: Settings, words: list[str], *, execution: ExecutionId, folder: Path, told: str = ""
) -> subprocess.Popen[bytes]:
    """Start the command line in a process that outlives this one; what it prints goes to a log.

    Args:
        settings: Whose home and stack it uses.
        words: What is typed. Everybody on this machine can see it.
        execution: What its log is named after.
        folder: Where it begins.
        told: What it reads from standard input, which nobody else can see.

    Raises:
        KernelError: kind ``no-process``.
    """
    log, hint = log_of(settings.home, execution), f"kitaru-nb {shlex.join(words)}, which runs it here"
    return start_process(settings, ["-m", "kitaru_nb", *words], log=log, folder=folder, told=told, hint=hint)


def start_process(
    settings: Settings, words: list[str], *, log: Path, folder: Path, told: str, hint: str
) -> subprocess.Popen[bytes]:
    """Start a Python of ours that outlives this process.

    Args:
        settings: Whose home and stack it uses.
        words: Its arguments. Everybody on this machine can see them.
        log: What it prints is added to this file.
        folder: Where it begins.
        told: What it reads from standard input, which nobody else can see.
        hint: What to do where it cannot be started.

    Raises:
        KernelError: kind ``no-process``.
    """
    place = {"KITARU_NB_HOME": str(settings.home), "KITARU_NB_STACK": settings.stack}
    try:
        # a file without a name, not a pipe: nothing has to wait until the process reads it
        with _opened(log) as printed, TemporaryFile() as standard_input:
            standard_input.write(told.encode())
            standard_input.seek(0)
            process = subprocess.Popen(  # noqa: S603 - our own programs; what is typed is one word of it each
                [sys.executable, *words],
                stdin=standard_input,
                stdout=printed,
                stderr=printed,
                cwd=folder,
                env={**os.environ, **place},
                start_new_session=True,
            )
    except OSError as error:
        message = f"no process could be started to run it in the background: {error.strerror or error}"
        raise KernelError(message, kind="no-process", hint=hint) from error
    leave(process)
    return process


def _opened(log: Path) -> IO[bytes]:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _has_files(execution: Execution) -> bool:
    """Whether a command knows where its notebook is read and saved."""
    identity = execution.identity
    return not (identity.notebook or "").startswith("memory:") and identity.output not in (None, "-")
