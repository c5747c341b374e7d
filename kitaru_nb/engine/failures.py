"""Failed steps of this kernel, and how each is undone before its cell runs again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kitaru_nb.artifacts.digest import opaque_in
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.namespace import Change, Names, Namespace, State, changes
from kitaru_nb.engine.process import Process, ProcessState
from kitaru_nb.engine.steps import Pending
from kitaru_nb.errors import ConflictError

__all__ = ["Failures"]


@dataclass(frozen=True, slots=True)
class _Failure:
    """One step that raised or was interrupted: how things stood before it and after."""

    pending: Pending
    after: State
    process: ProcessState
    count: int | None


class Failures:
    """Remembers what failed steps did, until their cells run again.

    A failure leaves what it did visible. It is undone in the same live objects, and by
    digest it is checked that this gave the state before; where it did not, the cell is
    refused rather than run on half-done state.
    """

    def __init__(self, namespace: Namespace, process: Process) -> None:
        self._namespace = namespace
        self._process = process
        self._failed: dict[str, _Failure] = {}
        self._said: list[str] = []

    def hear(self) -> list[str]:
        """What is to be said about what was undone; each sentence is given once."""
        said, self._said = list(dict.fromkeys(self._said)), []
        return said

    def add(self, pending: Pending, *, count: int | None = None) -> None:
        """The step has failed just now; `count` is the number of its cell's run (``In [n]``)."""
        known = self._failed.get(_place(pending.cell, pending.name))
        if known is not None and known.pending is pending:
            return  # a try of it that could not be undone: the state before it is still the one to go back to
        if pending.shadow is not None:
            pending.shadow.settle()
            failure = _Failure(pending, self._namespace.observe(), self._process.snapshot(), count)
            self._failed[_place(pending.cell, pending.name)] = failure

    def undo(self, cell: Cell, name: str, *, exactly: bool = False) -> bool:
        """Undo the failure of this very cell, if there is one; says whether there was.

        With `exactly` nothing at all may differ from the state before it.

        Raises:
            ConflictError: kind ``half-done``: something it changed cannot be put back. Then
                nothing is.
        """
        failure = self._failed.get(_place(cell, name))
        if failure is None:
            return False
        self._undo(failure, exactly=exactly)
        del self._failed[_place(cell, name)]
        return True

    def undo_all(self) -> list[str]:
        """Undo every failure, newest first; gives the names of the steps."""
        undone = []
        for place, failure in reversed(list(self._failed.items())):
            self._undo(failure)
            del self._failed[place]
            undone.append(failure.pending.name)
        return undone

    def names(self) -> list[str]:
        """Steps that failed and whose doings are still there."""
        return [failure.pending.name for failure in self._failed.values()]

    def cells(self) -> list[str]:
        """The same as a notebook shows them: ``[7]``, or the step's name where there is no number."""
        return [
            f"[{failure.count}]" if failure.count is not None else f"`{failure.pending.name}`"
            for failure in self._failed.values()
        ]

    def keep(self) -> list[str]:
        """Accept what failed steps left; gives their names."""
        names = self.names()
        self._failed.clear()
        return names

    def _undo(self, failure: _Failure, *, exactly: bool = False) -> None:
        pending = failure.pending
        now = self._namespace.observe()
        since = changes(failure.after, now)
        _refuse_mixed(pending, failure.after, since, now)
        others = {name for names in since.groups for name in names} | since.deleted
        assert pending.shadow is not None  # only such failures are added
        process = self._process.snapshot()
        pending.shadow.undo()
        undone = self._namespace.observe()
        left: list[Sequence[str]] = [
            *((place,) for place in self._not_back_in_modules(failure, process)),
            *_not_back(pending.before, failure.after, undone, others),
        ]
        if exactly and not left:
            more = changes(pending.before, undone)
            left = [*more.groups, *((name,) for name in more.deleted)]
        if left:
            pending.shadow.redo()  # all of it or nothing
            listed = ", ".join(f"`{name}`" for names in left for name in names)
            message = f"`{pending.name}` failed half-way after changing {listed}, which cannot be put back"
            raise ConflictError(message, kind="half-done", hint="%rewind --keep, or %resume --at CHECKPOINT")
        self._undo_process(failure)
        self._said += _not_seen(pending)

    def _not_back_in_modules(self, failure: _Failure, now: ProcessState) -> list[str]:
        """Variables of the project's modules that the failure changed and that do not hold what they held."""
        failed, live = failure.process.get("attributes", {}), now.get("attributes", {})
        changed = {place: held for place, held in failed.items() if live.get(place) == held}
        return self._process.not_back(self._process.completed(failure.pending.process), changed)

    def _undo_process(self, failure: _Failure) -> None:
        now = self._process.snapshot()
        before = self._process.completed(failure.pending.process)
        parts = {
            part: value
            for part, value in before.items()
            if failure.process.get(part) != value and now.get(part) == failure.process.get(part)
        }
        # One by one: those of the project's modules have been undone already.
        failed, live = failure.process.get("attributes", {}), now.get("attributes", {})
        parts["attributes"] = {
            place: held
            for place, held in before.get("attributes", {}).items()
            if failed.get(place) != held and live.get(place) == failed.get(place)
        }
        if "path" in parts:
            self._process.reset_path(parts.pop("path"))
        self._process.apply(parts)


def _place(cell: Cell, name: str) -> str:
    return cell.step or f"name:{name}"


def _not_seen(pending: Pending) -> list[str]:
    """A sentence for each name whose value the failed step could reach and nobody can look into."""
    before = pending.before
    reached = pending.needs.touched & before.group_of.keys()
    closed = {name for name in reached if opaque_in(before.groups[before.group_of[name]])}
    return [
        f"`{name}` may hold what the failed run of `{pending.name}` did, which nobody can see or undo: "
        "where that matters, run the cell that makes it again"
        for name in sorted(closed)
    ]


def _refuse_mixed(pending: Pending, failed: State, since: Change, now: State) -> None:
    """Refuse where the failed step and a cell after it changed the same objects: neither can be told apart.

    Raises:
        ConflictError: kind ``half-done``.
    """
    before = pending.before
    half_done = {name for names in changes(before, failed).in_place for name in names}
    mixed = {
        name
        for names in since.in_place
        for name in half_done.intersection(names)
        if now.groups.get(now.group_of.get(name, ())) != before.groups[before.group_of[name]]
    }
    if mixed:
        listed = ", ".join(f"`{name}`" for name in sorted(mixed))
        message = f"`{pending.name}` failed half-way after changing {listed}, which was changed again since"
        raise ConflictError(message, kind="half-done", hint="%rewind --keep, or %resume --at CHECKPOINT")


def _not_back(before: State, after: State, now: State, others: Iterable[str]) -> list[Names]:
    """Groups the failure changed or bound anew that do not hold what they held, the user's changes aside."""
    spared = set(others)
    failed = changes(before, after)
    touched = {name for names in failed.groups for name in names} | failed.deleted
    groups = failed.in_place | {before.group_of[name] for name in touched & before.group_of.keys()}
    return [
        names
        for names in sorted(groups)
        if spared.isdisjoint(names) and now.groups.get(names) != before.groups[names]
    ]
