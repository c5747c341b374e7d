"""One call of a recorded function: found on record and served, or made and recorded."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import AsyncGeneratorType, CellType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from blake3 import blake3

from kitaru_nb.artifacts.digest import digest_by_kind, digest_values, opaque_in
from kitaru_nb.artifacts.foreign import judging
from kitaru_nb.artifacts.kinds import ATOMS, is_immutable_atom, kind_name
from kitaru_nb.artifacts.marker import Marker, is_marker, marker_details, marker_hint
from kitaru_nb.artifacts.pickle_codec import referring
from kitaru_nb.artifacts.ties import Tie, tied
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.engine.callee import Callee, Look, callee_of, variable
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import turn_now, turn_of
from kitaru_nb.engine.effects import Effects, Left, objects_in
from kitaru_nb.engine.history import origin_of
from kitaru_nb.engine.outside import Outside
from kitaru_nb.engine.refs import RESULT
from kitaru_nb.engine.replay import Override, Replay
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.engine.secrecy import notice_names
from kitaru_nb.errors import UnstorableError, UsageError, suspended_in
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Group, StepKind

__all__ = ["Call", "Options", "call_key", "called_name", "load_result", "refuse_unstorable"]

_left: dict[tuple[str, int], tuple[str, tuple[weakref.ref[Any], ...]]] = {}
"""By the label and address of a global: its digest as the last recorded call of this process left it.

With the flow or cell that call was in and the thread or task it was made in; nothing where it was left
as an attempt before has made it.
"""

_UNBOUND = object()
_FLOWING = (GeneratorType, AsyncGeneratorType, CoroutineType, map, filter, zip, enumerate, reversed)
"""What is used up by looking at it; over plain data the last ones can be looked at all the same."""
_left_lock = threading.Lock()
_MOST_LEFT = 10_000

_NAME = re.compile(r"[^\W\d][\w.-]*")


@dataclass(frozen=True, slots=True)
class Options:
    """How calls of one function are made and recorded."""

    name: str
    retries: int = 0
    reuse: bool = False
    timeout: float | None = None
    backoff: float = 1.0


def called_name(function: Callable[..., Any], name: str | None) -> str:
    """What the calls of a function are called.

    Raises:
        UsageError: kind ``bad-name``.
    """
    found = str(name) if name is not None else function.__name__
    if found == "<lambda>":
        found = "function"
    if not _NAME.fullmatch(found) or not isinstance(name, str | None):
        message = f"`{found}` cannot be the name of a checkpoint"
        raise UsageError(
            message, kind="bad-name", hint="letters, digits, `_`, `-` and `.`, such as fetch-rows"
        )
    return found


def call_key(name: str, code: Digest, arguments: str) -> CheckpointKey:
    """What the record of a call is found by."""
    return CheckpointKey(blake3(f"call\n{name}\n{code}\n{arguments}".encode()).hexdigest())


class Call(ProcessBound):
    """A call that is about to be made in a scope: what decides it, and what may be found of it.

    Args:
        scope: Where it belongs.
        function: The function, undecorated.
        options: How it is to be recorded.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        identity: What it is told apart by in place of its arguments.
    """

    def __init__(
        self,
        scope: Scope,
        function: FunctionType,
        options: Options,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        identity: str | None = None,
    ) -> None:
        self.scope = scope
        self.options = options
        self._callee: Callee = callee_of(function)
        given = self._callee.arguments(args, kwargs)
        notice_names(given)
        self._objects: dict[str, list[Any]] = {}
        self._look: Look = self._look_at(given)
        self._globals = _globals_of(self._look)
        self._roots: dict[str, object] = {**given, **self._globals}
        # A default that calls change is one of the things that they read, not what they are told apart by.
        mutable = {name for name, value in given.items() if not is_immutable_atom(value)}
        self._defaults = mutable and mutable & self._callee.defaulted(args, kwargs)
        self._refuse_markers()
        self._refuse_flowing(given)
        self._digests = {name: self._digest(value) for name, value in self._roots.items()}
        told = self._told(given) if identity is None else f"as {identity!r}"
        self.key = call_key(options.name, self._look.code, told)
        self._label = blake3((self._told_of(given) if identity is None else told).encode()).hexdigest()[:16]
        self.place = scope.next_place(options.name)
        self._effects = Effects(self._roots, self._digests, self._digest, self._objects, self._look)
        self._outside = Outside(options.name, scope)
        self._started_at, self._started = datetime.now(UTC), time.perf_counter()
        self._after = 0
        self.inner: Scope | None = None

    def _look_at(self, given: Mapping[str, object]) -> Look:
        """What the call reaches, also by functions and classes that its arguments and globals hold."""
        look, codes = self._callee.look(), dict[int, Any]()
        while True:
            known = len(codes)
            for name, value in {**given, **_data_of(look)}.items():
                if name not in self._objects and type(value) not in ATOMS:
                    self._objects[name] = objects_in(value)
                    codes |= self._callee.codes_in(self._objects[name])
            if len(codes) == known:
                return look
            look = self._callee.look_at(sorted(codes.values(), key=_place))

    def _refuse_markers(self) -> None:
        for name, value in self._look.data.items():
            if is_marker(value):
                _, kind, reason = marker_details(value)
                what = f"could not be stored: {reason}" if kind else reason
                message = f"`{self.options.name}` reads `{name}`, which {what}"
                hint = (
                    marker_hint(value)
                    or (f"%resume --remake {name}, or " if kind else "") + "run its cell again"
                )
                raise UnstorableError(message, kind="reads-marker", hint=hint)

    def _refuse_flowing(self, given: Mapping[str, object]) -> None:
        for name, value in {**given, **self._look.data}.items():
            held = _content(value) if type(value) is CellType else value
            if isinstance(held, _FLOWING) and opaque_in(
                digest_values({"": held}, namespace=self._callee.scope)
            ):
                called = self.options.name
                message = (
                    f"`{called}` is given `{name}`, a {kind_name(held)}: what that yields cannot be told"
                )
                hint = (
                    f"{called}(list({name}))" if name in given else f"{name} = list({name}) before the call"
                )
                raise UnstorableError(message, kind="unstorable-argument", hint=hint)

    def _digest(self, value: object) -> str:
        if type(value) is CellType:
            value = _content(value)
            if value is _UNBOUND:
                return "unbound"
        # Of an open connection only its kind counts: which one it is differs from attempt to attempt.
        return digest_by_kind({"": value}, namespace=self._callee.scope)

    def _told(self, given: Mapping[str, object]) -> str:
        parts = [self._told_of(given)]
        mutable = {
            name: value
            for name, value in given.items()
            if name not in self._defaults and not is_immutable_atom(value)
        }
        if len(mutable) > 1:  # whether they share objects counts, too
            parts.append(digest_by_kind(mutable, namespace=self._callee.scope))
        return "\n".join(parts)

    def _told_of(self, given: Mapping[str, object]) -> str:
        return "\n".join(f"{name}={self._digests[name]}" for name in given if name not in self._defaults)

    # Served

    def find(self) -> Checkpoint | None:
        """The result on record that this call is to have; it is consumed."""
        replay = self.scope.book.replay
        override = None if replay is None else replay.override(self.options.name, self.place)
        if replay is not None and override is not None:
            return self._overridden(replay, override)
        found = self.scope.find(self.key, self.fits)
        if found is None and self.options.reuse and not (replay is not None and replay.is_named(self.place)):
            found = self._elsewhere()
        if found is not None:
            self.scope.book.engine.trust.require([found])
            self._note_held(found)
        return found

    def _note_held(self, found: Checkpoint) -> None:
        draft = found.draft
        if "counts" not in draft.data or draft.result:  # early versions kept what is tied in its place
            self.scope.book.note_held(found)

    def fits(self, found: Checkpoint) -> bool:
        """Whether what the call reads besides its arguments is as it was then.

        What it changed itself, such as a counter, may also be as recorded calls have left it: a later
        attempt in the same process finds that changed already.
        """
        changed = found.draft.data.get("changed", ())
        reads = found.draft.reads
        return all(
            self._digests[name] == reads.get(name) or (name in changed and self._is_left(name))
            for name in self._globals
        )

    def _is_left(self, name: str) -> bool:
        """Whether a global is now what recorded calls of this process have made of it, before this run.

        A call that this run has made, or was given, is no reason: one after it finds what that has left.
        """
        digest, by = _left.get(self._kept_as(name, self._globals[name]), ("", ()))
        if digest != self._digests[name]:
            return False
        return not by or not self._comes_after(*(each() for each in by))

    def _kept_as(self, name: str, value: object) -> tuple[str, int]:
        return name, id(self._callee.scope) if is_immutable_atom(value) else id(value)

    def _comes_after(self, root: object, turn: object) -> bool:
        """Whether a call of this run, made in a thread or task, comes before this one in each attempt."""
        if root is not self.scope.root:
            return False
        here, body = turn_now(), turn_of(self.scope.root)
        return here is body or turn is body or (turn is here and isinstance(here, asyncio.Task))

    def _note_left(self, moved: AbstractSet[str] = frozenset()) -> None:
        """Remember how this call has left what it may change, but for what an earlier attempt has `moved`."""
        by = weakref.ref(self.scope.root), weakref.ref(turn_now())
        for name, value in _globals_of(self._look).items():
            digest = self._digest(value)
            key = self._kept_as(name, value)
            if digest != self._digests.get(name) or _left.get(key, (digest,))[0] != digest:
                _remember(key, digest, () if name in moved else by)

    def _overridden(self, replay: Replay, override: Override) -> Checkpoint:
        """What a replay was told to give in place of this call's result; on record as that.

        Its key is another one than the call's, so that nobody else takes it for a result.
        """
        key = CheckpointKey(blake3(f"overridden\n{self.key}".encode()).hexdigest())
        found = self.scope.find(key)
        if found is not None:
            return found
        engine, namespace = self.scope.book.engine, self._callee.scope

        def store() -> tuple[Mapping[str, Any], Written]:
            with tied(Tie.SERVED):
                given = engine.get(replay.values[override.key], namespace=namespace)[override.key]
            written = Written()
            stored = engine.put({RESULT: given}, namespace=namespace)
            value = digest_values({RESULT: given}, namespace=namespace)
            return {"groups": (Group((RESULT,), written.add(stored), value),)}, written

        fields = {"code": self._look.code, "reads": self._read()}
        data = {"path": "", "place": self.place, "after": self.scope.book.newest, "overridden": True}
        entry = Entry(StepKind.CALL, key, self.options.name, {**fields, "data": data}, store=store)
        return self.scope.record(entry, status=CheckpointStatus.RESTORED)

    def _read(self) -> dict[str, Digest]:
        return {name: Digest(digest) for name, digest in self._digests.items()}

    def _elsewhere(self) -> Checkpoint | None:
        """The newest result of this call in any other execution, from now on on record in this one."""
        book = self.scope.book
        found = book.elsewhere(self.key, lambda each: each.draft.kind is StepKind.CALL and self.fits(each))
        if found is None:
            return None
        book.engine.trust.require([found])
        draft, self._after = found.draft, book.newest
        entry = Entry(
            StepKind.CALL,
            self.key,
            draft.name,
            {"code": draft.code, "origin": origin_of(found), "groups": draft.groups, "reads": draft.reads}
            | {"result": draft.result}
            | {"data": {**draft.data, **self._where("")}, "cost": draft.cost, "tokens": draft.tokens}
            | {"process": draft.process, "files": draft.files},
        )
        return book.record(self.scope, entry, status=CheckpointStatus.RESTORED, duration=draft.duration)

    def serve(self, found: Checkpoint) -> Any:
        """The recorded result, with what the call changed put back into the caller's objects.

        Raises:
            CorruptError: stored bytes are damaged; nothing was changed.
            UnstorableError: kind ``not-put-back``: what it changed cannot be put back.
        """
        told, called = found.draft.data, self.options.name
        self.scope.charge(found)
        if "counts" not in told:
            result = self._loaded(found)[RESULT]
            self._outside.put_back(found)
            return result
        moved = {name for name in self._globals if self._digests[name] != found.draft.reads.get(name)}
        with referring(self._effects.present(called, told["present"], told["counts"], moved)):
            stored = self._loaded(found)
        self._outside.put_back(found)
        self._effects.put(called, stored["left"], moved)
        if told.get("changed"):
            self._note_left(moved)
        return stored[RESULT]

    def _loaded(self, found: Checkpoint) -> Mapping[str, Any]:
        return load_result(self.scope, found, namespace=self._callee.scope)

    # Made

    def begin(self) -> Scope:
        """The call is to be made, by `running`, here or in another thread: the scope of what happens in it.

        Raises:
            KeyboardInterrupt: what is around it was stopped.
        """
        self.scope.refuse_stopped()
        self._effects.take()
        self._after = self.scope.book.newest
        self.inner = self.scope.inner(self.options.name, self._label, place=self.place)
        return self.inner

    @contextmanager
    def running(self) -> Iterator[None]:
        """The call that has begun runs inside the block, and is put on record there.

        Raises:
            KeyboardInterrupt: what is around it was stopped before.
            StoreError: it could not be put on record; it has not begun.
        """
        assert self.inner is not None
        self.scope.refuse_stopped()
        self.scope.book.refuse_unrecordable()
        self._started_at, self._started = datetime.now(UTC), time.perf_counter()
        with self._outside.running(self.inner):
            yield

    def commit(self, result: object) -> Checkpoint:
        """Put the call on record. When this returns it is never made again in this execution.

        Raises:
            UnstorableError: its result cannot be stored, or what it changed not be put back.
            StoreError: the disk refused; nothing is on record.
            Suspended: something in it waits, though its code went on.
        """
        assert self.inner is not None
        self.inner.refuse_suspended()
        self.scope.book.refuse_loss()
        duration = time.perf_counter() - self._started
        left = self._effects.left(self.options.name)
        if left is not None:
            self._note_left()
        data = self._where(self.inner.path)
        entry = Entry(
            StepKind.CALL,
            self.key,
            self.options.name,
            {
                "code": self._look.code,
                "source": self._callee.source if self.scope.book.is_new(self._look.code) else "",
                "reads": self._read(),
                "cost": self.inner.cost,
                "tokens": self.inner.tokens,
            },
            store=lambda: self._store(result, left, data),
        )
        checkpoint = self.scope.record(entry, started_at=self._started_at, duration=duration)
        self._outside.recorded(checkpoint)
        self._note_held(checkpoint)
        return checkpoint

    def met(self, result: object) -> dict[str, Any]:
        """For the record of a flow that is its body: what it reads, and whether its result says all of it."""
        try:
            tied = self._effects.left(self.options.name) or self._effects.shared(result)
        except UnstorableError:  # whoever has called it says so, where that matters
            return {"reads": self._read(), "data": {"alone": False}}
        return {"reads": self._read(), "data": {"alone": tied is None}}

    def _where(self, path: str) -> dict[str, Any]:
        """The scope of what happened in the call, its place, and what was on record before it."""
        return {"path": path, "place": self.place, "after": self._after}

    def _store(
        self, result: object, left: Left | None, data: dict[str, Any]
    ) -> tuple[Mapping[str, Any], Written]:
        engine, namespace = self.scope.book.engine, self._callee.scope
        value = digest_values({RESULT: result}, namespace=namespace)
        written = Written()
        with judging(self.scope.book.trial):
            tied = left or self._effects.shared(result)
            if tied is None:
                stored = engine.put({RESULT: result}, namespace=namespace)
                refuse_unstorable(self.options.name, stored, result)
                fields: dict[str, Any] = {"groups": (Group((RESULT,), written.add(stored), value),)}
            else:
                stored, more = tied.store(engine, result, namespace=namespace)
                data |= more
                refuse_unstorable(self.options.name, stored, result)
                served = f"artifact:{written.add(stored)}"
                fields = {"groups": (self._by_value(result, value, written),), "result": served}
        if left is not None:
            data |= {"changed": sorted([*left.after, *(f"global {label}" for label in left.bound)])}
        return {**fields, "data": data, **self._outside.store(self._callee, written)}, written

    def _by_value(self, result: object, value: Digest, written: Written) -> Group:
        """A result that is tied to what was there, as it is to be read: by itself, as the call left it.

        One that an earlier call gave is on record already. One that cannot be stored so is no error:
        serving the call does not need it.
        """
        book = self.scope.book
        known = book.held_as(value)
        if known is not None:
            written.needs.add(known)
            return Group((RESULT,), known, value)
        try:
            stored = book.engine.put({RESULT: result}, namespace=self._callee.scope)
        except UnstorableError as error:
            instead = Marker(RESULT, kind_name(result), error.message)
            stored = book.engine.put({RESULT: instead}, namespace=self._callee.scope)
            return Group((RESULT,), written.add(stored), value, unstorable={RESULT: error.message})
        return Group((RESULT,), written.add(stored), value, unstorable=stored.unstorable)

    def again(self) -> Scope:
        """The call failed and is made once more; what came to its end inside it is given again."""
        assert self.inner is not None
        self.inner.refuse_stopped()
        self.scope.book.refuse_unrecordable()
        self.inner = self.inner.once_more()
        self._outside.go_on(self.inner)
        self._started_at, self._started = datetime.now(UTC), time.perf_counter()
        return self.inner

    def stop(self) -> None:
        """The stop button was pressed, and not heard in this call's thread: it begins nothing more."""
        if self.inner is not None:
            self.inner.stopped = True

    def hold_end(self, take: Callable[[], None]) -> None:
        """A thread of ours makes the call, or `take` does: its execution does not end before that."""
        self.scope.book.under_way[self] = take

    def let_end(self) -> None:
        """The call has been made, or never will be."""
        self.scope.book.under_way.pop(self, None)

    def failed(self, error: BaseException) -> None:
        """Put on record that the call raised; no later attempt is given that."""
        self._note_left()
        did = self._outside.failed()
        if suspended_in(error) is not None:
            return
        entry = Entry(
            StepKind.CALL,
            self.key,
            self.options.name,
            {
                "code": self._look.code,
                "error": {"ename": type(error).__name__, "evalue": str(error)},
                "data": self._where(self.inner.path if self.inner is not None else ""),
                **did,
            },
        )
        duration = time.perf_counter() - self._started
        self.scope.record(
            entry, status=CheckpointStatus.FAILED, started_at=self._started_at, duration=duration
        )


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return _UNBOUND


def _remember(key: tuple[str, int], digest: str, by: tuple[weakref.ref[Any], ...]) -> None:
    with _left_lock:
        _left.pop(key, None)
        _left[key] = digest, by
        if len(_left) > _MOST_LEFT:  # without the oldest a later attempt here makes its call again
            del _left[next(iter(_left))]


def _place(code: Any) -> tuple[str, str]:
    return str(code.__module__), code.__qualname__


def _data_of(look: Look) -> dict[str, object]:
    return {f"global {name}": value for name, value in look.data.items()}


def _globals_of(look: Look) -> dict[str, object]:
    """What the function reads besides its arguments, with plain values that it may itself have changed."""
    found = _data_of(look)
    for label, place in look.bindings.items():
        value = variable(*place)
        if is_immutable_atom(value):
            found.setdefault(f"global {label}", value)
    return found


def load_result(scope: Scope, found: Checkpoint, *, namespace: dict[str, Any]) -> Mapping[str, Any]:
    """The stored values that a recorded call is served from."""
    kind, _, digest = (found.draft.result or "").partition(":")
    artifact = Digest(digest) if kind == "artifact" else found.draft.groups[0].artifact
    with tied(Tie.SERVED):
        return scope.book.engine.get(artifact, namespace=namespace)


def refuse_unstorable(called: str, stored: Stored, result: object) -> None:
    """A result that cannot be stored is an error at once, not at the next attempt.

    Raises:
        UnstorableError: kind ``unstorable-result``.
    """
    for reason in stored.unstorable.values():
        message = f"`{called}` returned {kind_name(result)}, which cannot be stored: {reason}"
        hint = f"let `{called}` return plain data, and make the rest with @kt.resource"
        raise UnstorableError(message, kind="unstorable-result", hint=hint)
