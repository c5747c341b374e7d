"""The command lines of `run`, `resume` and `replay`; the modules of these names do what they say."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from kitaru_nb.cli.output import Json
from kitaru_nb.engine.refs import LATEST
from kitaru_nb.errors import UsageError

__all__ = ["replay", "resume", "run"]


def run(
    *notebooks: str,
    output: Annotated[str | None, Parameter(name=["--output", "-o"], metavar="OUTPUT")] = None,
    parameters: Annotated[
        tuple[tuple[str, str], ...],
        Parameter(name=["--parameter", "-p"], metavar="NAME VALUE", allow_leading_hyphen=True),
    ] = (),
    parameter_files: Annotated[
        tuple[str, ...], Parameter(name=["--parameters-file", "-f"], metavar="FILE")
    ] = (),
    tags: Annotated[tuple[str, ...], Parameter(name="--tag", metavar="TAG")] = (),
    stack: Annotated[str | None, Parameter(metavar="S")] = None,
    new: bool = False,
    timeout: Annotated[str | None, Parameter(metavar="TIME")] = None,
    retries: Annotated[int, Parameter(metavar="N")] = 0,
    log_output: bool = False,
    no_progress: bool = False,
    report_mode: bool = False,
    dry_run: bool = False,
    trust: bool = False,
    budget: Annotated[float | None, Parameter(metavar="USD")] = None,
    on_wait: Annotated[str | None, Parameter(metavar="suspend|hold=T|fail")] = None,
    suspend_exit: Annotated[int | None, Parameter(metavar="N")] = None,
    detach: bool = False,
    reuse: bool = False,
    on_change: Annotated[
        Literal["rerun", "keep", "fail"], Parameter(metavar="rerun|keep|fail", show_choices=False)
    ] = "rerun",
    grid: Annotated[tuple[str, ...], Parameter(name="--grid", metavar="NAME=V1,V2")] = (),
    jobs: Annotated[int, Parameter(name=["--jobs", "-j"], metavar="N")] = 1,
    html: bool = False,
    json: Json = False,
) -> int:
    """Run notebooks; what was interrupted or failed goes on where it stopped.

    Every cell is a checkpoint. The notebook itself is not changed. Exit codes: 0 completed,
    1 failed, 2 usage, 75 waiting for an answer or a budget, 124 timed out, 130 or 143
    interrupted by a signal, 138 kernel died.

    Args:
        notebooks: Paths or URLs.
        output: Where the executed notebook goes; NAME.out.ipynb beside it by default.
        parameters: Set one parameter: NAME VALUE. May be given many times.
        parameter_files: YAML or JSON file of parameters; -p counts before it. A CSV file, a list of
            mappings, or a mapping with the one key grid is a grid.
        tags: Tag of a new execution. May be given many times.
        stack: Where to run and record; the current stack by default.
        new: Begin anew even where an unfinished execution could be continued.
        timeout: How long one attempt may take, such as 90, 10m or 2h.
        retries: How many more attempts one that failed gets.
        log_output: Log what cells print.
        no_progress: Show no progress bar.
        report_mode: Hide the code in the output.
        dry_run: Only say what would be restored and what would run.
        budget: What each execution may cost in US dollars, earlier attempts included.
        trust: Put back what anybody signed, this once. It can run code of whoever recorded it.
        on_wait: At a wait without an answer: suspend; hold=T, such as hold=10m, holds the kernel
            that long first; fail makes it an error. What the notebook says by default.
        suspend_exit: Exit code where it waits; 75 by default.
        detach: Only submit them to the stack; `kitaru-nb logs -f` shows how they go.
        reuse: Restore marked cells also from other executions in which they touched the network, a
            database or another program.
        on_change: Where a cell was edited since it completed: rerun runs it and what depends on it;
            keep keeps what is on record; fail runs nothing and names the cells.
        grid: A run for each of these values of a parameter; of several, for each combination. May be
            given many times.
        jobs: How many points of a grid, or notebooks, run at a time; 1 by default.
        html: Make a page of each output, too, without anything that could run.
        json: Print one JSON document.
    """
    if not notebooks:
        raise UsageError("`run` needs NOTEBOOK", kind="missing-argument", hint="kitaru-nb run NOTEBOOK")
    from kitaru_nb.cli.run import run_notebooks  # noqa: PLC0415 - imports papermill, which --help can do without

    return run_notebooks(
        notebooks,
        output=output,
        parameters=parameters,
        parameter_files=parameter_files,
        tags=tags,
        stack=stack,
        new=new,
        timeout=timeout,
        retries=retries,
        log_output=log_output,
        progress=not no_progress,
        report_mode=report_mode,
        dry_run=dry_run,
        trust=trust,
        budget=budget,
        on_wait=on_wait,
        suspend_exit=suspend_exit,
        detach=detach,
        reuse=reuse,
        on_change=on_change,
        grid=grid,
        workers=jobs,
        html=html,
        json=json,
    )


def resume(
    *executions: str,
    all: bool = False,  # noqa: A002 - the option's name
    tag: Annotated[str | None, Parameter(metavar="TAG")] = None,
    since: Annotated[str | None, Parameter(metavar="TIME")] = None,
    timeout: Annotated[str | None, Parameter(metavar="TIME")] = None,
    retries: Annotated[int, Parameter(metavar="N")] = 0,
    log_output: bool = False,
    no_progress: bool = False,
    dry_run: bool = False,
    budget: Annotated[float | None, Parameter(metavar="USD")] = None,
    suspend_exit: Annotated[int | None, Parameter(metavar="N")] = None,
    json: Json = False,
) -> int:
    """Go on with executions that were interrupted or failed, or that wait.

    Each runs as it was begun: same notebook, output and parameters, or the same flow and inputs.

    Args:
        executions: Ids, starts of ids, or latest; the newest one that can go on by default.
        all: Every headless execution that is interrupted or failed, or waited and has its answer,
            oldest first; one that a budget has stopped only with a larger `budget`.
        tag: With --all, only those with this tag.
        since: With --all, only those begun since then, such as 2h or 2026-03-01.
        timeout: How long one attempt may take, such as 90, 10m or 2h.
        retries: How many more attempts one that failed gets.
        log_output: Log what cells print.
        no_progress: Show no progress bar.
        dry_run: Only say what would be restored and what would run.
        budget: What each may cost in US dollars from now on, earlier attempts included.
        suspend_exit: Exit code where it waits; 75 by default.
        json: Print one JSON document.
    """
    from kitaru_nb.cli.resume import resume_executions  # noqa: PLC0415 - as above

    return resume_executions(
        executions,
        all=all,
        tag=tag,
        since=since,
        retries=retries,
        timeout=timeout,
        log_output=log_output,
        progress=not no_progress,
        dry_run=dry_run,
        budget=budget,
        suspend_exit=suspend_exit,
        json=json,
    )


def replay(
    execution: str = LATEST,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from", metavar="CHECKPOINT")] = None,
    changes: Annotated[
        tuple[str, ...], Parameter(name="--set", metavar="NAME=VALUE", allow_leading_hyphen=True)
    ] = (),
    output: Annotated[str | None, Parameter(name=["--output", "-o"], metavar="OUTPUT")] = None,
    stack: Annotated[str | None, Parameter(metavar="S")] = None,
    tags: Annotated[tuple[str, ...], Parameter(name="--tag", metavar="TAG")] = (),
    budget: Annotated[float | None, Parameter(metavar="USD")] = None,
    files: Annotated[tuple[str, ...], Parameter(name=["--parameters-file", "-f"], metavar="FILE")] = (),
    grid: Annotated[tuple[str, ...], Parameter(name="--grid", metavar="NAME=V1,V2")] = (),
    jobs: Annotated[int, Parameter(name=["--jobs", "-j"], metavar="N")] = 1,
    new: bool = False,
    dry_run: bool = False,
    html: bool = False,
    no_progress: bool = False,
    json: Json = False,
) -> int:
    """Run an execution again from one of its checkpoints on, as a new execution.

    What is before the checkpoint is reused; the checkpoint itself and everything after it run.

    Args:
        execution: An id, the start of one, or latest.
        from_: The checkpoint to begin at; NAME#2 is the second of that name.
        changes: Change an input, or give a checkpoint's value or an answer instead of running or
            asking: NAME=VALUE, the value as JSON, else text. May be given many times. - reads a JSON
            object of them from standard input.
        output: For a notebook, where the executed one goes; NAME.replay-ID.ipynb beside it by default.
        stack: Where the execution is recorded, and the replay will be; the current stack by default.
        tags: Tag of the new execution. May be given many times.
        budget: What the new execution may cost in US dollars.
        files: YAML or JSON file of what --set could change; --set counts before it. A CSV file, a list
            of mappings, or a mapping with the one key grid is a grid.
        grid: A replay for each of these values of what --set could change; of several, for each
            combination. May be given many times.
        jobs: How many of them run at a time; 1 by default.
        new: With a grid, replay every point anew, even where some are unfinished.
        dry_run: Only say what would be reused and what would run.
        html: Make a page of each output, too, without anything that could run.
        no_progress: Show no progress bar.
        json: Print one JSON document.
    """
    if from_ is None:
        raise UsageError(
            "`replay` needs the checkpoint to begin at",
            kind="missing-argument",
            hint=f"kitaru-nb replay {execution} --from CHECKPOINT, as kitaru-nb show {execution} lists them",
        )
    from kitaru_nb.cli.replay import replay_execution  # noqa: PLC0415 - as above

    return replay_execution(
        execution,
        from_,
        changes,
        output=output,
        stack=stack,
        tags=tags,
        budget=budget,
        files=files,
        grid=grid,
        workers=jobs,
        new=new,
        dry_run=dry_run,
        html=html,
        progress=not no_progress,
        json=json,
    )
