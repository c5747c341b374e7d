"""In words: what about a condition is not as it was when a step ran before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from kitaru_nb.engine.listing import told
from kitaru_nb.engine.live import of_process, reason_of
from kitaru_nb.engine.observe import ABSENT, FOLDER
from kitaru_nb.model.checkpoint import Draft

__all__ = ["ConditionReason", "condition_reasons", "version_reasons"]

ConditionReason = tuple[str, str, str, str | None, str | None]
"""Kind (``file`` or ``input``), what it is about, a sentence, the old digest and the new one."""


def condition_reasons(old: Draft, new: Draft) -> Iterator[ConditionReason]:
    """The conditions of `old` that did not hold when `new` ran, each in words."""
    for what in sorted(old.conditions):
        before, now = old.conditions[what], new.conditions.get(what)
        if what not in new.unmet and (now is None or now == before):
            continue
        kind, _, rest = what.partition(":")
        if of_process(what):
            yield "input", rest, f"{reason_of(what)}, so it runs again in each kernel", before, now
        elif kind == "file":
            yield "file", rest, _file(rest, old, new, before, now), before, now
        else:
            text = _TEXTS.get(kind, "`{}` is not as it was").format(_named(kind, rest))
            yield "file" if kind in _OF_FILES else "input", rest, text, before, now
    for what in new.unmet:
        kind, _, rest = what.partition(":")
        if what not in old.conditions and kind in _NOT_TOLD:
            text = _TEXTS[kind].format(_named(kind, rest))
            yield "file" if kind in _OF_FILES else "input", rest, text, None, new.conditions.get(what)


def version_reasons(old: Draft, new: Draft) -> Iterator[ConditionReason]:
    """The packages that had another version."""
    for name in sorted(old.packages.keys() & new.packages.keys()):
        before, now = old.packages[name], new.packages[name]
        if before != now:
            yield "package", name, f"`{name}` was {before} before and is {now} now", before, now


_TEXTS: Mapping[str, str] = {
    "anew": "the file `{}`, which it adds to or changes, was written anew by a cell above",
    "database": "the database `{}` has changed since",
    "module": "the source of `{}` has changed since",
    "process": "{} of the process was different",
    "settings": "settings of `{}` that change what it computes were different",
    "env": "environment variable `{}` had another value",
    "random": "the random generator of `{}` stood elsewhere",
    "variables": "cells had left something else in variables of the module `{}`",
    "names": "`{}`, which it may change, held another value before it",
    "looked": "`{}`, which it looked up to load a pickle, is another",
    "led": "another name leads to `{}`, which it may change in place",
    "linked": "`{}` was defined again: what it reads was made with the one before, or was not",
    "unbound": "`{}`, which it may delete, was not bound before it",
    "url": "what is at `{}` has changed since",
    "folder": "what is in the folder `{}` has changed since: files came or went",
}

_OF_FILES = frozenset({"module", "folder", "url", "database", "anew"})
_NOT_TOLD = frozenset({"process", "anew"})  # where a record is from before it was set, or never says it


def _named(kind: str, rest: str) -> str:
    if kind in ("names", "led", "linked"):
        return rest.replace(",", "`, `")
    if kind == "process":
        return rest.rpartition("/")[2]
    if kind == "folder":
        folder, _, pattern = rest.rpartition("|")
        return told(folder, pattern)
    return rest


def _file(path: str, old: Draft, new: Draft, before: str, now: str | None) -> str:
    head = f"file `{path}` has changed since"
    was = before.partition("|")[0]
    if was == ABSENT:
        return f"file `{path}` is there, and was not when it ran before"
    if now is None:
        return f"{head} ({_seen(path, old, was)} before)"
    if now.partition("|")[0] == ABSENT:
        return f"file `{path}` is gone ({_seen(path, old, was)} before)"
    return f"{head} ({_seen(path, old, was)} before, {_seen(path, new, now.partition('|')[0])} now)"


def _seen(path: str, draft: Draft, digest: str) -> str:
    """What is known of a file as a step found it: size, time of its last change, start of its hash."""
    if digest == FOLDER:
        return "a folder"
    found: Mapping[str, Any] = next((file for file in draft.files if file["path"] == path), {})
    parts = []
    if found.get("digest") == digest and "mtime" in found:
        moment = datetime.fromtimestamp(found["mtime"] / 1e9, UTC)
        parts += [f"{found['bytes']} bytes", f"written {moment:%Y-%m-%d %H:%M:%S} UTC"]
    if not digest.startswith("stat:"):
        parts.append(f"hash {digest[:8]}")
    return ", ".join(parts) or "another size or time"
