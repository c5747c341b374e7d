"""Waits on record: each is a few events, and the newest of them says how it stands.

Events are the journal's hash-chained list, so the questions, the answers and who gave them cannot
be changed afterwards. What is looked up is in the `newest` table: under ``wait:ADDRESS`` the
newest event of a wait, under ``wait-slot:…`` the address that one place in the code has. The
first event of each wait is in two lists, that of its execution and that of the journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from kitaru_nb.errors import ConflictError, NotFoundError, UsageError
from kitaru_nb.journal import rows
from kitaru_nb.journal.ledger import Ledger
from kitaru_nb.journal.rows import EventRow, Head, State
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.model.schema import misfit, schema_fault, wanted
from kitaru_nb.model.wait import (
    DEADLINE,
    Address,
    Question,
    Wait,
    WaitKind,
    WaitStatus,
    is_same_json,
)

__all__ = ["Writing", "address_of", "every_wait", "misplaced", "retold", "standing", "unknown", "wait_at"]

_ASKED, _ANSWERED, _EXPIRED = "wait.asked", "wait.answered", "wait.expired"
_STATUS = {
    _ASKED: WaitStatus.PENDING,
    _ANSWERED: WaitStatus.ANSWERED,
    _EXPIRED: WaitStatus.EXPIRED,
}
_ELSEWHERE = "elsewhere"
"""In an event's data: another journal recorded it."""
_OVER = (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED)


def address_of(text: str) -> Address:
    """The address that `text` is.

    Raises:
        UsageError: kind ``bad-address``.
    """
    address = Address.parse(text)
    if address is None:
        message = f"`{text}` is not the address of a wait"
        raise UsageError(message, kind="bad-address", hint="EXECUTION/NAME, as `kitaru-nb waits` lists them")
    return address


def wait_at(ledger: Ledger, address: Address, *, now: int) -> Wait | None:
    """The wait with that address as it stands now; None where nobody has asked or answered it.

    It has expired, or its default counts, from its deadline on, whether or not somebody was there
    to put that on record; and what was asked in an execution that is over waits for nobody.
    """
    newest = ledger.newest(_name(address))
    if newest is None:
        return None
    wait, seq = _on_record(ledger, address)
    if wait.status is not WaitStatus.PENDING:
        return wait
    if _is_late(wait, now):
        return _after_deadline(wait)
    state = ledger.state(ledger.fetch(EventRow, seq).execution)
    return replace(wait, status=WaitStatus.EXPIRED) if ExecutionStatus(state.status) in _OVER else wait


def every_wait(ledger: Ledger, execution: ExecutionId | None, *, now: int) -> Iterator[Wait]:
    """The waits of an execution, or of all, the newest first."""
    seq = ledger.newest(_list(execution))
    while seq:
        first = json.loads(ledger.fetch(EventRow, seq).data)
        wait = wait_at(ledger, address_of(first["address"]), now=now)
        assert wait is not None
        yield wait
        seq = first["before"][0 if execution is not None else 1]


def standing(ledger: Ledger, question: Question, execution: ExecutionId, *, now: int) -> Wait | None:
    """What is on record for this very question in this place; None where there is something to record."""
    first = ledger.newest(_slot(execution, question))
    if first is None:
        return None
    wait, _ = _on_record(ledger, _address_in(ledger, first))
    return None if wait.binding != question.binding or _is_late(wait, now) else wait


def misplaced(ledger: Ledger, events: Sequence[EventRow], imported: str) -> Iterator[str]:
    """What is looked up otherwise than its events tell: events are chained, what is looked up is not.

    Args:
        ledger: The rows.
        events: All there are.
        imported: The kind of event up to which others have told of an execution: of that nothing counts.
    """
    here = {row.execution: row.seq for row in events if row.kind == imported}
    own = [row for row in events if row.kind in _STATUS and row.seq > here.get(row.execution, 0)]
    told = [(row, address_of(data["address"]), data) for row in own for data in [json.loads(row.data)]]
    newest = {address: row.seq for row, address, _ in told}
    wrong = {address for address, seq in newest.items() if ledger.newest(_name(address)) != seq}
    listed: dict[str, set[int]] = {}
    for row, address, data in told:
        for place, each in enumerate((_list(address.execution), _list(None)) if "before" in data else ()):
            if row.seq not in listed.setdefault(each, set(_listed(ledger, each, place))):
                wrong.add(address)
        if row.kind == _ASKED:
            first = ledger.newest(_slot_of(address.execution, data["scope"], address.name, data["place"]))
            if first is None or _event_at(ledger, first).get("address") != data["address"]:
                wrong.add(address)
    yield from (f"the wait `{address}`" for address in newest if address in wrong)


def _listed(ledger: Ledger, name: str, place: int) -> Iterator[int]:
    """The events that a list leads to, each to the one `before` it."""
    seq = ledger.newest(name)
    while type(seq) is int and seq > 0:
        yield seq
        before = _event_at(ledger, seq).get("before")
        earlier = before[place] if type(before) is list and len(before) > place else None
        seq = earlier if type(earlier) is int and earlier < seq else None


def _event_at(ledger: Ledger, seq: int) -> Mapping[str, Any]:
    """What an event says, which may be any; nothing where that is no object."""
    data = json.loads(ledger.fetch(EventRow, seq).data)
    return data if isinstance(data, dict) else {}


@dataclass(slots=True)
class Writing:
    """Adds the events of waits to one execution, inside one transaction.

    Attributes:
        ledger: The rows.
        head: How far each list goes; the caller updates it at the end.
        state: Where the execution stands; as `head`.
        now: Microseconds since 1970.
    """

    ledger: Ledger
    head: Head
    state: State
    now: int

    def ask(
        self,
        question: Question,
        execution: ExecutionId,
        *,
        refused: str | None,
        lender: ExecutionId | None,
    ) -> tuple[Wait, bool]:
        """The wait for `question`, and whether it was asked only now. See `Journal.ask`."""
        slot = _slot(execution, question)
        first = self.ledger.newest(slot)
        if first is None:
            return self._ask_first(question, slot, execution, lender), True
        address = _address_in(self.ledger, first)
        wait, newest = _on_record(self.ledger, address)
        changed = wait.binding != question.binding
        if changed or refused is not None:
            self._asked(address, question, refused=_outdated(wait) if changed else refused)
            return self._standing(address), True
        if _is_late(wait, self.now):
            self._settle(address, wait, newest)
        return self._standing(address), False

    def answer(
        self,
        address: Address,
        given: Mapping[str, Any],
        *,
        binding: str | None,
        status: ExecutionStatus,
    ) -> Wait | ConflictError:
        """The wait with its answer, or what to raise once that which was seen is on record.

        Args:
            address: Of the wait; perhaps nobody has asked it yet.
            given: ``answer``, ``by``, ``source``, perhaps ``reason``.
            binding: What the answer is meant for; None for whatever is asked.
            status: How the execution stands.
        """
        if self.ledger.newest(_name(address)) is None:
            if status in _OVER:
                return _over(address, status)
            self._add(address, _ANSWERED, {**given, "asked": None, "binding": None})
            return self._standing(address)
        wait, newest = _on_record(self.ledger, address)
        if wait.status is WaitStatus.PENDING and _is_late(wait, self.now):
            self._settle(address, wait, newest)
            wait = self._standing(address)
        if wait.status is WaitStatus.EXPIRED:
            return _expired(wait)
        if wait.status is WaitStatus.ANSWERED:
            same = wait.answered_by != DEADLINE and is_same_json(wait.answer, given["answer"])
            return wait if same else _already_answered(wait)
        if status in _OVER:
            return _over(address, status)
        _refuse_misfit(wait, given["answer"], binding)
        self._add(address, _ANSWERED, {**given, "asked": newest, "binding": wait.binding})
        return self._standing(address)

    def _ask_first(
        self, question: Question, slot: str, execution: ExecutionId, lender: ExecutionId | None
    ) -> Wait:
        number = (self.ledger.newest(_count(execution, question.name)) or 0) + 1
        address = Address(execution, question.name, number)
        newest = self.ledger.newest(_name(address))
        early = None if newest is None else self.ledger.fetch(EventRow, newest)
        refused = None if early is None else _why_not(early, question)
        asked = self._asked(address, question, refused=refused)
        self.ledger.put_newest(slot, asked.seq)
        self.ledger.put_newest(_count(execution, question.name), number)
        if early is not None:
            self._take_early(address, early, question, asked.seq, refused=refused)
        elif lender is not None:
            self._take_lent(address, lender, question, asked.seq)
        return self._standing(address)

    def _take_early(
        self, address: Address, row: EventRow, question: Question, asked: int, *, refused: str | None
    ) -> None:
        """What was answered ahead of time counts for the first question, if it is an answer to it."""
        given = json.loads(row.data)
        if _ELSEWHERE in given:
            return
        if question.kind is WaitKind.PERSON and refused is None:
            told = {name: given[name] for name in ("answer", "by", "source", "reason") if name in given}
            self._add(address, _ANSWERED, {**told, "at": row.at, "asked": asked, "binding": question.binding})

    def _take_lent(self, address: Address, lender: ExecutionId, question: Question, asked: int) -> None:
        """What was answered to this very question in the same place of another execution counts."""
        first = self.ledger.newest(_slot(lender, question))
        if first is None:
            return
        wait, seq = _on_record(self.ledger, _address_in(self.ledger, first))
        if wait.status is WaitStatus.ANSWERED and wait.binding == question.binding:
            row = self.ledger.fetch(EventRow, seq)
            given = json.loads(row.data)
            told = {name: given[name] for name in ("answer", "by", "source", "reason") if name in given}
            told |= {"at": given.get("at", row.at), "asked": asked, "binding": question.binding}
            self._add(address, _ANSWERED, {**told, "lent": wait.address})

    def _asked(self, address: Address, question: Question, *, refused: str | None) -> EventRow:
        data: dict[str, Any] = {
            "scope": question.scope,
            "place": question.place,
            "question": question.text,
            "schema": dict(question.schema),
            "show": question.show,
            "kind": question.kind.value,
            "binding": question.binding,
            "deadline": None if question.timeout is None else self.now + round(question.timeout * 1e6),
        }
        data |= {"default": question.default} if question.has_default else {}
        data |= {"refused": refused} if refused is not None else {}
        return self._add(address, _ASKED, data)

    def _settle(self, address: Address, wait: Wait, asked: int) -> None:
        """Put on record that a deadline has passed."""
        if not wait.has_default:
            self._add(address, _EXPIRED, {"asked": asked})
            return
        assert wait.deadline is not None
        data = {"answer": wait.default, "by": DEADLINE, "source": DEADLINE, "asked": asked}
        at = rows.microseconds(wait.deadline)
        self._add(address, _ANSWERED, {**data, "at": at, "binding": wait.binding})

    def _add(self, address: Address, kind: str, data: Mapping[str, Any]) -> EventRow:
        """Add an event to a wait; the first one also to the lists."""
        told = {"address": str(address), **data, **_first(self.ledger, address)}
        self.head, self.state, row = self.ledger.append_event(self.head, self.state, kind, told, at=self.now)
        _point(self.ledger, address, row.seq, told)
        return row

    def _standing(self, address: Address) -> Wait:
        return _on_record(self.ledger, address)[0]


def retold(
    ledger: Ledger, event: Event, asked: dict[tuple[str, int], int]
) -> tuple[dict[str, Any], Callable[[int], None]] | None:
    """An event of a wait that another journal recorded: what to add here, and what to do with its number.

    It is shown here as it was told there. No answer in it counts: nobody here vouches for who gave
    it, so that code which is gone on with here asks again.

    Args:
        ledger: Where to.
        event: Whoever made the file may have written anything into it.
        asked: By address and the number there, the number here of each question; added to.

    Returns:
        None where it is no event of a wait of its execution.
    """
    kind, data, execution = event.kind, event.data, event.execution
    address = Address.parse(str(data.get("address")))
    if address is None or address.execution != execution or not _is_told(kind, data, asked):
        return None
    told = {**data, _ELSEWHERE: True}
    told.pop("before", None)
    if kind != _ASKED and data["asked"] is not None:
        told["asked"] = _question_of(data, asked)
    told |= _first(ledger, address)

    def point(seq: int) -> None:
        _point(ledger, address, seq, told)
        if kind != _ASKED:
            return
        asked[data["address"], event.seq] = seq
        count = _count(execution, address.name)
        ledger.put_newest(count, max(address.number, ledger.newest(count) or 0))
        slot = _slot_of(execution, data["scope"], address.name, data["place"])
        if ledger.newest(slot) is None:
            ledger.put_newest(slot, seq)

    return told, point


def _is_told(kind: str, data: Mapping[str, Any], known: Mapping[tuple[str, int], int]) -> bool:
    """Whether `data` has all that is read of such an event."""
    try:
        if kind != _ASKED:
            asked = data["asked"]
            early = asked is None and kind == _ANSWERED
            fits = early or (kind in _STATUS and _question_of(data, known) is not None)
            rows.moment(data.get("at", 0))
            return fits and (kind == _EXPIRED or ("answer" in data and _are_text(data, "by", "source")))
        rows.moment(data["deadline"] or 0)
        WaitKind(data["kind"])
        return (
            _are_text(data, "scope", "question", "binding")
            and type(data["place"]) is int
            and type(data["schema"]) is dict
            and schema_fault(data["schema"]) is None
            and "show" in data
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return False


def _question_of(data: Mapping[str, Any], asked: Mapping[tuple[str, int], int]) -> int | None:
    """The number here of the question that an answer is to.

    A file tells no number of an event: all of them are 0 there, and an answer is to the question that
    was asked last at that address.
    """
    address = data["address"]
    return asked.get((address, data["asked"]), asked.get((address, 0)))


def _are_text(data: Mapping[str, Any], *names: str) -> bool:
    return all(type(data[name]) is str for name in names) and all(
        type(data.get(name, "")) is str for name in ("reason", "refused", "lent")
    )


def _refuse_misfit(wait: Wait, answer: Any, binding: str | None) -> None:
    if binding is not None and binding != wait.binding:
        raise ConflictError(
            f"`{wait.address}` asks something else now: {wait.question}",
            kind="question-changed",
            hint=f"kitaru-nb waits, then kitaru-nb answer {quote(wait.address)} --value JSON",
        )
    if wait.kind is WaitKind.BUDGET:
        raise UsageError(
            f"`{wait.address}` waits for a larger budget, not for an answer",
            kind="not-a-question",
            hint=f"kitaru-nb resume {wait.execution} --budget USD",
        )
    problem = misfit(answer, wait.schema or {})
    if problem is not None:
        raise UsageError(
            f"`{json.dumps(answer)}` is no answer to `{wait.address}`, which wants {wanted(wait.schema)}: "
            f"{problem}",
            kind="invalid-answer",
            hint=f"kitaru-nb answer {quote(wait.address)} --value JSON",
        )


def _outdated(wait: Wait) -> str | None:
    """Why a person's answer does not count where what is asked has changed; None where nobody gave one."""
    if wait.status is not WaitStatus.ANSWERED:
        return wait.refused
    if wait.answered_by == DEADLINE:
        return None
    return f"{wait.answered_by} gave {json.dumps(wait.answer)} when something else was asked or shown"


def _why_not(row: EventRow, question: Question) -> str | None:
    """Why what was answered ahead of time is no answer to `question`; who gave it is not told otherwise."""
    given = json.loads(row.data)
    if _ELSEWHERE in given or question.kind is not WaitKind.PERSON:
        return None
    why = misfit(given["answer"], question.schema)
    return None if why is None else f"ahead of time {given['by']} gave {json.dumps(given['answer'])}: {why}"


def _already_answered(wait: Wait) -> ConflictError:
    assert wait.answered_at is not None
    when = f"{wait.answered_at:%Y-%m-%d %H:%M:%S} UTC"
    given = json.dumps(wait.answer)
    if wait.answered_by == DEADLINE:
        message = f"nobody answered `{wait.address}` in time: since {when} its default counts, {given}"
    else:
        message = f"`{wait.address}` was answered by {wait.answered_by} at {when}: {given}"
    return ConflictError(message, kind="already-answered", hint="the first answer counts; kitaru-nb waits")


def _expired(wait: Wait) -> ConflictError:
    when = f" at {wait.deadline:%Y-%m-%d %H:%M:%S} UTC" if wait.deadline else ""
    message = f"`{wait.address}` expired{when}: nobody answered in time"
    return ConflictError(message, kind="wait-expired", hint=wait.to_ask_again)


def _over(address: Address, status: ExecutionStatus) -> ConflictError:
    message = f"execution `{address.execution}` is {status.value}: nothing waits for `{address.label}`"
    return ConflictError(message, kind="wait-expired", hint="kitaru-nb waits")


def unknown(address: Address) -> NotFoundError:
    """The error for a wait of which nothing is on record."""
    message = f"nobody has asked `{address}` yet"
    return NotFoundError(message, kind="unknown-wait", hint="kitaru-nb waits")


# From rows


def _on_record(ledger: Ledger, address: Address) -> tuple[Wait, int]:
    """A wait as its newest event tells, and the number of that event."""
    row = ledger.fetch(EventRow, ledger.newest(_name(address)))
    data = json.loads(row.data)
    if address_of(data["address"]) != address:
        raise next(ledger.otherwise([f"the wait `{address}`"]))
    asked = row if row.kind == _ASKED else None
    if asked is None and data["asked"] is not None:
        asked = ledger.fetch(EventRow, data["asked"])
    wait = Wait(str(address), address.execution, address.name, address.number, _STATUS[row.kind])
    if asked is not None:
        wait = replace(wait, **_question_in(asked))
    if _ELSEWHERE in data:
        wait = replace(wait, binding=None)  # nothing that is asked here is what was asked there
    if row.kind == _ANSWERED:
        wait = replace(
            wait,
            answer=data["answer"],
            answered_by=data["by"],
            answered_at=rows.moment(data.get("at", row.at)),
            source=data["source"],
            reason=data.get("reason"),
            lent=data.get("lent"),
        )
    return wait, row.seq


def _question_in(row: EventRow) -> dict[str, Any]:
    data = json.loads(row.data)
    deadline = data["deadline"]
    return {
        "scope": data["scope"],
        "question": data["question"],
        "schema": data["schema"],
        "show": data["show"],
        "kind": WaitKind(data["kind"]),
        "binding": data["binding"],
        "asked_at": rows.moment(row.at),
        "deadline": None if deadline is None else rows.moment(deadline),
        "default": data.get("default"),
        "has_default": "default" in data,
        "refused": data.get("refused"),
    }


def _address_in(ledger: Ledger, seq: int) -> Address:
    return address_of(json.loads(ledger.fetch(EventRow, seq).data)["address"])


def _is_late(wait: Wait, now: int) -> bool:
    """Whether a deadline has passed of which nothing is on record yet."""
    pending = wait.status is WaitStatus.PENDING
    return pending and wait.deadline is not None and rows.microseconds(wait.deadline) <= now


def _after_deadline(wait: Wait) -> Wait:
    if not wait.has_default:
        return replace(wait, status=WaitStatus.EXPIRED)
    return replace(
        wait,
        status=WaitStatus.ANSWERED,
        answer=wait.default,
        answered_by=DEADLINE,
        answered_at=wait.deadline,
        source=DEADLINE,
    )


def _name(address: Address) -> str:
    return f"wait:{address}"


def _list(execution: ExecutionId | None) -> str:
    return "waits" if execution is None else f"waits:{execution}"


def _slot(execution: ExecutionId, question: Question) -> str:
    return _slot_of(execution, question.scope, question.name, question.place)


def _slot_of(execution: ExecutionId, scope: str, name: str, place: int) -> str:
    """Where in the code it is asked: the n-th of its name in a run of its scope."""
    return f"wait-slot:{execution}\n{scope}\n{name}\n{place}"


def _count(execution: ExecutionId, name: str) -> str:
    """Under this name is how many waits of a name there are in an execution."""
    return f"wait-count:{execution}\n{name}"


def _first(ledger: Ledger, address: Address) -> dict[str, Any]:
    """What the first event of a wait says, besides: the one before it in each list."""
    if ledger.newest(_name(address)) is not None:
        return {}
    return {"before": [ledger.newest(each) for each in (_list(address.execution), _list(None))]}


def _point(ledger: Ledger, address: Address, seq: int, told: Mapping[str, Any]) -> None:
    """From now on the wait is found by event `seq`, and in the lists if that is its first one."""
    ledger.put_newest(_name(address), seq)
    if "before" in told:
        for each in (_list(address.execution), _list(None)):
            ledger.put_newest(each, seq)
