"""Model calls on record: each is metered and recorded in the scope that makes it, and served there again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.encrypted_keys import encrypted_in, know_again
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.engine.stops import STOPPED
from kitaru_nb.errors import Suspended, UnstorableError, UsageError
from kitaru_nb.llm import tap
from kitaru_nb.llm.budget import Budget, Refusal, Reservation, reserve
from kitaru_nb.llm.meter import Busy, Meter, ModelAnswer, ModelRequest, Ticket, Waits
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Group, StepKind
from kitaru_nb.model.cost import Usage

__all__ = ["budget", "current_meter", "install", "meter_of_scope", "record_usage"]

ANSWER = "answer"
REQUEST = "request"
_WHOLE, _ANSWER_ONLY, _NOTHING = "store", "redact", "off"
_PRICED = "in US dollars per million tokens; to keep it: [tool.kitaru_nb.prices] in pyproject.toml"


def install() -> None:
    """Meter the model calls of this process from now on. Nothing is imported for it."""
    tap.install(current_meter)


def current_meter() -> Meter | None:
    """The meter of a model call that is made now; None outside any execution."""
    scope = current_scope()
    return None if scope is None else meter_of_scope(scope)


def meter_of_scope(scope: Scope) -> Meter:
    """The meter of one run of a scope."""
    meter: Meter | None = scope.meter
    if meter is None:
        meter = scope.meter = ScopeMeter(scope)
    return meter


def model_key(request: ModelRequest) -> CheckpointKey:
    """What the record of a model call is found by."""
    return CheckpointKey(blake3(f"model\n{request.key}".encode()).hexdigest())


class ScopeMeter:
    """The meter of one run of a scope; see `llm.meter.Meter`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def begin(self, request: ModelRequest, *, waits: Waits = Waits.NOTHING) -> ModelAnswer | Ticket | Busy:
        """A recorded answer, or leave to make the call; see `reserve` for a caller that `waits`.

        Raises:
            Suspended: it would exceed a budget, or has no price under one, also as they are now.
            UntrustedError: the recorded answer was signed by nobody whom you trust.
            StoreError: an answer could not be put on record; the call is not made.
        """
        scope, key = self._scope, model_key(request)
        found = scope.find(key) or self._lent(key)
        if found is not None:
            answer = self._served(found)
            if answer is not None:
                return answer
        scope.refuse_stopped()
        scope.book.refuse_unrecordable()
        reserved = reserve(request, list(scope.budgets()), scope.book.prices, waits=waits)
        if isinstance(reserved, Refusal):
            scope.read_settings_again()
            reserved = reserve(request, list(scope.budgets()), scope.book.prices, waits=waits)
        if isinstance(reserved, Busy):
            return reserved
        if isinstance(reserved, Refusal):
            raise stop_at_budget(scope, reserved)
        return _Ticket(scope, request, key, reserved)

    def _lent(self, key: CheckpointKey) -> Checkpoint | None:
        """Across executions an answer is served only inside what was asked to be reused."""
        book = self._scope.book
        if not self._scope.reuse or (book.replay is not None and book.replay.is_named(self._scope.place)):
            return None
        return book.elsewhere(key)

    def _served(self, found: Checkpoint) -> ModelAnswer | None:
        draft, engine = found.draft, self._scope.book.engine
        group = next((group for group in draft.groups if ANSWER in group.names), None)
        if group is None:
            return None  # its body was not to be kept
        engine.trust.require([found])
        know_again([found])
        body: Any = engine.get(group.artifact, namespace={})[ANSWER]
        if is_marker(body):
            raise _not_here(found)
        self._scope.charge(found)
        self._scope.spend(draft.cost, draft.tokens)
        usage = draft.data.get("usage")
        return ModelAnswer(
            status=draft.data["status"],
            headers=draft.data["headers"],
            body=body,
            usage=None if usage is None else Usage(**usage),
            model=draft.data["model"],
            duration=draft.duration,
        )


class _Ticket:
    """Leave to make one call; see `llm.meter.Ticket`."""

    def __init__(
        self, scope: Scope, request: ModelRequest, key: CheckpointKey, reservation: Reservation
    ) -> None:
        self._scope = scope
        self._request = request
        self._key = key
        self._reservation = reservation
        self._started_at = datetime.now(UTC)

    def done(self, answer: ModelAnswer) -> None:
        """Put the answer on record; durable when this returns.

        What there is to do for it is done by the book's own thread, so that it is little for
        the thread, or the event loop, that has called the model.
        """
        self._scope.book.write(lambda: self._done(answer))

    def _done(self, answer: ModelAnswer) -> None:
        cost = self._cost(answer.usage, answer.model)
        try:
            self._record(answer, cost)
        except BaseException:
            self._reservation.release()  # the answer is kept, and counts once it is on record
            raise
        self._reservation.settle(cost)

    def failed(self, reason: str, usage: Usage | None = None) -> None:
        """No whole answer came: nothing of it is a result. What is known to be spent counts."""
        cost = self._cost(usage, None)
        if usage is not None:
            entry = self._entry(usage, None, cost, {"error": {"ename": "NoAnswer", "evalue": reason}})
            self._scope.book.record(
                self._scope, entry, status=CheckpointStatus.FAILED, started_at=self._started_at
            )
        self._reservation.release(cost)

    def _cost(self, usage: Usage | None, model: str | None) -> float | None:
        if usage is None:
            return None
        request = self._request
        return self._scope.book.prices.cost(usage, model, request.model, provider=request.provider)

    def _entry(
        self, usage: Usage | None, answer: ModelAnswer | None, cost: float | None, more: Mapping[str, Any]
    ) -> Entry:
        request = self._request
        model = (answer.model if answer is not None else None) or request.model or "model"
        data: dict[str, Any] = {
            "url": VAULT.mask_shown(request.url),
            "api": request.api,
            "provider": request.provider,
            "model": model,
            "usage": None if usage is None else {k: v for k, v in asdict(usage).items() if v},
        }
        if answer is not None:
            data |= {"status": answer.status, "headers": dict(answer.headers)}
            if self._scope.book.engine.settings.llm_bodies != _NOTHING:
                data |= encrypted_in(answer.body)
        tokens = None if usage is None else usage.total
        return Entry(StepKind.MODEL, self._key, model, {"data": data, "cost": cost, "tokens": tokens, **more})

    def _record(self, answer: ModelAnswer, cost: float | None) -> None:
        entry = self._entry(answer.usage, answer, cost, {})
        entry.store = lambda: self._store(answer)
        recorded = self._scope.record(entry, started_at=self._started_at, duration=answer.duration)
        requests = [group.artifact for group in recorded.draft.groups if REQUEST in group.names]
        if requests:  # the next one may share what it holds, now that it is on record
            self._scope.book.last_request = requests[0]
        self._scope.spend(cost, None if answer.usage is None else answer.usage.total)

    def _store(self, answer: ModelAnswer) -> tuple[Mapping[str, Any], Written]:
        engine, book = self._scope.book.engine, self._scope.book
        kept = engine.settings.llm_bodies
        if kept == _NOTHING:
            return {}, Written()
        written = Written()
        stored = engine.put({ANSWER: answer.body}, namespace={})
        groups = [Group((ANSWER,), written.add(stored), Digest(""))]
        if kept == _WHOLE:
            request = engine.put(
                {REQUEST: _parts(self._request.body)}, namespace={}, before=book.last_request
            )
            groups.append(Group((REQUEST,), written.add(request), Digest("")))
        return {"groups": tuple(groups)}, written


def _parts(body: bytes) -> Any:
    """A request's body so that one that only has more messages than the one before shares all of it."""
    try:
        asked = json.loads(body)
    except ValueError:
        return body
    if not isinstance(asked, dict):
        return body
    grows = next((name for name in ("messages", "input", "contents") if type(asked.get(name)) is list), None)
    return asked if grows is None else {grows: asked[grows], **asked}


def _not_here(found: Checkpoint) -> UnstorableError:
    """What to raise where the keys in an answer cannot be filled in."""
    return UnstorableError(
        f"the recorded answer of `{found.draft.name}` holds a key that is not here: secrets are not stored",
        kind="answer-with-secret",
        hint="go on as the user, and on the machine, that recorded it; or begin anew: "
        f"kitaru-nb cancel {found.execution}, in a notebook %%checkpoint --fresh",
    )


def stop_at_budget(scope: Scope, refusal: Refusal) -> Suspended:
    """What to raise where a call is refused: the execution waits until the budget is raised."""
    data = {"kind": refusal.kind, "message": refusal.message, "limit": refusal.limit, "spent": refusal.spent}
    data |= {"suggested": refusal.suggested, "scope": scope.path}
    scope.book.engine.journal.record_event(scope.book.execution, STOPPED, data)
    scope.book.keep_limit()
    hint = refusal.hint
    if refusal.kind == "no-price":
        hint = f"KITARU_NB_PRICES={quote(hint)} kitaru-nb resume {scope.book.execution}\n  {_PRICED}"
    stopped = Suspended(f"{refusal.message}\n  Try: {hint}")
    stopped.kind = refusal.kind
    scope.suspend(stopped)
    return stopped


def record_usage(
    model: str,
    *,
    input_tokens: int = 0,
    output_tokens: int = 0,
    cached_tokens: int = 0,
    cost: float | None = None,
    provider: str | None = None,
) -> None:
    """Count a model call that no HTTP client of this process makes: over gRPC, a websocket, a library of C.

    It is added to the running cell, flow or checkpoint and to its execution; outside of any it is
    not kept. A checkpoint that is served from the record does not call this again, so nothing is
    counted twice; in a cell that runs again, the same usage in the same order counts once.

    Args:
        model: Its name, by which it is priced.
        input_tokens: All input tokens.
        output_tokens: All output tokens.
        cached_tokens: Those of the input that came from the provider's cache.
        cost: US dollars, where you know better than the price table.
        provider: Who bills for it, such as ``"google"``.

    Raises:
        UsageError: a number of tokens is below zero, or more input is cached than there is.
    """
    usage = Usage(input_tokens, output_tokens, cache_read=cached_tokens)
    if min(input_tokens, output_tokens, cached_tokens) < 0:
        raise UsageError(
            f"`record_usage` was given {usage.input} and {usage.output} tokens",
            kind="bad-usage",
            hint="record_usage(model, input_tokens=100, output_tokens=20)",
        )
    if usage.cache_read > usage.input:
        raise UsageError(
            f"`record_usage` was given {usage.cache_read} cached of {usage.input} input tokens",
            kind="bad-usage",
            hint=f"input_tokens={usage.input + usage.cache_read} where your provider counts them beside",
        )
    scope = current_scope()
    if scope is None:
        return
    told = json.dumps([model, asdict(usage), cost, provider], sort_keys=True)
    key = CheckpointKey(blake3(f"usage\n{told}".encode()).hexdigest())
    found = scope.find(key)
    if found is not None:
        scope.charge(found)
    else:
        price = cost if cost is not None else scope.book.prices.cost(usage, model, provider=provider)
        data = {"model": model, "provider": provider, "usage": {k: v for k, v in asdict(usage).items() if v}}
        entry = Entry(StepKind.MODEL, key, model, {"data": data, "cost": price, "tokens": usage.total})
        found = scope.record(entry)
        Reservation(list(scope.budgets()), Budget.nothing).settle(price or 0.0)
    scope.spend(found.draft.cost, found.draft.tokens)


@contextmanager
def budget(limit: float, *, name: str = "the budget") -> Iterator[Budget]:
    """Stop model calls inside the block before they cost more than `limit` US dollars together.

    What may be spent at most is set aside before each call, across calls that run at the same
    time. The call that would exceed the limit is not made: the execution waits, with exit code 75
    where it is headless, and goes on from there once the limit is raised and the code is run
    again. What earlier attempts have paid counts.

    Raises:
        UsageError: `limit` is no amount of dollars above zero; or this is outside any execution.
    """
    if type(limit) not in (int, float) or not 0 < limit < float("inf"):
        raise UsageError(
            f"a budget of `{limit}` is no amount of dollars", kind="bad-budget", hint="with kt.budget(5.0):"
        )
    scope = current_scope()
    if scope is None:
        message = "a budget counts inside a flow, a notebook cell or a checkpoint, and there is none here"
        raise UsageError(
            message, kind="outside-execution", hint="@kt.flow above the function that calls models"
        )
    place = _where(sys._getframe(2))  # noqa: SLF001 - between is the context manager
    with scope.limited(float(limit), name, lambda amount: f"in {place}, kt.budget({amount})") as found:
        yield found


def _where(frame: FrameType) -> str:
    """The line of code, for a person; in a cell, which has no file, its number there."""
    file, line = frame.f_code.co_filename, frame.f_lineno
    is_script = file.endswith(".py") and Path(file).is_file() and "ipykernel_" not in file
    return f"line {line} of {Path(file).name if is_script else 'the cell'}"
