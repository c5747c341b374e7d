"""Replays of flows: a new execution from a step of another one on, with changed inputs."""

from __future__ import annotations

import inspect
import reprlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.arguments import Told
from kitaru_nb.engine.changes import Changes, changes_of, known_names, named_step
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow import Flow, Turn, told_inputs
from kitaru_nb.engine.replay import Replay, begin, frontier_of, inheriting, lent, refuse_removed
from kitaru_nb.engine.scope import served_of
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, Group
from kitaru_nb.model.execution import Execution, Identity
from kitaru_nb.model.served import Served
from kitaru_nb.stacks.flow_runs import beginning_of, begun_with, function_of
from kitaru_nb.stacks.flows import Here, here

__all__ = ["FlowReplay", "ReadyFlow", "given_by", "new_mark", "ready_flow", "replay_flow", "told"]


@dataclass(frozen=True, slots=True)
class FlowReplay:
    """A replay of a flow that has begun.

    Attributes:
        turn: Its first attempt, which has not begun to run.
        plan: What was asked for.
        reused: How many results it may be given, and what they cost.
    """

    turn: Turn
    plan: Replay
    reused: Served


@dataclass(frozen=True, slots=True)
class ReadyFlow:
    """A replay of a flow that could be begun: all that is known of it beforehand.

    Attributes:
        plan: What was asked for.
        function: The flow's function.
        name: What its result is called.
        call: The arguments that it would be called with, by place and by name.
        identity: Whose run it would be.
        given: The values of overrides, as they are stored.
        kept: Groups that it inherits of the replay that it replays.
        reused: Results that it may be given.
        argv: The arguments that its script is to see; None for those of this process.
    """

    plan: Replay
    function: FunctionType
    name: str
    call: tuple[tuple[Any, ...], dict[str, Any]]
    identity: Identity
    given: Mapping[str, Mapping[str, object]]
    kept: Sequence[Group]
    reused: list[Checkpoint]
    argv: Told | None = None


def replay_flow(
    engine: Engine,
    original: Execution,
    from_: str,
    *,
    inputs: Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | None = None,
    typed: Mapping[str, object] | None = None,
    tags: Sequence[str] = (),
    place: Here = here,
) -> FlowReplay:
    """Begin the replay of a flow; `typed` are changes of which only the name says what they are.

    Raises:
        KitaruError: it cannot be begun, and why. Nothing was.
    """
    found = ready_flow(engine, original, from_, inputs=inputs, overrides=overrides, typed=typed)
    attempt, plan = begin(
        engine,
        found.identity,
        found.plan,
        given=found.given,
        namespace=found.function.__globals__,
        kept=found.kept,
        tags=tags,
    )
    args, kwargs = found.call
    turn = Flow(found.function, found.name, place).turn(
        args, kwargs, attempt=attempt, engine=engine, argv=found.argv
    )
    return FlowReplay(turn, plan, served_of(_outermost(found.reused)))


def ready_flow(
    engine: Engine,
    original: Execution,
    from_: str,
    *,
    inputs: Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | None = None,
    typed: Mapping[str, object] | None = None,
) -> ReadyFlow:
    """All that is known of a replay before it begins; nothing is put on record.

    Raises:
        KitaruError: it cannot be begun, and why.
    """
    step = named_step(engine.journal, original, from_)
    began = beginning_of(engine, original)
    refuse_removed(engine.journal, [began])
    function, name, argv = function_of(engine, original, began)
    args, kwargs = begun_with(engine, began)
    names = {*inspect.signature(function).parameters, *kwargs}
    known = known_names(engine.journal, original, inputs=names)
    changes = changes_of(known, inputs=inputs, overrides=overrides, typed=typed)
    args, kwargs, bound = _rebound(function, args, kwargs, changes.inputs)
    recorded = engine.journal.steps_within(original.id)
    plan = Replay(
        original.id,
        from_,
        frontier_of(step, recorded),
        inputs=told(changes.inputs),
        overrides=tuple(override for override, _ in changes.overrides),
    )
    plan, kept = inheriting(engine.journal, plan)
    reused = lent(plan, recorded)
    refuse_removed(engine.journal, reused)
    parameters = told_inputs(bound, function.__globals__)
    identity = replace(original.identity, parameters=parameters, within=None, replay=new_mark())
    given = given_by(changes)
    return ReadyFlow(plan, function, name, (args, kwargs), identity, given, kept, reused, argv)


def new_mark() -> str:
    """What tells one replay from all other runs."""
    return secrets.token_hex(8)


def given_by(changes: Changes) -> dict[str, dict[str, object]]:
    """The values of overrides, as they are stored."""
    return {override.key: {override.key: value} for override, value in changes.overrides}


def told(inputs: Mapping[str, object]) -> dict[str, str]:
    """Changed inputs as a person is told of them."""
    return {name: VAULT.mask(reprlib.repr(value)) for name, value in inputs.items()}


def _rebound(
    function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: Mapping[str, object]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, object]]:
    """The arguments of the original with some of them changed; and by name, defaults included.

    Raises:
        UsageError: kind ``changed-signature``: the flow does not take what it was called with.
    """
    signature = inspect.signature(function)
    try:
        bound = signature.bind_partial(*args, **kwargs)
        own = signature.parameters.keys()
        bound.arguments.update({name: value for name, value in inputs.items() if name in own})
        for rest in (each.name for each in signature.parameters.values() if each.kind is each.VAR_KEYWORD):
            more = {name: value for name, value in inputs.items() if name not in own}
            bound.arguments[rest] = {**bound.arguments.get(rest, {}), **more}
        checked = signature.bind(*bound.args, **bound.kwargs)
    except TypeError as error:
        message = f"`{function.__name__}` does not take what it was called with: {error}"
        hint = "inputs={...} for what it needs now, or its parameters as they were"
        raise UsageError(message, kind="changed-signature", hint=hint) from error
    checked.apply_defaults()
    return bound.args, bound.kwargs, dict(checked.arguments)


def _outermost(steps: list[Checkpoint]) -> list[Checkpoint]:
    """Those of the results that are not inside another one of them, so that nothing counts twice."""
    paths = {str(each.draft.data.get("path")) for each in steps if each.draft.data.get("path")}
    return [
        each
        for each in steps
        if not any(each.draft.scope.startswith(f"{path}/") or each.draft.scope == path for path in paths)
    ]
