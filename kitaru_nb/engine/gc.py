"""Removing the values of finished executions, under a policy that is put on record.

Records and outputs always stay. Of values stay those of executions that can go on (failed,
waiting, interrupted, running), that are pinned or that the policy spares, and whatever these need.

The order is the reverse of a save's: first the journal forgets, in one durable transaction, then
files go. Dying at any instant leaves bytes that nothing refers to, which the next run takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.engine.census import Census, Marks, size_of
from kitaru_nb.engine.piecewise import forget_places, next_piece
from kitaru_nb.engine.repack import repack
from kitaru_nb.errors import StoreError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.execution import Execution, ExecutionId, ExecutionStatus
from kitaru_nb.model.removal import Removal

__all__ = ["GRACE", "KEEP_DAYS", "Collected", "Policy", "collect"]

KEEP_DAYS = 30.0
"""Days that the values of completed and cancelled executions are kept."""

GRACE = 3600.0
"""Seconds since its last write after which a file that nothing refers to is nobody's unfinished save."""

_FINISHED = (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED)
_FREE_BYTES, _FREE_PART = 1 << 20, 4
_FIRST, _LARGEST = 8, 1024  # values in one piece of a removal


@dataclass(frozen=True, slots=True)
class Policy:
    """Whose values may go.

    Attributes:
        keep_days: Those of executions that completed, or were cancelled, longer ago than this.
        max_bytes: And of further finished ones, those that ended first, until no more than this
            is taken; None for no limit.
        keep_last: But never those of the newest so many finished executions of each notebook
            for their age alone.
    """

    keep_days: float = KEEP_DAYS
    max_bytes: int | None = None
    keep_last: int = 0

    def __str__(self) -> str:
        """As it is put on record: ``keep_days=30, max_bytes=5000000000``."""
        parts = [f"keep_days={self.keep_days:g}"]
        parts += [f"max_bytes={self.max_bytes}"] if self.max_bytes is not None else []
        parts += [f"keep_last={self.keep_last}"] if self.keep_last else []
        return ", ".join(parts)


@dataclass(slots=True)
class Collected:
    """What was removed, or would be.

    Attributes:
        policy: Under which policy.
        dry_run: Whether nothing was changed.
        executions: For each execution that lost values: how many, and their bytes.
        artifacts: Values removed.
        bytes: Size of these values.
        before: Bytes that the store took.
        after: Bytes that it takes now, or would take.
        packs: Files removed.
        rewritten: Files of which only what is needed was kept.
        problems: Sentences about what could not be done or read.
    """

    policy: Policy
    dry_run: bool
    executions: dict[ExecutionId, dict[str, int]] = field(default_factory=dict)
    artifacts: int = 0
    bytes: int = 0
    before: int = 0
    after: int = 0
    packs: int = 0
    rewritten: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Decision:
    removal: Removal
    bytes: int


def collect(
    journal: Journal,
    store: ArtifactStore,
    policy: Policy,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    grace: float = GRACE,
    rewrite: bool = True,
) -> Collected:
    """Remove what `policy` lets go and nothing needs. May be killed at any instant.

    Args:
        journal: What is on record.
        store: Where the bytes are.
        policy: Whose values may go.
        dry_run: Only tell.
        now: The time that ages count from: the journal's, since this machine's clock may be wrong.
        grace: See `GRACE`.
        rewrite: Whether files of which less than half is needed are written anew; that needs
            room for what is kept of one file.

    Raises:
        CorruptError: a record is damaged, so what is needed is not known: nothing was removed.
        StoreError: something could not be removed; what was given up is gone from the records,
            and the next call goes on.
    """
    now = now or journal.now()
    found = Collected(policy, dry_run)
    census = Census(journal, store)
    census.refresh()
    found.problems += census.damaged
    files = {pack.name: pack for pack in store.packs()}
    found.before = found.after = sum(pack.bytes for pack in files.values()) + journal.space()[0]
    live = bool(journal.executions(status=ExecutionStatus.RUNNING, limit=1))
    young = time.time() - grace
    settled = frozenset(name for name, pack in files.items() if not live or pack.modified < young)
    if dry_run:
        decision = _decide(census, policy, now, settled)
        _tell(found, decision)
        gone = {name for name in decision.removal.packs if name in files}
        found.packs = len(gone)
        found.after -= sum(files[name].bytes for name in gone) + _inline(census, decision.removal.extents)
        return found
    try:
        with journal.holding():
            census.refresh()
            decision = _decide(census, policy, now, settled)
            removal = decision.removal
            free = (
                journal.sweep(removal)
                if removal.artifacts or removal.extents or removal.packs
                else frozenset()
            )
    except StoreError as error:
        if error.kind != "journal-full":
            raise
        _in_pieces(store, census, settled, lambda left: _decide(census, policy, now, left), found)
    else:
        _tell(found, decision)
        _remove(store, free, found)
    if rewrite:
        _rewrite(journal, store, policy, found)
    _compact(journal)
    found.after = sum(pack.bytes for pack in store.packs()) + journal.space()[0]
    return found


def _in_pieces(
    store: ArtifactStore,
    census: Census,
    settled: frozenset[str],
    decide: Callable[[frozenset[str]], _Decision],
    found: Collected,
) -> None:
    """Remove bit by bit on a disk that is full: what one piece frees makes room to record the next.

    Each piece is decided anew in its own transaction, so each is as safe as the whole.

    Raises:
        StoreError: kind ``journal-full``: there is not even room to record that one value is gone.
    """
    most, top = _FIRST, _LARGEST
    while True:
        with suppress(StoreError):
            census.journal.fold()  # what was written, and what was tried in vain, is in the log
        try:
            with census.journal.holding():
                census.refresh()
                removal = decide(settled).removal
                piece = next_piece(census, removal, most)
                if piece is None:
                    return
                piece = replace(piece, executions=_told(census, piece.artifacts, removal.executions))
                free = census.journal.sweep(piece)
                size = sum(census.values[digest].bytes for digest in piece.artifacts)
        except StoreError as error:
            if error.kind != "journal-full" or most == 1:
                raise
            most = top = most // 2
            continue
        most = min(2 * most, top)
        forget_places(census, piece)
        settled -= piece.packs
        _tell(found, _Decision(piece, size))
        _remove(store, free, found)


def _decide(census: Census, policy: Policy, now: datetime, settled: frozenset[str]) -> _Decision:
    """What goes: everything that nothing that stays needs.

    Of the files that no record knows only those that are `settled`: others may be somebody's
    save that is not committed yet.
    """
    journal = census.journal
    marks = Marks(census)
    pinned = journal.pinned()
    arrived = journal.guests()
    executions = [
        replace(each, ended_at=max(_ended(each), arrived[each.id])) if each.id in arrived else each
        for each in journal.executions()  # what was imported is kept as long as what ended then
    ]
    spared = _spared(executions, policy.keep_last)
    finished = [each for each in executions if each.status in _FINISHED and each.id not in pinned]
    for each in executions:
        if each.status not in _FINISHED or each.id in pinned:
            marks.mark(each.id)
        if each.status not in _FINISHED and each.parent is not None:
            marks.mark(each.parent)  # a replay that can go on may be given more of what it replays
    oldest = _days_before(now, policy.keep_days)
    young = [each for each in finished if _ended(each) > oldest or each.id in spared]
    room = None if policy.max_bytes is None else policy.max_bytes - _fixed(census, marks)
    for each in sorted(young, key=_ended, reverse=True):
        before = set(marks.artifacts), set(marks.extents)
        taken = marks.mark(each.id)
        if room is not None:
            room -= taken
            if room < 0:  # this one and all that ended before it go
                marks.artifacts, marks.extents = before
                break
    artifacts = frozenset(census.values.keys() - marks.artifacts)
    extents = frozenset(census.places.keys() - marks.extents)
    needed = {census.places[extent].pack for extent in marks.extents}
    known = {place.pack for place in census.places.values() if place.pack is not None}
    packs = frozenset((settled | known) - needed)
    told = _told(census, artifacts, (each.id for each in finished))
    size = sum(census.values[digest].bytes for digest in artifacts)
    removal = Removal(str(policy), artifacts, extents, packs, executions=told)
    return _Decision(removal, size)


def _days_before(now: datetime, days: float) -> datetime:
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _ended(execution: Execution) -> datetime:
    return execution.ended_at or execution.started_at


def _spared(executions: Iterable[Execution], keep_last: int) -> frozenset[ExecutionId]:
    """The newest finished executions of each notebook or flow."""
    counts: dict[str | None, int] = {}
    spared = set()
    for each in executions:  # newest first
        what = each.identity.notebook or each.identity.flow
        if each.status in _FINISHED and counts.get(what, 0) < keep_last:
            counts[what] = counts.get(what, 0) + 1
            spared.add(each.id)
    return frozenset(spared)


def _fixed(census: Census, marks: Marks) -> int:
    """Bytes that stay whatever else goes: what is marked already, and the records."""
    total, free = census.journal.space()
    inline = sum(place.extent.length for place in census.places.values() if place.pack is None)
    return max(0, total - free - inline) + sum(size_of(census.places[extent]) for extent in marks.extents)


def _told(
    census: Census, gone: frozenset[Digest], executions: Iterable[ExecutionId]
) -> Mapping[ExecutionId, Mapping[str, Any]]:
    """What each execution loses."""
    told = {}
    for execution in executions:
        steps = census.of_execution.get(execution, ())
        lost = {digest for seq in steps for digest in census.steps[seq].stored} & gone
        if lost:
            size = sum(census.values[digest].bytes for digest in lost)
            told[execution] = {"artifacts": len(lost), "bytes": size}
    return told


def _tell(found: Collected, decision: _Decision) -> None:
    removal = decision.removal
    for execution, told in removal.executions.items():
        sums = found.executions.setdefault(execution, dict.fromkeys(told, 0))
        sums.update({what: sums[what] + count for what, count in told.items()})
    found.artifacts += len(removal.artifacts)
    found.bytes += decision.bytes


def _inline(census: Census, extents: Iterable[Digest]) -> int:
    places = (census.places[extent] for extent in extents)
    return sum(place.extent.length for place in places if place.pack is None)


def _remove(store: ArtifactStore, packs: Iterable[str], found: Collected) -> None:
    """Remove files that the journal has given up."""
    crash_point("after-sweep")
    for name in sorted(packs):
        try:
            store.remove(name)
        except StoreError as error:
            found.problems.append(error.message)
            continue
        found.packs += 1
        crash_point("after-pack-removal")


def _rewrite(journal: Journal, store: ArtifactStore, policy: Policy, found: Collected) -> None:
    """Write sparse files anew; beyond those, where the limit asks for it, the sparsest first."""
    live: dict[str, int] = {}
    for place in journal.every_extent():
        if place.pack is not None:
            live[place.pack] = live.get(place.pack, 0) + size_of(place)
    files = {pack.name: pack.bytes for pack in store.packs()}
    taken = sum(files.values()) + journal.space()[0]
    for name in sorted(live.keys() & files.keys(), key=lambda name: live[name] / max(1, files[name])):
        sparse = live[name] * 2 < files[name]
        too_much = policy.max_bytes is not None and taken > policy.max_bytes and live[name] < files[name]
        if not (sparse or too_much):
            break
        try:
            free = repack(journal, store, name, str(policy))
        except StoreError as error:
            found.problems.append(f"the pack `{name}` was not written anew: {error.message}")
            continue
        taken -= files[name] - live[name]
        found.rewritten += 1
        for gone in free:
            with suppress(StoreError):
                store.remove(gone)
        crash_point("after-repack-removal")


def _compact(journal: Journal) -> None:
    """Give free space in the journal back where there is much of it."""
    total, free = journal.space()
    if free > _FREE_BYTES and free * _FREE_PART > total:
        with suppress(StoreError):  # it needs room of its own, and nobody else writing
            journal.compact()
