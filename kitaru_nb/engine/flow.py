"""`@flow`: ordinary Python whose every run is an execution, gone on with after a crash."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, Protocol

from blake3 import blake3

from kitaru_nb.artifacts.digest import digest_by_kind, digest_values
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.arguments import Told, script_arguments
from kitaru_nb.engine.awaited import start
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.call import Call, Options, load_result, refuse_unstorable
from kitaru_nb.engine.callee import callee_of, plain_function
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import current_scope, inside
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.flow_handle import FlowHandle, in_background
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.refs import FLOW, RESULT
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.engine.script import file_of, note_script
from kitaru_nb.engine.secrecy import notice_names
from kitaru_nb.engine.suspensions import note_suspended
from kitaru_nb.errors import ConflictError, KitaruError, Suspended, UsageError, stop_in
from kitaru_nb.llm.budget import Budget
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, Group, StepKind
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus, Identity

__all__ = [
    "INPUTS",
    "Defined",
    "Flow",
    "Place",
    "Turn",
    "as_flow",
    "defining",
    "flow_label",
    "is_flow_of",
    "told_inputs",
]

INPUTS = "inputs"
_PLAIN = (str, int, float, bool, type(None))
_MAIN = ("__main__", "__mp_main__")
"""What a script's module is called, and what it is called in a worker that was spawned."""


class Place(Protocol):
    """Where flows are recorded; the one who puts engines together provides it."""

    def engine(self) -> Engine:
        """The engine, opened with the first use."""
        ...

    def stack(self) -> str:
        """Name of the stack."""
        ...

    def stopped(self, suspended: Suspended, execution: ExecutionId) -> BaseException:
        """What to raise where an execution waits and nothing of kitaru_nb is around it."""
        ...

    def ended(
        self,
        engine: Engine,
        execution: ExecutionId,
        status: ExecutionStatus,
        reason: str,
        at: Suspended | None,
    ) -> None:
        """Take note of how an attempt ended that nothing else is around; never raises.

        Where it waits, `at` says for what.
        """
        ...


@dataclass(frozen=True, slots=True)
class Flow:
    """A function that is a flow, and what it is called."""

    function: FunctionType
    name: str
    place: Place

    def turn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], **options: Any) -> Turn:
        """One attempt at the execution with these inputs, about to begin."""
        return Turn(self, callee_of(self.function).arguments(args, kwargs), args, dict(kwargs), **options)


class Turn(ProcessBound):
    """One attempt at one execution of a flow.

    Args:
        flow: What runs.
        inputs: By the names of its parameters.
        args: As they were given.
        kwargs: As they were given.
        execution: Go on with this one, whatever its status.
        attempt: Work in this one, which this process has just begun.
        engine: Where that is on record; else where the code around it is, or the flow's place.
        new: Begin a new execution, even where one could be gone on with.
        around: The scope of the execution that calls this one.
        tags: Tags of a new execution.
        argv: What the script that the flow comes from was begun with; what this process was, without it.

    Attributes:
        asked: The call of the execution around this one that it is the body of.
    """

    def __init__(
        self,
        flow: Flow,
        inputs: Mapping[str, object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        execution: ExecutionId | None = None,
        attempt: Attempt | None = None,
        engine: Engine | None = None,
        new: bool = False,
        within: str | None = None,
        around: Scope | None = None,
        tags: tuple[str, ...] = (),
        argv: Told | None = None,
    ) -> None:
        self.flow = flow
        self.asked: Call | None = None
        self.argv = argv
        self._called = around is not None
        parent = None if around is None else around.book.execution
        self._inputs = inputs
        self._args, self._kwargs = args, kwargs
        scope = current_scope() if engine is None else None
        self.engine = engine or (flow.place.engine() if scope is None else scope.book.engine)
        known = execution if attempt is None else attempt.execution
        # What is gone on with keeps the identity that it was begun with, from wherever that is done.
        self.identity = (
            identity_of(flow, inputs, within=within)
            if known is None
            else self.engine.journal.execution(known).identity
        )
        self._lease = Lease(self.engine, self.identity)
        if attempt is not None:
            self._lease.adopt(attempt)
        elif execution is not None:
            _wait_for_ending(self.identity)
            self._lease.take_named(execution)
        else:
            _wait_for_ending(self.identity)
            self._lease.take(new=new, parent=parent, tags=tags)
        assert self._lease.attempt is not None
        self.execution: ExecutionId = self._lease.attempt.execution
        self.book = Book(self.engine, self._attempt, called=self._called)
        self.scope: Scope = self.book.scope(FLOW)
        self.scope.around = around

    def _attempt(self) -> Attempt:
        if self.book.ended:
            message = f"`{self.flow.name}` has ended, so what a call in it came to is not put on record"
            hint = "wait for the call in the flow: join its thread, await its task"
            raise ConflictError(message, kind="ended", hint=hint)
        return self._lease.take()

    @contextmanager
    def running(self) -> Iterator[Turn]:
        """The body runs inside the block; how it ends is how the attempt ends."""
        try:
            self._keep_inputs()
            with inside(self.scope):
                yield self
        except BaseException as error:
            suspended = stop_in(error)
            self._end(_status_after(suspended or error), reason=_reason(suspended or error), at=suspended)
            if suspended is not None and suspended is not error:
                raise suspended from error  # also out of the group that a task group made of it
            raise
        self._end(ExecutionStatus.COMPLETED)

    def _end(
        self, status: ExecutionStatus, *, reason: str | None = None, at: Suspended | None = None
    ) -> None:
        try:
            self.scope.tell_served()
            if at is not None:
                note_suspended(self.book, at, self.scope.path)
        except KitaruError:
            if status is ExecutionStatus.COMPLETED:
                raise
        finally:
            if status is not ExecutionStatus.COMPLETED and self.book.under_way:
                self.scope.stopped = True
                _end_later(self, status, reason)
            else:
                self.give_back(status, reason, at)

    def give_back(self, status: ExecutionStatus, reason: str | None, at: Suspended | None = None) -> None:
        """The attempt ends."""
        self.book.ended = True
        self._lease.give_back(status, reason=reason)
        self.book.close()
        if not self._called:
            self.flow.place.ended(self.engine, self.execution, status, reason or "", at)

    def _keep_inputs(self) -> None:
        """Put on record what the flow was called with, and itself: it can be gone on with from anywhere."""
        key = CheckpointKey(blake3(f"inputs\n{result_key(self.flow, self.identity)}".encode()).hexdigest())
        if self.scope.find(key) is not None:
            self.scope.served.clear()
            return
        function = self.flow.function
        values: list[dict[str, object]] = [{INPUTS: {"args": self._args, "kwargs": self._kwargs}}]
        if self.identity.file is not None and self.identity.file.endswith(".ipynb"):
            # Its cells may not be there where it is gone on with: all that it reads comes along.
            values.append({FLOW: function, **callee_of(function).look().reads})
        namespace = function.__globals__

        def store() -> Any:
            written = Written()
            groups = []
            for together in values:
                stored = self.engine.put(together, namespace=namespace)
                names = tuple(sorted(together))
                groups.append(Group(names, written.add(stored), Digest(""), unstorable=stored.unstorable))
            return {"groups": tuple(groups)}, written

        data: dict[str, Any] = {"module": function.__module__, "qualname": function.__qualname__}
        data["folder"] = str(Path.cwd())
        argv = script_arguments() if self.argv is None else self.argv
        if argv is not None:
            data["argv"] = list(argv)
        self.scope.record(Entry(StepKind.VALUE, key, INPUTS, {"data": data}, store=store))

    def commit(self, result: object) -> Checkpoint:
        """Put the flow's result on record, the last thing before it has completed.

        Raises:
            Suspended: something in it waits, though its code went on.
        """
        self.scope.refuse_suspended()
        self.scope.book.refuse_loss()
        namespace = self.flow.function.__globals__

        def store() -> Any:
            stored = self.engine.put({RESULT: result}, namespace=namespace)
            refuse_unstorable(self.flow.name, stored, result)
            value = digest_values({RESULT: result}, namespace=namespace)
            written = Written()
            return {"groups": (Group((RESULT,), written.add(stored), value),)}, written

        fields: dict[str, Any] = {"cost": self.scope.cost, "tokens": self.scope.tokens}
        if self.asked is not None:
            fields |= self.asked.met(result)
        return self.scope.record(
            Entry(StepKind.RESULT, result_key(self.flow, self.identity), self.flow.name, fields, store=store)
        )

    # All of it

    def run(self) -> Any:
        """Run the flow to its end, which comes after that of the calls that it has begun in our threads."""
        with self.running():
            result = self.flow.function(*self._args, **self._kwargs)
            for take in list(self.book.under_way.values()):
                take()
            while self.book.under_way:
                time.sleep(_PAUSE)
            self.commit(result)
        return result

    async def run_async(self) -> Any:
        """As `run`, for a coroutine function."""
        with self.running():
            result = await self.flow.function(*self._args, **self._kwargs)
            if self.book.under_way:
                import asyncio  # noqa: PLC0415 - only for a coroutine

                for take in list(self.book.under_way.values()):
                    await asyncio.to_thread(take)
                while self.book.under_way:  # noqa: ASYNC110 - threads change it, which know of no loop
                    await asyncio.sleep(_PAUSE)
            self.commit(result)
        return result

    def run_here(self) -> Any:
        """Run the flow to its end in this thread, a coroutine in an event loop of its own."""
        if not inspect.iscoroutinefunction(self.flow.function):
            return self.run()
        import asyncio  # noqa: PLC0415 - only for a coroutine

        return asyncio.run(self.run_async())


# A run that did not complete while calls were under way in threads: they end and are recorded, and
# only then is the execution given back. Whoever goes on with it here waits for that, and is given them.

_PAUSE = 0.05
_ending: list[tuple[Identity, threading.Thread]] = []


def _end_later(turn: Turn, status: ExecutionStatus, reason: str | None) -> None:
    def end() -> None:
        while turn.book.under_way:
            time.sleep(_PAUSE)
        turn.give_back(status, reason)
        _ending.remove(entry)

    entry = turn.identity, threading.Thread(target=end, name=f"kitaru-nb-ending-{turn.execution}")
    _ending.append(entry)
    start(entry[1])


def _wait_for_ending(identity: Identity) -> None:
    for thread in [thread for known, thread in list(_ending) if known == identity]:
        thread.join()


# A flow inside an execution is a recorded call whose body is an execution of its own.


def call_flow(flow: Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a flow to its end: an execution of its own, or the recorded result of one."""
    scope = current_scope()
    if scope is None:
        turn = flow.turn(args, kwargs)
        try:
            return turn.run()
        except Suspended as suspended:
            raise flow.place.stopped(suspended, turn.execution) from None
    asked, found = _asked(flow, scope, args, kwargs)
    if found is not None:
        return asked.serve(found)
    inner = asked.begin()
    with asked.running():
        known = _known(flow, asked, args, kwargs)
        if isinstance(known, _Given):
            result = known.result
        else:
            turn = _child(flow, asked, args, kwargs, known)
            with _inside_of(scope, inner, turn):
                result = turn.run()
        asked.commit(result)
    return result


async def call_flow_async(flow: Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """As `call_flow`, for a coroutine function."""
    scope = current_scope()
    if scope is None:
        turn = flow.turn(args, kwargs)
        try:
            return await turn.run_async()
        except Suspended as suspended:
            raise flow.place.stopped(suspended, turn.execution) from None
    asked, found = _asked(flow, scope, args, kwargs)
    if found is not None:
        return asked.serve(found)
    inner = asked.begin()
    with asked.running():
        known = _known(flow, asked, args, kwargs)
        if isinstance(known, _Given):
            result = known.result
        else:
            turn = _child(flow, asked, args, kwargs, known)
            with _inside_of(scope, inner, turn):
                result = await turn.run_async()
        asked.commit(result)
    return result


def _asked(
    flow: Flow, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Call, Checkpoint | None]:
    asked = Call(scope, flow.function, Options(flow.name), args, kwargs)
    return asked, None if scope.repeated else asked.find()


def _within(scope: Scope, inner: Scope) -> str:
    return f"{scope.book.execution}/{inner.path}"


def _child(
    flow: Flow, asked: Call, args: tuple[Any, ...], kwargs: dict[str, Any], known: ExecutionId | None
) -> Turn:
    inner = asked.inner
    assert inner is not None
    turn = flow.turn(args, kwargs, execution=known, within=_within(asked.scope, inner), around=inner)
    turn.asked = asked
    _learn_spent(asked.scope, turn)
    return turn


@dataclass(frozen=True, slots=True)
class _Given:
    """A child that is not run again, and its result."""

    execution: ExecutionId
    result: Any


def _known(
    flow: Flow, asked: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Given | ExecutionId | None:
    """A child that had completed when its caller died.

    It is gone on with, and what it has called is given, where its result alone would not do: it was
    edited, it reads something else now, or its caller sees more of it, such as a list that it has changed.
    """
    inner = asked.inner
    if inner is None or asked.scope.repeated:
        return None
    journal = inner.book.engine.journal
    inputs = callee_of(flow.function).arguments(args, kwargs)
    identity = identity_of(flow, inputs, within=_within(asked.scope, inner))
    newest = journal.executions(identity=identity, limit=1)
    if not newest or newest[0].status is not ExecutionStatus.COMPLETED:
        return None
    execution, key = newest[0].id, result_key(flow, identity)
    for step in reversed(journal.steps_within(execution)):
        if step.draft.kind is StepKind.RESULT and step.draft.key == key:
            if not step.draft.data.get("alone") or not asked.fits(step):
                break
            inner.book.engine.trust.require([step])
            return _Given(execution, load_result(inner, step, namespace=flow.function.__globals__)[RESULT])
    return execution


@contextmanager
def _inside_of(scope: Scope, inner: Scope, turn: Turn) -> Iterator[None]:
    """A child execution runs: what it costs counts in the one that calls it, and that waits where it does."""
    try:
        yield
    except Suspended as suspended:
        inner.suspend(suspended)
        raise
    finally:
        _roll_up(scope, inner, turn)


def _roll_up(scope: Scope, inner: Scope, turn: Turn) -> None:
    journal = turn.engine.journal
    execution = journal.execution(turn.execution)
    inner.spend(execution.cost, execution.tokens)
    journal.roll_up(scope.book.attempt, turn.execution)


def _learn_spent(scope: Scope, turn: Turn) -> None:
    """What a child had cost that was killed with its caller: nobody has told the one that calls it now."""
    journal, budget = turn.engine.journal, scope.book.budget
    if not journal.execution(turn.execution).cost:
        return
    before = journal.execution(scope.book.execution).cost or 0.0
    journal.roll_up(scope.book.attempt, turn.execution)
    now = journal.execution(scope.book.execution).cost or 0.0
    if budget is not None:
        budget.give_back(Budget.nothing, Budget.exact(now - before))


# What a flow is called, and what it was called with


def identity_of(flow: Flow, inputs: Mapping[str, object], *, within: str | None) -> Identity:
    """What makes two runs of a flow the same run."""
    return Identity(
        flow=flow_label(flow.function, _notebook()),
        parameters=told_inputs(inputs, flow.function.__globals__),
        stack=flow.place.stack(),
        file=_file_of(flow.function, _notebook()),
        within=within,
    )


def result_key(flow: Flow, identity: Identity) -> CheckpointKey:
    """Equal where the flow's code and inputs are: its result is found by it."""
    look = callee_of(flow.function).look()
    told = repr(sorted(identity.parameters.items()))
    return CheckpointKey(blake3(f"flow\n{identity.flow}\n{look.code}\n{told}".encode()).hexdigest())


def flow_label(function: FunctionType, notebook: str | None) -> str:
    """``module:qualname``; a script's or notebook's module is called like its file."""
    module = function.__module__
    if module in _MAIN or module not in sys.modules:
        file = _file_of(function, notebook)
        spec = _spec_of(function)
        named = spec is not None and module in _MAIN  # python -m
        module = spec.name if named else Path(file).stem if file else "__main__"
    return f"{module}:{function.__qualname__}"


def _spec_of(function: FunctionType) -> Any:
    """What a main module was imported by: None for a script or notebook, else it was ``python -m``."""
    return function.__globals__.get("__spec__")


def _file_of(function: FunctionType, notebook: str | None) -> str | None:
    if function.__module__ not in _MAIN and function.__module__ in sys.modules:
        return None
    if function.__module__ in _MAIN and _spec_of(function) is not None:
        return None  # python -m module
    file = file_of(function.__globals__)
    # Python keeps the `..` of `python ../my_agent.py`, and from wherever it is begun it is one file.
    return notebook or (None if file is None else os.path.abspath(file))


def _notebook() -> str | None:
    scope = current_scope()
    return None if scope is None else scope.root.notebook


def is_flow_of(function: object, identity: Identity) -> bool:
    """Whether a function of this process is the flow of an execution on record."""
    plain = plain_function(function)
    if plain is function or type(plain) is not FunctionType:
        return False  # only a decorated function is a flow
    notebook = _notebook()
    file = None if identity.file is None else os.path.abspath(identity.file)
    return _file_of(plain, notebook) == file and flow_label(plain, notebook) == identity.flow


def told_inputs(inputs: Mapping[str, object], namespace: dict[str, Any]) -> dict[str, Any]:
    """Inputs as JSON: plain data as it is, anything else, and what holds a secret, by its digest."""
    notice_names(inputs)
    return {name: _told(value, namespace, name) for name, value in inputs.items()}


def _told(value: object, namespace: dict[str, Any], under: str) -> Any:
    if type(value) in _PLAIN and VAULT.mask_json(value, under) == value:
        return value
    if type(value) is list:
        return [_told(item, namespace, under) for item in value]
    if type(value) is dict and all(type(key) is str and VAULT.mask(key) == key for key in value):
        notice_names(value)
        return {key: _told(item, namespace, key) for key, item in value.items()}
    return {"type": kind_name(value), "digest": digest_by_kind({"": value}, namespace=namespace)}


def _status_after(error: BaseException) -> ExecutionStatus:
    if isinstance(error, Suspended):
        return ExecutionStatus.WAITING
    return ExecutionStatus.FAILED if isinstance(error, Exception) else ExecutionStatus.INTERRUPTED


def _reason(error: BaseException) -> str:
    text = VAULT.mask_shown(str(error)).partition("\n")[0]
    if isinstance(error, Suspended):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# Runs in the background


def _begin(flow: Flow, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FlowHandle:
    """Begin an execution in the background; in a flow or cell one of its own, which is never made twice."""
    scope = current_scope()
    if scope is None:
        return in_background(flow.turn(args, kwargs))
    if scope.parent is not None:
        message = f"`{flow.name}.run` inside a checkpoint would outlive it"
        raise UsageError(
            message, kind="bad-place", hint=f"{flow.name}(...) there, or {flow.name}.run in the flow"
        )
    asked = Call(scope, flow.function, Options(flow.name), args, kwargs)
    inner = asked.begin()
    known = _known(flow, asked, args, kwargs)
    if isinstance(known, _Given):
        return FlowHandle(flow, scope.book.engine, known.execution, result=known.result)
    turn = _child(flow, asked, args, kwargs, known)
    scope.book.under_way[turn] = lambda: None  # its own thread makes it
    return in_background(turn, lambda: _beside(scope, inner, turn))


@contextmanager
def _beside(scope: Scope, inner: Scope, turn: Turn) -> Iterator[None]:
    """A child execution runs beside the flow or cell that has begun it; a flow ends after it."""
    try:
        yield
    except Suspended as suspended:
        if scope.notebook is None:  # a cell may have come to its end by now
            inner.suspend(suspended)
        raise
    finally:
        try:
            _roll_up(scope, inner, turn)
        finally:
            scope.book.under_way.pop(turn, None)


class Defined(BaseException):
    """A script that is run for its definitions has come to where it calls a flow."""


class _Defining(threading.local):
    """Whether this thread runs a script for its definitions alone."""

    on = False

    def refuse(self) -> None:
        """End the script here, where it is run for its definitions."""
        if self.on:
            raise Defined


defining = _Defining()


def as_flow(function: FunctionType, name: str, place: Place) -> Any:
    """The decorated function: called as it was written, each run an execution."""
    note_script()
    flow = Flow(function, name, place)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            defining.refuse()
            return await call_flow_async(flow, args, kwargs)

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            defining.refuse()
            return call_flow(flow, args, kwargs)

    def run(*args: Any, **kwargs: Any) -> FlowHandle:
        """Begin an execution in the background."""
        defining.refuse()
        return _begin(flow, args, kwargs)

    wrapper.__kitaru_function__ = function  # type: ignore[attr-defined] # how the walk over code finds it
    wrapper.__kitaru_remake__ = ("kitaru_nb.stacks.flows:recorded", function, name)  # type: ignore[attr-defined] # what is stored of it
    wrapper.run = run  # type: ignore[attr-defined] # see FlowFunction
    return wrapper
