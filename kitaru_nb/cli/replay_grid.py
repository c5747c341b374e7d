"""Grids of replays: an execution replayed once for each point, from the same step on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kitaru_nb.cli.grid import Wish, make_folder, outputs_of, run_planned, say_planned, stem_of
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.replays import replays_of
from kitaru_nb.errors import UsageError
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.batch_protocol import Replayed
from kitaru_nb.stacks.grid import Factor, Point, digest_of, points_of
from kitaru_nb.stacks.grid_run import Planned, work_again
from kitaru_nb.stacks.local import literal
from kitaru_nb.stacks.masking import masked_parameters
from kitaru_nb.stacks.notebooks import check_output, json_parameters, local_path
from kitaru_nb.stacks.rounds import Begin, GoOn, Keep, Round, decide, find_round, was_told

__all__ = ["replay_grid"]

_SHORT = slice(3, 13)  # of an id: enough of it to be typed


def replay_grid(
    original: Execution,
    from_: str,
    factors: Sequence[Factor],
    *,
    changes: Mapping[str, Any],
    output: str | None,
    tags: Sequence[str],
    budget: float | None,
    new: bool,
    wish: Wish,
    settings: Settings,
) -> int:
    """Replay an execution once for each point of a grid; the exit code, as `run_grid` gives it.

    Args:
        original: What is replayed.
        from_: The step to begin at.
        factors: What varies.
        changes: What is changed in all of them.
        output: For a notebook, where the executed ones go: a folder, or a name with placeholders.
        tags: Of the new executions.
        budget: What each may cost in US dollars.
        new: Begin all anew, even where some are unfinished.
        wish: How they are to be run.
        settings: Where all are recorded.

    Raises:
        KitaruError: nothing was run, and why.
    """
    points = points_of(factors)
    outputs = _replay_outputs(original, points, output, make=not wish.dry_run)
    told = {
        "of": original.id,
        "from": from_,
        "changes": masked_parameters(json_parameters(changes)),
        "output": None if output is None else local_path(output),
    }
    digest = digest_of(points, told)

    def find(engine: Engine, waited: bool) -> Round:  # noqa: FBT001 - `settled` calls it by position
        replays = [by for by, _ in replays_of(engine.journal, original.id)]
        recorded = [engine.journal.execution(each) for each in sorted(replays, reverse=True)]
        return find_round(
            recorded,
            digest,
            count=len(points),
            new=new,
            told=lambda found: not waited and was_told(engine.journal, found),
        )

    def planned(round_: Round) -> list[Planned]:
        return [
            _replay_planned(
                point,
                target,
                round_,
                Replayed(
                    original.id,
                    from_,
                    {**changes, **point.values},
                    output=None if target is None else literal(target),
                    tags=(*tags, *round_.tags_of(point.number)),
                    budget=budget,
                ),
            )
            for point, target in zip(points, outputs, strict=True)
        ]

    what = original.identity.flow or os.path.basename(original.identity.notebook or "")  # noqa: PTH119 - it may be a URL
    title = f"{what} from {from_}"
    if wish.dry_run:
        return say_planned(find, planned, settings, json=wish.json)
    return run_planned(find, planned, digest=digest, title=title, wish=wish, settings=settings)


def _replay_outputs(
    original: Execution, points: Sequence[Point], output: str | None, *, make: bool
) -> Sequence[str | None]:
    if original.identity.flow is not None:
        if output is not None:
            message = f"`{original.id}` is a run of a flow, which writes no notebook"
            raise UsageError(message, kind="bad-option", hint="leave -o out")
        return [None] * len(points)
    notebook = original.identity.notebook or ""
    located = [replace(point, notebook=notebook) for point in points]
    short = original.id[_SHORT]
    outputs = outputs_of(
        located, output, stem=lambda point: f"{stem_of(point)}.replay-{short}", parameters={}
    )
    if make:
        make_folder(output)
    for target in outputs:
        check_output(notebook, target)
    return outputs


def _replay_planned(point: Point, target: str | None, round_: Round, work: Replayed) -> Planned:
    execution = round_.executions.get(point.number)
    match decide(execution):
        case Keep(execution=done):
            return Planned(point, target, None, done)
        case GoOn(execution=left):
            output = left.identity.output or target
            return Planned(point, output, work_again(left, budget=work.budget), left)
        case Begin():
            return Planned(point, target, work)
