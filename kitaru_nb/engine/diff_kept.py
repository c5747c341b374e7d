"""What an execution keeps beside its steps: saved and logged values, effects, events, its result.

Of two executions those belong together that were kept in the same place. What a step holds that was
called with other inputs is in another place: there the n-th of a name in a step of that name counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kitaru_nb.engine.describe import is_saved
from kitaru_nb.model.checkpoint import Checkpoint, StepKind

__all__ = ["Kept", "kept_in", "paired"]

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """All that was kept in one place under one name.

    Attributes:
        kind: ``saved``, ``logged``, ``once``, ``stream``, or ``result``.
        name: Of the value, effect, stream, or flow.
        scope: Where it was kept.
        records: Of values and results, in order.
        values: What was logged or streamed, in order.
        seq: Where on record it begins.
    """

    kind: str
    name: str
    scope: str
    records: tuple[Checkpoint, ...] = ()
    values: tuple[Any, ...] = ()
    seq: int = 0

    @property
    def place(self) -> str:
        """The names of the calls that it was kept in, without what they were called with."""
        return _CALLED_WITH.sub("", self.scope)

    @property
    def inside(self) -> str:
        """The call that it was kept in; empty for the flow or cell itself."""
        return self.place.rpartition("/")[2] if "/" in self.place else ""


_CALLED_WITH = re.compile(r":[0-9a-f]{16}:\d+(?=/|$)|@\d+")


def kept_in(recorded: Iterable[Checkpoint]) -> list[Kept]:
    """What is kept by the results that an execution has on record; of a cell's runs the newest counts."""
    kept = [each for step in recorded for each in _kept_by(step)]
    newest: dict[str, int] = {}
    for each in kept:
        cell, run = _run_of(each.scope)
        newest[cell] = max(newest.get(cell, 0), run)
    found: dict[_Key, Kept] = {}
    for each in kept:
        cell, run = _run_of(each.scope)
        if run == newest[cell]:
            known = found.get((each.kind, each.name, each.scope))
            if each.kind == "result":
                known = None  # of a flow that was edited and gone on with the newest counts
            found[each.kind, each.name, each.scope] = each if known is None else _joined(known, each)
    return list(found.values())


def _run_of(scope: str) -> tuple[str, int]:
    """The cell or flow that a scope is in, and which run of it: ``cell:a@2/fetch:...`` is the second of a."""
    cell, _, run = scope.partition("/")[0].partition("@")
    return cell, int(run) if run.isdecimal() else 1


def _kept_by(step: Checkpoint) -> list[Kept]:
    draft = step.draft
    if draft.kind is StepKind.VALUE and isinstance(noted := draft.data.get("log"), dict):
        return [Kept("logged", name, draft.scope, (), (value,), step.seq) for name, value in noted.items()]
    if draft.kind is StepKind.VALUE and "stream" in draft.data:
        return [Kept("stream", draft.name, draft.scope, (), (draft.data.get("event"),), step.seq)]
    kind = ""
    if is_saved(step):
        kind = "saved"
    elif draft.kind is StepKind.ONCE and draft.groups:
        kind = "once"
    elif draft.kind is StepKind.RESULT and draft.groups:
        kind = "result"
    return [Kept(kind, draft.name, draft.scope, (step,), (), step.seq)] if kind else []


def _joined(one: Kept, other: Kept) -> Kept:
    records, values = (*one.records, *other.records), (*one.values, *other.values)
    return Kept(one.kind, one.name, one.scope, records, values, one.seq)


def paired(a: Sequence[Kept], b: Sequence[Kept]) -> list[tuple[Kept | None, Kept | None]]:
    """What belongs together, in the order of the first; what only one of them has, with None."""
    found, left_a, left_b = _matched(a, b, lambda each: (each.kind, each.name, each.scope))
    alike, left_a, left_b = _matched(_merged(left_a), _merged(left_b), _alike)
    one_sided = [*((each, None) for each in left_a), *((None, each) for each in left_b)]
    return sorted(
        [*found, *alike, *one_sided],
        key=lambda pair: (pair[0] is None, (pair[0] or pair[1] or _NOTHING).seq),
    )


def _alike(kept: Kept) -> _Key:
    return kept.kind, kept.name, kept.place


def _merged(kept: Iterable[Kept]) -> list[Kept]:
    """Those of one name in alike places, as one."""
    found: dict[_Key, Kept] = {}
    for each in kept:
        known = found.get(_alike(each))
        found[_alike(each)] = each if known is None else _joined(known, each)
    return list(found.values())


_Pairs = list[tuple[Kept | None, Kept | None]]
_NOTHING = Kept("", "", "")


def _matched(
    a: Sequence[Kept], b: Sequence[Kept], key: Callable[[Kept], _Key]
) -> tuple[_Pairs, list[Kept], list[Kept]]:
    others = {key(each): each for each in b}
    found: _Pairs = [(each, others.pop(key(each))) for each in a if key(each) in others]
    both = {key(each) for each, _ in found if each is not None}
    return found, [each for each in a if key(each) not in both], list(others.values())
