"""`channel`: a durable mailbox between executions, each message taken once."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine.call import load_result, refuse_unstorable
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.errors import TimedOutError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, Group, StepKind

__all__ = ["Channel", "channel"]

MESSAGE = "message"
_SHORTEST, _LONGEST = 0.05, 1.0


def channel(name: str) -> Channel:
    """The mailbox of that name, shared by all executions that are recorded in the same place.

    Raises:
        UsageError: outside any execution.
    """
    scope = current_scope()
    if scope is None:
        message = f'`channel("{name}")` belongs to an execution, and none runs here'
        raise UsageError(message, kind="outside-execution", hint="@kt.flow above the function that uses it")
    return Channel(name)


class Channel:
    """A mailbox whose messages outlive the processes at both ends.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = CheckpointKey(blake3(f"channel\n{name}".encode("utf-8", "surrogatepass")).hexdigest())

    def __reduce__(self) -> Any:
        """Its name is all there is of it."""
        return Channel, (self.name,)

    def send(self, value: object) -> None:
        """Leave a message; durable when this returns, and left once however often the attempt is made.

        Raises:
            UnstorableError: it cannot be stored.
        """
        scope = self._scope()
        digest = digest_values({"": value}, namespace={})
        told = f"sent\n{self.name}\n{digest}"
        mark = CheckpointKey(blake3(told.encode("utf-8", "surrogatepass")).hexdigest())
        if scope.find(mark) is not None:
            return
        engine = scope.book.engine

        def store() -> Any:
            stored = engine.put({MESSAGE: value}, namespace={})
            refuse_unstorable(f"channel {self.name}", stored, value)
            written = Written()
            return {"groups": (Group((MESSAGE,), written.add(stored), digest),)}, written

        data = {"channel": self.name}

        def both() -> None:
            scope.record(Entry(StepKind.MESSAGE, self._key, self.name, {"data": data}, store=store))
            scope.record(Entry(StepKind.MESSAGE, mark, self.name, {"data": {"sent": self.name}}))

        scope.book.together(both)  # or neither

    def receive(self, timeout: float | None = None) -> Any:
        """The oldest message that nobody has taken; waits for one.

        Taking it is on record when this returns: nobody else gets the message, and a later
        attempt of this execution is given the same one here. It holds the process while it waits;
        to ask a person, use `wait`.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimedOutError: kind ``nothing-received``.
        """
        scope = self._scope()
        mark = CheckpointKey(blake3(f"received\n{self.name}".encode("utf-8", "surrogatepass")).hexdigest())
        known = scope.find(mark)
        if known is not None:
            return self._value(scope, known)
        until = None if timeout is None else time.monotonic() + timeout
        for pause in itertools.accumulate(itertools.repeat(_SHORTEST), lambda so_far, more: so_far + more):
            taken = scope.book.together(partial(self._take, scope, mark))
            if taken is not None:
                return self._value(scope, taken)
            if until is not None and time.monotonic() >= until:
                message = f"nothing was left in the channel `{self.name}` for {timeout:g} s"
                hint = f'channel("{self.name}").receive(timeout=...) with a longer time'
                raise TimedOutError(message, kind="nothing-received", hint=hint)
            time.sleep(min(pause, _LONGEST))
        raise AssertionError("it waits for ever")

    def _take(self, scope: Scope, mark: CheckpointKey) -> Checkpoint | None:
        """Take the oldest message that is left; inside one transaction.

        What was received is on record here with its value: that of the sender may be removed, and
        where this execution is imported, it is another one's or not there.
        """
        engine = scope.book.engine
        sent = list(engine.journal.find_anywhere(self._key))
        for message in reversed(sent):
            if engine.journal.claim(scope.book.attempt, f"message:{message.seq}"):
                engine.trust.require([message])
                data = {"received": message.seq, "channel": self.name}
                fields = {"data": data, "groups": message.draft.groups}
                return scope.record(Entry(StepKind.MESSAGE, mark, self.name, fields))
        return None

    def _value(self, scope: Scope, message: Checkpoint) -> Any:
        if not message.draft.groups:  # it was received before the value was on record with that
            message = scope.book.engine.journal.checkpoint(message.draft.data["received"])
        scope.book.engine.trust.require([message])
        return load_result(scope, message, namespace={})[MESSAGE]

    def _scope(self) -> Scope:
        scope = current_scope()
        if scope is None:
            message = f"the channel `{self.name}` is used where no execution runs"
            raise UsageError(
                message, kind="outside-execution", hint="@kt.flow above the function that uses it"
            )
        return scope
