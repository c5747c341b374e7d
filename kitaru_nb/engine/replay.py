"""A replay: a new execution that is given another one's results up to a step, and runs from there.

What a replay was asked for is the first thing on its record, so that it goes on as itself after a
crash. What was recorded before the named step began is *lent* to it: a result is served where the
same place asks for the same key, and is on record in the replay from then on. The named step, what
happened inside it and what came after it are not lent, so they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import UTC, datetime
from enum import StrEnum
from shlex import quote
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.prefix import restored_draft
from kitaru_nb.engine.replays import REPLAYED
from kitaru_nb.engine.secrecy import masked_draft
from kitaru_nb.errors import StoreError, UnstorableError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import (
    Checkpoint,
    CheckpointKey,
    CheckpointStatus,
    Draft,
    Group,
    StepKind,
)
from kitaru_nb.model.execution import Attempt, ExecutionId, Identity, Owner, current_owner
from kitaru_nb.model.wait import Question

__all__ = [
    "PLAN",
    "Frontier",
    "Kind",
    "Override",
    "Replay",
    "begin",
    "frontier_of",
    "inheriting",
    "lent",
    "place_of_wait",
    "refuse_removed",
    "replay_in",
    "replay_of",
    "root_of",
    "scopes_of_overrides",
]

PLAN = "replay"
"""Name and scope of the record that says what a replay was asked for."""

INPUTS = "inputs"
_LENT = frozenset({StepKind.CALL, StepKind.MODEL, StepKind.ONCE, StepKind.VALUE, StepKind.MESSAGE})
_SHOWN = 60


class Kind(StrEnum):
    """What a replay can be told to change; as it is typed before a name: ``wait.publish``."""

    INPUT = "input"
    CHECKPOINT = "checkpoint"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Override:
    """Something that a replay is given instead of running or asking it.

    Attributes:
        kind: A checkpoint or a wait.
        name: Its name.
        place: For one call: where it is, see `Scope.place`; for one wait likewise, see
            `place_of_wait`. None for all of that name.
        step: For a cell: which one.
        inherited: The execution that is replayed was given it.
        but: Places where it is not given after all, since a replay was begun from there.
        scopes: Of waits: where they were asked.
    """

    kind: Kind
    name: str
    place: str | None = None
    step: str | None = None
    inherited: bool = False
    but: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What its value is stored under."""
        return f"{self.kind.value}.{self.place or self.step or self.name}"

    def gives(self, name: str, place: str) -> bool:
        """Whether it is what a call of that name in that place, or the cell there, is given."""
        if self.kind is Kind.WAIT or place in self.but:
            return False
        if self.step is not None or self.place is not None:
            return place in (self.step, self.place)
        return name == self.name


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where a replay begins to run.

    Attributes:
        after: How many results the execution had on record when the named step began.
        inside: The scope of what happened in the named step; empty where there was nothing.
        place: Where the named step is, see `Scope.place`.
        cells: For a notebook: the scopes of the cells before it; None for a flow.
    """

    after: int
    inside: str = ""
    place: str = ""
    cells: tuple[str, ...] | None = None

    def may_lend(self, scope: str) -> bool:
        """Whether results in a scope are before the named step, as far as the scope tells."""
        root = root_of(scope)
        return self.cells is None or root in self.cells or root == root_of(self.place)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay was asked for.

    Attributes:
        of: The execution that it replays.
        label: The step as it is typed.
        frontier: What is before it.
        inputs: Inputs that are changed, as a person is told of them.
        overrides: What is given instead of run.
        values: For what was stored with the plan, by name: the artifact.
        more: What only replays of notebooks have, see `engine.replay_cells`.
        carried: Of a notebook: what plain cells had changed before the first cell that runs.
        process: The artifact of process state that goes with it.
    """

    of: ExecutionId
    label: str
    frontier: Frontier
    inputs: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    values: Mapping[str, Digest] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    carried: tuple[Group, ...] = ()
    process: Digest | None = None

    def override(self, name: str, place: str) -> Override | None:
        """What a call of that name in that place is given instead of being made."""
        return next((each for each in self.overrides if each.gives(name, place)), None)

    def answer(self, question: Question) -> Override | None:
        """What is given as the answer to a question."""
        place = place_of_wait(question.scope, question.name, question.place)
        return next(
            (
                each
                for each in self.overrides
                if each.kind is Kind.WAIT
                and (each.name == question.name if each.place is None else each.place == place)
            ),
            None,
        )

    def is_named(self, place: str) -> bool:
        """Whether that is the named step, or inside it: nothing there comes from any other execution."""
        return _is_within(place, self.frontier.place)

    def changes(self) -> list[str]:
        """What it was asked to change, in words."""
        found = [f"{name}={value}" for name, value in self.inputs.items()]
        return found + [
            f"{each.kind.value}.{each.name} given" for each in self.overrides if not each.inherited
        ]

    def told(self) -> str:
        """The replay in words: ``from `publish`, with topic='cats'``."""
        changes = self.changes()
        return f"from `{self.label}`" + (f", with {', '.join(changes)}" if changes else "")


def place_of_wait(scope: str, name: str, number: int) -> str:
    """Where a question is asked: the n-th of its name in a run of its scope."""
    return f"{scope}?{name}#{number}"


# What is lent


def frontier_of(step: Checkpoint, recorded: Sequence[Checkpoint]) -> Frontier:
    """What was on record when a step began, and where what happened in it is counted.

    Args:
        step: A cell, a call, or something done once.
        recorded: The results of its execution.
    """
    draft, data = step.draft, step.draft.data
    if draft.kind is StepKind.CELL:
        before = [each.ordinal for each in recorded if each.seq < step.seq]
        scope = root_of(draft.scope or draft.step or f"name:{draft.name}")
        return Frontier(max(before, default=0), scope, scope)
    inside = f"{draft.scope}/once:{draft.key[:16]}:0" if draft.kind is StepKind.ONCE else data.get("path", "")
    return Frontier(int(data.get("after", step.ordinal - 1)), str(inside), _place(step))


def lent(replay: Replay, recorded: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Those results of the execution that is replayed which may be served in the replay.

    A call around something that is overridden has to run, so that the value comes to those who use it.
    """
    asked = [scope for each in replay.overrides for scope in each.scopes]
    around = {_place(each) for each in recorded if replay.override(each.draft.name, _place(each)) is not None}
    return [
        each
        for each in recorded
        if each.draft.kind in _LENT
        and each.draft.status is not CheckpointStatus.FAILED
        and each.ordinal <= replay.frontier.after
        and each.draft.scope != PLAN
        and replay.frontier.may_lend(each.draft.scope)
        and not (each.draft.kind is StepKind.VALUE and each.draft.name == INPUTS)
        and not _is_within(each.draft.scope, replay.frontier.inside)
        and not any(_is_within(place, _place(each)) for place in around)
        and not any(_is_within(scope, str(each.draft.data.get("path", ""))) for scope in asked)
    ]


def scopes_of_overrides(replay: Replay, recorded: Sequence[Checkpoint]) -> set[str]:
    """Where something is overridden: the scopes in which it was called or asked."""
    called = (each for each in recorded if replay.override(each.draft.name, _place(each)) is not None)
    return {each.draft.scope for each in called}.union(*(each.scopes for each in replay.overrides))


def _place(step: Checkpoint) -> str:
    return str(step.draft.data.get("place", ""))


def root_of(scope: str) -> str:
    """The flow or cell that a scope is in, whichever run of it."""
    return scope.partition("/")[0].partition("@")[0]


def _is_within(path: str, outer: str) -> bool:
    return bool(outer) and (path == outer or path.startswith((f"{outer}/", f"{outer}@")))


def refuse_removed(journal: Journal, steps: Sequence[Checkpoint]) -> None:
    """Raise where values that a replay would be given are gone: running it anew would pay again.

    Raises:
        StoreError: kind ``values-removed``.
    """
    removed = journal.removed(frozenset[Digest]().union(*(each.draft.stored for each in steps)))
    gone = next((each for each in steps if not each.draft.stored.isdisjoint(removed)), None)
    if gone is not None:
        stone = next(iter(removed.values()))
        message = f"the replay needs the values of `{gone.draft.name}`, which were {stone}"
        hint = f"--from {quote(gone.draft.name)}, which runs it again"
        if gone.draft.name == INPUTS:
            hint = "call the flow again; `kitaru-nb pin EXECUTION` keeps values for good"
        raise StoreError(message, kind="values-removed", hint=hint)


def inheriting(journal: Journal, replay: Replay) -> tuple[Replay, list[Group]]:
    """The replay of what is a replay itself keeps what that was given, but for what it asks for anew.

    Returns:
        The whole replay, and the values on record that it keeps.
    """
    before = replay_of(journal, replay.of)
    if before is None:
        return replay, []
    asked = {each.key for each in replay.overrides}
    kept = tuple(
        changed(each, inherited=True, but=(*each.but, replay.frontier.place))
        for each in before.overrides
        if each.key not in asked
    )
    groups = [Group((each.key,), before.values[each.key], Digest("")) for each in kept]
    return changed(replay, overrides=(*replay.overrides, *kept)), groups


# On record


def begin(
    engine: Engine,
    identity: Identity,
    replay: Replay,
    *,
    given: Mapping[str, Mapping[str, object]],
    namespace: dict[str, Any],
    kept: Sequence[Group] = (),
    taken: Sequence[Checkpoint] = (),
    execution: ExecutionId | None = None,
    owner: Owner | None = None,
    tags: Sequence[str] = (),
) -> tuple[Attempt, Replay]:
    """Begin the replay: its execution, its plan and the pointer to it come into being together.

    Args:
        engine: Journal and store.
        identity: Of the new execution.
        replay: What it is asked for.
        given: Values to be stored with the plan: those of each inner mapping together.
        namespace: Where functions among them read their globals.
        kept: Values on record that are part of the plan.
        taken: Results that it has from its beginning, since what made them does not run in it.
        execution: The new execution's id; a fresh one without it.
        owner: The process that will run it; this one without it.
        tags: Of the new execution.

    Raises:
        UnstorableError: kind ``unstorable-input``: a value cannot be stored.
        StoreError: the disk refused; nothing was begun.
    """
    written = Written()
    engine.trust.require(taken)
    stored = [
        *replay.carried,
        *kept,
        *(_stored(engine, values, written, namespace) for values in given.values()),
    ]
    engine.store.flush()
    draft = Draft(
        name=PLAN,
        key=CheckpointKey(blake3(f"{PLAN}\n{identity.replay}".encode()).hexdigest()),
        code=Digest(""),
        source="",
        status=CheckpointStatus.COMPLETED,
        started_at=datetime.now(UTC),
        duration=0.0,
        kind=StepKind.VALUE,
        scope=PLAN,
        groups=tuple(stored),
        process=replay.process,
        data=_data_of(replay),
    )
    journal = engine.journal
    with journal.holding():
        attempt, _ = journal.start(
            identity,
            owner=owner or current_owner(),
            new=True,
            parent=replay.of,
            tags=tags,
            execution=execution,
        )
        signed = engine.trust.signed(masked_draft(draft), attempt.execution, fresh=written.artifacts)
        given_here = {artifact.digest for artifact in written.artifacts}
        plan = journal.commit(
            attempt,
            signed,
            artifacts=written.artifacts,
            locations=written.locations,
            needs=written.needs - given_here,
        )
        for each in taken:
            journal.commit(attempt, engine.trust.signed(restored_draft(each), attempt.execution))
        journal.record_event(replay.of, REPLAYED, {"by": attempt.execution, "from": replay.label})
    engine.trust.committed(plan)
    return attempt, _replay(plan)


def _stored(
    engine: Engine, values: Mapping[str, object], written: Written, namespace: dict[str, Any]
) -> Group:
    stored = engine.put(values, namespace=namespace)
    for name, reason in stored.unstorable.items():
        message = f"the value for `{name}` cannot be stored: {reason}"
        hint = f"give `{name}` plain data, so that the replay can go on after a crash"
        raise UnstorableError(message, kind="unstorable-input", hint=hint)
    return Group(tuple(sorted(values)), written.add(stored), Digest(""))


def _data_of(replay: Replay) -> dict[str, Any]:
    return {
        "of": replay.of,
        "label": replay.label,
        "after": replay.frontier.after,
        "inside": replay.frontier.inside,
        "place": replay.frontier.place,
        "cells": replay.frontier.cells,
        "inputs": {name: VAULT.mask(value) for name, value in replay.inputs.items()},
        "overrides": [
            [each.kind.value, each.name, each.place, each.step, each.inherited, each.but, each.scopes]
            for each in replay.overrides
        ],
        "more": dict(replay.more),
    }


def replay_in(recorded: Sequence[Checkpoint]) -> Replay | None:
    """What an execution replays, by its results; None where it is no replay."""
    plan = next((each for each in recorded if each.draft.scope == PLAN and each.draft.name == PLAN), None)
    return None if plan is None else _replay(plan)


def replay_of(journal: Journal, execution: ExecutionId) -> Replay | None:
    """As `replay_in`, for an execution on record."""
    identity = journal.execution(execution).identity
    return None if identity.replay is None else replay_in(journal.steps_within(execution))


def _replay(plan: Checkpoint) -> Replay:
    data = plan.draft.data
    values = {name: group.artifact for group in plan.draft.groups for name in group.names if group.written}
    return Replay(
        of=ExecutionId(data["of"]),
        label=data["label"],
        frontier=Frontier(data["after"], data["inside"], data["place"], _cells(data["cells"])),
        inputs=data["inputs"],
        overrides=tuple(
            Override(Kind(kind), name, place, step, inherited, tuple(but), tuple(scopes))
            for kind, name, place, step, inherited, but, scopes in data["overrides"]
        ),
        values=values,
        more=data["more"],
        carried=tuple(group for group in plan.draft.groups if not group.written),
        process=plan.draft.process,
    )


def _cells(told: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if told is None else tuple(told)
