"""Where recorded results belong: the scopes of one execution, and what one run of each was given.

A scope is a flow, a cell, or a recorded call inside one of them; `engine.book` has the results.
Its path says where it is: ``flow``, ``cell:ID``, and for a call in it
``cell:ID/NAME:ARGUMENTS:n``. The code of a call is no part of the path, so that what a call had
done is found when its function was edited meanwhile.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.observe import Observed
from kitaru_nb.errors import Suspended
from kitaru_nb.llm.budget import Budget
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, StepKind
from kitaru_nb.model.served import Served

if TYPE_CHECKING:
    from kitaru_nb.engine.book import Book

__all__ = ["WAITS", "Entry", "Scope", "served_of"]

WAITS = "?"
"""Labels of waits begin with it, see `Scope.place_of`."""

_OVER = ""
"""Stands for the path of a scope that ran in an earlier attempt and does not run in this one."""


@dataclass(slots=True)
class Entry:
    """A result that is about to be recorded.

    Attributes:
        kind: What it is.
        key: What it is asked for by.
        name: What a person calls it.
        fields: Further fields of the draft.
        store: Writes the values; called again where `gc` was faster than the commit.
        look_again: Called before that: what is remembered as stored may be what is gone.
    """

    kind: StepKind
    key: CheckpointKey
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    store: Callable[[], tuple[Mapping[str, Any], Written]] | None = None
    look_again: Callable[[], None] = lambda: None


class Scope(ProcessBound):
    """One run of a flow, a cell or a recorded call: what it has consumed, and what it cost.

    Attributes:
        book: The execution's results.
        path: Where it is.
        place: The same by names and numbers of calls, whatever their arguments are.
        parent: The scope around it, None for a flow or a cell.
        siblings: How the paths of calls of the same function in `parent` begin.
        root: The flow or cell that it is in.
        run: In the root: its number, by which processes that share its results tell runs apart.
        token: What other processes know this run by, once it was told one; see `engine.spawned`.
        consumed: Results that this run was given or has recorded.
        held: In the root: these of all scopes in it, with the path of the one that has each.
        had: In the root: paths of the calls among them.
        begun: In the root: paths of calls that were made, with the path of the one that is given
            what was recorded there. That is another one where it took over from a call that had
            not come to its end, see `Book._is_left`.
        reuse: Model calls in it may be served from other executions, too.
        meter: Of its model calls, once there was one.
        positions: For a step of a notebook: what commits long loops in it, see `engine.positions`.
        loops: The names of those loops.
        observed: What a call was seen to change in files, once it has.
        limits: Budgets that began in it and have not ended.
        around: In the root of a flow: the scope of another execution that calls it.
        notebook: For a cell: the path of its notebook.
        repeated: It is a plain cell that came to its end before: a flow that it calls begins anew.
        suspended: A wait or a budget that stopped something in this run. It does not come to its
            end before that is answered, though the code around it may have caught the signal.
        began: In the root: when its cell began to run, on the clock of `time.perf_counter`.
        recorded: Seconds that its own results took which it recorded in this run.
        stopped: The stop button was pressed while it ran in a thread that does not hear of that.
    """

    def __init__(
        self,
        book: Book,
        path: str,
        parent: Scope | None = None,
        siblings: str | None = None,
        *,
        place: str | None = None,
        run: int | None = None,
    ) -> None:
        self.book = book
        self.path = path
        self.place = path.partition("@")[0] if place is None else place
        self.parent = parent
        self.siblings = siblings
        self.root: Scope = self if parent is None else parent.root
        self.run: int = self.root.run if parent is not None else book.next_run() if run is None else run
        self.token = ""
        self.notebook: str | None = None if parent is None else parent.notebook
        self.repeated = False
        self.reuse: bool = parent is not None and parent.reuse
        self.meter: Any = None
        self.limits: list[Budget] = []
        self.around: Scope | None = None
        self.positions: Any = None
        self.observed: Observed | None = None
        self.loops: set[str] = set()
        self.consumed: set[int] = set()
        self.held: dict[int, str] = {}
        self.had: set[str] = set()
        self.begun: dict[str, str] = {}
        self.cost: float | None = None
        self.tokens: int | None = None
        self.served: list[Checkpoint] = []
        self.suspended: Suspended | None = None
        self.stopped = False
        self.began: float | None = None
        self.recorded = 0.0
        self._at: dict[str, int] = {}
        self._children: dict[str, int] = {}
        self._named: dict[str, int] = {}
        self._given: set[str] = set()
        self._lock = threading.Lock()

    def next_place(self, name: str) -> str:
        """The place of a call of that name which is asked for now, the n-th of them in this run."""
        with self._lock:
            number = self._named[name] = self._named.get(name, 0) + 1
        return f"{self.place}/{name}#{number}"

    def inner(self, name: str, arguments: str, *, place: str | None = None, alone: bool = False) -> Scope:
        """The scope of a call that begins now, the next with these arguments in this run.

        What happened in a call whose result this run was given belongs to that one, and is not
        given to another. Where it is `alone`, other arguments make something else of it: nothing
        of what was recorded for those is for it.
        """
        label = f"{name}:{arguments}"
        path = f"{self.path}/{label}:{self.place_of(label)}"
        while path in self._given:
            path = f"{self.path}/{label}:{self.place_of(label)}"
        self.root.begun.setdefault(path, path)
        return Scope(self.book, path, self, None if alone else f"{self.path}/{name}:", place=place)

    def could_be_at(self, path: str) -> bool:
        """Whether this run would be at `path`, had the calls from the root down to it other arguments."""
        if path == self.path or self.parent is None:
            return path == self.path
        around, _, label = path.rpartition("/")
        start = len(self.parent.path) + 1
        alike = (
            label == self.path[start:] if self.siblings is None else label.startswith(self.siblings[start:])
        )
        return alike and self.parent.could_be_at(around)

    def taking_over(self, path: str) -> Iterator[tuple[str, bool]]:
        """What this run and those around it take over with `path`, and whether each of them may.

        Whoever took over first from a call that had not come to its end has what was left there.
        """
        scope: Scope = self
        while path != scope.path and scope.parent is not None:
            yield path, self.root.begun.get(path, scope.path) == scope.path
            path, scope = path.rpartition("/")[0], scope.parent

    def take_over(self, path: str) -> None:
        """From now on what was recorded at `path` is for this run, and what is around it for those around."""
        scope: Scope = self
        while path != scope.path and scope.parent is not None:
            self.root.begun.setdefault(path, scope.path)
            path, scope = path.rpartition("/")[0], scope.parent

    def learn_given(self) -> None:
        """This run goes on in another process: what it was given elsewhere is not given again."""
        self._given |= {each.draft.data.get("path", "") for each in self.book.taken_in(self)}

    def place_of(self, label: str) -> int:
        """How many of this label this run has met before; the next one is one further."""
        with self._lock:
            number = self._children.get(label, 0)
            self._children[label] = number + 1
        return number

    def met(self) -> dict[str, Any]:
        """What this run of a cell has asked for so far, as JSON values: see `go_on_from`."""
        results = self.book.results()
        with self._lock:
            return {
                "results": _ranges(each.ordinal for each in results if each.seq in self.held),
                "children": dict(self._children),
                "named": dict(self._named),
                "cost": self.cost,
                "tokens": self.tokens,
            }

    def go_on_from(self, met: Mapping[str, Any]) -> None:
        """This run goes on where an earlier one was that had `met` so much."""
        numbers = {n for first, last in met["results"] for n in range(first, last + 1)}
        for each in self.book.results():
            if each.ordinal in numbers and each.seq not in self.held:
                if each.draft.scope == self.path:
                    self.consume(each)
                else:
                    self.held[each.seq] = _OVER  # whoever had it does not run in this attempt
                    self.had.add(each.draft.data.get("path", ""))
        with self._lock:
            self._children.update(met["children"])
            self._named.update(met["named"])
        for limit in self._limits_around() if met["cost"] is not None else ():
            limit.give_back(limit.nothing, limit.exact(met["cost"]))
        self.spend(met["cost"], met["tokens"])

    def is_past(self, found: Checkpoint) -> bool:
        """Whether this run has come to where a result was recorded, or that is in another cell.

        What an earlier attempt has recorded further on is still to come.
        """
        root, scope = self.root, found.draft.scope
        if scope != root.path and not scope.startswith(f"{root.path}/"):
            return True
        words = scope.split("/")
        return found.seq in root.held or any(
            "/".join(words[:n]) in root.had for n in range(1, len(words) + 1)
        )

    def suspend(self, suspended: Suspended) -> None:
        """Take note, here and in what is around, that something waits."""
        scope: Scope | None = self
        while scope is not None:
            scope.suspended = scope.suspended or suspended
            scope = scope.parent

    def refuse_suspended(self) -> None:
        """Raise where something in this run waits: then there is no result to be recorded.

        Raises:
            Suspended: it does.
        """
        if self.suspended is not None:
            raise self.suspended

    def refuse_stopped(self) -> None:
        """Raise where something in this run was to begin, and it or what is around it was stopped.

        Raises:
            KeyboardInterrupt: it was.
        """
        scope: Scope | None = self
        while scope is not None:
            if scope.stopped:
                raise KeyboardInterrupt
            scope = scope.parent

    def once_more(self) -> Scope:
        """Another run of the same scope, which has consumed nothing."""
        scope = Scope(self.book, self.path, self.parent, self.siblings, place=self.place)
        if self.parent is None:
            scope.served = self.served
        return scope

    def next_of(
        self, key: str, known: Sequence[Checkpoint], fits: Callable[[Checkpoint], bool] | None = None
    ) -> Checkpoint | None:
        """The next of `known` that is in this scope, not consumed, and fits."""
        at = self._at.get(key, 0)
        while at < len(known) and not self._is_own(known[at]):
            at += 1
        self._at[key] = at
        for found in itertools.islice(known, at, None):
            if self._is_own(found) and (not fits or fits(found)):
                return found
        return None

    def _is_own(self, found: Checkpoint) -> bool:
        return found.draft.scope == self.path and self.is_free(found)

    def is_free(self, found: Checkpoint) -> bool:
        """Whether nobody has a result: neither this run, nor another scope that it was given to.

        Another run of the same scope may have it: then a call is made once more, see `once_more`.
        """
        return found.seq not in self.consumed and self.root.held.get(found.seq, self.path) == self.path

    def consume(self, checkpoint: Checkpoint, *, own: bool = False) -> None:
        """Take note that this run has this result, recorded now if it is its `own`."""
        self.consumed.add(checkpoint.seq)
        self.root.held[checkpoint.seq] = self.path
        self._given.add(checkpoint.draft.data.get("path", ""))
        self.root.had.add(checkpoint.draft.data.get("path", ""))
        if own:
            for limit in self._limits_around():
                limit.meets(checkpoint.seq)
        with self._lock:
            if own:
                self.recorded += checkpoint.draft.duration
            else:
                self.root.served.append(checkpoint)
        self.book.noted.add(lambda: self._give_back(checkpoint, own=own))

    def _give_back(self, checkpoint: Checkpoint, *, own: bool) -> None:
        """What was consumed was not recorded, or not asked for, after all."""
        self.consumed.discard(checkpoint.seq)
        self.root.held.pop(checkpoint.seq, None)
        self._given.discard(checkpoint.draft.data.get("path", ""))
        self.root.had.discard(checkpoint.draft.data.get("path", ""))
        self._at.pop(checkpoint.draft.key, None)  # it may be past the end of what is left
        with self._lock:
            if own:
                self.recorded -= checkpoint.draft.duration
            else:
                self.root.served = [each for each in self.root.served if each is not checkpoint]

    def unrecorded(self) -> float:
        """Seconds that its cell has run so far beyond what is on record of that; 0 where none is known."""
        if self.root.began is None:
            return 0.0
        left = time.perf_counter() - self.root.began
        scope: Scope | None = self
        while scope is not None:
            left -= scope.recorded
            scope = scope.parent
        return max(left, 0.0)

    def spend(self, cost: float | None, tokens: int | None) -> None:
        """Add what a model call in this scope cost."""
        scope: Scope | None = self
        while scope is not None:
            with scope._lock:  # noqa: SLF001 - its own kind
                if cost is not None:
                    scope.cost = (scope.cost or 0.0) + cost
                if tokens is not None:
                    scope.tokens = (scope.tokens or 0) + tokens
            scope = scope.parent

    def charge(self, served: Checkpoint) -> None:
        """Count what a result has cost that this run is given, if this execution paid for it.

        Limits of executions know what was paid; another one counts each result once, also where a
        call that raised is made again under it.
        """
        draft = served.draft
        if draft.cost is None or draft.origin is not None or served.execution != self.book.execution:
            return
        for limit in self._limits_around():
            if limit.meets(served.seq):
                limit.give_back(limit.nothing, limit.exact(draft.cost))

    def budgets(self) -> Iterator[Budget]:
        """Every limit that a model call in this scope counts against, those of executions last."""
        yield from self._limits_around()
        yield from (book.budget for book in self._books_around() if book.budget is not None)

    def read_settings_again(self) -> None:
        """See `Book.read_settings_again`: for this execution, and for those that call it."""
        for book in self._books_around():
            book.read_settings_again()

    def _books_around(self) -> Iterator[Book]:
        scope: Scope | None = self
        while scope is not None:
            yield scope.book
            scope = scope.root.around

    def _limits_around(self) -> Iterator[Budget]:
        scope: Scope | None = self
        while scope is not None:
            yield from reversed(scope.limits)
            scope = scope.parent or scope.around

    def limit(self, dollars: float, name: str, raised: Callable[[str], str]) -> Budget:
        """From now on, model calls of this scope count against one more limit; see `Budget`."""
        limit = Budget(dollars, name=name, raised=raised, warn=self.book.allowance.warn)
        self.limits.append(limit)
        return limit

    @contextmanager
    def limited(self, dollars: float, name: str, raised: Callable[[str], str]) -> Iterator[Budget]:
        """Inside the block, model calls of this scope count against one more limit.

        What is served from the record was paid by an earlier attempt of the same block, and
        counts.
        """
        limit = self.limit(dollars, name, raised)
        try:
            yield limit
        finally:
            self.limits.remove(limit)

    def find(self, key: str, fits: Callable[[Checkpoint], bool] | None = None) -> Checkpoint | None:
        """See `Book.find`."""
        return self.book.find(self, key, fits)

    def latest(self, key: str, fits: Callable[[Checkpoint], bool]) -> Checkpoint | None:
        """The newest result with this key in this scope that fits, consumed or not."""
        found = [each for each in self.book.results() if each.draft.key == key]
        return next((each for each in reversed(found) if each.draft.scope == self.path and fits(each)), None)

    def record(self, entry: Entry, **options: Any) -> Checkpoint:
        """See `Book.record`."""
        return self.book.record(self, entry, **options)

    def tell_served(self) -> None:
        """Put on record what this run was given instead of doing it again. Losing this loses no result."""
        with self._lock:
            served, self.served = self.served, []
        if served:
            self.book.engine.journal.note_served(self.book.attempt, served_of(served))


def served_of(steps: Iterable[Checkpoint]) -> Served:
    """What serving these results has saved: a call that is served asks for nothing inside it."""
    duration, cost, tokens = 0.0, None, None
    numbers = []
    for step in steps:
        numbers.append(step.seq)
        duration += step.draft.duration
        if step.draft.cost is not None:
            cost = (cost or 0.0) + step.draft.cost
        if step.draft.tokens is not None:
            tokens = (tokens or 0) + step.draft.tokens
    return Served(tuple(numbers), duration, cost, tokens)


def _ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers that come in order, as pairs of the first and the last of each row without a gap."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][1] + 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    return rows
