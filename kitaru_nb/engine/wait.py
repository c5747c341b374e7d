"""`wait`: a question is put on record, and its answer is given back, now or in a later attempt.

Nothing has to live while nobody has answered. The code that asks is stopped by a signal, its
attempt ends, and when it runs again everything before the question is served from the record.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from blake3 import blake3

from kitaru_nb.analysis.directive import checked_name
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.addresses import how_to_answer
from kitaru_nb.engine.answer import give_answer
from kitaru_nb.engine.describe import wait_json
from kitaru_nb.engine.form import Form, form_of
from kitaru_nb.engine.observe import own_doing
from kitaru_nb.engine.scope import WAITS, Scope
from kitaru_nb.engine.showing import digest_shown, displayed
from kitaru_nb.errors import NotFoundError, StoreError, Suspended, TimedOutError, UsageError
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.wait import OnWait, Question, Wait, WaitStatus, binding_of
from kitaru_nb.model.words import seconds_of

__all__ = ["NO_DEFAULT", "Asked", "Front", "Notify", "OnWait", "asked", "waiting"]

_POLL = 0.25  # seconds between two looks at the journal while an attempt holds on
_NOTIFY_PATIENCE = 60  # seconds that a command may take
_WORDS = re.compile(r"[^\W_]+")
_NAME_LENGTH = 32

NO_DEFAULT: Any = type("NoDefault", (), {"__repr__": lambda _self: "..."})()
"""Stands for no default; None is one."""

Notify = Callable[[Wait], object] | str
"""Who is told that something waits: a function, or a command that gets the wait as JSON."""


class Front(Protocol):
    """Where whoever runs the code can be told something, and perhaps asked."""

    on_wait: OnWait | None

    def ask(self, wait: Wait, give: Callable[[Any], object]) -> bool:
        """Ask there and then, and `give` the answer; False where nobody can be asked here.

        `give` raises a UsageError for what is no answer. It need not be called: the answer may
        have come from elsewhere meanwhile.
        """
        ...

    def tell(self, wait: Wait, show: object, *, held: float) -> None:
        """Say that it waits, and what is to be approved; `held` seconds before it suspends."""
        ...

    def answered(self, wait: Wait) -> None:
        """Say that what `tell` told of has its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What one call of `wait` asks, checked."""

    text: str
    form: Form
    name: str
    show: object
    timeout: float | None
    default: Any
    has_default: bool
    notify: Notify | None
    hold: float


def asked(
    question: str,
    schema: object,
    *,
    name: str | None,
    show: object,
    timeout: float | str | timedelta | None,
    default: object,
    notify: Notify | None,
    hold: float | str | timedelta | None,
) -> Asked:
    """The arguments of one call of `wait`.

    Raises:
        UsageError: one of them cannot be taken.
    """
    if type(question) is not str or not question.strip():
        message = f"the question of a wait is `{question!r}`, and has to be text"
        raise UsageError(message, kind="bad-question", hint='kt.wait("Publish?")')
    if notify is not None and not callable(notify) and not (type(notify) is str and notify.strip()):
        message = f"`notify` is `{notify!r}`, which can neither be called nor run"
        raise UsageError(message, kind="bad-notify", hint='notify="notify-send", or notify=a function')
    form = form_of(schema)
    called = name if name is not None else _made_name(question, form.identity)
    if name is not None:
        try:
            called = checked_name(name)
        except UsageError as error:
            message = error.message.replace("of a checkpoint", "of a wait")
            raise UsageError(message, kind="bad-name", hint='kt.wait("Publish?", name="publish")') from None
    return Asked(
        text=question,
        form=form,
        name=called,
        show=show,
        timeout=seconds_of(timeout, called),
        default=None if default is NO_DEFAULT else form.default(default),
        has_default=default is not NO_DEFAULT,
        notify=notify,
        hold=seconds_of(hold or None, called, what="hold") or 0.0,
    )


def waiting(scope: Scope, what: Asked, front: Front) -> Generator[float, None, Any]:
    """The typed answer, once there is one; yields how many seconds to pause before going on.

    Raises:
        Suspended: nobody has answered yet. The question is on record.
        TimedOutError: kind ``wait-expired``: nobody answered before the deadline.
        NotFoundError: kind ``no-answer``: nobody has answered, and the run is told not to wait.
    """
    book = scope.book
    journal = book.engine.journal
    question = _question(scope, what)
    replay = book.replay
    given = None if replay is None else replay.answer(question)
    lender = None if replay is None or given is not None else replay.of  # people's answers are kept
    wait, anew = journal.ask(book.attempt, question, lender=lender)
    if replay is not None and given is not None and wait.status is WaitStatus.PENDING:
        wait, anew = _answered_by(scope, wait, replay.values[given.key], given.key), False
    while True:
        if wait.status is WaitStatus.EXPIRED:
            raise _expired(scope, wait)
        if wait.status is WaitStatus.ANSWERED:
            try:
                return what.form.build(wait.answer)
            except ValueError as error:  # a validator of its own takes less than the schema says
                refused = " ".join(str(error).split())
                wait, anew = journal.ask(book.attempt, question, refused=refused)
                continue
        if anew and what.notify is not None:
            _notify(what.notify, wait)
        if not front.ask(wait, partial(_give, scope, wait)):
            yield from _held(scope, wait, what, front)
        wait, anew = journal.ask(book.attempt, question)


def _question(scope: Scope, what: Asked) -> Question:
    shown = None if what.show is None else digest_shown(what.show)
    return Question(
        name=what.name,
        scope=scope.path,
        place=scope.place_of(WAITS + what.name),
        text=VAULT.mask(what.text),
        schema=what.form.schema,
        binding=binding_of(what.text, what.form.identity, shown),
        show=None if what.show is None else _masked(displayed(what.show)),
        timeout=what.timeout,
        default=what.default,
        has_default=what.has_default,
    )


def _masked(shown: Any) -> Any:
    return VAULT.mask_shown(shown) if isinstance(shown, str) else VAULT.mask_json(shown)


def _held(scope: Scope, wait: Wait, what: Asked, front: Front) -> Generator[float, None, None]:
    """Returns once the wait is not pending any more; raises when the time to hold on has passed."""
    policy = front.on_wait or OnWait(what.hold)
    if policy.fail:
        raise NotFoundError(
            f"nobody has answered `{wait.address}`: {wait.question}",
            kind="no-answer",
            hint=f"{how_to_answer(wait)}; then run it again",
        )
    unrecorded = scope.unrecorded()
    if policy.hold:
        scope.book.on_hold()
    front.tell(wait, what.show, held=policy.hold)
    until = time.monotonic() + policy.hold
    while (left := until - time.monotonic()) > 0:
        yield min(_POLL, left)
        with suppress(StoreError):  # a fault that passes while it waits harms nothing; the next look tells
            now = scope.book.engine.journal.wait(wait.address)
            if now.status is not WaitStatus.PENDING:
                front.answered(now)
                return
    suspended = Suspended(
        f"waits for an answer: {wait.question}\n  Try: {how_to_answer(wait)}; then run it again",
        wait=wait.address,
    )
    suspended.unrecorded = unrecorded
    scope.suspend(suspended)
    raise suspended


def _give(scope: Scope, wait: Wait, answer: Any) -> object:
    """What is answered where the code runs: as good as any other answer."""
    from kitaru_nb.engine.person import this_person  # noqa: PLC0415 - only where somebody is asked

    journal = scope.book.engine.journal
    return give_answer(
        journal, wait.address, answer, by=this_person(), source="terminal", binding=wait.binding
    )


def _answered_by(scope: Scope, wait: Wait, value: Digest, key: str) -> Wait:
    """The wait, answered with what whoever asked for the replay gave for it."""
    from kitaru_nb.engine.person import this_person  # noqa: PLC0415 - as above

    engine = scope.book.engine
    answer: Any = engine.get(value, namespace={})[key]
    return give_answer(
        engine.journal, wait.address, answer, by=this_person(), source="replay", binding=wait.binding
    )


def _expired(scope: Scope, wait: Wait) -> TimedOutError:
    identity = scope.book.engine.journal.execution(wait.execution).identity
    again = wait.to_ask_again
    if identity.interactive and identity.flow is None:
        again = "change the question and run the cell again, which asks anew"
    when = f" by {wait.deadline:%Y-%m-%d %H:%M:%S} UTC" if wait.deadline else " in time"
    return TimedOutError(
        f"nobody answered `{wait.address}`{when}: {wait.question}",
        kind="wait-expired",
        hint=again,
    )


def _notify(notify: Notify, wait: Wait) -> None:
    """Tell somebody that it waits. That this fails is a warning: the question is on record all the same."""
    document = wait_json(wait)
    with own_doing():
        try:
            if callable(notify):
                notify(wait)
            else:
                subprocess.run(  # noqa: S603 - the command that the code's author has written
                    shlex.split(notify),
                    input=json.dumps(document),
                    text=True,
                    check=True,
                    capture_output=True,
                    timeout=_NOTIFY_PATIENCE,
                )
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            why = f"{type(error).__name__}: {error}"
            warnings.warn(f"kitaru: nobody was told about `{wait.address}`: {why}", stacklevel=2)


def _made_name(text: str, schema: Mapping[str, Any]) -> str:
    """A short name that can be typed, and is another one for another question or schema."""
    words = ""
    for word in _WORDS.findall(text.lower()):
        if len(words) + len(word) > _NAME_LENGTH:
            break
        words = f"{words}-{word}" if words else word
    told = json.dumps([text, schema], sort_keys=True)
    return f"{words or 'wait'}-{blake3(told.encode()).hexdigest()[:4]}"
