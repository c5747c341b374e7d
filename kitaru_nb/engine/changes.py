"""What a replay is asked to change, as people write it: inputs, values of checkpoints, answers.

A name can be an input, a checkpoint or a wait. Where it could be two of them it is written with
its kind: ``input.N``, ``checkpoint.N``, ``wait.N``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.engine.refs import checkpoint_names, find_step, named_steps, steps
from kitaru_nb.engine.replay import Kind, Override, place_of_wait
from kitaru_nb.errors import UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.execution import Execution
from kitaru_nb.model.schema import misfit, wanted
from kitaru_nb.model.wait import Wait

__all__ = ["Changes", "Known", "changes_of", "known_names", "named_step", "refuse_unheld", "value_typed"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What can be changed in a replay of one execution.

    Attributes:
        inputs: Names of its inputs; None where any name can be bound.
        steps: Its steps, by what is typed for them: ``NAME`` and ``NAME#n``.
        waits: Its waits, in order.
    """

    inputs: Collection[str] | None
    steps: Mapping[str, Checkpoint] = field(default_factory=dict)
    waits: Sequence[Wait] = ()

    def waits_named(self, name: str) -> list[Wait]:
        """Those of its waits that a name stands for: all of ``NAME``, one ``NAME#n``."""
        bare, hash_, number = name.partition("#")
        return [
            each for each in self.waits if each.name == bare and (not hash_ or str(each.number) == number)
        ]

    def kinds_of(self, name: str, value: object) -> list[Kind]:
        """What a name can stand for here."""
        found = []
        if name in self.inputs if self.inputs is not None else name.isidentifier():
            found.append(Kind.INPUT)
        if name in self.steps and self._fits(self.steps[name], value):
            found.append(Kind.CHECKPOINT)
        if self.waits_named(name):
            found.append(Kind.WAIT)
        return found

    def _fits(self, step: Checkpoint, value: object) -> bool:
        """Of a cell the value says what names it writes; any other value is one for a variable."""
        if step.draft.kind is not StepKind.CELL or self.inputs is not None:
            return True
        return isinstance(value, Mapping) and bool(value) and value.keys() <= set(step.draft.writes)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replay changes.

    Attributes:
        inputs: By name.
        overrides: What is given in place of what, with the value.
    """

    inputs: Mapping[str, object] = field(default_factory=dict)
    overrides: Sequence[tuple[Override, object]] = ()


def named_step(journal: Journal, execution: Execution, text: str) -> Checkpoint:
    """The step that a replay begins at: a cell, a recorded call, or something done ``once``.

    Raises:
        NotFoundError: kind ``unknown-checkpoint``.
        UsageError: kind ``not-a-step``: it is a value, which nothing can run again.
    """
    found = steps(journal, execution.id)
    others = [each for each in named_steps(journal, execution.id) if each.draft.kind is StepKind.ONCE]
    names = {*checkpoint_names(found), *checkpoint_names(others)}
    if text not in names and not text.endswith("#1"):
        kept = {each.draft.name for each in named_steps(journal, execution.id)}
        if text.partition("#")[0] in kept - {name.partition("#")[0] for name in names}:
            message = f"`{text}` is a value that was saved, not a step that runs"
            raise UsageError(
                message, kind="not-a-step", hint=f"--from {quote(next(iter(names), 'CHECKPOINT'))}"
            )
    if any(text in (name, f"{name}#1") for name in checkpoint_names(found)) or not others:
        return find_step(journal, execution, text, among=found)
    return find_step(journal, execution, text, among=others if text in names else found)


def known_names(journal: Journal, execution: Execution, *, inputs: Collection[str] | None) -> Known:
    """What can be changed in a replay of `execution`."""
    found = steps(journal, execution.id)
    named = dict(zip(checkpoint_names(found), found, strict=True))
    first = {f"{name}#1": step for name, step in named.items() if "#" not in name}
    return Known(inputs, named | first, journal.waits(execution.id))


def changes_of(
    known: Known,
    *,
    inputs: Mapping[str, object] | None = None,
    overrides: Mapping[str, object] | None = None,
    typed: Mapping[str, object] | None = None,
) -> Changes:
    """What is to be changed, each name taken for what it stands for.

    Args:
        known: What there is.
        inputs: Named as inputs.
        overrides: Checkpoints and waits.
        typed: Any of the three.

    Raises:
        UsageError: kinds ``unknown-name``, ``ambiguous-name``, ``bad-override``.
    """
    given: dict[str, object] = {}
    replaced: list[tuple[Override, object]] = []
    for name, value in (inputs or {}).items():
        _refuse_unknown(known, Kind.INPUT, name, value)
        given[name] = value
    some = [Kind.CHECKPOINT, Kind.WAIT]
    rest = [(name, value, some) for name, value in (overrides or {}).items()]
    for name, value, kinds in [*rest, *((name, value, list(Kind)) for name, value in (typed or {}).items())]:
        kind, bare = _kind_of(known, name, value, kinds)
        if kind is Kind.INPUT:
            given[bare] = value
        else:
            replaced.append((_override(known, kind, bare, value), value))
    return Changes(given, replaced)


def value_typed(text: str) -> Any:
    """The value that was typed: what it is as JSON, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def refuse_unheld(known: Known, names: Iterable[str], held: Collection[str], *, step: str) -> None:
    """Refuse to bind a name that nothing in a notebook has: it is a typing error.

    Args:
        known: What else could have been meant.
        names: What is to be bound before `step`.
        held: The names that hold something there, or that a cell uses.
        step: Where the replay begins, as typed.

    Raises:
        UsageError: kind ``unknown-name``.
    """
    for name in names:
        if name in held:
            continue
        close = difflib.get_close_matches(name, [*held, *known.steps], n=1)
        message = f"`{name}` holds nothing before `{step}`, and no cell uses it"
        hint = f"--set {close[0]}=..." if close else "kitaru-nb show EXECUTION, for what its cells write"
        raise UsageError(message, kind="unknown-name", hint=hint)


def _kind_of(known: Known, name: str, value: object, allowed: Collection[Kind]) -> tuple[Kind, str]:
    prefix, dot, bare = name.partition(".")
    if dot and prefix in tuple(Kind) and name not in known.steps:
        kind = Kind(prefix)
        if kind not in allowed:
            message = f"`{name}` is an input, and overrides are values of checkpoints and answers"
            raise UsageError(message, kind="bad-override", hint=f"inputs={{{bare!r}: ...}}")
        _refuse_unknown(known, kind, bare, value)
        return kind, bare
    kinds = [kind for kind in known.kinds_of(name, value) if kind in allowed]
    if len(kinds) == 1:
        return kinds[0], name
    if kinds:
        told = " and ".join(_A[kind] for kind in kinds)
        message = f"`{name}` is the name of {told}"
        raise UsageError(
            message, kind="ambiguous-name", hint=" or ".join(f"{kind.value}.{name}" for kind in kinds)
        )
    raise _unknown(known, name, allowed)


_A = {Kind.INPUT: "an input", Kind.CHECKPOINT: "a checkpoint", Kind.WAIT: "a wait"}


def _refuse_unknown(known: Known, kind: Kind, name: str, value: object) -> None:
    """Checkpoints that have not been called, and waits that were not asked, can be given ahead of time."""
    if kind is Kind.INPUT and kind not in known.kinds_of(name, value):
        raise _unknown(known, name, (Kind.INPUT,))
    if not name:
        raise UsageError(f"`{kind.value}.` names nothing", kind="unknown-name", hint=f"{kind.value}.NAME")


def _unknown(known: Known, name: str, kinds: Iterable[Kind]) -> UsageError:
    names = {
        Kind.INPUT: sorted(known.inputs or ()),
        Kind.CHECKPOINT: [each for each in known.steps if not each.endswith("#1")],
        Kind.WAIT: [each.label for each in known.waits],
    }
    listed = [each for kind in kinds for each in names[kind]]
    close = difflib.get_close_matches(name, listed, n=1)
    shown = ", ".join(f"`{each}`" for each in listed[:_SHOWN]) or "none"
    what = " or ".join(kind.value for kind in kinds)
    return UsageError(
        f"`{name}` is no {what} of this execution; it has {shown}",
        kind="unknown-name",
        hint=close[0] if close else f"checkpoint.{name} for a checkpoint that was not called yet",
    )


def _override(known: Known, kind: Kind, name: str, value: object) -> Override:
    if kind is Kind.WAIT:
        return _answer(known, name, value)
    step = known.steps.get(name)
    if step is None:
        if "#" in name:
            raise _unknown(known, name, (Kind.CHECKPOINT,))
        return Override(kind, name)
    if step.draft.kind is StepKind.CELL:
        _refuse_misfit(step, name, value)
        return Override(kind, name, step=step.draft.step or f"name:{step.draft.name}")
    return Override(kind, name, place=_place_of(step)) if "#" in name else Override(kind, name)


def _answer(known: Known, name: str, value: object) -> Override:
    asked = known.waits_named(name)
    try:
        told = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        told = None
    if told != value:
        message = f"the answer for `{name}` is {kind_name(value)}, and answers are JSON values"
        raise UsageError(
            message, kind="invalid-answer", hint=f"wait.{name} with text, a number, true, a list ..."
        )
    for wait in asked:
        problem = misfit(told, wait.schema or {})
        if problem is not None:
            message = (
                f"`{json.dumps(told)}` is no answer to `{wait.label}`, which wants {wanted(wait.schema)}"
            )
            raise UsageError(
                f"{message}: {problem}", kind="invalid-answer", hint=f"wait.{name} with another value"
            )
    scopes = tuple(dict.fromkeys(each.scope for each in asked))
    if "#" not in name:
        return Override(Kind.WAIT, name, scopes=scopes)
    if not asked:
        raise _unknown(known, name, (Kind.WAIT,))
    wait = asked[0]
    before = [each for each in known.waits if (each.scope, each.name) == (wait.scope, wait.name)]
    place = place_of_wait(wait.scope, wait.name, before.index(wait))
    return Override(Kind.WAIT, wait.name, place=place, scopes=scopes)


def _place_of(step: Checkpoint) -> str:
    place: Any = step.draft.data.get("place")
    if not place:
        message = f"where `{step.draft.name}` was called is not on record, since an early version made that"
        raise UsageError(message, kind="bad-override", hint=step.draft.name)
    return str(place)


def _refuse_misfit(step: Checkpoint, name: str, value: object) -> None:
    writes = set(step.draft.writes)
    if isinstance(value, Mapping) and value and value.keys() <= writes:
        return
    listed = ", ".join(f"`{each}`" for each in sorted(writes)[:_SHOWN]) or "no names"
    message = f"`{name}` is a cell, which gives {listed}: its override says what some of these hold"
    example = next(iter(sorted(writes)), "NAME")
    raise UsageError(message, kind="bad-override", hint=f'{{"{name}": {{"{example}": ...}}}}')
