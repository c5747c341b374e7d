"""`stack check`: really write, read and remove something in the store, and open the journal."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kitaru_nb.errors import KitaruError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.config import reveal_signing_key
from kitaru_nb.stacks.keys import Keyring, config_folder
from kitaru_nb.stacks.open import chosen_stack, open_journal, open_store
from kitaru_nb.stacks.parts import journal_at, parted, store_at, store_folder

__all__ = ["Checked", "Part", "check_stack"]

_TRIES = 3
_SKEW = 2.0


@dataclass(slots=True)
class Part:
    """One part of a stack, tried.

    Attributes:
        part: ``journal``, ``store`` or ``signing_key``.
        where: Its URL or path.
        ok: Whether it does what it must.
        latency: Seconds for one round: a read of the journal; writing, reading back and removing
            a small value in the store.
        problem: What is wrong: ``kind``, ``message`` and ``hint``.
        notes: What is worth knowing though it works.
    """

    part: str
    where: str
    ok: bool = True
    latency: float | None = None
    problem: dict[str, str] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Checked:
    """What became of each part."""

    stack: str
    parts: list[Part]

    @property
    def ok(self) -> bool:
        """Whether all of them work."""
        return all(part.ok for part in self.parts)


def check_stack(settings: Settings) -> Checked:
    """Try every part of the chosen stack; leaves nothing behind but empty tables in a new journal.

    Raises:
        UsageError: kind ``unknown-stack``.
    """
    stack = chosen_stack(settings)
    journal, store = Part("journal", ""), Part("store", "")
    parts = [journal, store]
    _tried(journal, lambda: _try_journal(settings, stack, journal))
    _tried(store, lambda: _try_store(settings, stack, store))
    if stack.signing_key is not None:
        key = Part("signing_key", stack.signing_key)
        parts.append(key)
        secret = str(stack.signing_key)
        _tried(key, lambda: Keyring(config_folder(), shared=reveal_signing_key(secret)).prepare())
    return Checked(stack.name, parts)


def _tried(part: Part, action: Callable[[], object]) -> None:
    try:
        action()
    except KitaruError as error:
        part.ok = False
        part.problem = {"kind": error.kind, "message": error.message, "hint": error.hint}


def _try_journal(settings: Settings, stack: Stack, part: Part) -> None:
    part.where = journal_at(settings, stack)
    with closing(open_journal(settings)) as journal:
        part.latency = _fastest(lambda: journal.executions(limit=1))
        _look_at_server(journal, part)


def _look_at_server(journal: Journal, part: Part) -> None:
    session: Any = getattr(journal, "session", None)
    if session is None:
        return
    part.where = session.name
    skew = time.time() - session.clock()
    if abs(skew) > _SKEW:
        direction = "ahead of" if skew > 0 else "behind"
        part.notes.append(
            f"this machine's clock is {abs(skew):.0f} s {direction} the server's; the server's counts"
        )
    for risk in session.risks():
        part.notes.append(risk)


def _try_store(settings: Settings, stack: Stack, part: Part) -> None:
    part.where = store_at(settings, stack)
    folder = store_folder(settings, stack)
    if folder is not None:
        part.notes += ["; ".join(told) for told in filter(None, [parted(settings, stack)])]
        part.latency = _fastest(lambda: _write_and_remove(folder))
        return
    with closing(open_store(settings, journal=None)) as store:
        check: Callable[[], None] = store.check
        check()
        part.latency = _fastest(check)


def _write_and_remove(folder: Path) -> None:
    from kitaru_nb.errors import StoreError  # noqa: PLC0415 - beside its only use

    probe = folder / f".probe-{uuid.uuid4().hex}"
    content = uuid.uuid4().bytes
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(content)
        if probe.read_bytes() != content:
            raise StoreError(
                f"`{folder}` gives back other bytes than were written",
                kind="store-unreliable",
                hint="use another disk",
            )
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(
            f"nothing can be stored in `{folder}`: {error.strerror or error}",
            kind="home-not-writable",
            hint=f"ls -ld {folder}, df -h {folder}",
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _fastest(action: Callable[[], object]) -> float:
    found = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return min(found)
