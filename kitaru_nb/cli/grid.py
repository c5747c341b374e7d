"""Grids as they are typed: a run or a replay for each point, several at a time, and a table of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kitaru_nb.cli.elsewhere import detachable
from kitaru_nb.cli.grid_told import (
    alone_told,
    document_of,
    print_lines,
    print_rows,
    say,
    say_refused,
    submitted_told,
)
from kitaru_nb.cli.left_grid import hand_over, leave_alone, refuses_all
from kitaru_nb.cli.output import (
    clean,
    print_error,
    print_json,
    print_problem,
    tidy_path,
)
from kitaru_nb.cli.plan import foreseen_json, print_foreseen
from kitaru_nb.cli.run import plan_json_of, print_plan_of
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import NotFoundError, StoreError, UsageError
from kitaru_nb.model.execution import Execution, ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.batch import Pool
from kitaru_nb.stacks.batch_protocol import Replayed
from kitaru_nb.stacks.collecting import collect
from kitaru_nb.stacks.grid import (
    Factor,
    Point,
    digest_of,
    filled_template,
    fitting_names,
    label_of,
    points_of,
    refuse_paths,
    refuse_shared,
)
from kitaru_nb.stacks.grid_hold import GridHold
from kitaru_nb.stacks.grid_page import Page, page_beside
from kitaru_nb.stacks.grid_rows import Row, exit_of, status_of
from kitaru_nb.stacks.grid_run import GridRun, Planned, settled
from kitaru_nb.stacks.html_page import page_path, write_html
from kitaru_nb.stacks.launcher import Launcher
from kitaru_nb.stacks.local import Job, check, formatted, job_of, literal
from kitaru_nb.stacks.masking import masked_parameters
from kitaru_nb.stacks.notebooks import check_output, is_remote, json_parameters, local_path
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import exit_code_of
from kitaru_nb.stacks.planning import plan
from kitaru_nb.stacks.replay_plan import foresee_replay
from kitaru_nb.stacks.rounds import (
    Begin,
    GoOn,
    Keep,
    Round,
    decide,
    find_round,
    joined,
    note_told,
    was_told,
)
from kitaru_nb.stacks.submissions import was_submitted
from kitaru_nb.stacks.whereabouts import is_elsewhere

__all__ = ["Wish", "make_folder", "outputs_of", "run_grid", "run_planned", "say_planned", "stem_of"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How a grid is to be run.

    Attributes:
        workers: How many points at a time.
        retries: How many more attempts a point gets that failed, timed out or died.
        suspend_exit: The exit code where a point waits, instead of 75.
        html: Make a page of each output, too.
        json: Print one JSON document.
        progress: Say when a point begins and ends.
        dry_run: Only say what would be done.
        heard: Whether somebody reads what is printed.
        alone: Let it go on without this process: what `cli.run.run_notebooks` is called with there.
    """

    workers: int = 1
    retries: int = 0
    suspend_exit: int | None = None
    html: bool = False
    json: bool = False
    progress: bool = True
    dry_run: bool = False
    heard: bool = True
    alone: Mapping[str, Any] | None = None


def run_grid(
    notebooks: Sequence[str],
    factors: Sequence[Factor],
    *,
    output: str | None,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
    wish: Wish,
    settings: Settings,
) -> int:
    """Run notebooks for each point of a grid; the exit code, which is that of the first not completed.

    The same command again goes on with the points that did not complete. Once all have, it begins anew.

    Args:
        notebooks: Paths or URLs.
        factors: What varies; nothing where there are only several notebooks.
        output: Where outputs go: a folder, or a name with placeholders.
        parameters: What is the same for all points.
        common: What each job is told besides, as `stacks.local.job_of` takes it.
        wish: How it is to be run.
        settings: Where it is recorded.

    Raises:
        KitaruError: nothing was run, and why.
    """
    sources = [each if is_remote(each) else os.path.abspath(each) for each in notebooks]
    points = points_of(factors, sources)
    jobs = _jobs(points, output, parameters, common, make=not wish.dry_run)
    _check(points, jobs)
    told = {
        "parameters": masked_parameters(json_parameters(parameters)),
        "output": None if output is None else local_path(output),
        "stack": settings.stack,
    }
    digest = digest_of(points, told)
    identities = {
        point.number: Identity(
            notebook=local_path(job.notebook),
            output=formatted(job.output, {}),
            parameters=masked_parameters(json_parameters(job.parameters)),
            stack=settings.stack,
        )
        for point, job in zip(points, jobs, strict=True)
    }
    title = ", ".join(dict.fromkeys(os.path.basename(source) for source in sources))  # noqa: PTH119 - may be URLs

    def find(engine: Engine, waited: bool) -> Round:  # noqa: FBT001 - `settled` calls it by position
        recorded = {e.id: e for source in set(sources) for e in engine.journal.executions(notebook=source)}
        newest_first = [recorded[each] for each in sorted(recorded, reverse=True)]

        def others(found: Round) -> dict[int, Execution]:
            known = {
                number: joined(engine.journal, found, identity, number)
                for number, identity in identities.items()
                if number not in found.executions
            }
            return {number: each for number, each in known.items() if each is not None}

        return find_round(
            newest_first,
            digest,
            count=len(points),
            new=bool(common.get("new")),
            others=others,
            told=lambda found: not waited and was_told(engine.journal, found),
        )

    def planned(round_: Round) -> list[Planned]:
        return [_planned(point, job, round_) for point, job in zip(points, jobs, strict=True)]

    if wish.dry_run:
        return say_planned(find, planned, settings, json=wish.json)
    return run_planned(find, planned, digest=digest, title=title, wish=wish, settings=settings)


def run_planned(
    find: Callable[[Engine, bool], Round],
    planned: Callable[[Round], Sequence[Planned]],
    *,
    digest: str,
    title: str,
    wish: Wish,
    settings: Settings,
) -> int:
    """Run what is left of a round to its end, and say how all of it stands; the exit code."""
    with closing(open_engine(settings)) as engine, GridHold(settings.home, digest) as hold:
        launcher = None if wish.alone is None else detachable(settings)
        round_ = settled(
            partial(find, engine),
            hold=hold,
            begins=lambda found: any(each.work and not each.runs_by_itself for each in planned(found)),
            followed=lambda execution: was_submitted(engine.journal, execution),
            say=lambda line: print(f"kitaru: {line}", file=sys.stderr),
        )
        plans = planned(round_)
        page = page_beside([each.output for each in plans], title=title, tag=round_.tag)
        run = GridRun(engine, round_, plans, retries=wish.retries, page=page)
        if launcher is not None and any(each.work is not None for each in plans):
            return _detach(engine, round_, plans, run=run, page=page, launcher=launcher, hold=hold, wish=wish)
        _fetch(engine, run.list())
        if wish.html:
            _catch_up(run.list())
        with Pool(settings, size=wish.workers, html=wish.html) as pool:
            for event, row in run.run(pool):
                say(event, row, run.list(), talks=wish.progress and not wish.json)
            stopped = pool.stopped
        rows = run.list()
        if wish.json:
            print_json([document_of(row) for row in rows])
        else:
            print_rows(rows)
            if page.path is not None and not page.problem:
                print(f"page: {tidy_path(str(page.path))}")
        sys.stdout.flush()
        print_problem(page.problem)
        print_lines(rows, round_.tag)
        first = rows[0].execution
        if wish.heard and first is not None and all(status_of(r) == ExecutionStatus.COMPLETED for r in rows):
            note_told(engine.journal, round_.tag, first.id)
    codes = [exit_of(row, suspend_exit=wish.suspend_exit, stopped=stopped) for row in rows]
    return next(filter(None, codes), 0) if stopped is None else 128 + stopped


def _detach(
    engine: Engine,
    round_: Round,
    plans: Sequence[Planned],
    *,
    run: GridRun,
    page: Page,
    launcher: Launcher,
    hold: GridHold,
    wish: Wish,
) -> int:
    """Have what is left go on without this process; the exit code."""
    assert wish.alone is not None
    settings, left = engine.settings, sum(each.work is not None for each in plans)
    queues = launcher.capabilities.queues
    if queues:
        run.rows = hand_over(engine, round_, plans, run.rows, launcher, retries=wish.retries, html=wish.html)
    elif is_elsewhere(settings):
        # the rest is handed over, and all are followed, by the process that is left alone with them
        run.rows = hand_over(engine, round_, plans, run.rows, launcher, most=wish.workers, followed=True)
    refused = any(row.error is not None and refuses_all(row.error) for row in run.list())
    if queues or refused:
        page.write(run.list())
        told = submitted_told(run.list(), settings.stack)
    else:
        hold.give_up()
        process, log = leave_alone(settings, wish.alone, tag=round_.tag)
        told = alone_told(left, wish.workers, process, log)
    rows = run.list()
    if wish.json:
        print_json([document_of(row, hint=f"kitaru-nb executions --tag {round_.tag}") for row in rows])
    else:
        see = f"how they stand: kitaru-nb executions --tag {round_.tag}"
        print(
            *told, see, *([f"page: {tidy_path(str(page.path))}"] if page.path else []), sep="\n", flush=True
        )
    say_refused(rows)
    print_lines(rows, round_.tag)
    return next((int(exit_code_of(row.error)) for row in rows if row.error is not None), 0)


def _fetch(engine: Engine, rows: Sequence[Row]) -> None:
    """Fetch the outputs of points that completed elsewhere while no command waited for them."""
    for row in rows:
        if row.kept and row.execution is not None:
            try:
                collect(engine, row.execution)
            except StoreError as error:
                print_error(error, as_json=False)


def outputs_of(
    points: Sequence[Point],
    output: str | None,
    *,
    stem: Callable[[Point], str],
    parameters: Mapping[str, Any],
) -> list[str]:
    """Where the output of each point goes: absolute paths or URLs, with nothing left to fill in.

    Raises:
        UsageError: kinds ``shared-output``, ``bad-output-name``, ``no-output``.
    """
    if output is None or _is_folder(output):
        folders = [output or _folder_of(point) for point in points]
        names = fitting_names(points, [stem(point) for point in points])
        found = [os.path.join(folder, name) for folder, name in zip(folders, names, strict=True)]  # noqa: PTH118 - a folder may be a URL
    else:
        found = []
        for point in points:
            refuse_paths(output, point)
            template = filled_template(output, point, stem=stem(point))
            found.append(formatted(template, {**parameters, **point.values}))
    found = [each if is_remote(each) else os.path.abspath(each) for each in found]
    refuse_shared(points, found)
    return found


def _jobs(
    points: Sequence[Point],
    output: str | None,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
    *,
    make: bool,
) -> list[Job]:
    outputs = outputs_of(points, output, stem=stem_of, parameters=parameters)
    if make:
        make_folder(output)
    options = {**common, "progress": False}
    return [
        job_of(point.notebook, literal(target), parameters={**parameters, **point.values}, **options)
        for point, target in zip(points, outputs, strict=True)
    ]


def _check(points: Sequence[Point], jobs: Sequence[Job]) -> None:
    """Refuse what cannot be run before anything is; each notebook is read once."""
    checked: set[str] = set()
    for point, job in zip(points, jobs, strict=True):
        if point.notebook not in checked:
            check(job)
            checked.add(point.notebook)
        check_output(job.notebook, formatted(job.output, {}))


def _planned(point: Point, job: Job, round_: Round) -> Planned:
    execution = round_.executions.get(point.number)
    target = formatted(job.output, {})
    match decide(execution):
        case Keep(execution=done):
            return Planned(point, target, None, done)
        case GoOn(execution=left):
            output = left.identity.output or target
            work = replace(job, execution=left.id, output=literal(output), new=False)
            return Planned(point, output, work, left, joins=round_.tag not in left.tags)
        case Begin():
            work = replace(job, new=True, tags=(*job.tags, *round_.tags_of(point.number)))
            return Planned(point, target, work)


def say_planned(
    find: Callable[[Engine, bool], Round],
    planned: Callable[[Round], Sequence[Planned]],
    settings: Settings,
    *,
    json: bool,
) -> int:
    """Say what would become of each point; the exit code. Nothing is begun."""
    with _reading(settings) as engine:
        round_ = find(engine, False) if engine is not None else find_round((), "", count=1)
        documents = [_would(each, engine, settings, quiet=json) for each in planned(round_)]
    if json:
        print_json(documents)
    return 0


def _would(each: Planned, engine: Engine | None, settings: Settings, *, quiet: bool) -> dict[str, Any]:
    """What would become of a point, as a document; printed, too, unless `quiet`."""
    label, work = clean(label_of(each.point)), each.work
    if isinstance(work, Job):
        found = plan(work, settings=settings)
        if not quiet:
            print(f"{label}:")
            print_plan_of(work, found)
        return plan_json_of(work, found)
    if isinstance(work, Replayed) and engine is not None:
        original = engine.journal.execution(work.of)
        replay = foresee_replay(engine, original, work.from_, typed=work.typed, output=work.output)
        if not quiet:
            print(f"{label}:", end=" ")
            print_foreseen(replay)
        return foreseen_json(replay)
    if not quiet:
        done = "has completed in this grid, and would not be run"
        print(f"{label}: {done if work is None else 'would go on'}")
    return {"execution": each.execution.id if each.execution else None, "cells": []}


@contextmanager
def _reading(settings: Settings) -> Iterator[Engine | None]:
    """The engine, or None where nothing is recorded yet."""
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        yield None
        return
    with closing(engine):
        yield engine


def _catch_up(rows: Sequence[Row]) -> None:
    """Make the pages of points that had completed before pages were asked for."""
    for row in rows:
        missing = row.kept and row.output is not None and not is_remote(row.output)
        if missing and not page_path(Path(str(row.output))).exists():
            print_problem(write_html(str(row.output)))


def make_folder(output: str | None) -> None:
    """Make the folder that ``-o FOLDER/`` names."""
    if output is not None and output.endswith("/") and not is_remote(output):
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder `{output}` could not be made: {error.strerror or error}"
            raise UsageError(
                message, kind="output-not-writable", hint="-o with a folder you may write to"
            ) from error


def _is_folder(output: str) -> bool:
    return output.endswith("/") or (not is_remote(output) and os.path.isdir(output))  # noqa: PTH112 - paths are text here


def _folder_of(point: Point) -> str:
    if is_remote(point.notebook):
        message = f"`{point.notebook}` is not a local file, so it needs an output"
        raise UsageError(message, kind="no-output", hint="-o FOLDER/")
    return os.path.dirname(point.notebook)  # noqa: PTH120 - paths are text here


def stem_of(point: Point) -> str:
    """The name of a point's notebook, as names of outputs begin."""
    return os.path.basename(point.notebook).removesuffix(".ipynb")  # noqa: PTH119 - it may be a URL
