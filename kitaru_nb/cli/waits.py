"""`waits`, `answer`, `approve` and `reject`: what waits for a person, and the answers."""

from __future__ import annotations

import difflib
import json as jsonlib
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from shlex import quote
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, age, clean, duration, print_json, print_problem, print_table
from kitaru_nb.engine.addresses import find_wait, going_on, how_to_answer, outermost
from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.describe import wait_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.person import this_person
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.engine.showing import as_words
from kitaru_nb.engine.stops import stops_as_waits
from kitaru_nb.errors import CorruptError, NotFoundError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.schema import wanted
from kitaru_nb.model.wait import Address, Wait, WaitKind, WaitStatus
from kitaru_nb.stacks.launcher import Launchers
from kitaru_nb.stacks.submissions import was_submitted
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["answer", "approve", "reject", "waits"]

_SHOWN = 60  # characters of an answer in a message
_LINES = 20  # of what is to be approved


def waits(
    execution: str | None = None,
    /,
    *,
    status: Annotated[WaitStatus | None, Parameter(metavar="STATUS", show_choices=False)] = None,
    json: Json = False,
) -> int:
    """List what waits for a person, a larger budget or room, and what was answered.

    Args:
        execution: Only those of this execution: an id, the start of one, or latest.
        status: Only those that are pending, answered or expired.
        json: Print one JSON document.
    """
    found: list[Wait] = []
    damage: list[CorruptError] = []
    try:
        engine = engine_with(execution, read_only=True)
    except NotFoundError:
        if execution is not None:
            raise
    else:
        with closing(engine):
            if execution is not None:
                found = _of(engine.journal, find_execution(engine.journal, execution).id)
            else:
                found, damage = _all(engine.journal)
    if damage and json:
        raise damage[0]  # a program takes a list for all there is
    for error in damage:
        print_problem(f"not all is listed: {error.message}")
    found = [wait for wait in found if status is None or wait.status is status]
    found.sort(key=lambda wait: wait.status is not WaitStatus.PENDING)  # what is to be done comes first
    if json:
        print_json([wait_json(wait) for wait in found])
    elif not found:
        print("nothing waits for an answer" if status is None else f"no wait is {status.value}")
    else:
        _print(found)
    return 1 if damage else 0


def _of(journal: Journal, execution: ExecutionId | None) -> list[Wait]:
    return journal.waits(execution) + stops_as_waits(journal, execution)


def _all(journal: Journal) -> tuple[list[Wait], list[CorruptError]]:
    """All waits there are, and the damage for which those of some executions cannot be listed."""
    try:
        return _of(journal, None), []
    except CorruptError as error:
        damage = error
    found: list[Wait] = []
    damages: list[CorruptError] = []
    for each in reversed(journal.executions()):
        try:
            found += _of(journal, each.id)
        except CorruptError as error:
            damages.append(error)
    return found, damages or [damage]


def answer(
    wait: str,
    /,
    *,
    value: Annotated[str, Parameter(metavar="JSON", allow_leading_hyphen=True)],
    json: Json = False,
) -> int:
    """Answer a wait.

    Args:
        wait: Its address, EXECUTION/NAME; or the name alone where one of that name is pending.
        value: The answer as JSON: true, 3, "text" with its quotes, {"a": 1}.
        json: Print one JSON document.
    """
    return _answer(wait, value, None, json=json)


def approve(wait: str, /, *, json: Json = False) -> int:
    """Answer yes.

    Args:
        wait: Its address, EXECUTION/NAME; or the name alone where one of that name is pending.
        json: Print one JSON document.
    """
    return _answer(wait, "true", None, json=json)


def reject(
    wait: str, /, *, reason: Annotated[str | None, Parameter(metavar="TEXT")] = None, json: Json = False
) -> int:
    """Answer no.

    Args:
        wait: Its address, EXECUTION/NAME; or the name alone where one of that name is pending.
        reason: Why; kept with the answer.
        json: Print one JSON document.
    """
    return _answer(wait, "false", reason, json=json)


def _answer(text: str, value: str, reason: str | None, *, json: bool) -> int:
    typed = Address.parse(text)
    with closing(engine_with(None if typed is None else typed.execution)) as engine:
        journal = engine.journal
        address = find_wait(journal, text)
        given = _parsed(journal, address, value)
        before = _known(journal, address)
        found = give_answer(journal, str(address), given, by=this_person(), source="cli", reason=reason)
        execution = journal.execution(address.execution)
        goes_on = None if found.asked_at is None else _goes_on(engine, execution)
        if json:
            print_json(wait_json(found))
            return 0
        if before is not None and before.status is WaitStatus.ANSWERED:
            print(f"{clean(found.address)} has this answer already, by {clean(found.answered_by or '')}")
        else:
            print(
                f"{clean(found.address)}: {clean(jsonlib.dumps(given))}, by {clean(found.answered_by or '')}"
            )
        if found.asked_at is None:
            for line in _ahead(journal, address):
                print(clean(line))
        elif goes_on is not None:
            print(clean(goes_on))
        else:
            print(f"go on with: {clean(going_on(journal, execution))}")
    return 0


def _ahead(journal: Journal, address: Address) -> list[str]:
    """What to say of an answer to a question that nobody has asked: the name may be mistyped."""
    said = ["nobody has asked that yet: the answer is kept for the first question with this address"]
    pending = [wait for wait in journal.waits(address.execution) if wait.status is WaitStatus.PENDING]
    if pending:
        close = difflib.get_close_matches(address.label, [wait.label for wait in pending], n=1)
        meant = next((wait for wait in pending if close and wait.label == close[0]), pending[0])
        said.append(f"what waits for an answer now is {', '.join(f'`{wait.address}`' for wait in pending)}")
        said.append(f"  Try: {how_to_answer(meant)}")
    return said


def _goes_on(engine: Engine, execution: Execution) -> str | None:
    """Let a run that was submitted to a stack go on there; what to say of it, None for any other run."""
    whole = outermost(engine.journal, execution)
    if whole.status is not ExecutionStatus.WAITING or not was_submitted(engine.journal, whole):
        return None
    from kitaru_nb.stacks.reconcile import Action, reconcile_one  # noqa: PLC0415 - it loads papermill

    done = reconcile_one(engine, whole, Launchers(engine.settings))
    if done is None or done.action is not Action.SUBMITTED:
        return None if done is None or done.action is Action.LEFT else f"it cannot go on yet: {done.reason}"
    return f"it goes on, on the stack `{whole.identity.stack}`"


def _known(journal: Journal, address: Address) -> Wait | None:
    try:
        return journal.wait(str(address))
    except NotFoundError:
        return None


def _parsed(journal: Journal, address: Address, value: str) -> Any:
    """What was typed as JSON.

    Raises:
        UsageError: kind ``bad-value``.
    """
    try:
        return jsonlib.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        known = _known(journal, address)
        schema = known.schema if known is not None else None
        wants = f", and `{address}` wants {wanted(schema)}" if schema is not None else ""
        shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
        message = f"`{shown}` is not JSON{wants}"
        raise UsageError(message, kind="bad-value", hint=_json_hint(shown, schema)) from None


def _json_hint(value: str, schema: Mapping[str, Any] | None) -> str:
    """What to type instead of `value`, which is no JSON, for an answer to `schema`."""
    fields = list((schema or {}).get("properties") or ())
    if fields:
        return f"--value '{{{jsonlib.dumps(fields[0])}: …}}', with each name and each text in double quotes"
    kinds = {"integer": "3", "number": "0.5", "boolean": "true", "array": "'[…]'"}
    plain = kinds.get(str((schema or {}).get("type")))
    if plain is not None:
        return f"--value {plain}"
    return f"--value {quote(jsonlib.dumps(value))}" + ("" if schema else " for text, --value true")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are no JSON


def _print(found: list[Wait]) -> None:
    pending = [wait for wait in found if wait.status is WaitStatus.PENDING]
    others = [wait for wait in found if wait.status is not WaitStatus.PENDING]
    for wait in pending:
        print(*_block(wait), "", sep="\n")
    if others:
        print_table(
            ("wait", "status", "question", "answer", "by", "when", "reason"),
            [_row(wait) for wait in others],
            flexible=("question", "answer", "reason"),
        )


def _block(wait: Wait) -> list[str]:
    assert wait.asked_at is not None
    until = "" if wait.deadline is None else f", {_left(wait.deadline)} left"
    if wait.kind is not WaitKind.PERSON:
        said = [f"  {clean(line.strip())}" for line in wait.question.splitlines()]
        return [f"{clean(wait.address)}  stopped {age(wait.asked_at)}", *said]
    lines = [f"{clean(wait.address)}  asked {age(wait.asked_at)}{until}", f"  {clean(wait.question)}"]
    if wait.refused is not None:
        lines.append(f"  an answer that was given does not count: {clean(wait.refused)}")
    if wait.show is not None:
        shown = as_words(wait.show).splitlines()
        lines += [f"  | {clean(line)}" for line in shown[:_LINES]]
        if len(shown) > _LINES:
            lines.append(f"  … {len(shown) - _LINES} more lines: kitaru-nb waits {wait.execution} --json")
    return [*lines, f"  {clean(how_to_answer(wait))}"]


def _left(deadline: datetime) -> str:
    return duration((deadline - datetime.now(UTC)).total_seconds())


def _row(wait: Wait) -> list[str]:
    answered = wait.status is WaitStatus.ANSWERED
    moment = wait.answered_at if answered else wait.deadline
    return [
        wait.address,
        wait.status.value,
        wait.question or "(not asked yet)",
        jsonlib.dumps(wait.answer) if answered else "",
        wait.answered_by or "",
        "" if moment is None else age(moment),
        wait.reason or "",
    ]
