"""Two executions side by side: where they part, and what differs in each step."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from kitaru_nb.artifacts.diff import ValueDiff, diff_text, diff_values
from kitaru_nb.artifacts.plain_stream import Opaque
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.diff_kept import Kept, kept_in, paired
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.preview import plain_value
from kitaru_nb.engine.refs import Found, checkpoint_names, find_execution, steps
from kitaru_nb.engine.stored import stored_names
from kitaru_nb.errors import KitaruError, UntrustedError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Group, StepKind
from kitaru_nb.model.execution import Execution

__all__ = ["Difference", "ExecutionDiff", "StepDiff", "diff_executions"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs in a step.

    Attributes:
        what: ``code``, ``input``, ``value``, ``output``, ``model call``, or ``status``.
        name: Which one; empty where there is only one.
        lines: The difference.
        kind: For a value what was compared, see `artifacts.diff.ValueDiff`.
        pictures: For a picture both of them as PNG.
    """

    what: str
    name: str
    lines: tuple[str, ...]
    kind: str = ""
    pictures: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class StepDiff:
    """One step in both executions.

    Attributes:
        name: What the step is called, or what was kept.
        only: ``"a"`` or ``"b"`` where one execution alone has it.
        differences: What differs; empty where nothing does.
        a: The step in the first, None where it is not there; `b` in the second.
        kept: What was kept, where it is no step.
    """

    name: str
    only: str = ""
    differences: tuple[Difference, ...] = ()
    a: Checkpoint | None = None
    b: Checkpoint | None = None
    kept: Kept | None = None

    @property
    def kind(self) -> str:
        """``step``, or how it was kept: ``saved``, ``logged``, ``once``, ``stream`` or ``result``."""
        return "step" if self.kept is None else self.kept.kind

    @property
    def inside(self) -> str:
        """The name of the call that it was kept in, if it was kept in one."""
        return "" if self.kept is None else self.kept.inside

    @property
    def title(self) -> str:
        """What it is called where it stands among others."""
        told = f"{_TITLES[self.kind]} {self.name}" if self.kind in _TITLES else self.name
        return f"{told} in {self.inside}" if self.inside else told

    @property
    def same(self) -> bool:
        """Whether the step is the same in both."""
        return not self.only and not self.differences


_TITLES = {
    "saved": "saved value",
    "logged": "logged",
    "once": "once",
    "stream": "stream",
    "result": "result of",
}


@dataclass(frozen=True, slots=True)
class ExecutionDiff:
    """Two executions side by side.

    Attributes:
        a: The first execution.
        b: The second.
        parameters: Parameters or inputs that differ: name to both.
        steps: Each step of either, in order.
        kept: What either keeps beside its steps: saved and logged values, effects that were done once,
            events of streams, and what a flow returned.
    """

    a: Execution
    b: Execution
    parameters: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    steps: Sequence[StepDiff] = ()
    kept: Sequence[StepDiff] = ()

    @property
    def first(self) -> StepDiff | None:
        """The step at which they part, or what was kept before it began."""
        step = next((each for each in self.steps if not each.same), None)
        kept = next((each for each in self.kept if not each.same), None)
        if step is None or kept is None:
            return step or kept
        if kept.kept is None or kept.only == "b" or step.a is None or kept.kept.seq > step.a.seq:
            return step
        return step if _is_in(kept.kept.scope, _path(step.a)) else kept

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {
            "a": execution_json(self.a),
            "b": execution_json(self.b),
            "parameters": {name: {"a": one, "b": other} for name, (one, other) in self.parameters.items()},
            "first_difference": None if self.first is None else self.first.name,
            "first_difference_kind": None if self.first is None else self.first.kind,
            "steps": [_step_json(step) for step in self.steps],
            "kept": [_kept_json(each) for each in self.kept],
        }


def _kept_json(kept: StepDiff) -> dict[str, Any]:
    """As a step's, without what only a step has."""
    told = _step_json(kept)
    return {"kind": kept.kind, "inside": kept.inside or None, **{key: told[key] for key in _OF_KEPT}}


_OF_KEPT = ("name", "same", "only", "differences")


def _step_json(step: StepDiff) -> dict[str, Any]:
    sides = {
        side: None
        if found is None
        else {
            "status": found.draft.status.value,
            "duration": found.draft.duration,
            "cost": found.draft.cost,
            "tokens": found.draft.tokens,
        }
        for side, found in (("a", step.a), ("b", step.b))
    }
    return {
        "name": step.name,
        "same": step.same,
        "only": step.only or None,
        **sides,
        "differences": [
            {
                "what": each.what,
                "name": each.name or None,
                "kind": each.kind or None,
                "lines": list(each.lines),
            }
            for each in step.differences
        ],
    }


def diff_executions(
    opened: Callable[[], Engine], a: str, b: str, *, elsewhere: str | None = None
) -> ExecutionDiff:
    """Compare two executions step by step; steps of one name are compared in their order.

    Args:
        opened: Opens the engine to read from.
        a: The first: an id, the start of one, or ``latest``.
        b: The second.
        elsewhere: What shows values that `opened` never loads, whoever signed them.

    Raises:
        NotFoundError: there is no such execution.
    """
    with closing(opened()) as engine:
        journal = engine.journal
        one, other = find_execution(journal, a), find_execution(journal, b)
        found_a, found_b = steps(journal, one.id), steps(journal, other.id)
        side_a, side_b = _Side(opened, journal, one, found_a), _Side(opened, journal, other, found_b)
        named_a = dict(zip(checkpoint_names(found_a), found_a, strict=True))
        named_b = dict(zip(checkpoint_names(found_b), found_b, strict=True))
        compared = []
        for name in _merged(list(named_a), list(named_b)):
            step_a, step_b = named_a.get(name), named_b.get(name)
            if step_a is None or step_b is None:
                compared.append(StepDiff(name, "b" if step_a is None else "a", (), step_a, step_b))
            else:
                differences = tuple(_differences(side_a, side_b, step_a, step_b, elsewhere))
                compared.append(StepDiff(name, "", differences, step_a, step_b))
        kept = list(_kept(side_a, side_b, compared, elsewhere))
    return ExecutionDiff(one, other, _parameters(one, other), compared, kept)


def _kept(a: _Side, b: _Side, compared: Sequence[StepDiff], elsewhere: str | None) -> Iterator[StepDiff]:
    """What both keep beside their steps. What is in a step that one took over, only the other has."""
    for one, other in paired(a.kept, b.kept):
        if one is not None and other is not None:
            differences = tuple(_kept_differences(a, b, one, other, elsewhere))
            yield StepDiff(one.name, differences=differences, kept=one)
        elif one is not None and not any(_is_in(one.scope, path) for path in _taken_over(compared, by="b")):
            yield StepDiff(one.name, "a", kept=one)
        elif other is not None and not any(
            _is_in(other.scope, path) for path in _taken_over(compared, by="a")
        ):
            yield StepDiff(other.name, "b", kept=other)


def _taken_over(compared: Sequence[StepDiff], *, by: str) -> Iterator[str]:
    """The scopes of steps that one execution took over from the record; as they are in the other."""
    for step in compared:
        taken, whole = (step.a, step.b) if by == "a" else (step.b, step.a)
        if taken is not None and whole is not None and taken.draft.status is CheckpointStatus.RESTORED:
            own = whole.draft.kind is StepKind.CELL or "path" in whole.draft.data
            yield from [_path(whole)] if own else []


def _kept_differences(
    a: _Side, b: _Side, one: Kept, other: Kept, elsewhere: str | None
) -> Iterator[Difference]:
    if one.values != other.values:
        before, after = ((each[0] if len(each) == 1 else list(each)) for each in (one.values, other.values))
        found = diff_values(before, after)
        yield Difference("value", "", found.lines, found.kind)
    several = max(len(one.records), len(other.records)) > 1
    for number, (first, second) in enumerate(zip_longest(one.records, other.records), start=1):
        name = f"#{number}" if several else ""
        if first is None or second is None:
            which = "second" if first is None else "first"
            yield Difference("value", name, (f"only in the {which}",))
            continue
        (before,), (after,) = first.draft.groups, second.draft.groups
        if before.value != after.value or (not before.value and before.artifact != after.artifact):
            held = (a, first, before, before.names[0]), (b, second, after, after.names[0])
            yield from _value(*held, name, elsewhere)


def _merged(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The names of both, each once, in an order that both agree to as far as they can."""
    found: list[str] = []
    rest = list(other)
    for name in one:
        if name in rest:
            at = rest.index(name)
            found += [each for each in rest[:at] if each not in one]
            rest = rest[at + 1 :]
        found.append(name)
    return list(dict.fromkeys([*found, *(each for each in rest if each not in one)]))


def _parameters(one: Execution, other: Execution) -> dict[str, tuple[Any, Any]]:
    a, b = one.identity.parameters, other.identity.parameters
    return {
        name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)
    }


class _Side:
    """One execution, and its stored values."""

    def __init__(
        self,
        opened: Callable[[], Engine],
        journal: Journal,
        execution: Execution,
        found: Sequence[Checkpoint],
    ) -> None:
        self._opened = opened
        within = journal.steps_within(execution.id)
        self.models = [step for step in within if step.draft.kind is StepKind.MODEL]
        self.kept = kept_in(within)
        self._told: dict[tuple[str, str], str] = {}
        self._sources = {step.draft.code: step.draft.source for step in found if step.draft.source}

    def code_lines(self, other: _Side, step: Checkpoint, others: Checkpoint) -> tuple[str, ...]:
        """How the code of a step differs; the same difference is told once."""
        pair = step.draft.code, others.draft.code
        if pair in self._told:
            return (f"as in `{self._told[pair]}`",)
        self._told[pair] = step.draft.name
        before, after = self.source(step), other.source(others)
        if before == after:
            return ("code that it calls differs, or a value that this reads",)
        return diff_text(before, after)

    def source(self, step: Checkpoint) -> str:
        return step.draft.source or self._sources.get(step.draft.code, "")

    def value(self, step: Checkpoint, group: Group, name: str) -> object:
        names = stored_names(self._opened, step.seq, digest=group.artifact)
        try:
            return names.artifact(group.artifact)[name]
        except UntrustedError:
            found = self._plain(group, name)
            if isinstance(found, Opaque):
                raise
            return found

    def _plain(self, group: Group, name: str) -> object:
        """A value that may not be loaded, where it is nothing but data."""
        with closing(self._opened()) as engine:
            return plain_value(engine, Found(engine.artifact(group.artifact), group.names, name))

    def answers(self, step: Checkpoint) -> list[Checkpoint]:
        """The model calls of one step."""
        path = _path(step)
        return [each for each in self.models if path and _is_in(each.draft.scope, path)]


def _path(step: Checkpoint) -> str:
    """The scope of what happens in a step."""
    return str(step.draft.data.get("path") or step.draft.scope)


def _is_in(scope: str, path: str) -> bool:
    return scope == path or scope.startswith(path + "/")


def _differences(
    a: _Side, b: _Side, one: Checkpoint, other: Checkpoint, elsewhere: str | None
) -> Iterator[Difference]:
    if one.draft.error != other.draft.error:
        said = [_error(step) for step in (one, other)]
        yield Difference("status", "", (f"- {said[0]}", f"+ {said[1]}"))
    if one.draft.code != other.draft.code:
        yield Difference("code", "", a.code_lines(b, one, other))
    yield from _inputs(one, other)
    yield from _model_calls(a, b, one, other)
    yield from _values(a, b, one, other, elsewhere)
    yield from _outputs(one, other)


def _error(step: Checkpoint) -> str:
    error = step.draft.error
    return "no error" if error is None else f"{error.get('ename')}: {error.get('evalue')}"


def _inputs(one: Checkpoint, other: Checkpoint) -> Iterator[Difference]:
    before, after = one.draft.reads, other.draft.reads
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    if names:
        yield Difference("input", ", ".join(names), (f"it reads another {', another '.join(names)}",))


def _values(
    a: _Side, b: _Side, one: Checkpoint, other: Checkpoint, elsewhere: str | None
) -> Iterator[Difference]:
    before = {name: group for group in one.draft.groups if group.written for name in group.names}
    after = {name: group for group in other.draft.groups if group.written for name in group.names}
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield Difference("value", name, (f"- {name}",))
        elif name not in before:
            yield Difference("value", name, (f"+ {name}",))
        elif before[name].value != after[name].value:
            held = (a, one, before[name], name), (b, other, after[name], name)
            yield from _value(*held, name, elsewhere)


_Held = tuple[_Side, Checkpoint, Group, str]


def _value(one: _Held, other: _Held, name: str, elsewhere: str | None) -> Iterator[Difference]:
    """How a value that both hold differs; each is told by its step, its group and its name there."""
    try:
        values = [side.value(step, group, held) for side, step, group, held in (one, other)]
        found = diff_values(*values)
    except UntrustedError as error:
        seen = None if elsewhere is None else (f"it differs, `{elsewhere}` shows in what",)
        found = ValueDiff("value", seen or _unshown(error))
    except (KitaruError, KeyError) as error:
        found = ValueDiff("value", _unshown(error))
    if not found.looks_same:
        yield Difference("value", name, found.lines, found.kind, found.pictures)


def _unshown(error: KitaruError | KeyError) -> tuple[str, ...]:
    """That a value differs and why it is not shown; what to type is a line of its own."""
    if not isinstance(error, KitaruError):
        return (f"it differs, and cannot be shown: {error}",)
    hint = (f"Try: {error.hint}",) if error.hint else ()
    return (f"it differs, and cannot be shown: {error.message}", *hint)


def _model_calls(a: _Side, b: _Side, one: Checkpoint, other: Checkpoint) -> Iterator[Difference]:
    before, after = a.answers(one), b.answers(other)
    if any(
        step.draft.status is CheckpointStatus.RESTORED and not calls
        for step, calls in ((one, before), (other, after))
    ):
        return  # a step that is taken over asks for nothing in it; its values say whether it differs
    for number in range(max(len(before), len(after))):
        first = before[number] if number < len(before) else None
        second = after[number] if number < len(after) else None
        if first is not None and second is not None and first.draft.key == second.draft.key:
            continue
        lines = [*_asked("-", a, first), *_asked("+", b, second)]
        if first is not None and second is not None:
            lines = list(diff_text(_request(a, first), _request(b, second))) or lines
        yield Difference("model call", str(number + 1), tuple(lines))
        return  # what follows on another answer differs anyway


def _asked(mark: str, side: _Side, call: Checkpoint | None) -> Iterator[str]:
    if call is not None:
        for line in _request(side, call).splitlines():
            yield f"{mark} {line}"


def _request(side: _Side, call: Checkpoint) -> str:
    """What a model was asked, as text with one message a line."""
    group = next((group for group in call.draft.groups if "request" in group.names), None)
    model = str(call.draft.data.get("model") or call.draft.name)
    if group is None:
        return f"model: {model}"
    try:
        asked: Any = side.value(call, group, "request")
    except (KitaruError, KeyError):
        return f"model: {model}"
    if not isinstance(asked, dict):
        return f"model: {model}\n{asked!r}"
    lines = [f"model: {asked.get('model', model)}"]
    for name, told in sorted(asked.items()):
        if name == "model":
            continue
        if name in ("messages", "input", "contents") and isinstance(told, list):
            lines += [_message(each) for each in told]
        else:
            lines.append(f"{name}: {json.dumps(told, sort_keys=True)}")
    return "\n".join(lines)


def _message(message: Any) -> str:
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        return f"{message.get('role', 'message')}: {message['content']}"
    return json.dumps(message, sort_keys=True)


def _outputs(one: Checkpoint, other: Checkpoint) -> Iterator[Difference]:
    before, after = _texts(one.draft.outputs), _texts(other.draft.outputs)
    if before != after:
        yield Difference("output", "", diff_text("\n".join(before), "\n".join(after)))
    pictures = _pictures(one.draft.outputs), _pictures(other.draft.outputs)
    for number, (first, second) in enumerate(zip_longest(*pictures), start=1):
        if first == second:
            continue
        if first is None or second is None:
            which = "second" if first is None else "first"
            yield Difference("output", f"picture {number}", (f"only the {which} shows it",))
        else:
            found = diff_values(first, second)
            yield Difference("output", f"picture {number}", found.lines, found.kind, found.pictures)


def _texts(outputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a cell showed, as text."""
    found = []
    for output in outputs:
        if output["output_type"] == "stream":
            found.append(output["text"].rstrip("\n"))
        elif "data" in output:
            found.append(str(output["data"].get("text/plain", "")))
    return found


def _pictures(outputs: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """The plots and pictures that a cell showed."""
    found = []
    for output in outputs:
        encoded = output.get("data", {}).get("image/png")
        if isinstance(encoded, str):
            try:
                found.append(base64.b64decode(encoded))
            except binascii.Error:
                found.append(encoded.encode())  # anybody's record may say that it is a picture
    return found
