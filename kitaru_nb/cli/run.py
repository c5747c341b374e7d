"""`run` and `resume`: notebooks executed headless, each going on where it stopped."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from papermill.iorw import read_yaml_file

from kitaru_nb.cli.output import clean, duration, print_error, print_json
from kitaru_nb.cli.plan import plan_json, print_plan
from kitaru_nb.engine.addresses import held_up_by
from kitaru_nb.engine.budget_stops import is_lifted
from kitaru_nb.engine.describe import error_json, execution_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import LATEST, find_execution
from kitaru_nb.engine.suspensions import is_trusted_stop
from kitaru_nb.engine.wait import OnWait
from kitaru_nb.errors import KitaruError, NotFoundError, UntrustedError, UsageError
from kitaru_nb.model.execution import Execution, ExecutionStatus
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.local import Job, Plan, again, job_of, plan, run
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome, exit_code_of, status_line
from kitaru_nb.stacks.resuming import can_go_on, job_again, resumable
from kitaru_nb.stacks.settings import begun_after, parse_duration, resolve

__all__ = ["dollars_of", "print_outcome", "resume_executions", "run_notebooks"]

_RETRIED = (Exit.FAILED, Exit.TIMED_OUT, Exit.KERNEL_DIED)
_STOPPED = (Exit.SIGINT, Exit.SIGTERM)
_LARGEST_EXIT = 255
_LONG = 2_000  # characters of a result
_WORDS = {"True": True, "False": False, "None": None}


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
    json: bool = False,
    progress: bool = True,
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
        json: Print one JSON document: an execution, or an array for several notebooks.
        progress: Show the progress bar.

    Raises:
        KitaruError: nothing was run, and why.
    """
    settings = resolve(stack=stack)
    values = _parameters(parameters, parameter_files)
    jobs = [
        job_of(
            notebook,
            output,
            parameters=values,
            tags=tuple(tags),
            new=new,
            timeout=None if timeout is None else parse_duration(timeout, what="--timeout"),
            log_output=log_output,
            report_mode=report_mode,
            progress=progress and not log_output and not json,
            trust=trust,
            budget=dollars_of(budget),
            on_wait=None if on_wait is None else on_wait_of(on_wait),
        )
        for notebook in notebooks
    ]
    _check_jobs(jobs, output, retries)
    _check_exit(suspend_exit)
    return _do(jobs, settings, retries=retries, dry_run=dry_run, json=json, suspend_exit=suspend_exit)


def resume_executions(
    executions: Sequence[str] = (),
    *,
    all: bool = False,  # noqa: A002 - the option's name
    tag: str | None = None,
    since: str | None = None,
    retries: int = 0,
    timeout: str | None = None,
    log_output: bool = False,
    dry_run: bool = False,
    budget: float | None = None,
    suspend_exit: int | None = None,
    json: bool = False,
    progress: bool = True,
) -> int:
    """Go on with interrupted, failed or waiting executions; the exit code.

    Each runs as it was begun: same notebook, output and parameters. Of several, one that
    cannot go on does not keep the others from it.

    Args:
        executions: Ids, starts of ids, or ``latest``; by default the newest one that is
            interrupted or failed.
        all: Every headless execution that is interrupted or failed, or waited and has its answer,
            oldest first; one that a budget has stopped only with a larger `budget`.
        tag: With `all`, only those with this tag.
        since: With `all`, only those begun since then, such as ``2h`` or ``2026-03-01``.
        retries: As for `run_notebooks`, like the arguments after it.
        timeout: As there.
        log_output: As there.
        dry_run: As there.
        budget: What each may cost from now on, in US dollars.
        suspend_exit: As there.
        json: As there.
        progress: As there.

    Raises:
        KitaruError: nothing was run, and why.
        UntrustedError: kind ``untrusted-stop``: none was named, and the newest was suspended by
            somebody who is not trusted here.
    """
    _check_choice(executions, all=all, narrowed=tag is not None or since is not None)
    _check_exit(suspend_exit)
    seconds = None if timeout is None else parse_duration(timeout, what="--timeout")
    settings = resolve()
    if all:
        chosen = _all_resumable(settings, tag=tag, since=since, dollars=dollars_of(budget))
    else:
        with closing(open_engine(settings, read_only=True)) as engine:
            found = [find_execution(engine.journal, each) for each in executions]
            chosen = [resumable(each) for each in found or [_newest(engine)]]
    shown = progress and not log_output and not json
    flows = [each for each in chosen if each.identity.flow is not None]
    notebooks = [each for each in chosen if each.identity.flow is None]
    dollars = dollars_of(budget)
    jobs = [
        replace(job_again(e, timeout=seconds, log_output=log_output, progress=shown), budget=dollars)
        for e in notebooks
    ]
    if not jobs and not flows and not json:
        print("nothing to resume: no execution is interrupted or failed")
    several = all or len(executions) > 1
    options: dict[str, Any] = {"dry_run": dry_run, "json": json, "several": several}
    options["suspend_exit"] = suspend_exit
    if flows and not jobs:
        return _do_flows(flows, budget=dollars, **options)
    if flows:
        worst = _do_flows(flows, budget=dollars, **{**options, "json": False, "several": True})
        return _do(jobs, settings, retries=retries, **{**options, "several": True}) or worst
    return _do(jobs, settings, retries=retries, **options)


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
            f"--on-wait is `{text}`", kind="bad-on-wait", hint="--on-wait suspend, hold=10m or fail"
        )
    return OnWait(fail=text == "fail")


def _check_exit(code: int | None) -> None:
    if code is not None and not 0 <= code <= _LARGEST_EXIT:
        raise UsageError(f"--suspend-exit is {code}", kind="bad-exit", hint="--suspend-exit 0")


def _code_of(outcome: Outcome, suspend_exit: int | None) -> int:
    """The exit code for how an attempt ended."""
    if outcome.exit is Exit.WAITING and suspend_exit is not None:
        return suspend_exit
    return int(outcome.exit)


def _do_flows(
    executions: Sequence[Execution],
    *,
    dry_run: bool,
    json: bool,
    several: bool,
    budget: float | None,
    suspend_exit: int | None = None,
) -> int:
    """Go on with executions of flows, in this process; the exit code."""
    from kitaru_nb.stacks.flow_runs import resume_flow  # noqa: PLC0415 - notebooks need nothing of it

    documents: list[Any] = []
    worst = 0
    for execution in executions:
        if dry_run:
            documents.append(execution_json(execution))
            if not json:
                print(f"{execution.id}  {clean(execution.identity.flow or '')}: would go on")
            continue
        try:
            outcome, result = resume_flow(execution, budget=budget)
        except KitaruError as error:
            if not several:
                raise
            print_error(error, as_json=False)
            documents.append(error_json(error))
            worst = worst or int(exit_code_of(error))
            continue
        if not json:
            _print_flow(execution, outcome, result)
        print(status_line(outcome), file=sys.stderr)
        worst = worst or _code_of(outcome, suspend_exit)
        documents.append(_execution_document(outcome, resolve()))
    if json:
        print_json(documents if several else documents[0])
    return worst


def _do(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    retries: int,
    dry_run: bool,
    json: bool,
    several: bool = False,
    suspend_exit: int | None = None,
) -> int:
    several = several or len(jobs) > 1
    documents = []
    worst = 0
    for job in jobs:
        try:
            if dry_run:
                found = plan(job, settings=settings)
                documents.append(_plan_json(job, found))
                if not json:
                    _print_plan(job, found)
                continue
            outcome = _run_with_retries(job, settings, retries, quiet=json)
        except KitaruError as error:
            if not several:
                raise
            print_error(error, as_json=False)
            documents.append(error_json(error))
            worst = worst or int(exit_code_of(error))
            continue
        worst = worst or _code_of(outcome, suspend_exit)
        failed = outcome.error
        documents.append(_execution_document(outcome, settings) if failed is None else error_json(failed))
        if outcome.exit in _STOPPED:
            break
    if json:
        print_json(documents if several else documents[0] if documents else [])
    return worst


def _run_with_retries(job: Job, settings: Settings, retries: int, *, quiet: bool) -> Outcome:
    left = retries
    while True:
        outcome = run(job, settings=settings)
        retry = outcome.exit in _RETRIED and left > 0
        if not quiet:
            print_outcome(job, outcome, goes_on=retry)
        print(status_line(outcome), file=sys.stderr)
        if not retry:
            return outcome
        left -= 1
        job = again(job)


def _print_flow(execution: Execution, outcome: Outcome, result: object) -> None:
    """How an attempt of a flow ended, and what it returned."""
    if outcome.traceback:
        print(outcome.traceback, file=sys.stderr, end="")
    if outcome.error is not None:
        print_error(outcome.error, as_json=False)
    elif outcome.exit is Exit.WAITING:
        _say_waiting(outcome)
    print_result(execution, outcome, result)


def print_result(execution: Execution, outcome: Outcome, result: object) -> None:
    """What a flow has returned; of a long one its beginning, and the command that shows all of it."""
    if outcome.exit is not Exit.COMPLETED or result is None:
        return
    text = repr(result)
    print(text if len(text) <= _LONG else f"{text[:_LONG]}…")
    if len(text) > _LONG:
        name = (execution.identity.flow or "").rpartition(":")[2].rpartition(".")[2]
        print(f"all of it: kitaru-nb artifact {outcome.execution}/{clean(name)}/result")
    sys.stdout.flush()


def _say_waiting(outcome: Outcome) -> None:
    print(f"waiting: {clean(outcome.reason)}", file=sys.stderr)
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
        _say_waiting(outcome)
    elif outcome.exit is not Exit.COMPLETED:
        print(f"{outcome.status}: {clean(outcome.reason)}", file=sys.stderr)
    if not goes_on:
        print(_summary(job, outcome))
        sys.stdout.flush()


def _summary(job: Job, outcome: Outcome) -> str:
    saved = f" ({duration(outcome.saved)} saved)" if outcome.restored else ""
    cells = f"{outcome.restored} restored{saved}, {outcome.ran} run"
    more = "" if outcome.exit is Exit.COMPLETED else f"; go on with: kitaru-nb resume {outcome.execution}"
    return f"{clean(job.output)}: {cells}{more}"


def _execution_document(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    with closing(open_engine(settings, read_only=True)) as engine:
        return execution_json(engine.journal.execution(outcome.execution))


def _plan_json(job: Job, found: Plan) -> dict[str, Any]:
    return {
        "notebook": job.notebook,
        "output": job.output,
        "execution": found.execution.id if found.execution is not None else None,
        **plan_json(found.rows),
    }


def _print_plan(job: Job, found: Plan) -> None:
    goes_on = (
        f"goes on with {found.execution.id}" if found.execution is not None else "begins a new execution"
    )
    print(f"{clean(job.notebook)}: {goes_on}")
    print_plan(found.rows)


def _check_choice(executions: Sequence[str], *, all: bool, narrowed: bool) -> None:  # noqa: A002 - as above
    if all and executions:
        raise UsageError(
            f"`{executions[0]}` and --all were both given", kind="bad-option", hint="kitaru-nb resume --all"
        )
    if narrowed and not all:
        raise UsageError(
            "--tag and --since choose among all executions",
            kind="bad-option",
            hint="kitaru-nb resume --all --since 2h",
        )


def _all_resumable(
    settings: Settings, *, tag: str | None, since: str | None, dollars: float | None
) -> list[Execution]:
    """Every headless execution that can go on, oldest first; none where nothing is recorded yet.

    What a budget has stopped is left alone, and said so, unless `dollars` is more than that was.
    """
    moment = None if since is None else begun_after(since)
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        return []
    with closing(engine):
        guests = engine.journal.guests()
        found = engine.journal.executions(tag=tag, since=moment)
        own = [e for e in found if can_go_on(e) and e.id not in guests]
        free = [e for e in own if held_up_by(engine.journal, e.id) is None][::-1]
        for strange in (e for e in free if not _is_vouched(engine, e)):
            print(
                f"{strange.id} was suspended by somebody whose key is not trusted here: "
                f"kitaru-nb resume {strange.id}",
                file=sys.stderr,
            )
        free = [e for e in free if _is_vouched(engine, e)]
        lifted = [e for e in free if is_lifted(engine.journal, e, dollars)]
        for stopped in (e for e in free if e not in lifted):
            print(f"{stopped.id} waits for a larger budget: kitaru-nb resume --budget USD", file=sys.stderr)
        return lifted


def _is_vouched(engine: Engine, execution: Execution) -> bool:
    """Whether an execution that waited may be gone on with though nobody has named it."""
    if execution.status is not ExecutionStatus.WAITING:
        return True
    return is_trusted_stop(engine.journal, execution, engine.trust.keys)


def _newest(engine: Engine) -> Execution:
    """The newest headless execution that can go on, else the newest of all, to be told why it cannot."""
    guests = engine.journal.guests()
    for execution in engine.journal.executions():
        if can_go_on(execution) and execution.id not in guests and _is_vouched(engine, execution):
            return execution
    newest = find_execution(engine.journal, LATEST)
    if can_go_on(newest) and not _is_vouched(engine, newest):
        message = f"`{newest.id}` was suspended by somebody whose key is not trusted here"
        raise UntrustedError(message, kind="untrusted-stop", hint=f"kitaru-nb resume {newest.id}")
    return newest


def _parameters(pairs: Sequence[tuple[str, str]], files: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for file in files:
        values.update(_file_parameters(file))
    values.update({name: _value(text) for name, text in pairs})
    for name in values:
        if not str(name).isidentifier() or keyword.iskeyword(str(name)):
            raise UsageError(
                f"`{name}` cannot be a parameter: it is not a Python name",
                kind="bad-parameter",
                hint="-p NAME VALUE",
            )
    return values


def _file_parameters(path: str) -> dict[str, Any]:
    try:
        content = read_yaml_file(path)
    except OSError as error:
        raise UsageError(
            f"parameter file `{path}` could not be read: {error.strerror or error}",
            kind="bad-parameter-file",
            hint="-f params.yaml",
        ) from error
    except Exception as error:  # the YAML library's errors; it is papermill's choice, not ours
        raise UsageError(
            f"parameter file `{path}` is not YAML: {' '.join(str(error).split())}",
            kind="bad-parameter-file",
            hint="NAME: VALUE, one a line",
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            f"parameter file `{path}` holds no names with values",
            kind="bad-parameter-file",
            hint="NAME: VALUE, one a line",
        )
    return content


def _value(text: str) -> Any:
    """`text` as papermill's command reads a value: True, False, None, a number, or the text."""
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_jobs(jobs: Sequence[Job], output: str | None, retries: int) -> None:
    if retries < 0:
        raise UsageError(f"--retries is {retries}", kind="bad-retries", hint="--retries 2")
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
