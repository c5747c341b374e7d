"""Text and code whose secrets were taken out, as pickles hold them, and how they are filled in.

In a pickle such a text is a persistent id: one string of JSON with the pieces of the text and,
in place of each secret, its label and fingerprint. Code objects hold labels within their
constants. This is part of the stored format: it may not change its meaning.
"""

from __future__ import annotations

import contextlib
import json
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.notes import place, say_lost, say_made
from kitaru_nb.artifacts.secret_rules import is_secret_name
from kitaru_nb.artifacts.vault import VAULT, Part, Ref

__all__ = [
    "KIND",
    "bare_code",
    "fill",
    "fill_code",
    "fill_text",
    "filling",
    "is_revealing",
    "live_value",
    "make_text_array",
    "notice_fields",
    "notice_function",
    "pid_of",
    "revealing",
    "secret_fields",
    "why_missing",
]

KIND = "secret"
"""What a secret is called in reports."""

_MADE: dict[str, Callable[[str], Any]] = {"str": str, "bytes": lambda text: text.encode("latin-1")}


class _Local(threading.local):
    live: Mapping[str, object] = types.MappingProxyType({})
    missing: list[Ref] | None = None
    revealing: bool = False


_local = _Local()


@contextlib.contextmanager
def revealing() -> Iterator[None]:
    """Take no secrets out meanwhile: what is made stays in memory."""
    outer, _local.revealing = _local.revealing, True
    try:
        yield
    finally:
        _local.revealing = outer


def is_revealing() -> bool:
    """Whether no secrets are taken out."""
    return _local.revealing


@contextlib.contextmanager
def filling(live: Mapping[str, object]) -> Iterator[list[Ref]]:
    """Fill in secrets meanwhile, also from the names of `live`; gives those that were not found."""
    outer = _local.live, _local.missing
    missing: list[Ref] = []
    _local.live, _local.missing = live, missing
    try:
        yield missing
    finally:
        _local.live, _local.missing = outer


def live_value(name: str) -> object:
    """What a name of the notebook holds that secrets are filled in from."""
    return _local.live.get(name)


def pid_of(kind: str, parts: Sequence[Part]) -> str:
    """The persistent id of a text in pieces; `kind` is ``str`` or ``bytes``."""
    listed = [part if isinstance(part, str) else [part.label, part.fingerprint] for part in parts]
    return json.dumps([kind, listed])


def fill(pid: str) -> Any:
    """The text that a persistent id stands for; a marker where a secret is missing."""
    kind, listed = json.loads(pid)
    parts = [part if isinstance(part, str) else Ref(*part) for part in listed]
    # Bytes with structure know where their parts are: only a value of the same length fits, the same one.
    exact = kind == "bytes" and any(not part.isprintable() for part in parts if isinstance(part, str))
    text = fill_text(parts, exact=exact)
    return _MADE[kind](text) if isinstance(text, str) else text


def fill_text(parts: Sequence[Part], *, exact: bool = False) -> str | Marker:
    """Pieces put together, with the secrets that this process knows.

    Args:
        parts: As `Vault.parts` gives them.
        exact: Whether another value than the one that was taken out will not do.
    """
    whole = []
    for part in parts:
        if isinstance(part, str):
            whole.append(part)
            continue
        value = VAULT.find(part, live_value)
        if value is None or (exact and VAULT.fingerprint(value) != part.fingerprint):
            return _missing(part)
        say_made(KIND, f"from {_source(part)}{_changed(part, value)}")
        whole.append(value)
    return "".join(whole)


def _source(ref: Ref) -> str:
    kind, _, name = ref.label.partition(":")
    said = {
        "env": f"the environment variable `{name}`",
        "param": f"the parameter `{name}`",
        "name": f"`{name}`",
    }
    return said.get(kind, "this process")


def _changed(ref: Ref, value: str) -> str:
    return ", which is another one than it was" if VAULT.fingerprint(value) != ref.fingerprint else ""


def _missing(ref: Ref) -> Marker:
    if _local.missing is not None:
        _local.missing.append(ref)
    reason = why_missing(ref)
    say_lost(KIND, reason)
    return Marker(place(), KIND, reason)


def why_missing(ref: Ref) -> str:
    """What to do about a secret that is not known here."""
    kind, _, name = ref.label.partition(":")
    variable = "".join(c if c.isalnum() else "_" for c in name).upper()
    if kind == "env":
        return f"the environment variable `{name}` is not set"
    if kind == "param":
        return f"secrets are not stored; give the parameter `{name}` again, or set `{variable}`"
    if kind == "name":
        return f"secrets are not stored; set `{variable}` in the environment, or run its cell again"
    return "secrets are not stored; put it into the environment, or run its cell again"


def make_text_array(items: list[Any], dtype: str, shape: tuple[int, ...]) -> Any:
    """A numpy array of text again; the marker among its items where a secret is missing."""
    missing = next((item for item in items if type(item) is Marker), None)
    if missing is not None:
        return missing
    import numpy as np  # noqa: PLC0415 - it is loaded where there is such an array

    made = np.array(items, dtype=np.dtype(dtype).kind)
    return (made if made.dtype.itemsize >= np.dtype(dtype).itemsize else made.astype(dtype)).reshape(shape)


def notice_function(function: types.FunctionType) -> None:
    """Take note of secrets that only names within code tell: in a closure, as an argument's default."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        if is_secret_name(name):
            with contextlib.suppress(ValueError):  # an empty cell
                VAULT.notice(name, cell.cell_contents)
    defaults = function.__defaults__ or ()
    for name, value in zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults, strict=False):
        VAULT.notice(name, value)
    for name, value in (function.__kwdefaults__ or {}).items():
        VAULT.notice(name, value)


def notice_fields(obj: Any) -> None:
    """Take note of secrets in `obj` whose names its pickle does not hold."""
    cls = type(obj)
    if cls is types.FunctionType:
        notice_function(obj)
        return
    for name in secret_fields(cls):
        VAULT.notice(name, getattr(obj, name, None))
    if _is_session(cls) and type(auth := getattr(obj, "auth", None)) is tuple and len(auth) == 2:
        VAULT.notice("password", auth[1])


def secret_fields(cls: type) -> tuple[str, ...]:
    """Secrets' names among the fields whose names pickles do not hold: of a named tuple, of slots."""
    found = _fields.get(cls)
    if found is None:
        names = list(getattr(cls, "_fields", ())) if issubclass(cls, tuple) else []
        for base in cls.__mro__:
            slots = vars(base).get("__slots__", ())
            names += [slots] if isinstance(slots, str) else list(slots)
        found = _fields[cls] = tuple(name for name in names if type(name) is str and is_secret_name(name))
    return found


def _is_session(cls: type) -> bool:
    """Whether it is a session of requests, which logs in with a pair of a user and a password."""
    found = _sessions.get(cls)
    if found is None:
        found = _sessions[cls] = any(
            base.__module__ == "requests.sessions" and base.__name__ == "Session" for base in cls.__mro__
        )
    return found


_sessions: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()
_fields: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()


# --- code -------------------------------------------------------------------------------------


def bare_code(code: types.CodeType) -> tuple[types.CodeType, list[list[str]]] | None:
    """`code` with labels in its constants, and these with their fingerprints; None without secrets."""
    found: dict[str, Ref] = {}
    bare = _map_code(code, lambda text: _bare_text(text, found))
    return (bare, [[ref.label, ref.fingerprint] for ref in found.values()]) if found else None


def _bare_text(text: str, found: dict[str, Ref]) -> str:
    parts = VAULT.parts(text)
    if parts is None:
        return text
    found.update((part.text, part) for part in parts if isinstance(part, Ref))
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def fill_code(code: types.CodeType, listed: list[list[str]]) -> types.CodeType:
    """Code with the secrets in its constants again; a marker is the constant that misses one."""
    refs = [Ref(*fields) for fields in listed]
    values = {ref.text: fill_text([ref]) for ref in refs}

    def filled(text: str) -> Any:
        for label in sorted(values, key=len, reverse=True):
            if label in text:
                value = values[label]
                if not isinstance(value, str):
                    return value
                text = text.replace(label, value)
        return text

    return _map_code(code, filled)


def _map_code(code: types.CodeType, change: Callable[[str], Any]) -> types.CodeType:
    consts = tuple(_map_const(const, change) for const in code.co_consts)
    if all(new is old for new, old in zip(consts, code.co_consts, strict=True)):
        return code
    return code.replace(co_consts=consts)


def _map_const(const: Any, change: Callable[[str], Any]) -> Any:
    if type(const) is str:
        return change(const)
    if type(const) is bytes:
        text = const.decode("latin-1")
        new = change(text)
        return const if new is text else new.encode("latin-1") if isinstance(new, str) else new
    if type(const) is types.CodeType:
        return _map_code(const, change)
    if type(const) in (tuple, frozenset):
        items = [_map_const(item, change) for item in const]
        return const if all(new is old for new, old in zip(items, const, strict=True)) else type(const)(items)
    return const
