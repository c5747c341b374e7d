"""What is removed and what stays, against a marking that is worked out by brute force."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.values import checked_buffers, manifest_digest, packed_extents
from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.errors import ConflictError, CorruptError, StoreError
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Attempt, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.removal import Removal
from kitaru_nb.testing import a_draft, digest_of

START = datetime(2026, 1, 1, tzinfo=UTC)
POINTS = (
    "before-sweep",
    "inside-sweep",
    "after-sweep",
    "after-pack-removal",
    "after-repack-copy",
    "after-repack-sweep",
    "after-repack-removal",
)
DONE = (ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED)


def piece(number: int) -> bytes:
    """Bytes of an extent: every third one is small enough to ride in the journal."""
    return bytes([number]) * (500 if number % 3 == 0 else 66_000 + number)


@dataclass
class Value:
    """A stored value: pieces, and the values it refers to."""

    pieces: tuple[int, ...]
    refers: tuple[int, ...] = ()


@dataclass
class World:
    """A store with executions in it, and what each of their steps holds."""

    home: Path
    values: list[tuple[Artifact, Value]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    steps: list[tuple[int, int | None, frozenset[int]]] = field(default_factory=list)
    days: float = 0.0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.journal = SqliteJournal(self.home / "journal.db", clock=self.clock)
        self.store = LocalStore(self.home / "store")

    def close(self) -> None:
        self.store.close()
        self.journal.close()

    @property
    def now(self) -> datetime:
        return START + timedelta(days=self.days)

    def clock(self) -> float:
        return self.now.timestamp()

    def begin(self, notebook: int = 0) -> int:
        identity = Identity(notebook=f"/n{notebook}.ipynb", output=f"/o{len(self.attempts)}")
        self.attempts.append(self.journal.start(identity, owner=current_owner())[0])
        return len(self.attempts) - 1

    def put(self, pieces: Sequence[int], refers: Sequence[int] = ()) -> int:
        places = self.store.write([memoryview(piece(n)) for n in pieces], index=self.journal)
        manifest = {
            "codec": "pickle5",
            "version": 1,
            "meta": {"format": 2, "n": len(self.values), "anchors": [self.digest(n) for n in refers]},
            "buffers": [packed_extents(place.extent for place in places)],
        }
        artifact = Artifact(manifest_digest(manifest), "pickle5", 1, manifest)
        self.values.append((artifact, Value(tuple(pieces), tuple(refers))))
        self.places = {place.extent.digest: place for place in places}
        return len(self.values) - 1

    def digest(self, value: int) -> Digest:
        return self.values[value][0].digest

    def commit(self, execution: int, values: Sequence[int], parent: int | None = None) -> int:
        """One step that holds `values`; new is the last one that was put."""
        fresh = [self.values[-1][0]] if values and values[-1] == len(self.values) - 1 else []
        draft = a_draft(
            f"s{len(self.steps)}",
            parent=None if parent is None else parent + 1,
            groups=tuple(Group((f"v{n}",), self.digest(n), digest_of(f"v{n}")) for n in values),
        )
        self.store.flush()
        step = self.journal.commit(
            self.attempts[execution], draft, artifacts=fresh, locations=list(self.places.values())
        )
        self.places = {}
        assert step.seq == len(self.steps) + 1
        self.steps.append((execution, parent, frozenset(values)))
        return len(self.steps) - 1

    places: Mapping[Digest, object] = field(default_factory=dict)

    def finish(self, execution: int, status: ExecutionStatus = ExecutionStatus.COMPLETED) -> None:
        self.journal.finish(self.attempts[execution], status)

    def collect(self, policy: Policy, **options: object) -> object:
        return collect(self.journal, self.store, policy, now=self.now, **options)  # type: ignore[arg-type] # any of its own

    def killed_at(self, point: str, policy: Policy) -> bool:
        """Collect in another process that dies at `point`; whether it got there."""
        self.close()
        child = os.fork()
        if child == 0:
            os.environ["KITARU_NB_CRASH_AT"] = point
            try:
                self.open()
                self.collect(policy)
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    # What must be there, by brute force

    def kept_by(self, policy: Policy, removed: frozenset[int]) -> frozenset[int]:
        """The values that must stay."""
        pinned = self.journal.pinned()
        roots = set()
        done: dict[str, int] = {}
        for number in reversed(range(len(self.attempts))):
            execution = self.journal.execution(self.attempts[number].execution)
            notebook = str(execution.identity.notebook)
            spared = False
            if execution.status in DONE:
                spared = done.get(notebook, 0) < policy.keep_last
                done[notebook] = done.get(notebook, 0) + 1
            age = self.now - (execution.ended_at or self.now)
            young = age < timedelta(days=policy.keep_days)
            if execution.status not in DONE or execution.id in pinned or spared or young:
                roots.add(number)
        wanted = {n for n, (execution, _, _) in enumerate(self.steps) if execution in roots}
        while True:
            more = wanted | {parent for n in wanted if (parent := self.steps[n][1]) is not None}
            if more == wanted:
                break
            wanted = more
        values = {value for n in wanted for value in self.steps[n][2]}
        while True:
            more = values | {refers for value in values for refers in self.values[value][1].refers}
            if more == values:
                break
            values = more
        return frozenset(values) - removed

    def there(self) -> frozenset[int]:
        """The values that are on record; each of them is read in full."""
        found = self.journal.artifacts([artifact.digest for artifact, _ in self.values])
        for artifact, value in self.values:
            if artifact.digest in found:
                (row,) = checked_buffers(found[artifact.digest])
                places = self.journal.locate([extent.digest for extent in row])
                stored = [bytes(self.store.read(places[extent.digest])) for extent in row]
                assert stored == [piece(n) for n in value.pieces]
        gone = self.journal.removed([artifact.digest for artifact, _ in self.values])
        assert found.keys() | gone.keys() == {self.digest(n) for _, _, held in self.steps for n in held}
        return frozenset(n for n, (artifact, _) in enumerate(self.values) if artifact.digest in found)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def sizes(world: World) -> int:
    return sum(pack.bytes for pack in world.store.packs())


def test_values_of_completed_executions_go_after_their_time_and_records_stay(world: World) -> None:
    old, young = world.begin(), world.begin()
    held = world.commit(old, [world.put([1, 3])])
    world.finish(old)
    world.store.close()
    world.days = 20
    world.commit(young, [world.put([2])])
    world.finish(young)
    world.days = 31

    found = collect(world.journal, world.store, Policy(), now=world.now)

    assert (found.artifacts, list(found.executions)) == (1, [world.attempts[old].execution])
    assert world.there() == {1}
    assert world.journal.checkpoint(held + 1).draft.outputs == ()
    (stone,) = world.journal.removed([world.digest(0)]).values()
    assert str(stone) == "removed by gc on 2026-02-01 under the policy `keep_days=30`"
    event = world.journal.events(world.attempts[old].execution)[-1]
    assert (event.kind, event.data["policy"]) == ("values.removed", "keep_days=30")
    assert found.after < found.before


def test_a_machine_whose_clock_is_ahead_removes_nothing_early(world: World) -> None:
    execution = world.begin()
    world.commit(execution, [world.put([1])])
    world.finish(execution)
    world.days = 29  # by the clock that all share; by this machine's it is long ago

    collect(world.journal, world.store, Policy(keep_days=30))
    kept = world.there()
    world.days = 31
    collect(world.journal, world.store, Policy(keep_days=30))

    assert (kept, world.there()) == ({0}, set())


@pytest.mark.parametrize(
    "status", [ExecutionStatus.FAILED, ExecutionStatus.WAITING, ExecutionStatus.INTERRUPTED, None]
)
def test_values_of_executions_that_can_go_on_stay_for_good(
    world: World, status: ExecutionStatus | None
) -> None:
    execution = world.begin()
    world.commit(execution, [world.put([1])])
    if status is not None:
        world.finish(execution, status)
    world.days = 1000

    world.collect(Policy(keep_days=0, max_bytes=0))

    assert world.there() == {0}


def test_a_pinned_execution_keeps_its_values_until_it_is_unpinned(world: World) -> None:
    execution = world.begin()
    world.commit(execution, [world.put([1])])
    world.finish(execution)
    world.days = 1000
    world.journal.pin(world.attempts[execution].execution)

    world.collect(Policy(max_bytes=0))
    pinned = world.there()
    world.journal.unpin(world.attempts[execution].execution)
    world.collect(Policy())

    assert (pinned, world.there()) == ({0}, frozenset())


def test_what_a_replay_was_built_on_stays_though_its_own_execution_has_long_ended(world: World) -> None:
    first = world.begin()
    root = world.commit(first, [world.put([1])])
    aside = world.commit(first, [world.put([2])], root)
    world.finish(first)
    replay = world.begin()
    world.commit(replay, [world.put([4])], root)
    world.finish(replay, ExecutionStatus.FAILED)
    world.days = 1000

    world.collect(Policy(keep_days=0))

    assert world.there() == {0, 2}, f"step {aside} is needed by nothing"


def test_what_a_kept_value_refers_to_stays(world: World) -> None:
    first, second = world.begin(), world.begin()
    world.commit(first, [world.put([1])])
    world.commit(first, [world.put([2], refers=[0])])
    world.finish(first)
    world.commit(second, [world.put([4], refers=[1])])
    world.days = 1000

    world.collect(Policy(keep_days=0))

    assert world.there() == {0, 1, 2}


def test_at_a_size_limit_the_oldest_go_first(world: World) -> None:
    for number in (1, 2, 4):
        execution = world.begin()
        world.commit(execution, [world.put([number])])
        world.finish(execution)
        world.days += 1
    world.collect(Policy(max_bytes=world.journal.space()[0] + 2 * 69_632))

    assert world.there() == {1, 2}


def test_the_newest_of_each_notebook_can_be_kept_whatever_their_age(world: World) -> None:
    for notebook, number in ((0, 1), (1, 2), (0, 4)):
        execution = world.begin(notebook)
        world.commit(execution, [world.put([number])])
        world.finish(execution)
    world.days = 1000

    world.collect(Policy(keep_last=1))

    assert world.there() == {1, 2}


def test_a_dry_run_tells_what_would_go_and_changes_nothing(world: World) -> None:
    execution = world.begin()
    world.commit(execution, [world.put([1])])
    world.finish(execution)
    world.store.close()
    world.days = 1000

    told = collect(world.journal, world.store, Policy(), now=world.now, dry_run=True)

    assert world.there() == {0}
    done = collect(world.journal, world.store, Policy(), now=world.now)
    assert (told.executions, told.artifacts, told.packs) == (done.executions, done.artifacts, done.packs)
    assert (told.packs, world.there()) == (1, frozenset())


def test_bytes_that_nothing_refers_to_go_unless_they_may_be_somebodys_unfinished_save(world: World) -> None:
    world.begin()
    world.put([1])
    world.store.flush()
    world.store.close()

    world.collect(Policy())
    young = sizes(world)
    world.collect(Policy(), grace=-60)
    settled = sizes(world)

    assert (young, settled) == (66_001, 0)


def test_a_pack_of_which_little_is_needed_is_written_anew(world: World) -> None:
    old, new = world.begin(), world.begin()
    world.commit(old, [world.put([1, 2, 4, 5])])
    world.commit(new, [world.put([4])])
    world.finish(old)
    world.finish(new, ExecutionStatus.FAILED)
    world.store.close()
    (before,) = world.store.packs()
    world.days = 1000

    found = collect(world.journal, world.store, Policy(), now=world.now)

    (after,) = world.store.packs()
    assert (found.rewritten, world.there()) == (1, {1})
    assert after.bytes < before.bytes / 2
    assert after.name != before.name


def test_a_writer_that_shares_what_is_just_removed_is_refused_and_writes_it_again(world: World) -> None:
    """Every order of the two: the writer looked the extent up before it went."""
    old = world.begin()
    world.commit(old, [world.put([1, 2])])
    world.finish(old)
    world.store.close()
    world.days = 1000
    new = world.begin()

    shared = world.put([2, 1])
    found = collect(world.journal, LocalStore(world.home / "store"), Policy(), now=world.now, grace=-60)
    with pytest.raises(ConflictError) as refused:
        world.commit(new, [shared])
    world.store.close()
    again = world.put([2, 1])
    world.commit(new, [again])

    assert (found.packs, refused.value.kind) == (1, "values-removed")
    assert world.there() == {again}


def test_a_writer_that_commits_first_keeps_what_it_shares(world: World) -> None:
    old = world.begin()
    world.commit(old, [world.put([1, 2])])
    world.finish(old)
    world.days = 1000
    new = world.begin()
    world.commit(new, [world.put([2, 1])])

    world.collect(Policy(), grace=-60)

    assert world.there() == {1}


def test_a_commit_between_the_first_look_and_the_decision_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world.begin()
    world.commit(old, [world.put([1, 2])])
    world.finish(old)
    world.days = 1000
    new = world.begin()
    holding = world.journal.holding

    def late() -> AbstractContextManager[None]:
        world.places = {}
        world.commit(new, [0])
        return holding()

    monkeypatch.setattr(world.journal, "holding", late)
    world.collect(Policy(keep_days=0))

    assert world.there() == {0}


def test_a_writer_whose_own_pack_was_given_up_starts_another(world: World) -> None:
    """The pack is open in this process, everything in it is of a finished execution.

    It has been given up and is not removed yet, so it looks as if it could be written to.
    """
    old = world.begin()
    world.commit(old, [world.put([1])])
    world.finish(old)
    world.days = 1000
    new = world.begin()
    slow = LocalStore(world.home / "store")
    slow.remove = lambda _name: None  # type: ignore[method-assign] # stopped between the two
    collect(world.journal, slow, Policy(), now=world.now, grace=-60)
    world.commit(new, [world.put([3])])

    lost = world.put([2])
    with pytest.raises(ConflictError):
        world.commit(new, [lost])
    world.store.close()
    world.commit(new, [world.put([2])])
    world.collect(Policy(), grace=-60)

    assert world.there() == {1, 3}
    assert len(world.store.packs()) == 1


def test_nothing_is_removed_while_a_record_is_damaged(world: World) -> None:
    execution, other = world.begin(), world.begin()
    world.commit(execution, [world.put([1])])
    world.commit(other, [world.put([2])])
    world.finish(execution)
    world.close()
    import sqlite3  # noqa: PLC0415 - only to do damage

    with closing(sqlite3.connect(world.home / "journal.db")) as connection:
        connection.execute("DELETE FROM extents WHERE digest = ?", (bytes.fromhex(digest_of(piece(2))),))
        connection.commit()
    world.open()
    world.days = 1000

    with pytest.raises(CorruptError) as refused:
        world.collect(Policy())

    assert "nothing was removed" in refused.value.message
    assert world.journal.removed([world.digest(0)]) == {}
    assert sizes(world) > 0


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
def test_dying_at_any_instant_leaves_all_that_is_kept_and_the_next_run_finishes(
    world: World, point: str
) -> None:
    old, new, failed = world.begin(), world.begin(), world.begin()
    world.commit(old, [world.put([1, 2, 5, 7])])
    world.store.close()
    world.commit(new, [world.put([1, 4])])
    world.store.close()
    world.commit(failed, [world.put([2, 3])])
    world.finish(old)
    world.finish(new)
    world.finish(failed, ExecutionStatus.FAILED)
    world.days = 1000

    assert world.killed_at(point, Policy())

    world.open()
    assert world.journal.verify() == []
    assert 2 in world.there()
    world.collect(Policy())
    assert world.there() == {2}
    assert sizes(world) < 2 * 69_632
    assert world.journal.verify() == []


NUMBERS = st.integers(0, 11)
OPERATIONS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 1)),
    st.tuples(st.just("commit"), NUMBERS, st.lists(NUMBERS, min_size=1, max_size=3), NUMBERS, NUMBERS),
    st.tuples(st.just("share"), NUMBERS, NUMBERS),
    st.tuples(st.just("finish"), NUMBERS, st.sampled_from([*DONE, ExecutionStatus.FAILED])),
    st.tuples(st.just("pin"), NUMBERS),
    st.tuples(st.just("unpin"), NUMBERS),
    st.tuples(st.just("wait"), st.integers(1, 20)),
    st.tuples(st.just("close")),
    st.tuples(st.just("collect"), st.sampled_from([0.0, 10.0, 30.0]), st.integers(0, 1)),
    st.tuples(st.just("killed"), st.sampled_from(POINTS), st.sampled_from([0.0, 10.0])),
)


def play(world: World, operations: Sequence[tuple[object, ...]]) -> None:
    """Random work; after each collection what is there is exactly what must be."""
    removed: frozenset[int] = frozenset()
    open_: set[int] = set()
    for what, *rest in operations:
        numbers = [n for n in rest if isinstance(n, int)]
        if what == "begin":
            open_.add(world.begin(numbers[0]))
        elif what == "wait":
            world.days += numbers[0]
        elif what == "close":
            world.store.close()
        elif what in ("collect", "killed"):
            removed |= _collect(world, str(what), rest, removed)
        elif not world.attempts:
            continue
        elif what == "finish" and (numbers[0] % len(world.attempts)) in open_:
            execution = numbers[0] % len(world.attempts)
            open_.discard(execution)
            world.finish(execution, ExecutionStatus(str(rest[1])))
        elif what in ("pin", "unpin"):
            attempt = world.attempts[numbers[0] % len(world.attempts)]
            getattr(world.journal, str(what))(attempt.execution)
        elif what in ("commit", "share") and open_:
            removed -= _commit(world, sorted(open_), rest, removed)


def _collect(world: World, what: str, rest: Sequence[object], removed: frozenset[int]) -> frozenset[int]:
    """Collect, or die half-way; the values that went."""
    days, last = (rest[1], 0) if what == "killed" else rest
    policy = Policy(keep_days=float(str(days)), keep_last=int(str(last)))
    before, kept = world.there(), world.kept_by(policy, removed)
    if what == "killed":
        world.killed_at(str(rest[0]), policy)
        world.open()
        assert world.there() in (before, kept)
    else:
        world.collect(policy, grace=-60)
        assert world.there() == kept
    return before - world.there()


def _commit(
    world: World, open_: Sequence[int], rest: Sequence[object], removed: frozenset[int]
) -> frozenset[int]:
    """One step in an execution that runs: of a new value, or of one that is on record."""
    execution = open_[int(str(rest[0])) % len(open_)]
    there = sorted(set(range(len(world.values))) - removed)
    parent = int(str(rest[-1])) % (len(world.steps) + 1)
    seq = None if parent == len(world.steps) else parent
    if seq is not None and any(world.steps[n][2] & removed for n in _line(world, seq)):
        seq = None  # nobody builds on what cannot be restored
    if len(rest) > 2:
        pieces = [int(str(n)) for n in rest[1]]  # type: ignore[attr-defined] # the list of a commit
        refers = [there[int(str(rest[2])) % len(there)]] if there and int(str(rest[2])) % 2 else []
        for _ in range(2):
            value = world.put(pieces, refers)
            try:
                world.commit(execution, [value], seq)
            except ConflictError:
                world.store.close()
                world.values.pop()
            else:
                return frozenset()
        raise AssertionError("refused twice")
    if there:
        world.commit(execution, [there[int(str(rest[1])) % len(there)]], seq)
    return frozenset()


def _line(world: World, seq: int) -> Iterator[int]:
    at: int | None = seq
    while at is not None:
        yield at
        at = world.steps[at][1]


# Processes die here and disks do not, so what is written may stay in memory.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def work(operations: list[tuple[object, ...]]) -> None:
    with TemporaryDirectory(dir=MEMORY) as folder:
        world = World(Path(folder))
        try:
            play(world, operations)
            assert world.journal.verify() == []
        finally:
            world.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(OPERATIONS, min_size=5, max_size=40))
def test_after_any_work_exactly_what_must_stay_is_there(operations: list[tuple[object, ...]]) -> None:
    work(operations)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(6))
def test_after_any_long_work_exactly_what_must_stay_is_there(part: int) -> None:
    """In parts, each with examples and a time limit of its own."""

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(operations=st.lists(OPERATIONS, min_size=20, max_size=80))
    def examples(operations: list[tuple[object, ...]]) -> None:
        work(operations)

    if settings.default is not None and settings.default.derandomize:
        examples = seed(part)(examples)
    examples()


# A disk that is full


class Scarce(SqliteJournal):
    """A journal on a full disk: one transaction can take `room` rows off it."""

    room = 3

    def sweep(self, removal: Removal) -> frozenset[str]:
        if len(removal.artifacts) + len(removal.extents) > self.room:
            raise StoreError("the disk is full", kind="journal-full")
        return super().sweep(removal)


def scarce(world: World) -> None:
    world.journal.close()
    world.journal = Scarce(world.home / "journal.db", clock=world.clock)


def much(world: World) -> frozenset[int]:
    """Values that share extents, refer to each other, and lie in several files; what must stay."""
    for number in range(6):
        execution = world.begin()
        first = world.put([number, number + 1, 3 * number])
        world.commit(execution, [first])
        world.commit(execution, [world.put([number + 20], refers=[first])])
        world.finish(execution, ExecutionStatus.FAILED if number == 2 else ExecutionStatus.COMPLETED)
        world.store.close()  # the next one begins a file of its own
    world.put([98])  # that nothing refers to
    world.store.flush()
    world.store.close()
    world.days = 100
    return world.kept_by(Policy(), frozenset())


def test_on_a_full_disk_the_same_goes_bit_by_bit(world: World) -> None:
    stays = much(world)
    told = collect(world.journal, world.store, Policy(), now=world.now, dry_run=True)
    scarce(world)

    found = collect(world.journal, world.store, Policy(), now=world.now, grace=-60)

    assert world.there() == stays
    assert (found.executions, found.artifacts, found.bytes) == (told.executions, told.artifacts, told.bytes)
    assert found.problems == []
    needed = {place.pack for place in world.journal.every_extent()} - {None}
    assert {pack.name for pack in world.store.packs()} == needed
    again = world.collect(Policy())
    assert (again.artifacts, again.packs) == (0, 0)


def test_what_frees_a_file_for_the_least_writing_goes_first(world: World) -> None:
    much(world)
    scarce(world)
    swept: list[Removal] = []
    sweep = world.journal.sweep
    world.journal.sweep = lambda removal: swept.append(removal) or sweep(removal)  # type: ignore[method-assign]

    collect(world.journal, world.store, Policy(), now=world.now, grace=-60)

    done = [removal for removal in swept if len(removal.artifacts) + len(removal.extents) <= Scarce.room]
    assert (done[0].artifacts, done[0].extents, len(done[0].packs)) == (frozenset(), frozenset(), 1)
    assert all(removal.policy == "keep_days=30" for removal in done)


@pytest.mark.parametrize("point", ["before-sweep", "inside-sweep", "after-sweep", "after-pack-removal"])
@pytest.mark.parametrize("nth", [1, 3])
def test_dying_between_two_pieces_loses_nothing_and_the_next_run_goes_on(
    world: World, point: str, nth: int
) -> None:
    stays = much(world)
    world.close()
    child = os.fork()
    if child == 0:
        os.environ["KITARU_NB_CRASH_AT"] = f"{point}:{nth}"
        try:
            world.open()
            scarce(world)
            collect(world.journal, world.store, Policy(), now=world.now, grace=-60)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    world.open()
    world.there()  # each that is on record is whole
    scarce(world)

    collect(world.journal, world.store, Policy(), now=world.now, grace=-60)

    assert world.there() == stays


def test_with_room_for_nothing_it_says_so_and_changes_nothing(world: World) -> None:
    much(world)
    before = world.there()
    scarce(world)
    Scarce.room, room = -1, Scarce.room

    try:
        with pytest.raises(StoreError) as refused:
            collect(world.journal, world.store, Policy(), now=world.now, grace=-60)
    finally:
        Scarce.room = room

    assert refused.value.kind == "journal-full"
    assert world.there() == before
