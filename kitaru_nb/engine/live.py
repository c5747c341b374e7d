"""Effects of a step that live in this process only: threads and callbacks that reach the notebook.

They cannot be stored. A record of such a step carries a condition ``live:KIND:NAME`` which holds
in this process as long as the effect is in place, and in no other: there the cell runs again.
What libraries start and register for themselves (pools, monitors, their own hooks) is theirs to
make again and does not count. A log handler or filter that a cell adds counts, whoever's code it is,
where it is none of those that `engine.loggers` puts back: what is logged would go elsewhere.
"""

from __future__ import annotations

import abc
import asyncio
import atexit
import functools
import gc
import logging
import re
import secrets
import signal
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitaru_nb.analysis.modules import is_local_file
from kitaru_nb.analysis.outline import REGISTRARS
from kitaru_nb.analysis.registrations import KEEPS, REGISTERS, Registration, registrations_of
from kitaru_nb.artifacts.functions import abstract_classes
from kitaru_nb.artifacts.kinds import is_atom_type, package_of
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.loggers import LOGGERS, described, is_kept_filter
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.referents import referents

__all__ = ["REMOVED", "Callbacks", "Live", "has_live", "is_live", "is_untouched", "ran_again", "reason_of"]

REMOVED = "removed:"
"""Before the reason, in `Draft.unmet`, where a step ran since its values were not there any more."""

Callbacks = Callable[[], dict[str, Any]]
"""Gives lists and dicts of the callbacks that a front end keeps, by what they are called."""

_PREFIX = "live:"
_ENDED = "ended:"
_SLOTS = ("sys.e", "sys.d", "sys.u", "sys.s", "threading.", "warnings.", "signal.")  # one callback at a time
_NUMBERED = re.compile(r"(?:Thread|Process|Task|ForkProcess|SpawnProcess)-\d+")
# The C function: the other makes an enum of each answer, at ten times the price.
_getsignal: Callable[[int], object] = signal._signal.getsignal  # type: ignore[attr-defined] # noqa: SLF001
_SIGNALS = [int(number) for number in signal.valid_signals() if number != signal.SIGINT and number < 32]
_identity = object.__hash__  # `id` would wake audit hooks
_EXIT = re.compile(r"\batexit\.register|from\s+atexit\s+import")
_DEEP = 4
_SEEN_ELSEWHERE = frozenset({"IPython", "atexit", "kitaru_nb"})
"""Packages that the notebook registers code with in ways that are looked at themselves."""
_CODE = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
_CALLED = (type, types.FunctionType, types.MethodType)
_FEW = 500
_PROCESS = frozenset(
    [
        *("IPython", "asyncio", "comm", "concurrent", "ipykernel", "ipywidgets", "kitaru_nb", "logging"),
        *("_asyncio", "multiprocessing", "tornado", "traitlets", "zmq"),
    ]
)
"""Packages whose objects lead to all that there is in the process."""
_LOGGED = frozenset({"log handler", "log filter"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was there at one moment."""

    threads: Mapping[int, threading.Thread]
    callbacks: Mapping[str, Any]
    tasks: frozenset[int]
    handlers: int
    attached: frozenset[int]
    filtering: frozenset[int]
    finalizers: frozenset[object]
    exits: int


class Live:
    """Looks for what steps of one notebook leave running in this process.

    Args:
        globals_: The namespace the cells run in: a function that has it is the notebook's.
        folder: Code below it is the project's.
        callbacks: Callbacks that the front end keeps.
    """

    def __init__(
        self, globals_: Mapping[str, object], folder: Path, callbacks: Callbacks | None = None
    ) -> None:
        self._globals = globals_
        self._folder = folder
        self._callbacks = callbacks
        self._before: _Seen | None = None
        self._in_place: dict[str, Callable[[], bool]] = {}
        self._project_files: dict[str, bool] = {}

    def begin(self) -> None:
        """A step is about to run."""
        self._before = self._before or self._look()

    def forget(self) -> None:
        """Another cell runs: what it leaves is its own."""
        self._before = None

    def so_far(self, cell: Cell) -> dict[str, str]:
        """As `left`, of a step that still runs."""
        before = self._before
        found = self.left(cell)
        self._before = before
        return found

    def left(self, cell: Cell) -> dict[str, str]:
        """The conditions for what the step that has just run left in this process.

        Args:
            cell: Its code, for registrations that leave no other trace.
        """
        before, tasks = self._before or self._look(), _tasks()
        self._before = now = self._look(tasks, before)
        found: dict[str, str] = {}
        for what, check in self._new(before, now, tasks, cell):
            token = secrets.token_hex(8)
            self._in_place[token] = check
            found[_PREFIX + what] = token
        return found | {_ENDED + what: str(self._count(what)) for what in self._taken(before, now, cell)}

    def _taken(self, before: _Seen, now: _Seen, cell: Cell) -> Iterator[str]:
        """Of what kinds the step took away something that another one had registered."""
        if now.callbacks is not before.callbacks:
            for name, registered in before.callbacks.items():
                gone = _added(now.callbacks.get(name, ()), registered) if not name.startswith(_SLOTS) else ()
                if any(map(self._reaches, gone)):
                    yield f"callback:{name}"
        if before.attached - now.attached and "handler" in cell.source.lower():
            yield "log handler"

    def _count(self, what: str) -> int:
        """How much of a kind is registered now."""
        if what == "log handler":
            return len([*self._added_handlers(frozenset(), "Handler")])
        registered = self._registered().get(what.removeprefix("callback:"), ())
        return [*map(self._reaches, _each(registered))].count(True)

    def holds(self, what: str, digest: str) -> bool:
        """Whether an effect that is on record is still there, or what was taken away is still gone."""
        if what.startswith(_ENDED):
            return self._count(what.removeprefix(_ENDED)) <= int(digest)
        return self.is_in_place(digest)

    def is_in_place(self, token: str) -> bool:
        """Whether an effect that is on record is still there, in this very process."""
        check = self._in_place.get(token)
        return check is not None and check()

    def missing(self, line: Iterable[Checkpoint]) -> list[str]:
        """A sentence for each effect of the steps of `line` that is not there in this process."""
        return list(
            dict.fromkeys(
                _missing(what, checkpoint.draft.name)
                for checkpoint in line
                for what, token in checkpoint.draft.conditions.items()
                if is_live(what) and not self.is_in_place(token)
            )
        )

    def _look(self, tasks: Iterable[Any] | None = None, before: _Seen | None = None) -> _Seen:
        registered = self._registered()
        LOGGERS.token()
        if before is not None and registered == before.callbacks:
            registered = before.callbacks
        else:  # what is kept of it must not change with it
            registered = {
                name: each if type(each) is tuple else each.copy() for name, each in registered.items()
            }
        return _Seen(
            dict(threading._active),  # type: ignore[attr-defined] # noqa: SLF001 - enumerate() takes a lock and lists
            registered,
            frozenset(map(_identity, _tasks() if tasks is None else tasks)),
            len(logging._handlerList),  # type: ignore[attr-defined] # noqa: SLF001 - the only list of all
            LOGGERS.attached,
            LOGGERS.filtering,
            frozenset(weakref.finalize._registry),  # type: ignore[attr-defined] # noqa: SLF001
            atexit._ncallbacks(),  # noqa: SLF001
        )

    def _registered(self) -> Mapping[str, Any]:
        """The callbacks there are, some in the very lists and dicts that they are registered in."""
        found: dict[str, Any] = {
            "sys.excepthook": (sys.excepthook,),
            "sys.displayhook": (sys.displayhook,),
            "sys.unraisablehook": (sys.unraisablehook,),
            "sys.settrace": (sys.gettrace(),),
            "sys.setprofile": (sys.getprofile(),),
            "threading.excepthook": (threading.excepthook,),
            "threading.settrace": (threading.gettrace(),),
            "threading.setprofile": (threading.getprofile(),),
            "warnings.showwarning": (warnings.showwarning,),
            "gc.callbacks": tuple(gc.callbacks),
            "sys.meta_path": tuple(sys.meta_path),
            "sys.path_hooks": tuple(sys.path_hooks),
            "signal.signal": tuple(map(_getsignal, _SIGNALS)),
        }
        return found if self._callbacks is None else found | self._callbacks()

    def _new(
        self, before: _Seen, now: _Seen, tasks: Iterable[Any], cell: Cell
    ) -> Iterator[tuple[str, Callable[[], bool]]]:
        """What came between the two looks and reaches the notebook, and how to tell that it is there."""
        source = cell.source
        if now.threads != before.threads:
            yield from self._new_threads(before)
        if now.tasks != before.tasks:
            yield from self._new_tasks(before, tasks)
        if now.callbacks is not before.callbacks and now.callbacks != before.callbacks:
            yield from self._new_callbacks(before, now, source)
        if now.handlers != before.handlers:
            yield from self._new_handlers(before.handlers)
        if now.attached != before.attached:
            yield from self._added_handlers(before.attached, source)
        if now.filtering != before.filtering:
            yield from self._added_filters(before, source)
        if now.finalizers != before.finalizers:
            yield from self._new_finalizers(before.finalizers)
        if now.exits > before.exits and _EXIT.search(source):
            count = now.exits
            yield "callback:atexit.register", lambda: atexit._ncallbacks() >= count  # noqa: SLF001
        yield from self._kept(cell)
        yield from self._new_processes()

    def _new_threads(self, before: _Seen) -> Iterator[tuple[str, Callable[[], bool]]]:
        for thread in threading.enumerate():
            if before.threads.get(thread.ident or 0) is thread or not thread.is_alive():
                continue
            target = getattr(thread, "_target", None) or getattr(thread, "function", None)
            if str(getattr(target, "__module__", "")).startswith("concurrent.futures"):
                continue  # a pool makes its own threads, when there is work
            arguments = getattr(thread, "_args", None) or ()
            own = any(self._reaches(part) for part in (type(thread), target, *arguments))
            if own or self._was_given(getattr(target, "__self__", thread)):
                yield f"thread:{_name_of(thread.name, target)}", thread.is_alive

    def _was_given(self, holder: object) -> bool:
        """Whether an object whose method runs holds code of the notebook, as a server its handler."""
        level, seen = [holder], set[int]()
        for _ in range(_DEEP):
            level = [obj for obj in level if _identity(obj) not in seen and _may_hold_code(obj)]
            seen.update(map(_identity, level))
            level = referents(*level[:_FEW])
            if any(isinstance(obj, _CALLED) and self._reaches(obj) for obj in level):
                return True
        return False

    def _new_processes(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        module = sys.modules.get("multiprocessing.process")
        for child in list(getattr(module, "_children", ())):
            target = getattr(child, "_target", None)
            if any(self._reaches(part) for part in (type(child), target)) and child.is_alive():
                yield f"process:{_name_of(child.name, target)}", child.is_alive

    def _new_tasks(self, before: _Seen, tasks: Iterable[Any]) -> Iterator[tuple[str, Callable[[], bool]]]:
        for task in tasks:
            if _identity(task) in before.tasks or task.done():
                continue
            coroutine = task.get_coro()
            if self._is_notebook_code(
                getattr(coroutine, "cr_code", None), getattr(coroutine, "cr_frame", None)
            ):
                name = _name_of(task.get_name(), coroutine)
                yield f"task:{name}", lambda task=task: not task.done()  # type: ignore[misc] # bound now

    def _new_callbacks(
        self, before: _Seen, now: _Seen, source: str
    ) -> Iterator[tuple[str, Callable[[], bool]]]:
        for name, registered in now.callbacks.items():
            if registered == before.callbacks.get(name):
                continue
            for callback in _added(before.callbacks.get(name, ()), registered):
                what = f"callback:{name}" if self._reaches(callback) else ""
                if not what and name.startswith("formatters[") and "for_type" in source:
                    what = f"call:{name}.for_type"
                if what:
                    yield what, functools.partial(self._is_registered, name, callback)

    def _is_registered(self, name: str, callback: object) -> bool:
        return any(other is callback for other in _each(self._registered().get(name, ())))

    def _new_handlers(self, known: int) -> Iterator[tuple[str, Callable[[], bool]]]:
        for reference in list(logging._handlerList)[known:]:  # type: ignore[attr-defined] # noqa: SLF001
            if self._handler_reaches(reference()):
                yield "callback:logging.Handler", lambda reference=reference: reference() is not None  # type: ignore[misc]

    def _added_handlers(self, known: frozenset[int], source: str) -> Iterator[tuple[str, Callable[[], bool]]]:
        """What loggers have now that is not put back elsewhere, besides what libraries add to their own."""
        for logger in LOGGERS.real():
            for handler in logger.handlers:
                if _identity(handler) in known or described(handler):
                    continue
                if LOGGERS.is_kept(handler, self._globals):
                    continue
                if "Handler" in source or not self._is_of_library(logger.name.partition(".")[0]):
                    own = self._handler_reaches(handler)
                    what = "callback:logging.Handler" if own else f"log handler:{type(handler).__name__}"
                    yield what, functools.partial(_is_attached, logger, weakref.ref(handler))

    def _added_filters(self, before: _Seen, source: str) -> Iterator[tuple[str, Callable[[], bool]]]:
        """Filters that loggers and their handlers have now and that are not put back."""
        if "ilter" not in source:
            return  # a library's own, of its own loggers
        for logger in LOGGERS.real():
            for holder in (logger, *logger.handlers):
                for each in holder.filters:
                    kept = holder is logger and is_kept_filter(each, self._globals)
                    if _identity(each) not in before.filtering and not kept:
                        name = getattr(each, "__name__", type(each).__name__)
                        yield f"log filter:{name}", functools.partial(_is_filter_of, holder, each)

    def _kept(self, cell: Cell) -> Iterator[tuple[str, Callable[[], bool]]]:
        """What libraries were given to keep; whether they still have it does not show."""
        if REGISTERS.search(cell.source):
            for what in dict.fromkeys(filter(None, map(self._kept_by, registrations_of(cell.tree)))):
                yield what, lambda: True

    def _kept_by(self, registration: Registration) -> str:
        """The condition for a call that hands somebody something it keeps; empty where it does not."""
        first, *rest = registration.called
        owner, value = None, self._globals.get(first)
        home = _home(value)
        package, name = home.partition(".")[0], registration.called[-1]
        if package in _SEEN_ELSEWHERE or home == "__main__" or home not in sys.modules:
            return ""
        for each in rest:
            owner, value = value, getattr(value, each, None)
        if value is None or name in REGISTRARS:
            return ""
        if name == "register" and any(owner is each for each in abstract_classes()):
            return ""  # the class comes back registered
        if not self._is_of_library(home) and not _hides_what_it_keeps(owner):
            return ""
        called = ".".join((home, *(rest or (name,))))
        given = (self._globals.get(each) for each in registration.given)
        if registration.own or any(map(self._reaches, given)):
            # Of an object in a name, the class is known, and not what it registers with.
            return f"callback:{called}" if isinstance(self._globals.get(first), _CODE) else ""
        return f"call:{called}" if (package, name) in KEEPS else ""

    def _handler_reaches(self, handler: Any) -> bool:
        parts = (handler, getattr(handler, "formatter", None), *getattr(handler, "filters", ()))
        return any(self._reaches(part) for part in parts)

    def _is_of_library(self, module: str) -> bool:
        """Whether a loaded module is not the notebook's and not its project's."""
        found = sys.modules.get(module)
        file = getattr(found, "__file__", None) or ""
        return found is not None and module != "__main__" and not self._is_project_file(file)

    def _new_finalizers(self, known: frozenset[object]) -> Iterator[tuple[str, Callable[[], bool]]]:
        for finalizer, info in list(weakref.finalize._registry.items()):  # type: ignore[attr-defined] # noqa: SLF001
            if finalizer not in known and self._reaches(info.func):
                yield "callback:weakref.finalize", lambda finalizer=finalizer: finalizer.alive  # type: ignore[misc]

    def _reaches(self, thing: object, deep: int = _DEEP) -> bool:
        """Whether calling `thing` runs code of the notebook or its project."""
        if thing is None or deep == 0:
            return False
        if isinstance(thing, functools.partial):
            return any(self._reaches(part, deep - 1) for part in (thing.func, *thing.args))
        if isinstance(thing, types.MethodType):
            return self._reaches(thing.__func__, deep - 1) or self._reaches(type(thing.__self__), deep - 1)
        if isinstance(thing, types.FunctionType):
            return self._is_notebook_function(thing) or any(
                self._reaches(part, deep - 1) for part in _enclosed(thing)
            )
        if isinstance(thing, type):
            return any(self._is_notebook_class(base) for base in thing.__mro__)
        if isinstance(thing, types.BuiltinFunctionType | types.ModuleType | str | bytes | int | float):
            return False
        return self._reaches(type(thing), deep - 1)

    def _is_notebook_function(self, function: types.FunctionType) -> bool:
        if function.__globals__ is self._globals:
            return True
        module = str(function.__globals__.get("__name__", ""))
        return not _is_own(module) and self._is_project_file(function.__code__.co_filename)

    def _is_notebook_class(self, kind: type) -> bool:
        module = kind.__module__
        if module == "__main__":
            return True
        if module == "builtins" or _is_own(module):
            return False
        return self._is_project_file(getattr(sys.modules.get(module), "__file__", None) or "")

    def _is_notebook_code(self, code: types.CodeType | None, frame: types.FrameType | None) -> bool:
        if frame is not None and frame.f_globals is self._globals:
            return True
        return code is not None and self._is_project_file(code.co_filename)

    def _is_project_file(self, name: str) -> bool:
        found = self._project_files.get(name)
        if found is None:
            found = name.endswith(".py") and is_local_file(name, [self._folder])
            self._project_files[name] = found
        return found


def _may_hold_code(obj: object) -> bool:
    """Whether what an object refers to may be code that it was given to call."""
    kind = type(obj)
    return not (
        isinstance(obj, (*_CODE, types.FrameType)) or is_atom_type(kind) or package_of(kind) in _PROCESS
    )


def is_live(what: str) -> bool:
    """Whether a condition is on an effect that lives in one process."""
    return what.startswith(_PREFIX)


def of_process(what: str) -> bool:
    """Whether only a process can tell if a condition holds."""
    return what.startswith((_PREFIX, _ENDED))


def has_live(checkpoint: Checkpoint) -> bool:
    """Whether the step left something that lives in one process."""
    return any(map(is_live, checkpoint.draft.conditions))


def is_untouched(checkpoint: Checkpoint, groups: Mapping[tuple[str, ...], str]) -> bool:
    """Whether what a step with such an effect wrote is there as it left it, so that nothing is put back.

    A thread that runs shares the very objects; others that are equal would not do.
    """
    return not has_live(checkpoint) or all(
        groups.get(group.names) == group.value for group in checkpoint.draft.groups if group.written
    )


def ran_again(unmet: Iterable[str]) -> tuple[str, ...]:
    """Why a cell runs again where these conditions of its record are all that does not hold.

    Empty where something else does not hold either: then that is the reason.
    """
    listed = list(unmet)
    if len(listed) == 1 and listed[0].startswith(REMOVED):
        return (f"its values were {listed[0].removeprefix(REMOVED)}",)
    return tuple(map(reason_of, listed)) if all(map(of_process, listed)) else ()


def reason_of(what: str) -> str:
    """What the effect in the condition `what` is, in words."""
    if what.startswith(_ENDED):
        name = what.removeprefix(_ENDED).removeprefix("callback:")
        return f"it takes away what is registered with `{name}` again"
    kind, _, name = what.removeprefix(_PREFIX).partition(":")
    if kind == "callback":
        return f"it registered code of the notebook with `{name}`, which cannot be stored"
    if kind == "call":
        return f"it called `{name}`, whose effect cannot be stored"
    if kind in _LOGGED:
        return f"it added a {kind}, `{name}`, which cannot be stored"
    return f"it started {kind} `{name}`, which cannot be stored"


def _missing(what: str, checkpoint: str) -> str:
    kind, _, name = what.removeprefix(_PREFIX).partition(":")
    if kind == "callback":
        return f"what checkpoint `{checkpoint}` registered with `{name}` is not in place; run that cell again"
    if kind == "call":
        return f"what checkpoint `{checkpoint}` did by `{name}` is not in place; run that cell again"
    did, missing = ("added", "in place") if kind in _LOGGED else ("started", "running")
    return f"the {kind} `{name}` {did} by checkpoint `{checkpoint}` is not {missing}; run that cell again"


def _home(value: object) -> str:
    """The module that a value is, or is defined in; of an object, that of its class."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    return str(getattr(value if isinstance(value, _CODE) else type(value), "__module__", None))


def _hides_what_it_keeps(owner: object) -> bool:
    """Whether it is an abstract class or a generic function, which keep classes in no variable."""
    return isinstance(owner, abc.ABCMeta) or (
        isinstance(owner, types.FunctionType)
        and isinstance(getattr(owner, "registry", None), types.MappingProxyType)
    )


def _is_attached(logger: logging.Logger, handler: weakref.ref[logging.Handler]) -> bool:
    return handler() in logger.handlers


def _is_filter_of(holder: logging.Filterer, each: Any) -> bool:
    return each in holder.filters


def _added(before: Any, now: Any) -> list[object]:
    """The callbacks that are new, or registered for something else."""
    if isinstance(now, dict):
        return [each for key, each in now.items() if key not in before or before[key] is not each]
    known = set(map(id, before))
    return [each for each in now if id(each) not in known]


def _each(registered: Any) -> Iterable[object]:
    return registered.values() if isinstance(registered, dict) else registered


def _is_own(module: str) -> bool:
    return module == "kitaru_nb" or module.startswith("kitaru_nb.")


def _enclosed(function: types.FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if callable(held):
            yield held


def _name_of(name: str, target: object) -> str:
    """The name a user gave, else that of what runs."""
    given = "" if _NUMBERED.match(name) else name
    return given or str(getattr(target, "__name__", None) or name)


def _tasks() -> set[Any]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # no loop runs in this thread
        return set()
