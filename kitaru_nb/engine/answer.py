"""An answer on its way to the record, from whichever surface: what may not be kept is refused here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.stops import stop_as_wait
from kitaru_nb.errors import NotFoundError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.wait import Address, Wait

__all__ = ["give_answer"]

_DEEP = 100


def give_answer(
    journal: Journal,
    address: str,
    answer: Any,
    *,
    by: str,
    source: str,
    reason: str | None = None,
    binding: str | None = None,
) -> Wait:
    """Record an answer as `Journal.answer_wait` does, and raise what it raises.

    An answer is part of the audit: it is kept as it is, told to whoever comes later, and never
    removed. So it may hold no secret; in a reason, secrets are masked.

    Raises:
        UsageError: kinds ``bad-value``, ``secret-answer``; kind ``not-a-question``: a budget has
            stopped what has this address, and no answer lets it go on.
    """
    fault = _fault(answer)
    if fault is not None:
        raise UsageError(f"the answer to `{address}` {fault}", kind="bad-value", hint="plainer JSON, or text")
    place = Address.parse(address)
    if place is not None:
        _refuse_stop(journal, place)
    label = _secret_in(answer, "" if place is None else place.name)
    if label is not None and not _is_offered(journal, address, answer):
        raise _refused(address, label)
    said = None if reason is None else VAULT.mask(reason)
    return journal.answer_wait(address, answer, by=by, source=source, reason=said, binding=binding)


def _refuse_stop(journal: Journal, place: Address) -> None:
    """An answer to it would be kept for a question of that name, which nobody may ever ask."""
    try:
        stopped = stop_as_wait(journal, journal.execution(place.execution))
    except NotFoundError:
        return  # said when it is recorded
    if stopped is None or stopped.address != str(place) or _is_asked(journal, stopped.address):
        return
    raise UsageError(
        f"`{place}` waits for {stopped.kind.awaited}, not for an answer",
        kind="not-a-question",
        hint=(stopped.question or "").partition("\n  Try: ")[2]
        or f"kitaru-nb resume {place.execution} --budget USD",
    )


def _is_asked(journal: Journal, address: str) -> bool:
    try:
        journal.wait(address)
    except NotFoundError:
        return False
    return True


def _refused(address: str, label: str) -> UsageError:
    kind, _, name = label.partition(":")
    variable = "NAME" if kind == "shape" else re.sub(r"\W", "_", name).upper()
    return UsageError(
        f"the answer to `{address}` is taken for a secret, and answers stay on record",
        kind="secret-answer",
        hint=f'export {variable}=… where it runs, and kt.Secret("{variable}") there instead of the question',
    )


def _fault(answer: Any, depth: int = 0) -> str | None:
    """Why an answer cannot be kept: whoever lists the waits later has to be able to tell it."""
    if type(answer) is float and not math.isfinite(answer):  # 1e999 is read as one
        return "holds a number that JSON has no way to write"
    inside = answer.values() if isinstance(answer, Mapping) else answer if isinstance(answer, list) else ()
    if depth > _DEEP:
        return f"is nested more than {_DEEP} levels deep"
    return next((fault for each in inside if (fault := _fault(each, depth + 1)) is not None), None)


def _secret_in(answer: Any, under: str) -> str | None:
    """What a secret in an answer is known as; None without one."""
    if isinstance(answer, str):
        parts = VAULT.parts(answer, under) or []
        return next((part.label for part in parts if not isinstance(part, str)), None)
    inside: list[tuple[Any, str]] = []
    if isinstance(answer, Mapping):
        inside = [*((name, "") for name in answer), *((item, name) for name, item in answer.items())]
    elif isinstance(answer, list):
        inside = [(item, under) for item in answer]
    return next((found for item, name in inside if (found := _secret_in(item, name)) is not None), None)


def _is_offered(journal: Journal, address: str, answer: Any) -> bool:
    """Whether the question itself spells the answer out, as one of several."""
    try:
        schema = journal.wait(address).schema or {}
    except NotFoundError:
        return False
    return answer in _choices(schema)


def _choices(schema: Any) -> list[Any]:
    if not isinstance(schema, Mapping):
        return []
    more = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("$defs", {}).values()]
    found = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    return [*found, *(each for part in more for each in _choices(part))]
