"""`stack check`: really write, read and remove something in the store, open the journal, run a cell there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.errors import KitaruError, StackError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import new_execution_id
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.environment import keep_environment
from kitaru_nb.stacks.launcher import Handle, Launcher, RunSpec, launcher_of
from kitaru_nb.stacks.open import chosen_stack, keys_of, open_journal, open_store
from kitaru_nb.stacks.parts import journal_at, parted, store_at, store_folder
from kitaru_nb.stacks.submitting import worker_environment

__all__ = ["SUBMITTER", "Checked", "Part", "check_places", "check_stack"]

SUBMITTER = "KITARU_NB_SUBMITTER"
"""The variable in which the probe is told with which public key runs are signed that are submitted."""

_TRIES = 3
_PATIENCE = 300.0  # seconds that a queue may take
_BRIEF = 5.0  # seconds that a store may take to answer: who checks it wants to know, not to wait
_LOOK = 0.2
_QUIET = 5.0  # seconds after which it is said what is waited for
_SKEW = 2.0


@dataclass(slots=True)
class Part:
    """One part of a stack, tried.

    Attributes:
        part: ``journal``, ``store``, ``signing_key`` or ``launcher``.
        where: Its URL or path; of the launcher, where its worker ran.
        ok: Whether it does what it must.
        latency: Seconds for one round: a read of the journal; writing, reading back and removing
            a small value in the store; submitting a worker that runs one cell, to its end.
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


def check_stack(settings: Settings, *, tell: Callable[[str], object] = lambda _: None) -> Checked:
    """Try every part of the chosen stack; leaves nothing behind but empty tables in a new journal.

    Args:
        settings: With the stack as the chosen one.
        tell: Called with a line when it takes long, and with what is waited for.

    Raises:
        UsageError: kind ``unknown-stack``.
    """
    stack = chosen_stack(settings)
    parts = check_places(settings)
    launcher = Part("launcher", stack.launcher)
    if all(part.ok for part in parts):
        parts.append(launcher)
        _tried(launcher, lambda: _try_launcher(settings, stack, launcher, tell))
    return Checked(stack.name, parts)


def check_places(settings: Settings) -> list[Part]:
    """Try what the stack records in, and its key, from this machine.

    Raises:
        UsageError: kind ``unknown-stack``.
    """
    stack = chosen_stack(settings)
    settings = replace(settings, patience=min(settings.patience, _BRIEF))
    journal, store = Part("journal", stack.journal or "home"), Part("store", stack.store or "home")
    parts = [journal, store]
    _tried(journal, lambda: _try_journal(settings, stack, journal))
    _tried(store, lambda: _try_store(settings, stack, store))
    if stack.signing_key is not None:
        key = Part("signing_key", stack.signing_key)
        parts.append(key)
        _tried(key, lambda: keys_of(stack).prepare())
    return parts


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


def _try_launcher(settings: Settings, stack: Stack, part: Part, tell: Callable[[str], object]) -> None:
    """Run one cell where the stack's workers run, and learn what is installed there."""
    launcher = launcher_of(stack, settings)
    began = time.perf_counter()
    told = {**worker_environment(settings), SUBMITTER: keys_of(stack).public}
    spec = RunSpec(new_execution_id(), ["-m", "kitaru_nb.stacks", "probe"], told)
    handle = launcher.submit(spec)
    try:
        _outwait(launcher, handle, stack, tell)
    except BaseException:
        # also on Ctrl-C: what is left in a queue would take a place there that nobody needs any more
        with suppress(KitaruError):
            launcher.cancel(handle)
        raise
    part.latency = time.perf_counter() - began
    said = launcher.logs(handle).decode("utf-8", "replace").strip()
    found = _answer_in(said)
    if found is None:
        raise StackError(
            f"a worker on stack `{stack.name}` ended without an answer: {said[-500:] or 'it said nothing'}",
            kind="worker-failed",
            hint=_after(said, stack),
        )
    part.where = f"{stack.launcher} on {found['host']}, {found['executable']}"
    if found["problem"] is not None:
        problem = found["problem"]
        raise StackError(
            f"on {found['host']}: {problem['message']}", kind=problem["kind"], hint=problem["hint"]
        )
    if not found.get("trusts", True):
        raise StackError(
            f"on {found['host']}: what is signed here is signed by nobody who is trusted there, so that a "
            "notebook that is sent along would be refused",
            kind="untrusted-bundle",
            hint='signing_key = "secret:env:TEAM_SIGNING_KEY" in the stack, with the same key in it '
            "here and there",
        )
    part.notes.append(f"a kernel there runs its first cell after {found['kernel']:.1f} s")
    keep_environment(settings, stack, found)


def _outwait(launcher: Launcher, handle: Handle, stack: Stack, tell: Callable[[str], object]) -> None:
    """Wait until a job is over, and say what it waits for where that takes long.

    Raises:
        StackError: kind ``stack-too-slow``.
    """
    began, said = time.perf_counter(), ""
    while not (state := launcher.poll(handle)).over:
        waited = time.perf_counter() - began
        if waited > _PATIENCE:
            raise StackError(
                f"nothing ran on stack `{stack.name}` within {_PATIENCE:g} s: {state.reason or state.status}",
                kind="stack-too-slow",
                hint="see whether its queue is full, then kitaru-nb stack check again",
            )
        news = f"{state.status.value}: {state.reason}" if state.reason else state.status.value
        if news != said and waited > _QUIET:
            tell(f"launcher: {news}")
            said = news
        time.sleep(_LOOK)


def _after(said: str, stack: Stack) -> str:
    """What to do about a worker that has ended without an answer, going by its last words."""
    if "No module named" in said or stack.launcher == "local":
        return "install kitaru-nb where its workers run, and name that Python in the stack: python = …"
    return (
        f"mend [stacks.{stack.name}.launcher] in {stack.source}: its `setup` and `python`, as they are there"
    )


def _answer_in(said: str) -> dict[str, Any] | None:
    """The line of JSON that the probe ends with."""
    for line in reversed(said.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "problem" in found:
            return found
    return None


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
            hint=f"ls -ld {quote(str(folder))}, df -h {quote(str(folder))}",
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
