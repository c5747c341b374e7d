"""A run on a stack from its submission to its end, as whoever waits for it wants it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import CorruptError, KitaruError, StoreError
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.following import follow
from kitaru_nb.stacks.launcher import Launchers, launcher_of
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.rebuilding import rebuild_output
from kitaru_nb.stacks.submissions import note_told, was_submitted, was_unpacked
from kitaru_nb.stacks.submitting import submit, submit_begun, submitted_before
from kitaru_nb.stacks.watch import Signals

__all__ = ["run_there"]


def run_there(
    job: Job,
    settings: Settings,
    *,
    retries: int = 0,
    tell: Callable[[str], object] = lambda _: None,
    warn: Callable[[str], object],
    watch: Callable[[Engine, ExecutionId], Callable[[], object]] | None = None,
) -> Outcome:
    """Submit `job` and follow it to its end; one that was submitted before is only followed.

    That is also one that has completed since the command that waited for it died.

    Args:
        job: What runs; its attempt, if it has one, was begun in the name of the queue.
        settings: With the stack as the chosen one.
        retries: How many more attempts the worker makes at one that failed.
        tell: Called with a line when there is news.
        warn: Called with what may make a difference to the result.
        watch: Gives what is called with each look at the journal.

    Raises:
        KitaruError: nothing was submitted, and why.
        StoreError: what became of it cannot be seen any more; it goes on without this process.
    """
    with Signals() as signals, closing(open_engine(settings)) as engine:
        launchers = Launchers(settings)
        execution = None if job.attempt is not None else submitted_before(engine, job)
        if execution is not None:
            tell(_found_again(engine.journal.execution(execution), settings.stack))
        else:
            hand_over = partial(submit, followed=True) if job.attempt is None else submit_begun
            submitted = hand_over(engine, job, launcher_of(chosen_stack(settings), settings), retries=retries)
            execution = submitted.execution
            for line in submitted.differ:
                warn(f"warning: {line}")
            tell(f"{execution} was submitted to stack {settings.stack}")
        look = (lambda: None) if watch is None else watch(engine, execution)
        try:
            outcome = follow(engine, execution, launchers, signals=signals, tell=tell, look=look)
        except CorruptError:
            raise
        except StoreError as error:
            raise _out_of_sight(error, execution) from error
        if was_unpacked(engine, engine.journal.execution(execution)):
            try:
                rebuild_output(engine, job, execution)
            except (OSError, KitaruError) as error:  # how the run has ended is on record and stays so
                warn(f"warning: the output notebook could not be written here: {error}")
        now = engine.journal.execution(execution)
        if now.status is ExecutionStatus.COMPLETED and was_submitted(engine.journal, now):
            note_told(engine, now)
        return outcome


def _found_again(execution: Execution, stack: str) -> str:
    """What to say of a run that was submitted by a command before this one."""
    if execution.status is ExecutionStatus.RUNNING:
        return f"{execution.id} is followed, which was submitted to stack {stack}"
    return (
        f"{execution.id} has completed on stack {stack} while no command waited for it any more; "
        "the same command again, or --new, begins a new one"
    )


def _out_of_sight(error: StoreError, execution: ExecutionId) -> StoreError:
    return StoreError(
        f"{error.message}; `{execution}` goes on without this command, which cannot see it any more",
        kind=error.kind,
        hint=f"{error.hint}; then kitaru-nb logs {execution} -f; kitaru-nb reconcile if its worker died",
    )
