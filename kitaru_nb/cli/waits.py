"""`waits`, `answer`, `approve` and `reject`: what waits for a person, and the answers."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, age, clean, duration, print_json, print_table
from kitaru_nb.engine.addresses import find_wait, going_on
from kitaru_nb.engine.budget_stops import all_budget_waits
from kitaru_nb.engine.describe import wait_json
from kitaru_nb.engine.person import this_person
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.engine.showing import as_words
from kitaru_nb.engine.wait import how_to_answer
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.schema import wanted
from kitaru_nb.model.wait import Address, Wait, WaitKind, WaitStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["answer", "approve", "reject", "waits"]

_LINES = 20  # of what is to be approved


def waits(
    execution: str | None = None,
    /,
    *,
    status: Annotated[WaitStatus | None, Parameter(metavar="STATUS", show_choices=False)] = None,
    json: Json = False,
) -> int:
    """List what waits for a person or a larger budget, and what was answered.

    Args:
        execution: Only those of this execution: an id, the start of one, or latest.
        status: Only those that are pending, answered or expired.
        json: Print one JSON document.
    """
    settings = resolve()
    try:
        engine = open_engine(settings, read_only=True)
    except NotFoundError:
        if execution is not None:
            raise
        found: list[Wait] = []
    else:
        with closing(engine):
            chosen = None if execution is None else find_execution(engine.journal, execution).id
            found = engine.journal.waits(chosen) + all_budget_waits(engine.journal, chosen)
    found = [wait for wait in found if status is None or wait.status is status]
    found.sort(key=lambda wait: wait.status is not WaitStatus.PENDING)  # what is to be done comes first
    if json:
        print_json([wait_json(wait) for wait in found])
    elif not found:
        print("nothing waits for an answer" if status is None else f"no wait is {status.value}")
    else:
        _print(found)
    return 0


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
    with closing(open_engine(resolve())) as engine:
        journal = engine.journal
        address = find_wait(journal, text)
        given = _parsed(journal, address, value)
        before = _known(journal, address)
        found = journal.answer_wait(str(address), given, by=this_person(), source="cli", reason=reason)
        if json:
            print_json(wait_json(found))
            return 0
        if before is not None and before.status is WaitStatus.ANSWERED:
            print(f"{clean(found.address)} has this answer already, by {clean(found.answered_by or '')}")
        else:
            print(
                f"{clean(found.address)}: {clean(jsonlib.dumps(given))}, by {clean(found.answered_by or '')}"
            )
        execution = journal.execution(address.execution)
        if found.asked_at is None:
            print("nobody has asked that yet: the answer is kept for the first question with this address")
        else:
            print(f"go on with: {clean(going_on(journal, execution))}")
    return 0


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
    except ValueError:
        known = _known(journal, address)
        schema = known.schema if known is not None else None
        wants = f", and `{address}` wants {wanted(schema)}" if schema is not None else ""
        message = f"`{value}` is not JSON{wants}"
        raise UsageError(message, kind="bad-value", hint=_as_json(value, schema)) from None


def _as_json(value: str, schema: Mapping[str, Any] | None) -> str:
    """How an answer to `schema` looks that was typed as `value`, which is no JSON."""
    fields = list((schema or {}).get("properties") or ())
    if fields:
        return f"--value '{{{jsonlib.dumps(fields[0])}: …}}', with each name and each text in double quotes"
    return f"--value '{jsonlib.dumps(value)}' for text, --value true"


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
    if wait.kind is WaitKind.BUDGET:
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
