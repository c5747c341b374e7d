"""Things of one process that carry no value worth keeping and are made again by themselves.

Locks come back free, pools without threads, queues with their content, context variables and
thread-local data with what this thread sees. Nobody waits on what was made again: whoever
waited before died with the old process.

The public names here are part of the stored format: pickles refer to them, so they may not
move or change their meaning.
"""

from __future__ import annotations

import asyncio
import asyncio.mixins
import collections
import concurrent.futures
import contextvars
import copyreg
import decimal
import importlib
import logging
import multiprocessing
import queue
import random
import re
import ssl
import struct
import sys
import threading
import types
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from kitaru_nb.artifacts.functions import make_lru, trying
from kitaru_nb.artifacts.notes import say_made
from kitaru_nb.artifacts.ties import Tie, current_tie
from kitaru_nb.model.referents import referents

__all__ = [
    "EXACT",
    "NOTED",
    "RUNTIME",
    "Unstorable",
    "is_shared",
    "live_decimals",
    "made_anew",
    "make_contextvar",
    "make_local",
    "make_match",
    "make_proxy",
    "make_queue",
    "make_weakref",
    "reduce_runtime",
    "reduce_shared",
]


class Unstorable(Exception):  # noqa: N818 - a finding, turned into a marker by the caller
    """An object that cannot be stored; the text says why."""


RUNTIME: tuple[type, ...] = (
    *(threading.Condition, threading.Barrier, threading.local, asyncio.mixins._LoopBoundMixin),
    *(concurrent.futures.Future, logging.FileHandler),
)
"""Kinds whose attributes hold what only their own process can use, subclasses included."""

_UNSET = object()


def made_anew(kind: str, arguments: tuple[Any, ...], state: str) -> Any:
    """One thing of `kind` made again.

    Args:
        kind: What it is called in `_MAKERS`, and by its user.
        arguments: What it is made from.
        state: What is different from before, in words; no part of its identity.
    """
    made = _MAKERS[kind](*arguments)
    say_made(kind, state)
    return made


NOTED: dict[int, int] = {object.__hash__(made_anew): 2, object.__hash__(make_lru): 3}
"""Makers, by identity, with an argument that only tells how things stood, and its place."""


def reduce_runtime(obj: Any) -> Any:
    """How an instance of one of the `RUNTIME` kinds or of a subclass is stored."""
    if isinstance(obj, threading.local):
        return _reduce_local(obj)
    if isinstance(obj, threading.Barrier):
        return made_anew, ("threading.Barrier", (obj._parties, obj._action, obj._timeout), "")  # type: ignore[attr-defined]
    if isinstance(obj, concurrent.futures.Future):
        return _reduce_future(obj)
    state = dict(vars(obj))
    if isinstance(obj, logging.FileHandler):
        if state.get("stream") is not None:
            state["stream"] = None  # it opens its file again with the next record
        state["mode"] = str(state["mode"]).replace("w", "a")  # without emptying it
    else:
        state.pop("_loop", None)
        for waiting in ("_waiters", "_getters", "_putters"):
            if waiting in state:
                state[waiting] = None if state[waiting] is None else collections.deque()
        if isinstance(obj, asyncio.Lock):
            state.update(_locked=False, _waiters=None)
        elif isinstance(obj, asyncio.Semaphore):
            state["_waiters"] = None
            state["_value"] = state.get("_bound_value", state["_value"])
    return copyreg.__newobj__, (type(obj),), state  # type: ignore[attr-defined] # typeshed lacks it


def _lock(kind: str) -> Callable[[Any], Any]:
    def reduce(lock: Any) -> Any:
        held = lock.locked() if hasattr(lock, "locked") else repr(lock).startswith("<locked")
        return made_anew, (kind, (), "it was held and is free" if held else "")

    return reduce


def _reduce_future(future: Any) -> Any:
    if not future.done():
        raise Unstorable("it was not done when it was stored")
    state = {**vars(future), "_waiters": [], "_done_callbacks": []}
    return copyreg.__newobj__, (type(future),), state  # type: ignore[attr-defined] # typeshed lacks it


def _reduce_local(local: Any) -> Any:
    made = type(local).__init__
    if made is not object.__init__ and (
        type(made) is not types.FunctionType or made.__code__.co_argcount - len(made.__defaults__ or ()) > 1
    ):
        raise Unstorable("it is thread-local and wants arguments to be made again")
    return make_local, (type(local), dict(vars(local)))


def make_local(cls: Any, values: dict[str, Any]) -> Any:
    """Thread-local data with what the thread that stored it saw."""
    made = cls()
    vars(made).clear()
    vars(made).update(values)
    return made


def is_shared(cls: type) -> bool:
    """Whether instances of `cls` are shared with other processes, or are a pool of them."""
    return cls.__module__ in {"multiprocessing.synchronize", "multiprocessing.pool"}


def reduce_shared(lock: Any) -> Any:
    """How a lock between processes, or a pool of threads, is stored."""
    kind = type(lock).__name__
    if kind == "ThreadPool":
        how = (lock._processes, lock._initializer, lock._initargs)
        return made_anew, ("multiprocessing.pool.ThreadPool", how, "without the work it had")
    if kind == "Event":
        return made_anew, ("multiprocessing.Event", (lock.is_set(),), "")
    if kind not in {"Lock", "RLock", "Semaphore", "BoundedSemaphore"}:
        raise Unstorable("it is shared with other processes")
    bounded = kind == "BoundedSemaphore"
    arguments = (lock._semlock.maxvalue if bounded else lock.get_value(),) if "Semaphore" in kind else ()
    return made_anew, (f"multiprocessing.{kind}", arguments, "")


# --- values that pickle has no way for ------------------------------------------------------


def _reduce_queue(found: Any) -> Any:
    """The content of a SimpleQueue, without taking anything out of it."""
    size = found.qsize()
    parts = [part for part in referents(found) if part is not type(found)]
    if len(parts) == 1 and type(parts[0]) is list and len(parts[0]) >= size:
        parts = parts[0][len(parts[0]) - size :] if size else []
    if len(parts) != size:
        raise Unstorable("its content cannot be seen")
    return make_queue, (parts,)


def make_queue(items: list[Any]) -> Any:
    """A SimpleQueue with these items."""
    made: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in items:
        made.put(item)
    return made


def _reduce_match(match: Any) -> Any:
    span = (match.start(), match.endpos)
    for way in ("match", "fullmatch"):
        again = getattr(match.re, way)(match.string, *span)
        if again is not None and again.regs == match.regs:
            return make_match, (match.re, way, match.string, *span)
    raise Unstorable("matching again gives something else")


def make_match(pattern: Any, way: str, string: Any, start: int, end: int) -> Any:
    """The match again, by matching again where it began."""
    return getattr(pattern, way)(string, start, end)


def _reduce_weakref(ref: Any) -> Any:
    return make_weakref, (ref(),) if ref.__callback__ is None else (ref(), ref.__callback__)


def make_weakref(target: Any, callback: Any = None) -> Any:
    """A weak reference to `target`; a dead one for None."""
    return weakref.ref(target if target is not None else _Gone(), callback)


def _reduce_proxy(proxy: Any) -> Any:
    try:
        return make_proxy, (proxy.__repr__.__self__,)
    except ReferenceError:
        return make_proxy, (None,)


def make_proxy(target: Any) -> Any:
    """A weak proxy of `target`; a dead one for None."""
    return weakref.proxy(target if target is not None else _Gone())


def _reduce_decimals(context: decimal.Context) -> Any:
    value: Any = context.__reduce__()
    return (live_decimals, value[1]) if context is decimal.getcontext() else value


def live_decimals(*how: Any) -> decimal.Context:
    """The context in which this thread computes, as it was; for a mere look a copy of it."""
    stored = decimal.Context(*how)
    if getattr(trying, "on", False) or current_tie() not in (Tie.RESTORED, Tie.SERVED):
        return stored
    context = decimal.getcontext()
    for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
        setattr(context, name, getattr(stored, name))
    context.flags.update(stored.flags)
    context.traps.update(stored.traps)
    return context


class _Gone:
    __slots__ = ("__weakref__",)


def _reduce_contextvar(variable: contextvars.ContextVar[Any]) -> Any:
    known = _module_variable(variable)
    if known is not None:
        return _attribute_of, known
    default: tuple[Any, ...]
    try:
        default = (contextvars.Context().run(variable.get),)
    except LookupError:
        default = ()
    value = (variable.get(),) if variable in contextvars.copy_context() else ()
    return make_contextvar, (variable.name, default, value)


def make_contextvar(
    name: str, default: tuple[Any, ...], value: tuple[Any, ...]
) -> contextvars.ContextVar[Any]:
    """A context variable, set as it was."""
    made: contextvars.ContextVar[Any] = (
        contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
    )
    if value:
        made.set(value[0])
    return made


def _module_variable(variable: Any) -> tuple[str, str] | None:
    """Where a library keeps this very variable: a copy would not be the one it reads."""
    key = object.__hash__(variable)
    if key not in _variables:
        found = None
        for module_name, module in list(sys.modules.items()):
            if module_name not in ("__main__", "__mp_main__") and type(module) is types.ModuleType:
                name = next((n for n, v in list(vars(module).items()) if v is variable), None)
                if name is not None:
                    found = module_name, name
                    break
        _variables[key] = variable, found  # kept alive, so that its identity stays its own
    return _variables[key][1]


_variables: dict[int, tuple[Any, tuple[str, str] | None]] = {}


def _attribute_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


# --- pools and contexts -----------------------------------------------------------------------


def _reduce_thread_pool(pool: Any) -> Any:
    how = (pool._max_workers, pool._thread_name_prefix, pool._initializer, pool._initargs, pool._shutdown)
    return made_anew, ("concurrent.futures.ThreadPoolExecutor", how, "without the work it had")


def _thread_pool(workers: int, prefix: str, initializer: Any, arguments: Any, closed: bool) -> Any:  # noqa: FBT001 - stored format
    pool = ThreadPoolExecutor(workers, prefix, initializer, arguments)
    if closed:
        pool.shutdown()
    return pool


def _reduce_process_pool(pool: Any) -> Any:
    method = pool._mp_context.get_start_method()
    how = (pool._max_workers, method, pool._initializer, pool._initargs, bool(pool._shutdown_thread))
    return made_anew, ("concurrent.futures.ProcessPoolExecutor", how, "without the work it had")


def _process_pool(workers: int, method: str, initializer: Any, arguments: Any, closed: bool) -> Any:  # noqa: FBT001 - stored format
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context(method), initializer, arguments)
    if closed:
        pool.shutdown()
    return pool


def _thread_pool_of_processes(*how: Any) -> Any:
    return importlib.import_module("multiprocessing.pool").ThreadPool(*how)


def _reduce_ssl(context: Any) -> Any:
    known = _contexts.get(context)
    stamp = (tuple(context.cert_store_stats().values()), int(context.options), int(context.verify_mode))
    if known is None or known[0] != stamp:
        known = _contexts[context] = stamp, _ssl_settings(context)
    return made_anew, ("ssl.SSLContext", known[1], "without a client certificate")


def _ssl_settings(context: Any) -> tuple[Any, ...]:
    minimum, maximum = int(context.minimum_version), int(context.maximum_version)
    checks = (context.check_hostname, int(context.verify_mode), int(context.verify_flags))
    versions = (int(context.options), minimum, maximum)
    ciphers = ":".join(cipher["name"] for cipher in context.get_ciphers())
    return int(context.protocol), checks, versions, ciphers, _bundle_of(context)


def _bundle_of(context: ssl.SSLContext) -> str | bytes:
    found = context.get_ca_certs(binary_form=True)
    if not found:  # those of a folder are only read when they are needed
        return b"" if context.verify_mode is ssl.CERT_NONE else "system"
    for name in ("certifi", "system"):
        if name == "system" or name in sys.modules:
            if name not in _bundles:
                _bundles[name] = frozenset(_bundle(name).get_ca_certs(binary_form=True))
            if _bundles[name] == frozenset(found):
                return name
    return b"".join(sorted(found))


def _bundle(name: str) -> ssl.SSLContext:
    cafile = importlib.import_module("certifi").where() if name == "certifi" else None
    return ssl.create_default_context(cafile=cafile)


_bundles: dict[str, frozenset[bytes]] = {}
_contexts: weakref.WeakKeyDictionary[ssl.SSLContext, tuple[Any, tuple[Any, ...]]] = (
    weakref.WeakKeyDictionary()
)


def _ssl_context(
    protocol: int, checks: tuple[Any, ...], versions: tuple[int, ...], ciphers: str, trusted: str | bytes
) -> Any:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.VerifyMode(checks[1])
    context.check_hostname = checks[0]
    context.verify_flags = ssl.VerifyFlags(checks[2])
    context.options = ssl.Options(versions[0])
    for name, version in zip(("minimum_version", "maximum_version"), versions[1:], strict=True):
        setattr(context, name, ssl.TLSVersion(version))
    known = {cipher["name"] for cipher in context.get_ciphers()}
    if ciphers and set(ciphers.split(":")) != known:
        context.set_ciphers(ciphers)
    if isinstance(trusted, str):
        cafile = importlib.import_module("certifi").where() if trusted == "certifi" else None
        context.load_verify_locations(cafile) if cafile else context.load_default_certs()
    elif trusted:
        context.load_verify_locations(cadata=trusted)
    return context


def _shared_event(is_set: bool) -> Any:  # noqa: FBT001 - stored format
    event = multiprocessing.Event()
    if is_set:
        event.set()
    return event


_MAKERS: dict[str, Callable[..., Any]] = {
    "threading.Lock": threading.Lock,
    "threading.RLock": threading.RLock,
    "threading.Barrier": threading.Barrier,
    "concurrent.futures.ThreadPoolExecutor": _thread_pool,
    "concurrent.futures.ProcessPoolExecutor": _process_pool,
    "multiprocessing.pool.ThreadPool": _thread_pool_of_processes,
    "multiprocessing.Lock": multiprocessing.Lock,
    "multiprocessing.RLock": multiprocessing.RLock,
    "multiprocessing.Semaphore": multiprocessing.Semaphore,
    "multiprocessing.BoundedSemaphore": multiprocessing.BoundedSemaphore,
    "multiprocessing.Event": _shared_event,
    "ssl.SSLContext": _ssl_context,
    "random.SystemRandom": random.SystemRandom,
}

EXACT: dict[type, Callable[[Any], Any]] = {
    type(threading.Lock()): _lock("threading.Lock"),
    type(threading.RLock()): _lock("threading.RLock"),
    queue.SimpleQueue: _reduce_queue,
    re.Match: _reduce_match,
    struct.Struct: lambda made: (struct.Struct, (made.format,)),
    random.SystemRandom: lambda _: (made_anew, ("random.SystemRandom", (), "")),
    weakref.ref: _reduce_weakref,
    weakref.WeakMethod: lambda ref: (weakref.WeakMethod, (ref(),)),
    weakref.ProxyType: _reduce_proxy,
    weakref.CallableProxyType: _reduce_proxy,
    contextvars.ContextVar: _reduce_contextvar,
    ThreadPoolExecutor: _reduce_thread_pool,
    ProcessPoolExecutor: _reduce_process_pool,
    ssl.SSLContext: _reduce_ssl,
    decimal.Context: _reduce_decimals,
}
"""For each known type how exactly its instances are stored."""
