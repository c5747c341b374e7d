"""Runs on a stack: submitted, followed, and begun again where their worker has died (`reconcile`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from kitaru_nb.cli.output import Json, clean, print_json
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.logs import log_of
from kitaru_nb.errors import KitaruError, NotFoundError, UsageError
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.elsewhere import run_there
from kitaru_nb.stacks.launcher import Launcher, Launchers, launcher_of
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.reconcile import Action, Reconciled
from kitaru_nb.stacks.reconcile import reconcile as reconcile_all
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submitting import Submitted, submit
from kitaru_nb.stacks.whereabouts import is_asked_for, other_places

__all__ = ["detachable", "follow_begun", "reconcile", "run_elsewhere", "submit_detached"]


def submit_detached(
    job: Job, settings: Settings, retries: int, *, quiet: bool, html: bool = False
) -> dict[str, Any]:
    """Submit `job` and say how to look after it; the execution as a document."""
    with closing(open_engine(settings)) as engine:
        submitted = _warned(submit(engine, job, detachable(settings), retries=retries, html=html))
        found = engine.journal.execution(submitted.execution)
    if not quiet:
        print(f"{found.id} was submitted to stack {clean(settings.stack)}")
        print(f"follow it with: kitaru-nb logs {found.id} -f", flush=True)
    print(f"kitaru: {found.status} execution={found.id}", file=sys.stderr)
    return execution_json(found)


def detachable(settings: Settings) -> Launcher:
    """The launcher of a stack on which things go on without the command that started them.

    Raises:
        UsageError: kind ``not-detachable``.
    """
    launcher = launcher_of(chosen_stack(settings), settings)
    if not launcher.capabilities.detached:
        raise UsageError(
            f"stack `{settings.stack}` runs things only while the command that started it runs",
            kind="not-detachable",
            hint="the same command without --detach",
        )
    return launcher


def _warned(submitted: Submitted) -> Submitted:
    """`submitted`, with what may make a difference said."""
    for line in submitted.differ:
        _tell(f"warning: {line}")
    return submitted


def follow_begun(job: Job, settings: Settings) -> Outcome:
    """Submit `job`, whose attempt was begun in the name of the queue, and follow it to its end."""
    return run_there(job, settings, tell=_tell, warn=_tell)


def run_elsewhere(job: Job, settings: Settings, retries: int, *, quiet: bool) -> Outcome:
    """Submit `job` and follow it to its end."""
    return run_there(
        job,
        settings,
        retries=retries,
        tell=(lambda _: None) if quiet else _tell,
        warn=_tell,
        watch=(lambda engine, execution: _Shown(engine, execution).look) if job.log_output else None,
    )


class _Shown:
    """What cells show, printed as it is put on record."""

    def __init__(self, engine: Engine, execution: ExecutionId) -> None:
        self._engine = engine
        self._execution = execution
        events = engine.journal.events(execution)
        self._after = events[-1].seq if events else 0

    def look(self) -> None:
        part = log_of(self._engine.journal, self._execution, after=self._after)
        self._after = part.next
        for line in part.lines:
            if line.stream is not None:
                print(clean(line.text), file=sys.stderr, flush=True)


def reconcile(*, json: Json = False) -> int:
    """Submit again what died on a stack, and what has its answer; one pass, which can be repeated.

    Every stack that is known here is looked at; with KITARU_NB_STACK that one alone.
    An execution whose worker is gone, and that nobody has ended, goes on where it stopped. One whose
    attempts record nothing any more is given up. Exit code 1 where a stack could not be reached.

    Args:
        json: Print one JSON document.
    """
    settings = resolve()
    done: list[Reconciled] = []
    looked_at, unreachable = [], False
    for each in [settings] if is_asked_for(settings) else [settings, *other_places(settings)]:
        try:
            for found in _reconciled(each):
                done.append(found)
                if not json:
                    print(clean(f"{found.execution.id}  {found.action.value}: {found.reason}"), flush=True)
        except KitaruError as error:
            if each is settings:
                raise
            unreachable = True
            _tell(f"stack `{each.stack}` could not be looked at: {error}")
            continue
        looked_at.append(each.stack)
    if json:
        fields = ({"execution": d.execution.id, "action": d.action.value, "reason": d.reason} for d in done)
        print_json(list(fields))
    elif not done:
        print(clean(f"nothing was submitted that is not over; looked at: {', '.join(looked_at)}"))
    return int(unreachable or any(found.action is Action.UNREACHABLE for found in done))


def _reconciled(settings: Settings) -> Iterator[Reconciled]:
    """What a pass does on one stack. One where nothing was ever recorded stays so: nothing is made there."""
    try:
        open_engine(settings, read_only=True).close()
    except NotFoundError:
        return
    with closing(open_engine(settings)) as engine:
        yield from reconcile_all(engine, Launchers(settings))


def _tell(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
