"""One attempt at an execution: restore what stands, run the rest in a kernel, say how it ended.

`execute` is what the papermill engine calls. The worker holds the lease; the kernel commits
under the worker's attempt, so that when either of the two dies, what is on record is true.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import click
from nbformat import NotebookNode
from papermill.exceptions import PapermillException
from papermill.log import logger

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.moved_files import MovedFiles
from kitaru_nb.engine.observe import file_holds
from kitaru_nb.engine.prefix import matching_prefix
from kitaru_nb.engine.renamed import file_of, follow
from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks.attempt import AttemptRun
from kitaru_nb.stacks.begun import note_begun
from kitaru_nb.stacks.edits import OnChange, refuse_edited, settled
from kitaru_nb.stacks.kernels import python_kernel
from kitaru_nb.stacks.masking import mask_in_place, masked_parameters, quiet_logger
from kitaru_nb.stacks.notebooks import (
    Step,
    check_output,
    give_stable_ids,
    json_parameters,
    local_path,
    recorded_ids,
    save_atomically_at,
    steps_of,
)
from kitaru_nb.stacks.notices import tell
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome, Report, exit_code_of, status_line
from kitaru_nb.stacks.parameters import doubts_of
from kitaru_nb.stacks.settings import chosen_by, resolve
from kitaru_nb.stacks.taken import (
    Taken,
    leading_cells,
    taken_by_replay,
    taken_over,
    unlike_here,
    write_note,
)
from kitaru_nb.stacks.watch import Signals

__all__ = [
    "ExecutionStopped",
    "RunOptions",
    "execute",
    "for_a_command",
    "identity_of",
    "restorable",
    "standing",
]


_NEWEST = 100  # runs of a notebook that are looked at: one that is still going on is among them


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run may be told besides what papermill's own arguments say.

    Attributes:
        settings: Resolved settings; found here and now when None.
        tags: Tags for a new execution.
        new: Begin a new execution even where one could be continued.
        execution: Continue this one, whatever its status.
        attempt: Work in this one, which was begun for this process.
        timeout: Seconds the whole attempt may take, or None.
        report: Receives the outcome; without it the status line is printed.
        trust: Put back what anybody signed, this once.
        budget: What the execution may cost from now on, in US dollars.
        on_wait: What to do at a wait without an answer; None for what the code says.
        retried: Another attempt follows by itself if this one fails, so that nobody is told yet.
        reuse: Take for marked cells also what touched the outside in other executions.
        on_change: What to do where a cell was edited since it completed.
    """

    settings: Settings | None = None
    tags: tuple[str, ...] = ()
    new: bool = False
    execution: ExecutionId | None = None
    attempt: Attempt | None = None
    timeout: float | None = None
    report: Report | None = None
    trust: bool = False
    budget: float | None = None
    on_wait: OnWait | None = None
    retried: bool = False
    reuse: bool = False
    on_change: OnChange = OnChange.RERUN


class ExecutionStopped(PapermillException, SystemExit):  # type: ignore[misc] # papermill has no types
    """The run ended in another way than by a cell's error: kernel death, signal, timeout, lost lease.

    Callers from Python catch it as a `PapermillException`. Uncaught, it ends the process
    with `code` and no traceback, as the papermill command should.
    """

    def __init__(self, message: str, code: int, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.code = int(code)
        self.outcome = outcome


def execute(
    nb: NotebookNode,
    kernel_name: str,
    *,
    input_path: Any = None,
    output_path: str | None = None,
    kitaru: RunOptions | None = None,
    **options: Any,
) -> NotebookNode:
    """Run `nb` as papermill's engine; see `papermill_engine.KitaruEngine.execute_notebook`.

    Raises:
        ExecutionStopped: the run ended in another way than by its cells.
        KitaruError: it could not be started; in the papermill command this is printed and
            ends the process instead.
        KeyboardInterrupt: Ctrl-C in a program that called papermill from Python.
    """
    run = kitaru or RunOptions()
    try:
        outcome, error = _execute(
            nb, kernel_name, source=input_path, output=output_path, run=run, options=options
        )
    except KitaruError as refused:
        raise _presented(refused, run) from refused
    _announce(outcome, error, run)
    if isinstance(error, KitaruError):
        raise _presented(error, run, outcome) from error
    if error is not None:
        raise error
    if outcome.exit in (Exit.COMPLETED, Exit.FAILED):
        return nb
    if outcome.exit is Exit.SIGINT and run.report is None and not _in_papermill_command():
        raise KeyboardInterrupt
    raise ExecutionStopped(f"{status_line(outcome)}: {outcome.reason}", outcome.exit, outcome)


def identity_of(nb: NotebookNode, source: Any, output: str | None, *, stack: str) -> Identity:
    """What makes two runs of a parameterised notebook the same run."""
    if isinstance(source, str) and source != "-":
        notebook = local_path(source)
    else:
        # from memory or standard input there is no name: the code itself says which notebook it is
        code = "\0".join(
            VAULT.mask_source(cell.source)
            for cell in nb.cells
            if "injected-parameters" not in cell.metadata.get("tags", ())
        )
        notebook = "memory:" + blake2b(code.encode(), digest_size=16).hexdigest()
    given = json_parameters(nb.metadata.get("papermill", {}).get("parameters") or {})
    parameters = masked_parameters(given)
    return Identity(
        notebook=notebook, output=local_path(output) if output else "-", parameters=parameters, stack=stack
    )


def restorable(
    engine: Engine, execution: ExecutionId, steps: Sequence[Step], *, notebook: str | None = None
) -> list[Checkpoint]:
    """The recorded steps that the notebook's first cells still are.

    They end before the first cell tagged ``no-checkpoint``: what it does is on no record,
    so it has to run in the new kernel, and each cell after it is decided on in there.

    Args:
        engine: Where it is on record.
        execution: Whose steps.
        steps: The notebook's cells.
        notebook: What the notebook is called now, where the record does not know yet.

    Raises:
        UntrustedError: nobody who is trusted here has signed a step of the execution.
    """
    leading = leading_cells(steps)
    recorded = engine.journal.checkpoints(execution) if leading else []
    engine.trust.require(recorded)  # not even the files that it names are looked at before
    if not recorded:
        return []
    moved = MovedFiles.of(engine.journal, engine.journal.notebook_of(execution), now=notebook)
    return matching_prefix(leading, recorded, holds=moved.holding(file_holds))


def standing(
    engine: Engine, execution: ExecutionId, steps: Sequence[Step], *, notebook: str | None = None
) -> list[Checkpoint]:
    """Those of `restorable` that saw the environment variables that this process has."""
    line = restorable(engine, execution, steps, notebook=notebook)
    return line[: min(unlike_here(line), default=len(line))]


def _execute(
    nb: NotebookNode,
    kernel_name: str,
    *,
    source: Any,
    output: str | None,
    run: RunOptions,
    options: dict[str, Any],
) -> tuple[Outcome, BaseException | None]:
    settings = run.settings or resolve()
    chosen_by(nb.metadata.get("kitaru_nb"))  # what is wrong with it is said before anything begins
    target = output or nb.metadata.papermill.get("output_path")
    identity = identity_of(nb, source, target, stack=settings.stack)
    if target:
        check_output(identity.notebook, local_path(target))
        save_atomically_at(target)
    python_kernel(kernel_name)
    quiet_logger(logger)
    if run.report is None:  # nobody has looked at them before: papermill's own command or function
        given = nb.metadata.get("papermill", {}).get("parameters") or {}
        for line in doubts_of(nb, Path(source).name if isinstance(source, str) else "the notebook", given):
            print(f"warning: {VAULT.mask(line)}", file=sys.stderr)  # noqa: T201 - as `kitaru-nb run` says it
    give_stable_ids(nb, recorded_ids(source) if source is not None else ())
    # a signal that comes between taking the lease and the first cell has to end the attempt properly
    awaited = run.attempt is not None  # whoever began it has had the place open
    with Signals() as signals, closing(open_engine(settings, awaited=awaited)) as engine:
        if run.trust:
            engine.trust.accept_all()
        if run.attempt is None:
            if run.execution is None:
                identity = follow(engine.journal, identity)
            refuse_edited(engine, _before(engine, identity, run), nb, run.on_change)
        attempt, continues = (run.attempt, True) if run.attempt is not None else _start(engine, identity, run)
        if run.attempt is None:
            note_begun(engine, attempt.execution)
        crash_point("worker-started")
        try:
            run_of_cells = AttemptRun(
                nb,
                engine,
                attempt,
                identity=identity,
                taken=_taken(engine, attempt.execution, nb, run.on_change)
                if continues
                else taken_over(steps_of(nb), []),
                kernel_name=kernel_name,
                output=output,
                signals=signals,
                timeout=run.timeout,
                options=options,
                trust=run.trust,
                budget=run.budget,
                on_wait=run.on_wait,
                reuse=run.reuse,
            )
        except BaseException as error:
            # in a program that lives on, an attempt left open would look like a run that is going on
            engine.journal.finish(attempt, ExecutionStatus.INTERRUPTED, reason=VAULT.mask(str(error)))
            raise
        try:
            ended = run_of_cells.run()
            tell(engine, ended[0], retried=run.retried)
            return ended
        finally:
            mask_in_place(nb)  # papermill writes it once more


def _taken(engine: Engine, execution: ExecutionId, nb: NotebookNode, on_change: OnChange) -> Taken:
    """What an attempt at an execution that was begun before takes over."""
    from kitaru_nb.engine.replay import replay_of  # noqa: PLC0415 - a first attempt needs nothing of it

    replay = replay_of(engine.journal, execution)
    if replay is None:
        steps = settled(engine, execution, nb, on_change, standing)
        return taken_over(steps, restorable(engine, execution, steps))
    write_note(nb, replay)
    return taken_by_replay(engine, execution, replay, nb)


def _before(engine: Engine, identity: Identity, run: RunOptions) -> ExecutionId | None:
    """The execution that a run would go on with."""
    if run.execution is not None or run.new:
        return run.execution
    known = engine.journal.executions(identity=identity, limit=1)
    return known[0].id if known and known[0].status.continues else None


def _start(engine: Engine, identity: Identity, run: RunOptions) -> tuple[Attempt, bool]:
    """Take the lease; whether an earlier attempt left something to go on with."""
    _refuse_shared_output(engine, identity, run)
    try:
        if run.execution is not None:
            return engine.journal.resume(run.execution, owner=current_owner()), True
        attempt, previous = engine.journal.start(
            identity, owner=current_owner(), tags=run.tags, new=run.new, file=file_of(identity)
        )
    except ConflictError as held:
        raise for_a_command(held) from held
    return attempt, previous is not None


def _refuse_shared_output(engine: Engine, identity: Identity, run: RunOptions) -> None:
    """Raise where another execution of the notebook that runs now writes the same output.

    Raises:
        ConflictError: kind ``output-in-use``.
    """
    if identity.output is None:
        return
    for each in engine.journal.executions(notebook=identity.notebook, limit=_NEWEST):
        is_itself = each.id == run.execution or (each.identity == identity and not run.new)
        if (
            each.status is ExecutionStatus.RUNNING
            and each.identity.output == identity.output
            and not is_itself
        ):
            message = f"the output `{identity.output}` is written by `{each.id}`, which is running"
            hint = (
                f"another output, as with -o OTHER.ipynb; or kitaru-nb logs {each.id} -f follows that one, "
                f"kitaru-nb cancel {each.id} ends it for good"
            )
            raise ConflictError(message, kind="output-in-use", hint=hint)


def for_a_command(held: ConflictError) -> ConflictError:
    """An execution that somebody holds, as a command says it: of a magic it knows nothing."""
    if "%resume" not in held.hint:
        return held
    hint = (
        f"kitaru-nb logs {held.execution} -f follows it, kitaru-nb cancel {held.execution} ends it for good; "
        "then the same command again"
    )
    return ConflictError(held.message, kind=held.kind, hint=hint)


def _presented(error: KitaruError, run: RunOptions, outcome: Outcome | None = None) -> BaseException:
    """`error` as the caller wants it: itself in a program, in the papermill command words and a code."""
    if run.report is not None or not _in_papermill_command():
        return error
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the papermill command's user reads it there
    if outcome is not None:
        print(status_line(outcome), file=sys.stderr)  # noqa: T201 - as above
    return ExecutionStopped(error.message, exit_code_of(error), outcome)


def _announce(outcome: Outcome, error: BaseException | None, run: RunOptions) -> None:
    """Hand the outcome to whoever asked for it, else print the status line as stderr's last."""
    if run.report is not None:
        run.report(outcome)
    elif outcome.exit in (Exit.COMPLETED, Exit.FAILED) and error is None and _in_papermill_command():
        # papermill prints a traceback before, also of a cell that may raise
        atexit.register(print, status_line(outcome), file=sys.stderr)
    elif not isinstance(error, KitaruError) or not _in_papermill_command():
        if _in_papermill_command():
            _say_why(outcome)
        print(status_line(outcome), file=sys.stderr)  # noqa: T201 - the line is the contract with other programs


def _say_why(outcome: Outcome) -> None:
    """Why it ended before its end, and how to go on, to the papermill command's user."""
    if outcome.exit in (Exit.COMPLETED, Exit.FAILED):
        return
    lines = [f"{outcome.status}: {outcome.reason}"]
    if outcome.exit is Exit.WAITING and outcome.hint:
        lines.append(f"  Try: {outcome.hint}")
    elif outcome.status.continues and outcome.exit is not Exit.SUPERSEDED:
        lines.append(f"go on with: the same command, or kitaru-nb resume {outcome.execution}")
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - as above


def _in_papermill_command() -> bool:
    """Whether papermill's command line called us, so that this process ends with the run."""
    context = click.get_current_context(silent=True)
    return (
        context is not None
        and context.command.callback is not None
        and context.command.callback.__module__.startswith("papermill.")
    )
