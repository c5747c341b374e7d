"""The recorded results of one execution: they are given out, and added, in the order they were asked for.

A result belongs to the scope in which it was asked for, see `engine.scope`. Each run of a scope
begins with nothing consumed, asks for the results on record by their key, in the order in which
they were recorded, and what is not on record is done and recorded. So three equal calls have three
results, and have the same three after a crash.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from blake3 import blake3

from kitaru_nb.artifacts.digest import opaque_in
from kitaru_nb.engine.allowance import Allowance
from kitaru_nb.engine.beside import Beside
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.encrypted_keys import know_again
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.files import Files
from kitaru_nb.engine.history import origin_of
from kitaru_nb.engine.labels import Labels
from kitaru_nb.engine.noted import Noted
from kitaru_nb.engine.observe import own_doing
from kitaru_nb.engine.prefix import restored_draft
from kitaru_nb.engine.replay import Replay, lent, replay_in
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.engine.secrecy import masked_draft
from kitaru_nb.engine.shares import RUNS, Handle, Shares
from kitaru_nb.engine.trial import Trial
from kitaru_nb.errors import ConflictError, NotFoundError, StoreError
from kitaru_nb.journal.forks import minding_forks
from kitaru_nb.journal.lost import LostConnectionError
from kitaru_nb.llm.budget import Budget
from kitaru_nb.llm.prices import Prices
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Draft, StepKind
from kitaru_nb.model.execution import Attempt, ExecutionId

__all__ = ["Book"]

T = TypeVar("T")

_TRIES = 3
_LOOK_SECONDS = 0.1
_REMOVED = ("values-removed", "unknown-artifact")


class Book(ProcessBound):
    """The recorded results of one execution, as one attempt at it reads and adds them.

    Safe to use from any thread. What `record` returned is durable.

    Args:
        engine: Journal and store.
        attempt: Gives the attempt to work in, taking the lease if need be.
        limit: What the execution may cost in US dollars; else what was said last counts, or the
            setting.
        called: Another execution calls this one, see `Allowance`.

    Attributes:
        trial: Loads objects of foreign classes before what is stored counts.
        prices: What model calls cost.
        last_request: What the last request to a model is on record as.
        allowance: What the execution may cost.
        files: Files that steps and calls wrote, see `engine.outside`.
        on_hold: Called before code holds on for an answer.
        running: The calls that run now.
        under_way: Calls and flows that a thread of ours makes, or will: they end before the execution does.
            Each with what makes it at once where no thread has taken it.
        ended: The execution has come to its end in this attempt: nothing more belongs to it.
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
        called: bool = False,
    ) -> None:
        self.engine = engine
        self._attempt = attempt
        self.trial = Trial(engine.settings.home)
        self.prices = Prices(engine.settings.prices)
        self.last_request: Digest | None = None
        self.files: Files | None = None
        self.on_hold: Callable[[], None] = lambda: None
        self.running: set[Beside] = set()
        self.under_way: dict[object, Callable[[], None]] = {}
        self.ended = False
        self.drew: Checkpoint | None = None
        self.labels = Labels(engine.journal)
        self.noted = Noted()
        self.allowance = Allowance(
            engine,
            execution=lambda: self.execution,
            asked=limit,
            is_empty=lambda: not self._by_key,
            called=called,
        )
        self._writer: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._codes: set[Digest] = set()
        self._held: dict[Digest, Digest] = {}
        self._origins: set[int] = set()
        self._replay: Replay | None = None
        self._newest = 0
        self._lock = threading.RLock()
        self._by_key: dict[str, list[Checkpoint]] = {}
        self._by_scope: dict[str, int] = {}
        self._saved: dict[str, list[Checkpoint]] = {}
        self._read: ExecutionId | None = None
        self._generations: dict[str, int] = {}
        self._finished: set[str] = set()
        self._shares = Shares()
        self._runs = 0
        self._refused = False
        self._looked = float("-inf")
        minding_forks(self)

    def before_fork(self) -> None:
        """Results are given out together with the other side from now on."""
        self._shares.begin()

    def after_fork(self) -> None:
        """Nothing changes in the parent."""

    def in_child(self) -> None:
        """A thread that held the lock is not there in the child."""
        self._lock = threading.RLock()
        self.running, self.under_way = set(), {}
        self.labels, self.noted = Labels(self.engine.journal), Noted()
        self._shares.in_child()

    def next_run(self) -> int:
        """The number of a run of a cell or flow that begins now."""
        with self._lock:
            self._runs += 1
            return 1 + (self._runs - 1) % RUNS

    def share(self, root: Scope) -> Handle | None:
        """What a process that works in the run of `root`, too, joins with; None where none can."""
        with self._lock:
            self._shares.begin()
            self._shares.mark(root.held, root.run)
            return self._shares.handle

    def join(self, handle: Handle) -> None:
        """Work in the attempt together with the process that gave `handle`.

        Raises:
            OSError: that one has ended.
        """
        self._shares.join(handle)
        self.allowance.joined = True

    def look_again(self) -> None:
        """What other processes have put on record is read with the next question."""
        with self._lock:
            self._read = None

    def taken_in(self, scope: Scope) -> list[Checkpoint]:
        """The results in a scope that its run was given, in whatever process."""
        with self._lock:
            self._load()
            if not self._by_scope.get(scope.path):
                return []
            found = (each for each in self.results() if each.draft.scope == scope.path)
            return [each for each in found if self._shares.is_taken(each.seq, scope.root.run)]

    def close(self) -> None:
        """End what was started to look at stored values, and to write."""
        self.trial.close()
        self._shares.end()
        writer, self._writer = self._writer, None
        if writer is not None and self._pid == os.getpid():
            writer.shutdown(wait=False)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """One transaction around all that this thread reads and records inside the block.

        Where it is undone, nothing of what was recorded inside counts for anybody.
        """
        with self._lock:
            self._load()  # not inside: it waits for those who record, and they for this transaction
            with self.noted.together(), self.engine.journal.holding():  # in this order, as everywhere
                yield

    def together(self, action: Callable[[], T]) -> T:
        """Do `action` inside `holding`; anew where the connection broke and left nothing of it on record."""
        until = time.monotonic() + self.engine.settings.patience
        while True:
            try:
                with self.holding():
                    return action()
            except LostConnectionError:
                if self.noted.is_open or time.monotonic() > until:  # the block around it is lost, too
                    raise

    def write(self, job: Callable[[], None]) -> None:
        """Do `job` in the book's own thread and wait for its end; raises what it raises."""
        if self._pid != os.getpid():
            job()  # a forked child has none of its parent's threads
            return
        with self._lock:
            if self._writer is None:
                self._writer = ThreadPoolExecutor(1, thread_name_prefix="kitaru-nb-record")
            writer = self._writer
        try:
            written = writer.submit(job)
        except RuntimeError:  # the process ends, and gives no thread any more: what is paid is recorded
            job()
            return
        written.result()

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
            return asked and (found.seq in scope.root.held or self._shares.take(found.seq, scope.root.run))

        with self._lock:
            self._load()
            known = self._by_key.get(key)
            if not known:
                return None
            found = scope.next_of(key, known, is_given)
            if found is None and scope.parent is not None:
                left = (each for each in known if self._is_left(scope, each))
                found = next(filter(is_given, left), None)
                if found is not None:
                    scope.take_over(found.draft.scope)
            return None if found is None else self._consumed(scope, found)

    def is_new(self, code: Digest) -> bool:
        """Whether code was not met by this attempt before: its source is told once."""
        with self._lock:
            new = code not in self._codes
            self._codes.add(code)
            return new

    def note_held(self, checkpoint: Checkpoint) -> None:
        """Take note of where the values of a trusted record are stored whole."""
        for group in checkpoint.draft.groups:
            if not group.unstorable and not opaque_in(group.value):
                self._held[group.value] = group.artifact

    def held_as(self, value: Digest) -> Digest | None:
        """The artifact of an equal value that this attempt has recorded or was given."""
        return self._held.get(value)

    def find_first(self, scope: Scope, key: str) -> Checkpoint | None:
        """The first result with this key, whichever scope it is in; consumed by this run of `scope`."""
        with self._lock:
            self._load()
            if key not in self._by_key and self._shares.are_shared:
                self._look_again(key)
            known = self._by_key.get(key)
            if not known:
                return None
            scope.charge(known[0])
            return self._consumed(scope, known[0])

    def _look_again(self, key: str) -> None:
        """Take in what a process on another side of a fork has put on record under a key."""
        for each in reversed(list(self.engine.journal.find_anywhere(CheckpointKey(key)))):
            if each.execution == self.execution:
                self._add(each)

    def hold(self, effect: str) -> bool:
        """Begin to have an effect, unless another process that works in the execution has it: then False."""
        return self._shares.hold(effect)

    def let_go(self, effect: str) -> None:
        """End to have it."""
        self._shares.let_go(effect)

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
        copy = self._commit(draft, Entry(found.draft.kind, found.draft.key, found.draft.name), scope.root.run)
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

        That is the case where the arguments of the call around it have changed, or of one further
        out. Who is given one of the results there has the others, too: that call may begin after
        all, and then is given what is left.
        """
        path = found.draft.scope
        return (
            path != scope.path
            and scope.could_be_at(path)
            and not any(taken in self._finished or not mine for taken, mine in scope.taking_over(path))
            and scope.is_free(found)
        )

    def refuse_unrecordable(self) -> None:
        """Raise where what is about to run, or to be paid for, could not be put on record.

        Once something could not be, a write is tried before the next: a disk that fails may look as
        if it had room, and an owner that was superseded hears of it only as it writes.

        Raises:
            StoreError: there is no room, or nothing can be written.
            ConflictError: kind ``superseded``.
        """
        self.refuse_loss()
        if time.monotonic() - self._looked > _LOOK_SECONDS:  # a look costs as much as a small call
            try:
                self.engine.check()
            except StoreError:
                self._refused = True
                raise
            self._looked = time.monotonic()

    def refuse_loss(self) -> None:
        """Raise where something could not be put on record, and still could not be.

        Code that went on after that has no result: what it lacks is made by the next attempt.

        Raises:
            StoreError: there is no room, or nothing can be written.
            ConflictError: kind ``superseded``.
        """
        if self._refused:
            self.engine.check()
            self.engine.journal.heartbeat(self.attempt)

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
                checkpoint = self._commit(draft.having(**rest), entry, scope.root.run)
            except BaseException as error:
                if isinstance(error, (StoreError, ConflictError)):
                    self._refused = True
                self._origins.discard(entry.fields.get("origin"))  # `elsewhere` may give it again
                raise
            self._refused = False
            if status is not CheckpointStatus.FAILED:
                self._add(checkpoint)
                scope.consume(checkpoint, own=True)
            return checkpoint

    def _commit(self, draft: Draft, entry: Entry, run: int) -> Checkpoint:
        for tries in range(_TRIES):
            try:
                with own_doing():
                    return self._commit_once(draft, entry, run)
            except (ConflictError, NotFoundError) as error:
                if error.kind not in _REMOVED or entry.store is None or tries + 1 == _TRIES:
                    raise
                self._look_again_at_values(entry)  # `gc` took what was shared: it is written anew
        raise AssertionError("the last try either returns or raises")

    def _commit_once(self, draft: Draft, entry: Entry, run: int) -> Checkpoint:
        written = Written()
        if entry.store is not None:
            more, written = entry.store()
            draft = draft.having(**more)
            self._flush()
        attempt = self.attempt
        draft = self.engine.trust.signed(masked_draft(draft), attempt.execution, fresh=written.artifacts)
        with self._shares.recording():
            checkpoint = self.engine.journal.commit(
                attempt,
                draft,
                artifacts=written.artifacts,
                locations=written.locations,
                needs=written.needs - {artifact.digest for artifact in written.artifacts},
            )
            self._shares.mark([checkpoint.seq], run)
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
        self._held.clear()
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
        with self._shares.reading():
            recorded = journal.steps_within(execution)
        self._newest = recorded[-1].ordinal if recorded else 0
        self._replay = replay_in(recorded)
        know_again(recorded)
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
        self.allowance.set_for(execution)
        self._read = execution

    def _lent(self, recorded: Sequence[Checkpoint]) -> list[Checkpoint]:
        """What may be served of the execution that is replayed, and was not yet."""
        if self._replay is None:
            return []
        taken = {each.draft.origin for each in recorded}
        known = lent(self._replay, self.engine.journal.steps_within(self._replay.of))
        return [each for each in known if origin_of(each) not in taken]

    @property
    def budget(self) -> Budget | None:
        """What is left of the limit; None without one, and before the record was read."""
        return self.allowance.budget

    def set_limit(self, dollars: float) -> None:
        """What the execution may cost from now on, also in later attempts."""
        with self._lock:
            self.allowance.ask(dollars)
            self._load()
            self.allowance.set_for(self.execution)

    def read_settings_again(self) -> None:
        """Take in prices and limits as they are now: a call was refused under those of before.

        Raises:
            UsageError: what a person has set now does not fit.
        """
        now = self.engine.settings.now()
        self.prices = Prices(now.prices)
        with self._lock:
            self.allowance.raised(now.budget)

    def keep_limit(self) -> None:
        """A budget has stopped something: later attempts have this limit, too, unless told another."""
        with self._lock:
            self.allowance.keep(self.execution)

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


def _finished_by(draft: Draft) -> set[str]:
    """The scope that has come to its end by this result, if one has."""
    if "path" in draft.data:
        return {draft.data["path"]}
    return {draft.data["finished"]} if draft.kind is StepKind.RESULT and "finished" in draft.data else set()


def _generation(path: str, number: int) -> str:
    return path if number == 1 else f"{path}@{number}"
