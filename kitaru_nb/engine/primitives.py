"""Small durable things: effects that happen once, keys, notes, saved values, streams."""

from __future__ import annotations

import inspect
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, TypeVar

from blake3 import blake3

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.alone import alone, alone_async
from kitaru_nb.engine.call import load_result, refuse_unstorable
from kitaru_nb.engine.callee import callee_of
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import current_scope, inside
from kitaru_nb.engine.outside import Outside
from kitaru_nb.engine.refs import RESULT, Ref
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, Group, StepKind
from kitaru_nb.model.execution import Execution

__all__ = ["Stream", "current_execution", "idempotency_key", "last_saved", "log", "once", "save", "stream"]

T = TypeVar("T")


def once(key: str, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Do one effect a single time in an execution, and give its recorded result ever after.

    The key is the effect's name in the whole execution, whatever cell or function asks for it.
    When this has returned, `fn` is never called for that key again, in a later attempt either. If
    the process dies after the effect and before its record, the next attempt does it again: give
    the other side ``idempotency_key(key)``, so that it can tell.

    Outside any execution `fn` is simply called.

    Args:
        key: Such as ``"charge order 17"``.
        fn: A plain function, or a coroutine function, whose result is then to be awaited.
        *args: For `fn`.
        **kwargs: For `fn`.

    Raises:
        UnstorableError: what `fn` returned cannot be stored.
        StoreError: nothing can be recorded, such as on a full disk; `fn` was not called.
        UsageError: `key` is no text.
    """
    if type(key) is not str or not key:
        message = f"the key of `once` is `{key!r}`, and has to be text"
        raise UsageError(message, kind="bad-key", hint='once("charge order 17", charge, order)')
    scope = current_scope()
    if scope is None:
        return fn(*args, **kwargs)
    if inspect.iscoroutinefunction(fn):
        return _once_async(scope, key, fn, args, kwargs)  # type: ignore[return-value] # T is the coroutine
    with alone(scope.book, key):
        found = scope.book.find_first(scope, _once_key(key))
        if found is not None:
            return _known(scope, found)  # type: ignore[no-any-return] # what fn returned
        scope.book.refuse_unrecordable()
        did = _Effect(scope, key)
        with inside(did.inner), did.outside.running(did.inner):
            result = fn(*args, **kwargs)
        did.keep(fn, result)
    return result


async def _once_async(
    scope: Scope, key: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    async with alone_async(scope.book, key):
        found = scope.book.find_first(scope, _once_key(key))
        if found is not None:
            return _known(scope, found)
        scope.book.refuse_unrecordable()
        did = _Effect(scope, key)
        with inside(did.inner), did.outside.running(did.inner):
            result = await fn(*args, **kwargs)
        did.keep(fn, result)
        return result


class _Effect:
    """One effect while it is done."""

    def __init__(self, scope: Scope, key: str) -> None:
        self._scope, self._key = scope, key
        self.inner = scope.inner("once", _once_key(key)[:16], alone=True)
        self.outside = Outside(key, scope)

    def keep(self, fn: Callable[..., Any], result: object) -> None:
        """Put it on record, with the files that it wrote."""
        self.inner.refuse_suspended()
        kept = _keep(
            self._scope,
            StepKind.ONCE,
            _once_key(self._key),
            self._key,
            result,
            inner=self.inner,
            files=lambda written: self.outside.store_files(_told_by(fn), written),
        )
        self.outside.recorded(kept)


def _told_by(fn: Callable[..., Any]) -> str:
    """What tells whether `fn` writes files: its source, or where it is a library's own its name."""
    return callee_of(fn).source if isinstance(fn, FunctionType) else str(getattr(fn, "__qualname__", ""))


def _once_key(key: str) -> CheckpointKey:
    return CheckpointKey(blake3(f"once\n{key}".encode("utf-8", "surrogatepass")).hexdigest())


def _known(scope: Scope, found: Checkpoint) -> Any:
    scope.book.engine.trust.require([found])
    result = load_result(scope, found, namespace={})[RESULT]
    Outside(found.draft.name, scope).take(found)
    return result


def _keep(
    scope: Scope,
    kind: StepKind,
    key: CheckpointKey,
    name: str,
    result: object,
    *,
    inner: Scope | None = None,
    files: Callable[[Written], Mapping[str, Any]] = lambda _: {},
) -> Checkpoint:
    """Put a value on record under `name`; `files` gives what of files belongs to it."""
    label = RESULT if kind is StepKind.ONCE else name

    def store() -> tuple[Mapping[str, Any], Written]:
        stored = scope.book.engine.put({label: result}, namespace={})
        refuse_unstorable(name, stored, result)
        value = digest_values({label: result}, namespace={})
        written = Written()
        return {"groups": (Group((label,), written.add(stored), value),), **files(written)}, written

    fields: dict[str, Any] = {}
    if inner is not None:
        fields = {"cost": inner.cost, "tokens": inner.tokens, "data": {"path": inner.path}}
    return scope.record(Entry(kind, key, name, fields, store=store))


def idempotency_key(name: str) -> str:
    """A key for `name` that is the same in every attempt of this execution, and in no other one.

    Hand it to a payment provider or queue, so that an effect that was done just before a crash is
    not done twice.

    Raises:
        UsageError: outside any execution there is no such key.
    """
    scope = _scope_for(f'idempotency_key("{name}")')
    told = f"idempotency\n{scope.book.execution}\n{name}"
    return f"{name[:40]}-{blake3(told.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def log(**values: object) -> None:
    """Note values on the running cell, flow or checkpoint; `show`, `logs` and a grid's table tell them.

    What is noted again by a later attempt of the same place is there once. Values that are no JSON
    are noted as text. Outside any execution nothing is noted.
    """
    scope = current_scope()
    if scope is None:
        return
    noted = {name: VAULT.mask_json(_plain(value), name) for name, value in values.items()}
    _note(scope, "log", {"log": noted})


def _note(scope: Scope, name: str, data: Mapping[str, Any]) -> None:
    told = json.dumps([name, data], sort_keys=True)
    key = CheckpointKey(blake3(f"note\n{told}".encode("utf-8", "surrogatepass")).hexdigest())
    if scope.find(key, lambda each: each.draft.scope == scope.path) is None:
        scope.record(Entry(StepKind.VALUE, key, name, {"data": dict(data)}))


def _plain(value: object) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return VAULT.mask_shown(repr(value)[:2000])


def save(name: str, value: object) -> str:
    """Keep a value under a name of your own; gives the reference that `load` takes.

    It is durable when this returns. Saved again with another value, the newest counts, and the
    older ones stay on record.

    Args:
        name: A Python name.
        value: Anything that can be stored.

    Returns:
        ``EXECUTION/NAME/NAME``, with ``#n`` from the second value of that name on.

    Raises:
        UnstorableError: the value, or a part of it, cannot be stored.
        UsageError: `name` is no name; or this is outside any execution.
    """
    if type(name) is not str or not name.isidentifier():
        message = f"`{name}` is no name for a saved value"
        raise UsageError(message, kind="bad-name", hint='save("draft", text)')
    scope = _scope_for(f'save("{name}", ...)')
    digest = digest_values({"": value}, namespace={})
    key = CheckpointKey(blake3(f"save\n{name}\n{digest}".encode()).hexdigest())
    return _ref_of(scope, scope.find(key) or _keep(scope, StepKind.VALUE, key, name, value))


def last_saved(name: str) -> str | None:
    """The reference of what the running execution has saved last under a name, up to where it is.

    What an earlier attempt has saved further on is still to come. None where nothing was saved
    so far, and outside any execution.
    """
    scope = current_scope()
    if scope is None:
        return None
    found = next(filter(scope.is_past, scope.book.saved(name)), None)
    return None if found is None else _ref_of(scope, found)


def _ref_of(scope: Scope, saved: Checkpoint) -> str:
    return str(Ref(saved.execution, scope.book.labels.label(saved), saved.draft.name))


class Stream:
    """Events of the running execution, kept as they come.

    Args:
        name: What the stream is called.
        scope: Where it is written; else where it is used.
    """

    def __init__(self, name: str, scope: Scope | None = None) -> None:
        self.name = name
        if scope is not None:
            _written_in[self] = scope  # no part of it for who looks at what it holds

    @property
    def _scope(self) -> Scope:
        scope = _written_in.get(self)
        return _scope_for(f'stream("{self.name}")') if scope is None or scope.book.ended else scope

    def __reduce__(self) -> Any:
        """It is written where it is used, once it has been stored."""
        return Stream, (self.name,)

    def append(self, event: object) -> None:
        """Add one event, a JSON value; durable when this returns.

        An event that an earlier attempt of the same place appended is there once.
        """
        _note(self._scope, self.name, {"stream": self.name, "event": VAULT.mask_json(_plain(event))})

    def __iter__(self) -> Iterator[Any]:
        """The events so far, in order; what an earlier attempt has appended further on is still to come."""
        for each in self._scope.book.results():
            if each.draft.data.get("stream") == self.name and self._scope.is_past(each):
                yield each.draft.data["event"]


_written_in: weakref.WeakKeyDictionary[Stream, Scope] = weakref.WeakKeyDictionary()


def stream(name: str) -> Stream:
    """A stream of events of the running execution, such as tokens or progress.

    Raises:
        UsageError: outside any execution.
    """
    return Stream(name, _scope_for(f'stream("{name}")'))


def current_execution() -> Execution | None:
    """The execution that this code runs in, as the journal has it now; None outside of any."""
    scope = current_scope()
    return None if scope is None else scope.book.engine.journal.execution(scope.book.execution)


def _scope_for(what: str) -> Scope:
    scope = current_scope()
    if scope is None:
        raise UsageError(
            f"`{what}` belongs to an execution, and none runs here",
            kind="outside-execution",
            hint="%load_ext kitaru_nb in a notebook, or @kt.flow above the function",
        )
    return scope
