"""Process state outside the namespace, and how it is put back.

That is: random generators, working folder, import path, environment, options of libraries,
log levels, attributes set on modules and library classes. A snapshot is a mapping of parts to
comparable values. A commit stores only the parts that differ from the commit before, and says
which of them the step itself changed. Path and environment are held relative to how the
process was found, so that a resume on another machine sets what the notebook set and nothing
else. Values of variables that look secret are never stored.
"""

from __future__ import annotations

import importlib
import os
import pickle
import random
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from kitaru_nb.analysis.outline import BY_MODULE
from kitaru_nb.artifacts.digest import digest_values, is_immutable_atom, opaque_in
from kitaru_nb.artifacts.kinds import is_imported
from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.engine.glance import Glance
from kitaru_nb.engine.holders import variables_in
from kitaru_nb.engine.loggers import LOGGERS
from kitaru_nb.engine.observe import now_ns
from kitaru_nb.engine.parts import PARTS, mark_of
from kitaru_nb.engine.switches import SETTING, Switches
from kitaru_nb.engine.variables import CODE, Unkept, Variables
from kitaru_nb.model.artifact import Digest

__all__ = [
    "ABSENT",
    "Held",
    "Process",
    "ProcessState",
    "began_ns",
    "begin_anew",
    "drawn",
    "held_at",
    "is_secret",
]

ProcessState = dict[str, Any]
"""Part to a comparable value."""

_GENERATORS = ("random", "numpy", "torch")
ABSENT = "absent"
"""Stands for what an attribute holds that is not there."""

_UNREADABLE = (pickle.PicklingError, AttributeError, TypeError, ValueError, RecursionError)
_SURROUNDINGS = ("cwd", "path", "env", f"{SETTING}matplotlib backend")
_ANNOTATION = "annotation "
_LOGGER = "logging.getLogger|"
"""Before the name of a logger, in the owner of its kept handlers and filters; no module is called that."""


class Held:
    """A value that counts as changed when it is another object; part of the stored format.

    A plain container also counts as changed when it holds something else; with `whole` any value.

    Attributes:
        imported: It is a variable of the project that is as its import left it, though it was not always.
    """

    imported = False

    def __init__(
        self,
        value: object,
        *,
        whole: bool = False,
        content: Digest | None = None,
        names: dict[str, Any] | None = None,
    ) -> None:
        self.value = value
        if content is not None:
            if isinstance(value, CODE) or not is_immutable_atom(value):
                self.content = content
        elif type(value) in (list, dict, set, bytearray) or (
            whole and (isinstance(value, CODE) or not is_immutable_atom(value))
        ):
            with suppress(*_UNREADABLE):
                self.content = digest_values({"": value}, namespace=names or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.value is other.value and vars(self) == vars(other)

    def is_whole(self, names: dict[str, Any] | None = None) -> bool:
        """Whether the object still holds what it held."""
        with suppress(*_UNREADABLE):
            return (
                not hasattr(self, "content")
                or digest_values({"": self.value}, namespace=names or {}) == self.content
            )
        return False

    def is_told(self, before: Held | None) -> bool:
        """Whether a step that found `before` tells of it: that a thing is lost only who has changed it."""
        return type(self.value) is not Unkept or self != before

    def digest(self, names: dict[str, Any]) -> Digest | None:
        """The digest of what it holds, None for what cannot be read, such as a connection.

        Asked while that is where it was found: a library's code is known by where it is. The
        notebook's own, with `names` as its globals, is known by what it does.
        """
        with suppress(*_UNREADABLE):
            inside: Digest | None = getattr(self, "content", None)
            digest = digest_values({"": self.value if inside is None else inside}, namespace=names)
            return None if opaque_in(inside or digest) else digest
        return None

    def holding(self, value: object) -> Held:
        """The same, holding `value`, which stands for its own."""
        other = Held.__new__(Held)
        vars(other).update(vars(self), value=value)
        return other

    __hash__ = None  # type: ignore[assignment] # compared, never looked up


class Process:
    """This process's state, told relative to how it was when the object was made.

    Args:
        began: When the process began, in nanoseconds since 1970; now if not given.
        seen_whole: No cell before that can have set a random generator.

    Attributes:
        began: The same. What was changed since is the doing of this kernel's cells.
        variables: Those of the project's modules.
    """

    def __init__(self, *, began: int | None = None, seen_whole: bool = False) -> None:
        self._seen_whole = seen_whole
        self.began = now_ns() if began is None else began
        self._environ = _environment()
        self._env: tuple[Mapping[Any, Any], dict[str, str | None]] = ({}, {})
        self._marks: dict[str, tuple[Any, Any]] = {}
        self._switches = Switches()
        self._glance = Glance(self._switches.heard)
        self._surroundings: tuple[object, object] | None = None
        self._settings: ProcessState = {}  # all that is no attribute and no annotation
        self._path = list(sys.path)
        self._entries: set[str] = set()  # that were on the import path at some time
        self._variables: set[str] = set()  # that were changed at some time
        self._watched: dict[tuple[str, str], Held] = {}  # with what they held first
        self._set_unseen: set[str] = set()  # those for which that is what a cell had set
        self.variables = Variables()
        self._names: dict[str, Any] = {}
        self._first: ProcessState = {}  # each part as it was when it was first looked at
        self._random = random.getstate()
        # Python finds modules in the working folder where the empty entry says so.
        self._folder = _working_folder() if "" in sys.path else None

    def annotated_in(self, namespace: dict[str, Any]) -> None:
        """From now on look at the annotations of names that cells bind there (``x: int = 3``)."""
        self._names = self.variables.names = namespace

    def watch(
        self, namespace: Mapping[str, object], targets: Iterable[tuple[str, ...]], *, late: bool = False
    ) -> None:
        """From now on look at attributes that cells set, such as ``("json", "indent")``.

        Only attributes of modules and of importable classes count; those of the notebook's
        own objects are part of the namespace. Where the cell has run already it is too `late` to
        see what an attribute held before; so it is where the cell itself imports the module.
        """
        for names in targets:
            owner = _owner_by_name(names[1:-1]) if names[0] == BY_MODULE else None
            owner = owner or _owner(namespace.get(names[0]), names[1:-1])
            if owner is not None:
                if late and (owner, names[-1]) not in self._watched:
                    self._set_unseen.add(f"{owner}:{names[-1]}")
                self._watch(owner, names[-1])

    def _watch(self, owner: str, name: str) -> None:
        if (owner, name) not in self._watched and (owner.startswith(_LOGGER) or _is_there(owner)):
            found = Held([]) if owner.startswith(_LOGGER) else self._imported(owner, name)
            self._watched[owner, name] = held_at(f"{owner}:{name}") if found is None else found

    def _imported(self, owner: str, name: str) -> Held | None:
        """What a variable of a project module held when it was imported; None where that is not known."""
        found = self.variables.as_imported(owner, name, ABSENT)
        if found is None:
            return None
        value, digest = found
        first = Held(value)
        if digest is not None and not is_immutable_atom(value):
            first.content = digest  # as it was then
        return first

    def snapshot(self) -> ProcessState:
        """The state now: the very one of the last time where nothing has changed, so never change it.

        Looks only into libraries that are loaded.
        """
        same = self._glance.is_same()
        surroundings = self._import_path(), self._changed_environment()
        if not same or surroundings != self._surroundings:
            self._surroundings, self._settings = surroundings, self._read(*surroundings)
            self._first = {**self._settings, **self._first}
            for logger in LOGGERS.in_memory():
                self._watch(_LOGGER + logger, "handlers")
            for logger in LOGGERS.filtered(self._names):
                self._watch(_LOGGER + logger, "filters")
        state = self._settings
        # Each large value is read once for all that is to be known of it.
        looked = self.variables.changed() if self.variables.modules else {}
        for owner, name in looked:
            self._watch(owner, name)
        noted = self._names.get("__annotations__")
        if not self._watched and not noted:
            return state
        state = dict(state)
        if self._watched:
            state["attributes"] = {
                f"{owner}:{name}": self._now(owner, name, looked.get((owner, name)))
                for owner, name in self._watched
            }
        if noted and type(noted) is dict:
            state |= {f"{_ANNOTATION}{name}": {name: Held(value)} for name, value in noted.items()}
        return state

    def _now(self, owner: str, name: str, looked: tuple[object, Digest] | None) -> Held:
        """What an attribute holds; `looked` is what was read of it just now."""
        if owner.startswith(_LOGGER):
            kept = LOGGERS.filters_of if name == "filters" else LOGGERS.texts_of
            return Held(kept(owner.removeprefix(_LOGGER), self._names))
        if looked is not None and type(looked[0]) is Unkept:
            return Held(looked[0])
        project = owner.partition("|")[0] in self.variables.modules
        value = _value_at(owner, name)
        content = looked[1] if looked is not None and looked[0] is value else None
        held = Held(value, whole=project, content=content, names=self._names)
        if project and self.variables.is_as_imported(owner, name, value, digest=content):
            held.imported = True
        return held

    def unset(self, state: ProcessState) -> frozenset[str]:
        """The random generators that stand where no cell can have set them.

        Others than Python's own are loaded by cells, which may set them before they are looked at.
        """
        as_found = self._seen_whole and state.get("random") == self._random
        return frozenset({"random"} if as_found else ())

    def _read(self, path: object, env: object) -> ProcessState:
        state: ProcessState = {"path": path, "env": env}
        for part, (module, read, _) in PARTS.items():
            if module in sys.modules:
                with suppress(OSError, AttributeError):  # no working folder; a library without that part
                    state[part] = self._part(part, sys.modules[module], read)
        return state | self._switches.parts()

    def told(self) -> ProcessState:
        """The state as it is now, in the form in which it is stored."""
        state = self.snapshot()
        if "attributes" not in state:
            return state
        return {**state, "attributes": self.as_stored(state["attributes"])}

    def as_stored(self, attributes: Mapping[str, Held]) -> dict[str, Held]:
        """Attributes as they are stored, see `Variables.stored`."""
        stored = {path: self.variables.stored(held.value) for path, held in attributes.items()}
        return {
            path: held if stored[path] is held.value else held.holding(stored[path])
            for path, held in attributes.items()
        }

    def set_in(self, packages: Collection[str], state: ProcessState) -> dict[str, Digest]:
        """What the attributes of `packages` and of `builtins` hold now that cells set, as `state` has them.

        Left out are variables of the project, which are looked at for themselves, handlers of
        loggers, what is to stay secret, and what cannot be read: that is another one in each kernel.
        """
        found = {}
        for path, held in state.get("attributes", {}).items():
            owner, name = _place(path)
            module = owner.partition("|")[0]
            package = module.partition(".")[0]
            if package != "builtins" and package not in packages:
                continue
            if module in self.variables.modules or owner.startswith(_LOGGER) or is_secret(name):
                continue
            digest = held.digest(self._names)
            if digest is not None:
                found[path] = digest
        return found

    def held_in_libraries(self, state: ProcessState) -> dict[str, object]:
        """What attributes of libraries hold that cells set, by where that is."""
        return {
            place: held.value
            for place, held in state.get("attributes", {}).items()
            if place.partition(":")[0].partition("|")[0] not in self.variables.modules
        }

    def replaced(self, paths: Iterable[str], state: ProcessState) -> frozenset[str]:
        """Those of the attributes at `paths` that may not hold what they held before any cell set them."""
        attributes = state.get("attributes", {})
        return frozenset(
            path
            for path in paths
            if path in self._set_unseen or attributes[path] != self._watched.get(_place(path))
        )

    def not_back(self, before: ProcessState, changed: Mapping[str, Held]) -> list[str]:
        """Variables of the project's modules that were `changed` in place and are not as `before` again.

        Asked when all that can be undone is, but for what was put in an object's place.
        """
        found = []
        for place, held in changed.items():
            owner, name = _place(place)
            was = before.get("attributes", {}).get(place)
            if owner.partition("|")[0] not in self.variables.modules or was is None or was == held:
                continue
            now = self._now(owner, name, None)
            content = getattr(was, "content", None)
            if held.value is was.value and (
                type(held.value) is Unkept or getattr(now, "content", None) != content
            ):
                found.append(place.replace("|", ".").replace(":", "."))
        return found

    def go_back(self, state: Mapping[str, Any]) -> list[str]:
        """Put everything back that cells have set and that `state` does not name, as it was found.

        What plain cells had set before the first step counts as found. Gives sentences as `apply`.
        """
        noted = self._names.get("__annotations__", {})
        for name in [name for name in noted if f"{_ANNOTATION}{name}" not in state]:
            del noted[name]
        apart = ("path", "env", "attributes")
        found: ProcessState = {
            part: self._first[part]
            for part, value in self.snapshot().items()
            if part in self._first and part not in state and part not in apart and value != self._first[part]
        }
        found["logging"] = _unset(self.snapshot(), state.get("logging", self._first["logging"])) | found.get(
            "logging", {}
        )
        variables = self._variables - state.get("env", {}).keys()
        found["env"] = {name: self._environ.get(name) for name in variables}
        self.reset_path(state.get("path", ([], [], [])))
        known = state.get("attributes", {})
        since = {place: first for place, first in self._watched.items() if ":".join(place) not in known}
        lost = self.variables.lost()
        kept = {place for place, first in since.items() if place in lost or not first.is_whole(self._names)}
        found["attributes"] = {":".join(place): first for place, first in since.items() if place not in kept}
        failed = self.apply(found)
        for place in since.keys() - kept:
            del self._watched[place]  # until it is set again
        self.variables.forget(since.keys() - kept)
        return [
            *failed,
            *(
                f"{owner.replace('|', '.')}.{name} was not put back: it was changed in place"
                for owner, name in sorted(kept)
            ),
        ]

    def reset_path(self, value: tuple[list[str], list[str], list[str]]) -> None:
        """Have the import path as it was found but for `value`, a part of a snapshot."""
        front, back, removed = value
        found = (entry for entry in self._path if entry not in {*front, *back, *removed})
        sys.path[:] = [*front, *found, *back]

    def completed(self, state: ProcessState) -> ProcessState:
        """A state with what attributes and variables held that it does not name: they were as found."""
        variables = {name: self._environ.get(name) for name in self._variables}
        state = {**state, "env": variables | state.get("env", {})}
        if not self._watched:
            return state
        found = {":".join(place): first for place, first in self._watched.items()}
        return {**state, "attributes": found | state.get("attributes", {})}

    def _part(self, part: str, module: ModuleType, read: Callable[[Any], Any]) -> Any:
        """One part; the very object of the last look where nothing has changed."""
        mark = mark_of(part, module)
        if mark is None:
            return read(module)
        take, fits = mark
        known = self._marks.get(part)
        if known is None or not fits(module, known[0]):
            known = self._marks[part] = take(module), read(module)
        return known[1]

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Modules in the folder where the process began are found, also where a cell has left that folder."""
        folder = self._folder
        if folder is None or folder in sys.path:
            yield
            return
        sys.path.append(folder)
        try:
            yield
        finally:
            with suppress(ValueError):
                sys.path.remove(folder)

    def hear(self, source: str) -> None:
        """Take note of a cell's code, see `Switches.hear`."""
        self._switches.hear(source)

    def apply_surroundings(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Put back what objects need that are made again: working folder, import path, environment, backend.

        They are applied once more with the rest, which also says what could not be put back.
        """
        last = {part: value for state in states for part, value in state.items() if part in _SURROUNDINGS}
        if last:
            self.apply(last)

    def apply(self, state: Mapping[str, Any]) -> list[str]:
        """Put stored parts back; gives a sentence for each one that could not be."""
        failed: list[str] = []
        for part, value in state.items():
            try:
                if part == "path":
                    self._put_path(value)
                elif part == "env":
                    _put_environment(value)
                    self._variables.update(value)
                elif part.startswith(SETTING):
                    self._switches.put(part, value)
                    if part == f"{SETTING}log handlers":
                        LOGGERS.take_named(self._names)
                elif part.startswith(_ANNOTATION):
                    noted = self._names.setdefault("__annotations__", {})
                    noted.update((name, held.value) for name, held in value.items())
                elif part == "attributes":
                    failed += self._put_attributes(value)
                else:
                    module, _, put = PARTS[part]
                    put(importlib.import_module(module), value)
            except (OSError, ValueError, TypeError, ImportError, RuntimeError, AttributeError) as error:
                failed.append(f"{part} was not put back: {error}")
        return failed

    def _put_attributes(self, attributes: Mapping[str, Held]) -> list[str]:
        for path, held in attributes.items():
            if type(held.value) is not Unkept:
                self._watch(*_place(path))
        others = {path: held for path, held in attributes.items() if not path.startswith(_LOGGER)}
        return self._put_in_loggers(attributes) + _put_attributes(others, self.variables)

    def _put_in_loggers(self, attributes: Mapping[str, Held]) -> list[str]:
        """Handlers to texts in memory, and filters, among attributes."""
        failed = []
        for path in [path for path in attributes if path.startswith(_LOGGER)]:
            (logger, _, name), wanted = path.removeprefix(_LOGGER).rpartition(":"), attributes[path].value
            listed: Any = wanted if type(wanted) is list else []
            if name == "filters":
                found = [each for each in listed if not is_marker(each)]
                LOGGERS.put_filters(logger, found, self._names)
            else:
                found = [parts for parts in listed if not is_marker(parts) and not any(map(is_marker, parts))]
                LOGGERS.put_texts(logger, found, self._names)
            if found != wanted:
                what = f"a {name.removesuffix('s')} of logger `{logger}`"
                failed.append(f"{what} was not put back: it could not be stored")
        return failed

    def _changed_environment(self) -> dict[str, str | None]:
        raw = os.environ._data  # type: ignore[attr-defined] # noqa: SLF001 - not decoded, which takes 0.1 ms
        if raw != self._env[0]:
            now = _environment()
            names = now.keys() | self._environ
            self._variables.update(name for name in names if now.get(name) != self._environ.get(name))
            # One that is as it was found counts once it was changed: a restore finds it changed.
            self._env = dict(raw), {name: now.get(name) for name in self._variables}
        return self._env[1]

    def _import_path(self) -> tuple[list[str], list[str], list[str]]:
        """Entries before the first one found at the start, entries after it, and those taken out."""
        if sys.path == self._path and not self._entries:
            return [], [], []
        own = set(self._path)
        first = next((place for place, entry in enumerate(sys.path) if entry in own), len(sys.path))
        after = [entry for entry in sys.path[first:] if entry not in own]
        front = sys.path[:first]
        gone = sorted(self._entries.difference(sys.path))
        self._entries.update(front, after)
        return front, after, [entry for entry in self._path if entry not in sys.path] + gone

    def _put_path(self, value: tuple[list[str], list[str], list[str]]) -> None:
        front, back, removed = value
        self._entries.update(front, back, removed)
        others = [entry for entry in sys.path if entry not in {*front, *back, *removed}]
        sys.path[:] = [*front, *others, *back]


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None


_anew: int | None = None


def begin_anew() -> None:
    """This process begins now: whatever it has done until here was making it ready."""
    global _anew  # noqa: PLW0603 - it is about the process
    _anew = now_ns()


def began_ns() -> int:
    """When this process began, in nanoseconds since 1970; now where the system does not tell."""
    if _anew is not None:
        return _anew
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - at each kernel's start
            ticks = int(file.read().rpartition(")")[2].split()[19])
        ago = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now_ns()
    return now_ns() - max(0, int(ago * 1e9))


def is_secret(name: str) -> bool:
    """Whether an environment variable of that name looks as if it held a secret."""
    return is_secret_name(name)


def drawn(before: ProcessState, after: ProcessState) -> tuple[str, ...]:
    """The random generators that a step drew from or set."""
    return tuple(part for part in _GENERATORS if part in before and before[part] != after.get(part))


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KITARU_NB_") and not is_secret(name)
    }


def _unset(now: ProcessState, levels: Mapping[str, object]) -> dict[str, tuple[int, bool, bool]]:
    """The loggers that have a level and had none: those of cells, not of libraries loaded meanwhile."""
    new = now["logging"].keys() - levels.keys()
    return {name: (0, False, True) for name in new if name.partition(".")[0] not in sys.modules}


def _put_environment(value: Mapping[str, str | None]) -> None:
    for name, text in value.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text
    if "TZ" in value and hasattr(time, "tzset"):
        time.tzset()


def _owner(value: object, path: tuple[str, ...]) -> str | None:
    """``module`` or ``module|Class`` for a module or importable class that a dotted name leads to."""
    for name in path:
        value = vars(value).get(name) if isinstance(value, ModuleType | type) else None
    if isinstance(value, ModuleType):  # one that was made by hand is a value of the notebook's
        return value.__name__ if is_imported(value) and value.__name__ in sys.modules else None
    if isinstance(value, type) and value.__module__ != "__main__" and value.__module__ in sys.modules:
        return f"{value.__module__}|{value.__qualname__}"
    return None


def _owner_by_name(path: tuple[str, ...]) -> str | None:
    """The same of a dotted name that begins with that of a loaded module: with the longest such."""
    for end in range(len(path), 0, -1):
        module = sys.modules.get(".".join(path[:end]))
        if module is not None:
            return _owner(module, path[end:])
    return None


def _place(path: str) -> tuple[str, str]:
    owner, _, name = path.rpartition(":")
    return owner, name


def held_at(path: str) -> Held:
    """What an attribute of a library holds now, by its place in the process state: ``module|Class:name``."""
    return Held(_value_at(*_place(path)))


def _value_at(owner: str, name: str) -> object:
    """What an attribute holds now; `ABSENT` where it is not there."""
    try:
        return _attribute(owner, name)
    except Exception:  # noqa: BLE001 - a module that is loaded anew may raise anything, and the attribute is gone
        return ABSENT


def _resolve(owner: str) -> Any:
    module, _, qualname = owner.partition("|")
    found: Any = importlib.import_module(module)
    for name in qualname.split(".") if qualname else ():
        found = getattr(found, name)
    return found


def _is_there(owner: str) -> bool:
    """Whether a module or class can be found: what this process is without holds nothing in it."""
    try:
        _resolve(owner)
    except Exception:  # noqa: BLE001 - a module's own code may raise anything
        return False
    return True


def _attribute(owner: str, name: str) -> object:
    holder = _resolve(owner)
    variables = variables_in(holder)
    return (vars(holder) if variables is None else variables).get(name, ABSENT)


def _put_attribute(target: Any, name: str, value: object) -> None:
    parts = variables_in(target) if not isinstance(target, ModuleType | type) else None
    if value is ABSENT or value == ABSENT:
        with suppress(AttributeError, KeyError):
            delattr(target, name) if parts is None else parts.__delitem__(name)
    elif parts is None:
        setattr(target, name, value)
    else:
        parts[name] = value


def _put_attributes(value: Mapping[str, Held], variables: Variables) -> list[str]:
    failed = []
    for path, held in value.items():
        owner, _, name = path.rpartition(":")
        called = f"{owner.replace('|', '.')}.{name}"
        if is_marker(held.value):
            failed.append(f"{called} was not put back: it could not be stored")
            continue
        if type(held.value) is Unkept:
            failed.append(f"{called} was not put back: what a {held.value.kind} holds cannot be stored")
            continue
        try:
            target = _resolve(owner)
            _put_attribute(target, name, variables.loaded(held.value))
        except Exception as error:  # noqa: BLE001 - of foreign code: the others are put back all the same
            failed.append(f"{called} was not put back: {error}")
    return failed
