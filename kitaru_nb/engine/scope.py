"""Where recorded results are counted: the book of one execution, and the scopes in it.

A result belongs to the scope in which it was asked for: a flow, a cell, or a recorded call inside
one of them. Each run of a scope begins with nothing consumed, asks for the results on record
by their key, in the order in which they were recorded, and what is not on record is done and
recorded. So three equal calls have three results, and have the same three after a crash.

A scope's path says where it is: ``flow``, ``cell:ID``, and for a call in it
``cell:ID/NAME:ARGUMENTS:n``. The code of a call is no part of the path, so that what a call had
done is found when its function was edited meanwhile.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import warnings
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from kitaru_nb.engine.beside import Beside
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.files import Files
from kitaru_nb.engine.forked import Forks
from kitaru_nb.engine.history import origin_of
from kitaru_nb.engine.labels import Labels
from kitaru_nb.engine.noted import Noted
from kitaru_nb.engine.observe import Observed, own_doing
from kitaru_nb.engine.prefix import restored_draft
from kitaru_nb.engine.replay import Replay, lent, replay_in
from kitaru_nb.engine.secrecy import masked_draft
from kitaru_nb.engine.trial import Trial
from kitaru_nb.errors import BudgetWarning, ConflictError, NotFoundError, StoreError, Suspended
from kitaru_nb.journal.forks import minding_forks
from kitaru_nb.llm.budget import Budget
from kitaru_nb.llm.prices import Prices
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Draft, StepKind
from kitaru_nb.model.execution import Attempt, ExecutionId
from kitaru_nb.model.served import Served

__all__ = ["WAITS", "Book", "Entry", "Scope"]

_SETTING = "setting"
WAITS = "?"
"""Labels of waits begin with it, see `Scope.place_of`."""

_OVER = ""
"""Stands for the path of a scope that ran in an earlier attempt and does not run in this one."""

_TRIES = 3
_REMOVED = ("values-removed", "unknown-artifact")


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


class Book:
    """The recorded results of one execution, as one attempt at it reads and adds them.

    Safe to use from any thread. What `record` returned is durable.

    Args:
        engine: Journal and store.
        attempt: Gives the attempt to work in, taking the lease if need be.
        limit: What the execution may cost in US dollars; else what was said last counts, or the
            setting.

    Attributes:
        trial: Loads objects of foreign classes before what is stored counts.
        prices: What model calls cost.
        last_request: What the last request to a model is on record as.
        budget: What is left of the limit; None without one, and before the record was read.
        files: Files that steps and calls wrote, see `engine.outside`.
        running: The calls that run now.
        under_way: Those of them that a thread of ours makes.
        drew: The call whose random numbers came last, made or served.
        labels: What to type for saved values.
        noted: What is forgotten again where the transaction that it was noted in is undone.

    Where the execution is a replay, results of the one that it replays are among those that are
    asked for; one that is served is on record here from then on, see `engine.replay`.
    """

    def __init__(
        self,
        engine: Engine,
        attempt: Callable[[], Attempt],
        *,
        limit: float | None = None,
    ) -> None:
        self.engine = engine
        self._attempt = attempt
        self.trial = Trial(engine.settings.home)
        self.prices = Prices(engine.settings.prices)
        self.last_request: Digest | None = None
        self.budget: Budget | None = None
        self.files: Files | None = None
        self.running: set[Beside] = set()
        self.under_way: set[object] = set()
        self.drew: Checkpoint | None = None
        self.labels = Labels(engine.journal)
        self.noted = Noted()
        self._writer: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._codes: set[Digest] = set()
        self._origins: set[int] = set()
        self._asked_limit = limit
        self._replay: Replay | None = None
        self._newest = 0
        self._lock = threading.RLock()
        self._by_key: dict[str, list[Checkpoint]] = {}
        self._by_scope: dict[str, int] = {}
        self._saved: dict[str, list[Checkpoint]] = {}
        self._read: ExecutionId | None = None
        self._generations: dict[str, int] = {}
        self._finished: set[str] = set()
        self._forks = Forks()
        minding_forks(self)

    def before_fork(self) -> None:
        """Results are given out together with the other side from now on."""
        self._forks.begin()

    def after_fork(self) -> None:
        """Nothing changes in the parent."""

    def in_child(self) -> None:
        """A thread that held the lock is not there in the child."""
        self._lock = threading.RLock()
        self.running = set()
        self.labels, self.noted = Labels(self.engine.journal), Noted()
        self._forks.in_child()

    def close(self) -> None:
        """End what was started to look at stored values, and to write."""
        self.trial.close()
        self._forks.end()
        writer, self._writer = self._writer, None
        if writer is not None and self._pid == os.getpid():
            writer.shutdown(wait=False)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """One transaction around all that this thread reads and records inside the block.

        Where it is undone, nothing of what was recorded inside counts for anybody.
        """
        with self._lock, self.noted.together(), self.engine.journal.holding():  # in this order, as everywhere
            yield

    def write(self, job: Callable[[], None]) -> None:
        """Do `job` in the book's own thread and wait for its end; raises what it raises."""
        if self._pid != os.getpid():
            job()  # a forked child has none of its parent's threads
            return
        with self._lock:
            if self._writer is None:
                self._writer = ThreadPoolExecutor(1, thread_name_prefix="kitaru-nb-record")
            writer = self._writer
        writer.submit(job).result()

    @property
    def attempt(self) -> Attempt:
        """The attempt, with the lease held.

        Raises:
            ConflictError: another live process holds the execution.
        """
        return self._attempt()

    @property
    def execution(self) -> ExecutionId:
        """The execution's id."""
        return self.attempt.execution

    def scope(self, path: str, *, fresh: bool = False) -> Scope:
        """A run of the scope at `path` begins: nothing is consumed in it yet.

        With `fresh` it does not look at what an earlier run recorded that came to its end;
        one that was cut short is still gone on with.
        """
        with self._lock:
            self._load()
            generation = self._generations.get(path, 1)
            full = _generation(path, generation)
            if fresh and full in self._finished:
                self._generations[path] = generation + 1
                full = _generation(path, generation + 1)
            scope = Scope(self, full)
            scope.repeated = full in self._finished
            return scope

    @property
    def replay(self) -> Replay | None:
        """What the execution replays, if it does."""
        with self._lock:
            self._load()
            return self._replay

    @property
    def newest(self) -> int:
        """How many results are on record, failed ones included."""
        with self._lock:
            self._load()
            return self._newest

    def results(self) -> list[Checkpoint]:
        """Every result on record, oldest first."""
        with self._lock:
            self._load()
            found = [each for known in self._by_key.values() for each in known if not self._is_lent(each)]
            return sorted(found, key=lambda each: each.seq)

    def saved(self, name: str) -> Iterator[Checkpoint]:
        """What is on record as saved under a name, newest first."""
        with self._lock:
            self._load()
            found = reversed(self._saved.get(name, ()))
        return (each for each in found if not self._is_lent(each))

    def note_finished(self, path: str) -> None:
        """The cell at `path` is on record: its results belong to a run that came to its end."""
        with self._lock:
            self._finished.add(path)

    def finish(self, scope: Scope) -> None:
        """Put on record that a plain cell came to its end; a step's commit says so by itself."""
        key = CheckpointKey(blake3(f"finished\n{scope.path}".encode()).hexdigest())
        self.record(scope, Entry(StepKind.RESULT, key, scope.path, {"data": {"finished": scope.path}}))

    def note_files(self, scope: Scope, files: tuple[Mapping[str, Any], ...]) -> Checkpoint:
        """Put on record which files a cell has changed that is no step, or not yet."""
        key = CheckpointKey(blake3(f"files\n{scope.path}".encode()).hexdigest())
        return self.record(scope, Entry(StepKind.RESULT, key, scope.path, {"files": files}))

    def find(
        self, scope: Scope, key: str, fits: Callable[[Checkpoint], bool] | None = None
    ) -> Checkpoint | None:
        """The next result with this key that this run of the scope has not consumed; consumes it.

        With `fits`, the next one that it says yes to.
        """

        def is_given(found: Checkpoint) -> bool:
            asked = fits is None or fits(found)
            return asked and (found.seq in scope.root.held or self._forks.take(found.seq))

        with self._lock:
            self._load()
            known = self._by_key.get(key)
            if not known:
                return None
            found = scope.next_of(key, known, is_given)
            if found is None and scope.siblings is not None:
                left = (each for each in known if self._is_left(scope, each))
                found = next(filter(is_given, left), None)
                if found is not None:
                    scope.root.begun.setdefault(found.draft.scope, scope.path)
            return None if found is None else self._consumed(scope, found)

    def is_new(self, code: Digest) -> bool:
        """Whether code was not met by this attempt before: its source is told once."""
        with self._lock:
            new = code not in self._codes
            self._codes.add(code)
            return new

    def find_first(self, scope: Scope, key: str) -> Checkpoint | None:
        """The first result with this key, whichever scope it is in; consumed by this run of `scope`."""
        with self._lock:
            self._load()
            if key not in self._by_key and self._forks.are_shared:
                self._look_again(key)
            known = self._by_key.get(key)
            return self._consumed(scope, known[0]) if known else None

    def _look_again(self, key: str) -> None:
        """Take in what a process on another side of a fork has put on record under a key."""
        for each in reversed(list(self.engine.journal.find_anywhere(CheckpointKey(key)))):
            if each.execution == self.execution:
                self._add(each)

    def hold(self, effect: str) -> bool:
        """Begin to have an effect, unless another process that works in the execution has it: then False."""
        return self._forks.hold(effect)

    def let_go(self, effect: str) -> None:
        """End to have it."""
        self._forks.let_go(effect)

    def _consumed(self, scope: Scope, found: Checkpoint) -> Checkpoint:
        if self._is_lent(found):
            return self._take_over(scope, found)
        scope.consume(found)
        return found

    def _is_lent(self, found: Checkpoint) -> bool:
        """Whether a result is one of the execution that is replayed."""
        return found.execution != self._read

    def _take_over(self, scope: Scope, found: Checkpoint) -> Checkpoint:
        """Put a result of the execution that is replayed on record in this one.

        Raises:
            UntrustedError: nobody who is trusted here has signed it.
        """
        self.engine.trust.require([found])
        data = dict(found.draft.data)
        if "after" in data:
            data["after"] = self._newest
        draft = restored_draft(found, scope=scope.path, data=data)
        copy = self._commit(draft, Entry(found.draft.kind, found.draft.key, found.draft.name))
        known = self._by_key[found.draft.key]
        at, newest = known.index(found), self._newest
        known[at] = copy
        self._newest = copy.ordinal
        saved = self._note_saved(copy)

        def back() -> None:
            known[at], self._newest = found, newest
            saved.remove(copy)

        self.noted.add(back)
        scope.consume(copy, own=True)  # what it saves is on its own record
        return copy

    def elsewhere(
        self, key: CheckpointKey, fits: Callable[[Checkpoint], bool] | None = None
    ) -> Checkpoint | None:
        """The next result with this key of another execution, each of them given once in this one.

        The newest execution that has any left comes first, and in it what was recorded first: so
        several equal calls are given several results, in their order.
        """
        with self._lock:
            self._load()
            chosen: Checkpoint | None = None
            journal = self.engine.journal
            for found in journal.find_anywhere(key):  # the newest first
                if chosen is not None and found.execution != chosen.execution:
                    break
                if found.execution == self.execution or origin_of(found) in self._origins:
                    continue
                if (fits is None or fits(found)) and not journal.removed(found.draft.stored):
                    chosen = found
            if chosen is not None:
                self._origins.add(origin_of(chosen))
            return chosen

    def _is_left(self, scope: Scope, found: Checkpoint) -> bool:
        """Whether a result was recorded where nobody comes for it any more.

        That is the case where the arguments of the call around it have changed. Who is given one
        of the results there has the others, too: that call may begin after all, and then is given
        what is left.
        """
        path, siblings = found.draft.scope, scope.siblings or ""
        return (
            path != scope.path
            and path.startswith(siblings)
            and "/" not in path[len(siblings) :]
            and path not in self._finished
            and scope.root.begun.get(path, scope.path) == scope.path
            and scope.is_free(found)
        )

    def record(
        self,
        scope: Scope,
        entry: Entry,
        *,
        status: CheckpointStatus = CheckpointStatus.COMPLETED,
        started_at: datetime | None = None,
        duration: float = 0.0,
    ) -> Checkpoint:
        """Put one result on record; durable when this returns, and consumed by this run of `scope`.

        Raises:
            StoreError: the disk refused; nothing is on record.
            ConflictError: kind ``superseded``: a later attempt owns the execution.
        """
        with self._lock:
            self._load()
            draft = Draft(
                name=entry.name,
                key=entry.key,
                code=entry.fields.get("code", Digest("")),
                source=entry.fields.get("source", ""),
                status=status,
                started_at=started_at or datetime.now(UTC),
                duration=duration,
                kind=entry.kind,
                scope=scope.path,
                number=len(self._by_key.get(entry.key, ())),
            )
            rest = {name: value for name, value in entry.fields.items() if name not in ("code", "source")}
            try:
                checkpoint = self._commit(draft.having(**rest), entry)
            except BaseException:
                self._origins.discard(
                    entry.fields.get("origin")
                )  # as `elsewhere` gave it: it may do so again
                raise
            if status is not CheckpointStatus.FAILED:
                self._add(checkpoint)
                scope.consume(checkpoint, own=True)
            return checkpoint

    def _commit(self, draft: Draft, entry: Entry) -> Checkpoint:
        for tries in range(_TRIES):
            try:
                with own_doing():
                    return self._commit_once(draft, entry)
            except (ConflictError, NotFoundError) as error:
                if error.kind not in _REMOVED or entry.store is None or tries + 1 == _TRIES:
                    raise
                self._look_again_at_values(entry)  # `gc` took what was shared: it is written anew
        raise AssertionError("the last try either returns or raises")

    def _commit_once(self, draft: Draft, entry: Entry) -> Checkpoint:
        written = Written()
        if entry.store is not None:
            more, written = entry.store()
            draft = draft.having(**more)
            self._flush()
        attempt = self.attempt
        draft = self.engine.trust.signed(masked_draft(draft), attempt.execution, fresh=written.artifacts)
        checkpoint = self.engine.journal.commit(
            attempt,
            draft,
            artifacts=written.artifacts,
            locations=written.locations,
            needs=written.needs - {artifact.digest for artifact in written.artifacts},
        )
        self.engine.trust.committed(checkpoint)
        self.noted.add(lambda: self._undone(checkpoint))
        return checkpoint

    def _undone(self, checkpoint: Checkpoint) -> None:
        """Another record will have its number."""
        self.engine.trust.forget(checkpoint)
        self.labels = Labels(self.engine.journal)

    def _look_again_at_values(self, entry: Entry) -> None:
        """Lean on nothing that is only remembered as stored."""
        self.engine.store.close()
        self.last_request = None
        if self.files is not None:
            self.files.look_again()
        entry.look_again()

    def _flush(self) -> None:
        try:
            self.engine.store.flush()
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # `gc` took what it was written to for waste
                raise ConflictError(error.message, kind="values-removed", hint=error.hint) from error
            raise

    def _load(self) -> None:
        """Read what is on record, once for each execution that the session goes on with."""
        execution = self.execution
        if self._read == execution:
            return
        self._by_key, self._by_scope, self._saved = {}, {}, {}
        self._finished = set()
        journal = self.engine.journal
        recorded = journal.steps_within(execution)
        self._newest = recorded[-1].ordinal if recorded else 0
        self._replay = replay_in(recorded)
        for each in sorted([*self._lent(recorded), *recorded], key=origin_of):
            if each.draft.status is not CheckpointStatus.FAILED:
                self._add(each)
        for cell in journal.checkpoints(execution):
            if cell.draft.scope and cell.draft.status is CheckpointStatus.COMPLETED:
                self._finished.add(cell.draft.scope)
        for path in self._by_scope:
            base, _, generation = path.partition("@")
            number = int(generation.partition("/")[0] or 1)
            base = base.partition("/")[0]
            self._generations[base] = max(number, self._generations.get(base, 1))
        self._set_budget(execution)
        self._read = execution

    def _lent(self, recorded: Sequence[Checkpoint]) -> list[Checkpoint]:
        """What may be served of the execution that is replayed, and was not yet."""
        if self._replay is None:
            return []
        taken = {each.draft.origin for each in recorded}
        known = lent(self._replay, self.engine.journal.steps_within(self._replay.of))
        return [each for each in known if origin_of(each) not in taken]

    def set_limit(self, dollars: float) -> None:
        """What the execution may cost from now on, also in later attempts."""
        with self._lock:
            self._asked_limit = dollars
            self._load()
            self._set_budget(self.execution)

    def _set_budget(self, execution: ExecutionId) -> None:
        """Make the execution's budget, with what it has cost so far."""
        said, by_setting = self._said_limit(execution)
        limit = self._asked_limit if self._asked_limit is not None else said
        setting = self.engine.settings.budget
        if limit is None or (by_setting and self._asked_limit is None and setting is not None):
            limit = setting
        if limit is None:
            self.budget = None
            return
        if self._asked_limit is not None and said != limit:
            self.engine.journal.record_event(execution, "budget.set", {"limit": limit})
        known = self.engine.journal.execution(execution)
        typed = f"kitaru-nb resume {execution} --budget "
        if known.identity.interactive and known.identity.flow is None:
            typed = "in a new kernel, KITARU_NB_BUDGET="
        self.budget = Budget(
            limit,
            spent=known.cost or 0.0,
            name="the budget of the execution",
            raised=lambda amount: typed + amount,
            warn=self._warn,
        )

    def keep_limit(self) -> None:
        """A budget has stopped something: later attempts have this limit, too, unless told another.

        One that only a setting gave would be gone with the shell it was set in.
        """
        with self._lock:
            if self.budget is None or self._asked_limit is not None:
                return
            if self._said_limit(self.execution)[0] != self.budget.limit:
                data = {"limit": self.budget.limit, "by": _SETTING}
                self.engine.journal.record_event(self.execution, "budget.set", data)

    def _said_limit(self, execution: ExecutionId) -> tuple[float | None, bool]:
        """What an earlier attempt was told, and whether only by a setting."""
        journal = self.engine.journal
        if not self._by_key and self._asked_limit is None and journal.suspended(execution) is None:
            return None, False  # nothing was called yet, so no budget was looked at
        said = [event.data for event in journal.events(execution) if event.kind == "budget.set"]
        return (float(said[-1]["limit"]), said[-1].get("by") == _SETTING) if said else (None, False)

    def _warn(self, sentence: str) -> None:
        self.engine.journal.record_event(self.execution, "budget.warning", {"message": sentence})
        warnings.warn(f"kitaru: {sentence}", BudgetWarning, stacklevel=2)

    def _add(self, checkpoint: Checkpoint) -> None:
        draft, newest = checkpoint.draft, self._newest
        origins = set() if draft.origin is None else {draft.origin} - self._origins
        finished = _finished_by(draft) - self._finished
        if not self._is_lent(checkpoint):
            self._newest = max(self._newest, checkpoint.ordinal)
        self._origins |= origins
        known = self._by_key.setdefault(draft.key, [])
        known.append(checkpoint)
        self._by_scope[draft.scope] = self._by_scope.get(draft.scope, 0) + 1
        self._finished |= finished
        saved = self._note_saved(checkpoint)

        def back() -> None:
            known.remove(checkpoint)
            saved.remove(checkpoint)
            self._by_scope[draft.scope] -= 1
            self._newest = newest
            self._origins -= origins
            self._finished -= finished

        self.noted.add(back)

    def _note_saved(self, checkpoint: Checkpoint) -> list[Checkpoint]:
        """Where a result is now among those that were saved under its name; by itself if it was not."""
        draft = checkpoint.draft
        named = any(draft.name in group.names for group in draft.groups)
        if draft.kind is not StepKind.VALUE or not named:
            return [checkpoint]
        saved = self._saved.setdefault(draft.name, [])
        insort(saved, checkpoint, key=lambda each: each.seq)
        return saved


class Scope:
    """One run of a flow, a cell or a recorded call: what it has consumed, and what it cost.

    Attributes:
        book: The execution's results.
        path: Where it is.
        place: The same by names and numbers of calls, whatever their arguments are.
        parent: The scope around it, None for a flow or a cell.
        siblings: How the paths of calls of the same function in `parent` begin.
        root: The flow or cell that it is in.
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
    ) -> None:
        self.book = book
        self.path = path
        self.place = path.partition("@")[0] if place is None else place
        self.parent = parent
        self.siblings = siblings
        self.root: Scope = self if parent is None else parent.root
        self.notebook: str | None = None if parent is None else parent.notebook
        self.repeated = False
        self.reuse: bool = parent is not None and parent.reuse
        self.meter: Any = None
        self.limits: list[Budget] = []
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
        self.spend(met["cost"], met["tokens"], served=True)

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

    def spend(self, cost: float | None, tokens: int | None, *, served: bool = False) -> None:
        """Add what a model call in this scope cost; `served` says that an earlier attempt paid it."""
        if served and cost is not None:
            for each in self.budgets():
                if each is not self.book.budget:  # which knows what was paid
                    each.give_back(each.nothing, each.exact(cost))
        scope: Scope | None = self
        while scope is not None:
            with scope._lock:  # noqa: SLF001 - its own kind
                if cost is not None:
                    scope.cost = (scope.cost or 0.0) + cost
                if tokens is not None:
                    scope.tokens = (scope.tokens or 0) + tokens
            scope = scope.parent

    def budgets(self) -> Iterator[Budget]:
        """Every limit that a model call in this scope counts against, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield from reversed(scope.limits)
            scope = scope.parent
        if self.book.budget is not None:
            yield self.book.budget

    def limit(self, dollars: float, name: str, raised: Callable[[str], str]) -> Budget:
        """From now on, model calls of this scope count against one more limit; see `Budget`."""
        warn = self.book._warn  # noqa: SLF001 - a scope is a part of its book
        limit = Budget(dollars, name=name, raised=raised, warn=warn)
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


def _finished_by(draft: Draft) -> set[str]:
    """The scope that has come to its end by this result, if one has."""
    if "path" in draft.data:
        return {draft.data["path"]}
    return {draft.data["finished"]} if draft.kind is StepKind.RESULT and "finished" in draft.data else set()


def _generation(path: str, number: int) -> str:
    return path if number == 1 else f"{path}@{number}"
