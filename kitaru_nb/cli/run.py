"""`run`: notebooks executed headless, each going on where it stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from kitaru_nb.cli.output import clean, duration, print_error, print_json, print_problem
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.errors import CorruptError, KitaruError, UsageError
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import OnWait, asks_again
from kitaru_nb.stacks.edits import OnChange
from kitaru_nb.stacks.grid import Factor
from kitaru_nb.stacks.grid_files import axis_typed, check_names, file_read, value_read
from kitaru_nb.stacks.html_page import need_nbconvert, page_path, write_html
from kitaru_nb.stacks.local import Job, again, formatted, job_of, run
from kitaru_nb.stacks.misnamed import misnamed
from kitaru_nb.stacks.notebooks import is_remote
from kitaru_nb.stacks.notices import undeliverable
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of, status_line
from kitaru_nb.stacks.parameters import doubts
from kitaru_nb.stacks.settings import parse_duration, resolve
from kitaru_nb.stacks.whereabouts import begun_on, is_elsewhere

if TYPE_CHECKING:
    from kitaru_nb.stacks.planning import Plan  # what is to run needs none of it

__all__ = [
    "Todo",
    "check_exit",
    "check_workers",
    "code_of",
    "do",
    "dollars_of",
    "execution_document",
    "make_page",
    "plan_json_of",
    "print_outcome",
    "print_plan_of",
    "print_result",
    "run_notebooks",
    "say_doubts",
    "say_waiting",
]

_RETRIED = (Exit.FAILED, Exit.TIMED_OUT, Exit.KERNEL_DIED)
_STOPPED = (Exit.SIGINT, Exit.SIGTERM)
_LARGEST_EXIT = 255
_LONG = 2_000  # characters of a result


def run_notebooks(
    notebooks: Sequence[str],
    *,
    output: str | None = None,
    parameters: Sequence[tuple[str, str]] = (),
    parameter_files: Sequence[str] = (),
    tags: Sequence[str] = (),
    stack: str | None = None,
    new: bool = False,
    timeout: str | None = None,
    retries: int = 0,
    log_output: bool = False,
    report_mode: bool = False,
    dry_run: bool = False,
    trust: bool = False,
    budget: float | None = None,
    on_wait: str | None = None,
    suspend_exit: int | None = None,
    detach: bool = False,
    reuse: bool = False,
    on_change: str = "rerun",
    grid: Sequence[str] = (),
    workers: int = 1,
    html: bool = False,
    json: bool = False,
    progress: bool = True,
    heard: bool = True,
) -> int:
    """Run notebooks one after the other; the exit code.

    A notebook whose last run with the same output and parameters did not complete goes on
    there. Several notebooks: the exit code is that of the first that did not complete; a
    signal ends them all, a failure only its own.

    Args:
        notebooks: Paths or URLs.
        output: Where the executed notebook goes; for one notebook only.
        parameters: (name, value) pairs; a value is read as papermill reads it.
        parameter_files: YAML or JSON files of parameters; `parameters` count before them.
        tags: Tags for new executions.
        stack: Where to run and record; the current stack by default.
        new: Begin new executions even where one could be continued.
        timeout: How long one attempt may take, such as ``90``, ``10m`` or ``2h``.
        retries: How many more attempts a failed, timed-out or died run gets.
        log_output: Log what cells print.
        report_mode: Hide the code in the output.
        dry_run: Only say what would be restored and what would run.
        trust: Put back what anybody signed, this once.
        budget: What each execution may cost in US dollars, earlier attempts included.
        on_wait: ``suspend``, ``hold=T`` or ``fail``: what to do at a wait without an answer.
        suspend_exit: The exit code where one waits, instead of 75.
        detach: Only submit them; they go on without this process.
        reuse: Take for marked cells also what touched the outside in other executions.
        on_change: ``rerun``, ``keep`` or ``fail``: what to do where a cell was edited since it completed.
        grid: ``NAME=V1,V2``: a run for each combination of values, see `cli.grid`.
        workers: How many of a grid's points, or of several notebooks, run at a time.
        html: Make a page of each output, too.
        json: Print one JSON document: an execution, or an array for several notebooks.
        progress: Show the progress bar.
        heard: Whether somebody reads what it prints; how a grid has ended is told once more if not.

    Raises:
        KitaruError: nothing was run, and why.
    """
    asked = dict(locals())  # a process in the background may be told all of it
    settings = resolve(stack=stack)
    values, factors = _parameters(parameters, parameter_files, grid)
    if html:
        need_nbconvert()
    common: dict[str, Any] = {
        "tags": tuple(tags),
        "new": new,
        "timeout": None if timeout is None else parse_duration(timeout, what="--timeout"),
        "log_output": log_output,
        "report_mode": report_mode,
        "progress": progress and not log_output and not json,
        "trust": trust,
        "budget": dollars_of(budget),
        "on_wait": None if on_wait is None else on_wait_of(on_wait),
        "reuse": reuse,
        "on_change": OnChange(on_change),
    }
    check_exit(suspend_exit)
    _check_retries(retries)
    check_workers(workers)
    say_misnamed()
    for notebook in notebooks:
        say_doubts(notebook, [*values, *_varied(factors)])
    several = bool(factors) or (workers > 1 and len(notebooks) > 1)
    if several:
        from kitaru_nb.cli.grid import Wish, run_grid  # noqa: PLC0415 - it needs this module

        wish = Wish(
            workers=workers,
            retries=retries,
            suspend_exit=suspend_exit,
            html=html,
            json=json,
            progress=progress,
            dry_run=dry_run,
            heard=heard,
            alone={**asked, "stack": settings.stack, "detach": False, "json": False, "heard": False}
            if detach
            else None,
        )
        return run_grid(
            notebooks, factors, output=output, parameters=values, common=common, wish=wish, settings=settings
        )
    jobs = [job_of(notebook, output, parameters=values, **common) for notebook in notebooks]
    _check_jobs(jobs, output)
    options: dict[str, Any] = {"dry_run": dry_run, "json": json, "suspend_exit": suspend_exit}
    todo = [Todo(job, settings) for job in jobs]
    if not dry_run and not detach and not is_elsewhere(settings):  # there another environment counts
        for line in undeliverable(settings):
            print(f"warning: {clean(line)}", file=sys.stderr)
    return do(todo, retries=retries, detach=detach, html=html, **options)


def say_misnamed() -> None:
    """Say which variables are nearly called as settings are, and count for nothing."""
    for variable, meant in misnamed(os.environ).items():
        print_problem(f"there is no setting `{variable}`, so it counts for nothing; is `{meant}` meant?")


@dataclass(frozen=True, slots=True)
class Todo:
    """One notebook to run.

    Attributes:
        job: What runs.
        settings: Of the stack that was chosen, or that knows the execution.
        execution: What is gone on with, on the stack that it was begun on.
    """

    job: Job
    settings: Settings
    execution: Execution | None = None

    def place(self) -> Settings:
        """The settings that it runs under.

        Raises:
            StackError: see `begun_on`.
        """
        return self.settings if self.execution is None else begun_on(self.settings, self.execution)


def dollars_of(budget: float | None) -> float | None:
    """A budget as it was typed.

    Raises:
        UsageError: kind ``bad-budget``.
    """
    if budget is not None and not 0 < budget < float("inf"):
        raise UsageError(
            f"--budget is {budget}, which is no amount of dollars", kind="bad-budget", hint="--budget 5.00"
        )
    return budget


def on_wait_of(text: str) -> OnWait:
    """What ``--on-wait`` says.

    Raises:
        UsageError: kind ``bad-on-wait``.
    """
    what, _, span = text.partition("=")
    if what == "hold" and span:
        return OnWait(hold=parse_duration(span, what="--on-wait hold"))
    if text not in ("suspend", "fail"):
        raise UsageError(
            f"--on-wait is `{text}`, which it does not take",
            kind="bad-on-wait",
            hint="--on-wait suspend, hold=10m or fail",
        )
    return OnWait(fail=text == "fail")


def check_exit(code: int | None) -> None:
    """Refuse an exit code that is none.

    Raises:
        UsageError: kind ``bad-exit``.
    """
    if code is not None and not 0 <= code <= _LARGEST_EXIT:
        raise UsageError(
            f"--suspend-exit is {code}, which is no exit code: 0 to {_LARGEST_EXIT}",
            kind="bad-exit",
            hint="--suspend-exit 0",
        )


def code_of(outcome: Outcome, suspend_exit: int | None) -> int:
    """The exit code for how an attempt ended."""
    if outcome.exit is Exit.WAITING and suspend_exit is not None:
        return suspend_exit
    return int(outcome.exit)


def do(
    jobs: Sequence[Todo],
    *,
    retries: int,
    dry_run: bool,
    json: bool,
    several: bool = False,
    suspend_exit: int | None = None,
    detach: bool = False,
    html: bool = False,
) -> int:
    """Run notebooks one after the other, or only say what would become of them; the exit code.

    Args:
        jobs: What runs, each on its own stack.
        retries: How many more attempts one gets that failed.
        dry_run: Only say what would be restored and what would run.
        json: Print one JSON document; with `several` an array.
        several: One that cannot go on does not keep the others from it.
        suspend_exit: The exit code where one waits.
        detach: Only submit them.
        html: Make a page of each output, too.

    Raises:
        KitaruError: of a single one.
    """
    several = several or len(jobs) > 1
    documents = []
    worst = 0
    for todo in jobs:
        job = todo.job
        try:
            settings = todo.place()
            if dry_run:
                from kitaru_nb.stacks.planning import plan  # noqa: PLC0415 - what is to run needs none of it

                found = plan(job, settings=settings)
                documents.append(plan_json_of(job, found))
                if not json:
                    print_plan_of(job, found)
                continue
            if detach:
                from kitaru_nb.cli.elsewhere import submit_detached  # noqa: PLC0415 - what runs here needs no stacks

                documents.append(submit_detached(job, settings, retries, quiet=json, html=html))
                continue
            outcome = _run_with_retries(job, settings, retries, quiet=json, html=html)
        except KitaruError as error:
            if not several:
                raise
            print_error(error, as_json=False)
            documents.append(error.document)
            worst = worst or int(exit_code_of(error))
            continue
        worst = worst or code_of(outcome, suspend_exit)
        failed = outcome.error
        documents.append(execution_document(outcome, settings) if failed is None else failed.document)
        if outcome.exit in _STOPPED:
            break
    if json:
        print_json(documents if several else documents[0] if documents else [])
    return worst


def _run_with_retries(job: Job, settings: Settings, retries: int, *, quiet: bool, html: bool) -> Outcome:
    if is_elsewhere(settings):
        from kitaru_nb.cli.elsewhere import run_elsewhere  # noqa: PLC0415 - as above

        outcome = run_elsewhere(job, settings, retries, quiet=quiet)
        if not quiet:
            print_outcome(job, outcome)
        if html:
            make_page(job, quiet=quiet)
        print(status_line(outcome), file=sys.stderr)
        return outcome
    left = retries
    while True:
        outcome = run(replace(job, retried=left > 0), settings=settings)
        retry = outcome.exit in _RETRIED and left > 0
        if not quiet:
            print_outcome(job, outcome, goes_on=retry)
        if html and not retry:
            make_page(job, quiet=quiet)
        print(status_line(outcome), file=sys.stderr)
        if not retry:
            return outcome
        left -= 1
        job = again(job)


def print_result(execution: Execution, outcome: Outcome, result: object) -> None:
    """What a flow has returned; of a long one its beginning, and the command that shows all of it."""
    if outcome.exit is not Exit.COMPLETED or result is None:
        return
    text = repr(result)
    print(text if len(text) <= _LONG else f"{text[:_LONG]}…")
    if len(text) > _LONG:
        name = (execution.identity.flow or "").rpartition(":")[2].rpartition(".")[2]
        print(clean(f"all of it: kitaru-nb artifact {quote(f'{outcome.execution}/{name}/result')}"))
    sys.stdout.flush()


def make_page(job: Job, *, quiet: bool) -> None:
    """Make the page of an output and say where it is, or why there is none."""
    output = formatted(job.output, job.parameters)
    problem = write_html(output)
    print_problem(problem)
    if not problem and not quiet and not is_remote(output):
        print(f"page: {clean(str(page_path(Path(output))))}")
        sys.stdout.flush()


def say_waiting(outcome: Outcome) -> None:
    """Say what a run waits for, and what to type."""
    print(f"waiting: {clean(outcome.reason)}", file=sys.stderr)
    _say_hint(outcome)


def _say_hint(outcome: Outcome) -> None:
    if outcome.hint:
        first, *others = outcome.hint.splitlines()
        print(f"  Try: {clean(first)}", *map(clean, others), sep="\n", file=sys.stderr)


def print_outcome(job: Job, outcome: Outcome, *, goes_on: bool = False) -> None:
    """Say how an attempt ended; with `goes_on` there will be another one."""
    if outcome.traceback:
        print(outcome.traceback, file=sys.stderr)
    if outcome.error is not None:
        print_error(outcome.error, as_json=False)
    elif outcome.exit is Exit.WAITING:
        say_waiting(outcome)
    elif outcome.exit is not Exit.COMPLETED:
        print(f"{outcome.status}: {clean(outcome.reason)}", file=sys.stderr)
        _say_hint(outcome)
    if not goes_on:
        print(_summary(job, outcome))
        sys.stdout.flush()


def _summary(job: Job, outcome: Outcome) -> str:
    saved = f" ({duration(outcome.saved)} saved)" if outcome.restored else ""
    cells = f"{outcome.restored} restored{saved}, {outcome.ran} run"
    return f"{clean(job.output)}: {cells}{_way_on(outcome)}"


def _way_on(outcome: Outcome) -> str:
    """What to type to go on with it; nothing where `resume` would only refuse, or fail again."""
    if outcome.exit is Exit.SUPERSEDED:
        return f"; follow the other attempt with: kitaru-nb logs {outcome.execution} -f"
    fails_again = isinstance(outcome.error, CorruptError) or (
        outcome.exit is not Exit.WAITING and asks_again(outcome.hint)
    )
    if fails_again or not outcome.status.continues:
        return ""
    return f"; go on with: kitaru-nb resume {outcome.execution}"


def execution_document(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """How the execution stands after an attempt, as a JSON document."""
    with closing(open_engine(settings, read_only=True)) as engine:
        return execution_json(engine.journal.execution(outcome.execution))


def plan_json_of(job: Job, found: Plan) -> dict[str, Any]:
    """The document of ``--dry-run``."""
    from kitaru_nb.cli.plan import plan_json  # noqa: PLC0415 - what is to run needs none of it

    return {
        "notebook": job.notebook,
        "output": job.output,
        "execution": found.execution.id if found.execution is not None else None,
        **plan_json(found.rows),
    }


def print_plan_of(job: Job, found: Plan) -> None:
    """What ``--dry-run`` prints."""
    from kitaru_nb.cli.plan import print_plan  # noqa: PLC0415 - what is to run needs none of it

    goes_on = (
        f"goes on with {found.execution.id}" if found.execution is not None else "begins a new execution"
    )
    print(f"{clean(job.notebook)}: {goes_on}")
    print_plan(found.rows)


def _parameters(
    pairs: Sequence[tuple[str, str]], files: Sequence[str], grid: Sequence[str]
) -> tuple[dict[str, Any], list[Factor]]:
    """The parameters that are the same for all, and the factors of a grid."""
    values: dict[str, Any] = {}
    factors: list[Factor] = []
    for file in files:
        read, more = file_read(file)
        values.update(read)
        factors += more
    for name, texts in map(axis_typed, grid):
        factors.append([{name: value_read(text)} for text in texts])
    given = {name: value_read(text) for name, text in pairs}
    varied = dict.fromkeys(_varied(factors))
    both = next((name for name in given if name in varied), None)
    if both is not None:
        message = f"`{both}` is set with -p and varied by the grid"
        raise UsageError(message, kind="bad-grid", hint=f"leave out -p {both}")
    values.update(given)
    check_names([*values, *varied])
    return {name: value for name, value in values.items() if name not in varied}, factors


def _varied(factors: Sequence[Factor]) -> list[str]:
    """The names that a grid varies."""
    return list(dict.fromkeys(name for factor in factors for part in factor for name in part))


def say_doubts(notebook: str, names: Collection[str]) -> None:
    """Say before anything runs which parameters a notebook does not have.

    Raises:
        UsageError: there is no such notebook, or it is none.
    """
    if not is_remote(notebook):
        for line in doubts(notebook, names):
            print(f"warning: {clean(line)}", file=sys.stderr)


def check_workers(workers: int) -> None:
    """Refuse a number of workers that is none.

    Raises:
        UsageError: kind ``bad-jobs``.
    """
    if workers < 1:
        raise UsageError(f"-j is {workers}, and 1 is the least", kind="bad-jobs", hint="-j 4")


def _check_retries(retries: int) -> None:
    if retries < 0:
        raise UsageError(f"--retries is {retries}", kind="bad-retries", hint="--retries 2")


def _check_jobs(jobs: Sequence[Job], output: str | None) -> None:
    if output is not None and len(jobs) > 1:
        raise UsageError(
            f"-o names one output for {len(jobs)} notebooks",
            kind="one-output",
            hint="leave -o out: each is saved beside its notebook as NAME.out.ipynb",
        )
    if len({job.output for job in jobs}) < len(jobs):
        raise UsageError(
            "a notebook is named twice", kind="duplicate-notebook", hint="name each notebook once"
        )
