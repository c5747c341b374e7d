"""A wait: a question to a person, and the one answer that counts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from shlex import quote
from typing import Any

from kitaru_nb.model.execution import ExecutionId

__all__ = [
    "DEADLINE",
    "Address",
    "OnWait",
    "Question",
    "Wait",
    "WaitKind",
    "WaitStatus",
    "asks_again",
    "asks_again_from",
    "binding_of",
    "is_same_json",
]

DEADLINE = "deadline"
"""Who has answered where nobody did in time and the default counts."""

_NUMBERED = re.compile(r"(.+)#([1-9][0-9]*)", re.DOTALL)

_REPLAY, _FROM = "kitaru-nb replay ", "--from CHECKPOINT"

_canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class WaitStatus(StrEnum):
    """Whether there is an answer."""

    PENDING = "pending"
    ANSWERED = "answered"
    EXPIRED = "expired"


class WaitKind(StrEnum):
    """Who can end a wait: a person with an answer, or whoever raises a budget or makes room."""

    PERSON = "person"
    BUDGET = "budget"
    ROOM = "room"

    @property
    def awaited(self) -> str:
        """What is waited for, in words."""
        return {"person": "an answer", "budget": "a larger budget", "room": "room"}[self]


@dataclass(frozen=True, slots=True)
class OnWait:
    """What a run is told to do at a wait that nobody has answered, whatever the code says.

    Attributes:
        hold: For how many seconds it holds on before it suspends.
        fail: The wait is an error instead.
    """

    hold: float = 0.0
    fail: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """Where a wait is found: ``EXECUTION/NAME``, from the second of a name on with ``#n``.

    It is known before the wait is reached.
    """

    execution: ExecutionId
    name: str
    number: int = 1

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """The address that `text` is; None where it has not that form."""
        execution, _, rest = text.partition("/")
        numbered = _NUMBERED.fullmatch(rest)
        name, number = (numbered[1], int(numbered[2])) if numbered else (rest, 1)
        if not execution or not name or "/" in name or "#" in name:
            return None
        return cls(ExecutionId(execution), name, number)

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.execution}/{self.label}"

    @property
    def label(self) -> str:
        """The same without the execution."""
        return self.name if self.number == 1 else f"{self.name}#{self.number}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked in one place of the code.

    Attributes:
        name: What the wait is called.
        scope: The run of code that asks, see `engine.scope`.
        place: How many waits of this name that run had reached before.
        text: The question.
        schema: JSON schema of the answers that count.
        binding: What an answer holds for, see `binding_of`.
        show: What is to be approved, as JSON or text to be displayed.
        kind: Who can end it.
        timeout: Seconds after which the default counts or the wait has expired; None for never.
        default: The answer that counts then.
        has_default: Whether there is one; it may be null.
    """

    name: str
    scope: str
    place: int
    text: str
    schema: Mapping[str, Any]
    binding: str
    show: Any = None
    kind: WaitKind = WaitKind.PERSON
    timeout: float | None = None
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """A question on record, with its answer if there is one.

    An answer may be given ahead of time. Until the code asks, such a wait has no question:
    `schema`, `asked_at` and `binding` are None.

    Attributes:
        address: How it is named when it is answered.
        execution: Whose code asks.
        name: What it is called; the `number`-th of that name in the execution.
        scope: Where it is asked.
        question: What is asked.
        schema: JSON schema of the answers that count.
        show: What is to be approved, as it is displayed.
        kind: Who can end it.
        binding: What an answer holds for.
        status: Whether there is an answer.
        asked_at: When the question was asked as it stands now.
        deadline: When it expires, or the default counts; None for never.
        default: The answer that counts then, where `has_default`.
        refused: Why an answer that was given does not count, where it is asked (once more) all the same.
        answer: As JSON.
        answered_by: Who; `DEADLINE` for the default.
        answered_at: When.
        source: By what way the answer came: ``cli``, ``terminal`` ...
        reason: What whoever answered says about it.
        lent: For an answer that was given in the execution that this one replays: to which wait.
    """

    address: str
    execution: ExecutionId
    name: str
    number: int
    status: WaitStatus
    scope: str = ""
    question: str = ""
    schema: Mapping[str, Any] | None = None
    show: Any = None
    kind: WaitKind = WaitKind.PERSON
    binding: str | None = None
    asked_at: datetime | None = None
    deadline: datetime | None = None
    default: Any = None
    has_default: bool = False
    refused: str | None = None
    answer: Any = None
    answered_by: str | None = None
    answered_at: datetime | None = None
    source: str | None = None
    reason: str | None = None
    lent: str | None = None

    @property
    def to_ask_again(self) -> str:
        """What to type once its deadline has passed: the execution itself does not ask it again."""
        return f"{_REPLAY}{self.execution} {_FROM} asks again and keeps what is before it"

    @property
    def label(self) -> str:
        """Its name as it is typed after the execution."""
        return Address(self.execution, self.name, self.number).label


def asks_again(hint: str) -> bool:
    """Whether a hint is `Wait.to_ask_again`: to go on would only fail again, and this is the way."""
    return hint.startswith(_REPLAY)


def asks_again_from(hint: str, checkpoint: str) -> str:
    """`Wait.to_ask_again` where the checkpoint is known that asked; any other text as it is."""
    return hint.replace(_FROM, f"--from {quote(checkpoint)}")


def binding_of(text: str, schema: Mapping[str, Any], shown: str | None) -> str:
    """What an answer holds for: this question, this schema, this digest of what was shown."""
    return hashlib.sha256(_canonical([text, schema, shown]).encode()).hexdigest()


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two answers are the same; unlike in Python, ``true`` is not ``1``."""
    return _canonical(one) == _canonical(other)
