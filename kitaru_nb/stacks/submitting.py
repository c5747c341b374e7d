"""Hands notebooks to a stack's launcher: the execution is on record before anything is started."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.renamed import file_of, follow
from kitaru_nb.errors import ConflictError, KitaruError, StackError, UsageError
from kitaru_nb.model.execution import Attempt, Execution, ExecutionId, ExecutionStatus, queue_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.bundle import Bundle, bundle_of, keep
from kitaru_nb.stacks.environment import differences
from kitaru_nb.stacks.launcher import Handle, Launcher, Launchers, RunSpec
from kitaru_nb.stacks.local import Job, check, parameterized
from kitaru_nb.stacks.notebooks import is_remote
from kitaru_nb.stacks.open import chosen_stack
from kitaru_nb.stacks.parts import folders_of
from kitaru_nb.stacks.submissions import (
    Submission,
    note_queued,
    note_submitted,
    options_of,
    submission_of,
    was_told,
)
from kitaru_nb.stacks.worker import for_a_command, identity_of

__all__ = [
    "PLACE",
    "Submitted",
    "go_on_there",
    "submit",
    "submit_again",
    "submit_begun",
    "submitted_before",
    "worker_environment",
]

PLACE = "KITARU_NB_PLACE"
"""The variable in which a worker finds the stack that it works for, as JSON without secrets."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was handed over.

    Attributes:
        execution: Which run.
        epoch: Which attempt at it.
        handle: What the launcher calls the job.
        differ: Packages of which the worker has another version, in words.
    """

    execution: ExecutionId
    epoch: int
    handle: Handle
    differ: tuple[str, ...] = ()


def submit(
    engine: Engine,
    job: Job,
    launcher: Launcher,
    *,
    retries: int = 0,
    followed: bool = False,
    html: bool = False,
) -> Submitted:
    """Have a worker run `job`, going on where its last execution stopped.

    From then on the execution is `running` and held by the queue: nobody else begins it. Where this
    process dies half-way, `reconcile` finds that no job is known for it and submits it again.

    Raises:
        KitaruError: the notebook or output cannot be used, the worker's Python is another one, or
            somebody runs this job; nothing is on record then. Or the launcher refuses; then the
            execution is `interrupted` and can be gone on with.
    """
    check(job)
    stack, sent = engine.settings.stack, _sent_along(engine, job, launcher)
    try:
        if job.execution is not None:
            attempt = engine.journal.resume(job.execution, owner=queue_owner(stack))
        else:
            nb, output = parameterized(job)
            identity = identity_of(nb, job.notebook, output, stack=stack)
            identity = follow(engine.journal, identity)
            attempt, _ = engine.journal.start(
                identity, owner=queue_owner(stack), tags=job.tags, new=job.new, file=file_of(identity)
            )
    except ConflictError as held:
        raise for_a_command(held) from held
    return _hand_over(
        engine,
        attempt,
        launcher,
        options_of(job, retries, followed=followed, html=html),
        settings=engine.settings,
        sent=sent,
        trust=job.trust,
    )


def submit_begun(engine: Engine, job: Job, launcher: Launcher, *, retries: int = 0) -> Submitted:
    """Have a worker run `job`, whose attempt was begun in the name of the queue, such as a replay.

    Raises:
        KitaruError: see `submit`; the execution is `interrupted` then.
    """
    assert job.attempt is not None
    with _noting_why(engine, job.attempt, engine.settings.stack):
        sent = _sent_along(engine, job, launcher)
    return _hand_over(
        engine,
        job.attempt,
        launcher,
        options_of(job, retries),
        settings=engine.settings,
        sent=sent,
        trust=job.trust,
    )


def submitted_before(engine: Engine, job: Job) -> ExecutionId | None:
    """The execution of `job` that is in a queue or with a worker now, so that it can be followed.

    Or the one that has completed since the command that waited for it died: nobody was told, so what the
    same command is after now is its end, and to run all of it again would be to pay twice.
    """
    if job.new:
        return None
    if job.execution is not None:
        found = engine.journal.execution(job.execution)
    else:
        nb, output = parameterized(job)
        identity = identity_of(nb, job.notebook, output, stack=engine.settings.stack)
        identity = follow(engine.journal, identity)
        newest = engine.journal.executions(identity=identity, limit=1)
        if not newest:
            return None
        found = newest[0]
    if found.status not in (ExecutionStatus.RUNNING, ExecutionStatus.COMPLETED):
        return None
    submission = submission_of(engine, found)
    if submission is None or not submission.own or submission.epoch != found.epoch:
        return None
    if found.status is ExecutionStatus.RUNNING:
        return found.id
    awaited = submission.options.get("followed") is True and not was_told(engine.journal, found)
    return found.id if awaited else None


def submit_again(
    engine: Engine, execution: ExecutionId, launcher: Launcher, submission: Submission
) -> Submitted:
    """Have a worker go on with an execution, as it was submitted before.

    It is its own stack that the worker is told, whichever stack is the chosen one here.

    Raises:
        ConflictError: kind ``execution-held``: somebody else goes on with it.
        StackError: the launcher refuses.
        UsageError: kind ``unknown-stack``: its stack is not known here.
    """
    settings = engine.settings
    if settings.stack != submission.stack:
        settings = replace(settings, stack=submission.stack, place=None)
        settings = replace(settings, place=chosen_stack(settings))
    attempt = engine.journal.resume(execution, owner=queue_owner(settings.stack))
    return _hand_over(engine, attempt, launcher, submission.options, settings=settings)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What travels with a run, and in what its packages differ from the worker's."""

    bundle: Bundle | None = None
    differ: tuple[str, ...] = ()


def _sent_along(engine: Engine, job: Job, launcher: Launcher) -> _Sent:
    bundle = None if launcher.capabilities.same_files else bundle_of(job.notebook)
    return _Sent() if bundle is None else _Sent(bundle, tuple(differences(engine.settings, bundle)))


def _hand_over(
    engine: Engine,
    attempt: Attempt,
    launcher: Launcher,
    options: Mapping[str, Any],
    *,
    settings: Settings,
    sent: _Sent | None = None,
    trust: bool = False,
) -> Submitted:
    stack, sent = settings.stack, sent or _Sent()
    with _noting_why(engine, attempt, stack):
        if sent.bundle is not None:
            keep(engine, engine.journal.execution(attempt.execution), sent.bundle)
        note_queued(engine, attempt, stack, options)
        handle = launcher.submit(_spec(engine, attempt, launcher, settings, trust=trust))
    note_submitted(engine, attempt, stack, handle)
    return Submitted(attempt.execution, attempt.epoch, handle, sent.differ)


@contextmanager
def _noting_why(engine: Engine, attempt: Attempt, stack: str) -> Iterator[None]:
    """Take an attempt out of the queue again where it does not come to a job."""
    try:
        yield
    except BaseException as error:
        reason = error.message if isinstance(error, KitaruError) else type(error).__name__
        said = VAULT.mask(f"could not be submitted to stack `{stack}`: {reason}")
        # this changes nothing where its worker has begun after all
        engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason=said)
        raise


def _spec(
    engine: Engine, attempt: Attempt, launcher: Launcher, settings: Settings, *, trust: bool
) -> RunSpec:
    """What the launcher starts. That anybody is trusted holds this once, so it is on no record."""
    notebook = engine.journal.execution(attempt.execution).identity.notebook or ""
    words = ["-m", "kitaru_nb.stacks", "submitted", str(attempt.execution), f"--epoch={attempt.epoch}"]
    suspend_exit = launcher.capabilities.suspend_exit
    return RunSpec(
        execution=attempt.execution,
        words=[*words, f"--suspend-exit={suspend_exit}", *(["--trust"] if trust else [])],
        env=worker_environment(settings),
        folder=None if is_remote(notebook) else str(Path(notebook).parent),
    )


def worker_environment(settings: Settings) -> dict[str, str]:
    """What a worker has to find: the stack, and the home where that is where things are recorded."""
    stack = chosen_stack(settings)
    if "notify" in stack.settings and any(each.tells_secret for each in settings.notify.targets):
        raise UsageError(
            f"stack `{stack.name}` writes a webhook out, which would stand in the job for others to read",
            kind="secret-in-settings",
            hint='notify = "secret:env:KITARU_NB_NOTIFY_URL", and that variable where its workers run',
        )
    told = {PLACE: json.dumps(stack.to_json())}
    if folders_of(settings, stack):
        told["KITARU_NB_HOME"] = str(settings.home)
    return told


def go_on_there(engine: Engine, execution: Execution, launchers: Launchers) -> Submitted | None:
    """Have a run that was submitted go on, on the stack and under the options that it was submitted with.

    None where nobody with one's own key has submitted it.

    Raises:
        ConflictError: kind ``execution-held``: somebody else goes on with it.
        StackError: its stack is not known here, its launcher refuses, or cannot be reached.
    """
    submission = submission_of(engine, execution)
    if submission is None or not submission.own or submission.epoch != execution.epoch:
        return None
    launcher = launchers(submission.stack)
    if launcher is None:
        raise StackError(
            f"`{execution.id}` was submitted to stack `{submission.stack}`, which is not known here",
            kind="stack-unknown",
            hint=f"kitaru-nb resume {execution.id}, where that stack's file is",
        )
    return submit_again(engine, execution.id, launcher, submission)
