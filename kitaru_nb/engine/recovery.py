"""The way back: which recorded steps still stand, and the namespace as of one of them."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from shlex import quote
from types import FunctionType, ModuleType
from typing import Any

from kitaru_nb.artifacts.functions import take_place
from kitaru_nb.artifacts.kinds import by_reference, kind_name
from kitaru_nb.artifacts.marker import Marker, is_marker
from kitaru_nb.artifacts.notes import Note, noting, place
from kitaru_nb.artifacts.resource import making
from kitaru_nb.artifacts.ties import Tie, tied
from kitaru_nb.artifacts.verify import Verification
from kitaru_nb.engine.cheaper import make
from kitaru_nb.engine.definitions import References, is_definition
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.furthest import furthest, left_at
from kitaru_nb.engine.namespace import Names, Namespace
from kitaru_nb.engine.refs import checkpoint_names, find_execution, standing_cells
from kitaru_nb.engine.remaking import call_resource, living_resource
from kitaru_nb.errors import (
    CorruptError,
    KitaruError,
    NotFoundError,
    StoreError,
    UnstorableError,
    UntrustedError,
)
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Anchor, Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft, Group
from kitaru_nb.model.execution import Attempt, Execution, Identity

__all__ = [
    "Loader",
    "Recorded",
    "Restored",
    "put_back",
    "recorded_at",
    "say_emptied",
]


_ABSENT = object()


@dataclass(slots=True)
class Recorded:
    """What the commits up to one moment hold.

    Attributes:
        groups: For each name, the group it was last stored in.
        whole: Each stored group whose names all still refer to it.
        process: The artifacts of process state, oldest first.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    whole: dict[Names, Group] = field(default_factory=dict)
    process: list[Digest] = field(default_factory=list)

    def put(self, group: Group) -> None:
        """Take in one stored group."""
        for name in group.names:
            self._leave(name)
            self.groups[name] = group
        self.whole[group.names] = group

    def forget(self, group: Group) -> None:
        """Take a group out again: it is not on record any more."""
        for name in group.names:
            self._leave(name)

    def _leave(self, name: str) -> None:
        before = self.groups.pop(name, None)
        if before is not None:
            self.whole.pop(before.names, None)

    def add(self, draft: Draft) -> None:
        """Take in one more commit."""
        for name in draft.deleted:
            self._leave(name)
        for group in draft.groups:
            self.put(group)
        if draft.process is not None:
            self.process.append(draft.process)


@dataclass(slots=True)
class Restored:
    """What a restore did.

    Attributes:
        names: Names that hold again what they held, sorted.
        lost: Names that could not come back, or with a part that could not, each with the
            reason; a marker stands for it.
        made: Names with something that was made again instead of loaded, each with what and how.
        damaged: Names whose stored bytes are damaged or could not be read, each with what was found.
        problems: Sentences about other things that were not put back.
        removed: Names among `damaged` whose values are gone because `gc` removed them.
        unread: Why some of `damaged` could not be read, though they may be whole.
        untrusted: Why something was left out, if nobody who is trusted here has signed it.
        remakable: Names among `lost` that `%resume --remake` can make again, as far as is known.
    """

    names: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    unread: StoreError | None = None
    untrusted: UntrustedError | None = None
    remakable: list[str] = field(default_factory=list)

    def not_read(self, name: str, error: KitaruError) -> None:
        """Take note that what `name` stands for could not be put back for `error`."""
        self.damaged[name] = error.message
        if error.kind == "values-removed":
            self.removed.add(name)
        if isinstance(error, StoreError) and error.may_pass:
            self.unread = error

    def said(self) -> list[str]:
        """What is not back, a line for each, for a person who reads it in a terminal."""
        return [
            f"not back: `{name}` ({reason})" for name, reason in sorted(self.lost.items())
        ] + self.problems

    def add_files(self, files: Restored) -> None:
        """Add what became of files."""
        self.problems += files.problems
        self.damaged |= files.damaged
        self.removed |= files.removed
        self.unread = self.unread or files.unread


class Loader:
    """Loads artifacts, each at most once, and finds the functions and classes they refer to.

    A reference is met by the live object when the name still holds the same definition,
    so that instances restored now belong to the class the notebook has now.

    Args:
        engine: Journal and store.
        namespace: The namespace that the values are for.
        known: Gives the living object that a definition on record is in this process, if there is one.
        steps: The checkpoint that made each artifact. With it, large values are mapped and checked
            later: `put_back` seals them. Without it, all is checked when it is loaded.
    """

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        *,
        known: Callable[[Anchor], object] = lambda _anchor: None,
        steps: Mapping[Digest, str] | None = None,
    ) -> None:
        self._steps = steps
        self._known = known
        self._checks: dict[Digest, list[Verification]] = {}
        self._engine = engine
        self._namespace = namespace
        self._loaded: dict[Digest, dict[str, object]] = {}
        self._coming: Mapping[str, Group] = {}
        self._loading: set[Digest] = set()
        self._meeting: set[Digest] = set()  # loaded, and perhaps alike to what names hold
        self._notes: dict[Digest, list[Note]] = {}
        self._came_as: dict[Digest, Digest] = {}
        self._step = False
        self._bound: AbstractSet[str] = frozenset()
        self._refers: dict[Digest, References] = {}
        self._into: list[References] = []  # of the artifacts that are being loaded
        self._leads: dict[int, References] = {}  # of the definitions that were loaded
        self._called = False
        self._ran_code = False
        self._before: dict[str, object] = {}  # what names held that hold loaded values for the moment

    def expect(self, names: Mapping[str, Group]) -> None:
        """Say which names are about to be bound, and to what; a reference is met by these first."""
        self._coming = names

    def expect_step(self, names: Mapping[str, Group], *, bound: AbstractSet[str]) -> None:
        """The same for what a step changed; the notebook is as it was before the step.

        Names in `bound` were given a new object by it: a function that one of them holds now is not
        the one it is to hold, though they be alike. Who refers to it goes on referring to it.
        """
        self._coming, self._step, self._bound = names, True, bound

    def refers(self, group: Group) -> References:
        """The functions and classes that a loaded group's artifact refers to.

        Of one that is itself no more than a reference: also those that its own artifact refers to.
        """
        found = dict(self._refers.get(group.artifact, {}))
        for value in self._loaded.get(group.artifact, {}).values():  # nothing where it could not be loaded
            if id(value) in found:
                found |= self._leads.get(id(value), {})
        return found

    def met(self, group: Group) -> References:
        """Those of `refers` that are held elsewhere: what a name held was alike and was taken."""
        return {
            key: (found, anchor)
            for key, (found, anchor) in self.refers(group).items()
            if self._loaded.get(anchor.artifact, {}).get(anchor.name) is not found
        }

    def load(self, digest: Digest) -> dict[str, object]:
        """The values of an artifact.

        Raises:
            CorruptError: a stored byte is damaged or missing.
        """
        if digest not in self._loaded:
            at_once = self._steps is None or self._ran_code
            later: list[Verification] | None = None if at_once else []
            self._into.append(self._refers.setdefault(digest, {}))
            try:
                with noting() as self._notes[digest], making(self._make), tied(Tie.RESTORED):
                    values = self._engine.get(
                        digest, namespace=self._namespace.live, resolve=self._resolve, later=later
                    )
            finally:
                self._into.pop()
            if later and not any(map(is_definition, values.values())):
                self._checks[digest] = later
            else:
                for check in later or ():  # what a definition holds is reached in too many ways
                    check.wait()
                # Now, since what is made again later may change it.
                self._came_as[digest] = self._namespace.own_digest(values)
            refers = self._refers[digest]
            self._loaded[digest] = values
            self._meeting.add(digest)
            met = self._met(values, [found for found, _ in refers.values()])
            if digest in self._meeting:
                self._loaded[digest] = met
            for value in self._loaded[digest].values():
                if is_definition(value) and id(value) not in refers:
                    self._leads[id(value)] = refers
        return self._given(digest)

    def _given(self, digest: Digest) -> dict[str, object]:
        """What was loaded for an artifact. Somebody has these objects from now on, so they stay."""
        self._meeting.discard(digest)
        return self._loaded[digest]

    def unchanged(self, group: Group) -> dict[str, object]:
        """The values of a loaded group, loaded anew where a resource's function has changed them since.

        It changed them when it was called first, too, and that is on record.
        """
        values = self._loaded[group.artifact]
        made = self._notes.get(group.artifact)  # loading that again would call it again
        if self._ran_code:
            values = self.checked(group)
        if self._called and not made and self._namespace.digest(values) != self.came_as(group):
            del self._loaded[group.artifact]
            with suppress(StoreError, UnstorableError):  # it was loaded once already
                return self.load(group.artifact)
        return values

    def checked(self, group: Group) -> dict[str, object]:
        """The values of a loaded group, once all their bytes are known to be right.

        Raises:
            CorruptError: they are not.
        """
        for check in self._checks.get(group.artifact, ()):
            check.wait()
        self._checks.pop(group.artifact, None)  # of damaged ones nobody gets the values later either
        return self._loaded[group.artifact]

    def code_runs(self) -> None:
        """Code of the notebook is about to run: it may reach all that is here, which is right or not there.

        What is loaded from now on is checked at once.
        """
        self._ran_code = True
        self._namespace.open(needed=frozenset())
        live = self._namespace.live
        for digest, checks in list(self._checks.items()):
            try:
                for check in checks:
                    check.wait()
            except StoreError as error:
                for name, value in self._loaded[digest].items():
                    if live.get(name) is value:
                        live[name] = Marker(name, "", f"could not be restored: {error.message}")
            else:
                del self._checks[digest]

    def seal(self, group: Group) -> None:
        """The values of the group are bound to its names: nobody gets them before they are checked."""
        checks = self._checks.get(group.artifact)
        if checks and self._steps is not None:
            step = self._steps.get(group.artifact, "")
            self._namespace.seals.put(group, self._loaded[group.artifact], checks, step=step)

    def came_as(self, group: Group) -> Digest:
        """The digest that a loaded group had when it was loaded."""
        return self._came_as.get(group.artifact, group.value)

    def group(self, group: Group) -> dict[str, object]:
        """The values of a stored group; functions and classes that the notebook has alike are the live ones.

        So what is restored belongs to the live ones, and who refers to those still does.

        Raises:
            CorruptError: a stored byte is damaged or missing.
            UnstorableError: a stored value cannot be loaded here.
        """
        if group.recipe is not None:
            return self._from_recipe(group)
        if group.artifact in self._loaded:
            return self._given(group.artifact)
        live = {name: self._namespace.live.get(name) for name in group.names}
        # What cannot be stored and is what was recorded, in this very process, is still there.
        changed = self._step and self._bound.isdisjoint(group.names)  # where it was, or in what it leads to
        kept = not changed and _are_definitions([self._held(name) for name in group.names])
        if (kept or group.unstorable) and self._namespace.digest(live) == group.value:
            self._loaded[group.artifact] = live
            return live
        self._loading.add(group.artifact)
        try:
            return self.load(group.artifact)
        finally:
            self._loading.discard(group.artifact)

    def _make(self, function: FunctionType, name: str, _kind: str) -> object:
        """A resource again: a living one inside another value, a new one for its own name."""
        if place() != name:
            living = living_resource(function, lambda one, other: self._digest(one) == self._digest(other))
            if living is not None:
                return living
        self._called = True
        self.code_runs()
        return call_resource(function, self._namespace.live, self._will_hold, _ABSENT)

    def _digest(self, value: object) -> Digest:
        return self._namespace.digest({"": value})

    def _will_hold(self, name: str) -> object:
        group = self._coming.get(name)
        if group is not None and group.artifact not in self._loading:
            values = self.group(group)
            return (self.checked(group) if group.recipe is None else values)[name]
        return self._namespace.live.get(name, _ABSENT)

    def _from_recipe(self, group: Group) -> dict[str, object]:
        """A group that is kept as a recipe: the live values where they are alike, else made again."""
        key = Digest(f"{group.artifact}:{group.value}")  # of equal markers there may be many
        if key not in self._loaded:
            live = {name: self._namespace.live[name] for name in group.names if name in self._namespace.live}
            if len(live) == len(group.names) and self._namespace.digest(live) == group.value:
                self._loaded[key] = live
                return live
            started = time.perf_counter()
            self._loaded[key] = make(group, self._apart)
            took = time.perf_counter() - started
            how = f"by running the cell of `{(group.recipe or {})['step']}`, {took:.1f} s"
            self._notes[group.artifact] = [
                Note(name, kind_name(value), how) for name, value in self._loaded[key].items()
            ]
        return self._loaded[key]

    def _apart(
        self, digest: Digest, namespace: dict[str, Any], resolve: Callable[[Anchor], object]
    ) -> dict[str, object]:
        self._engine.trust.vouch(digest)  # a recipe that is trusted reads it
        with tied(Tie.RESTORED):
            return self._engine.get(digest, namespace=namespace, resolve=resolve)

    def is_live(self, group: Group) -> bool:
        """Whether the values of a loaded group are those that the notebook had."""
        values = self._loaded[group.artifact] if group.recipe is None else {}
        return bool(values) and group.artifact not in self._notes and not any(map(is_marker, values.values()))

    def notes(self, group: Group) -> list[Note]:
        """What was made again, and what was lost, when the group was loaded."""
        return self._notes.get(group.artifact, [])

    def _met(self, values: dict[str, object], refers: Iterable[object]) -> dict[str, object]:
        """`values`, or the objects that some of their names hold or will hold, when these are alike.

        An alias that is not bound yet (``g = f``) then is one of the live function.
        """
        if not _are_definitions(values.values()):
            return values
        met = {name: self._present(name) for name in values}
        names = {id(value): name for name, value in values.items() if self._are_alike(name, met[name], value)}
        own = set(map(id, values.values()))
        led_to = [one for one in refers if id(one) not in own]
        others = {f"refers {number}": one for number, one in enumerate(led_to)}  # the very same on both sides
        found = {name: met[name] for name in names.values()} | others
        stored = {name: values[name] for name in names.values()} | others
        whole = all(id(value) in names for value in values.values())
        if not whole or self._namespace.digest(found) != self._namespace.digest(stored):
            return values
        return {name: found[names[id(value)]] for name, value in values.items()}

    def _are_alike(self, name: str, one: object, other: object) -> bool:
        return is_definition(one) and self._namespace.digest({name: one}) == self._namespace.digest(
            {name: other}
        )

    def _present(self, name: str) -> object:
        """What `name` will hold when all is put back, or holds now."""
        group = self._coming.get(name)
        if group is not None and group.artifact not in self._loading:
            with suppress(StoreError, UnstorableError):  # said where its own names are put back
                return self.group(group)[name]
        return self._held(name)

    def _held(self, name: str) -> object:
        """What `name` holds now, if a restored name may be bound to that very object."""
        live = self._was(name)
        # A class that is loaded is the one that this process has.
        return None if name in self._bound and type(live) is FunctionType else live

    def load_for(self, checkpoint: str, groups: Iterable[Group]) -> None:
        """Load everything a step needs, before anything is changed.

        Meanwhile each name holds what was loaded for it: rebuilding a value may run code of the
        notebook (`__hash__`, `__setstate__`), which finds its imports, functions and classes.

        Raises:
            CorruptError: a stored byte is damaged or missing; the message names the step.
            UnstorableError: a stored value cannot be loaded here; the same.
        """
        live = self._namespace.live
        groups = list(groups)
        try:
            for group, values in _in_turn(groups, self.group):
                if isinstance(values, StoreError):
                    raise values
                if isinstance(values, KitaruError):
                    raise _not_restorable(checkpoint, values) from values
                bound = {name: values[name] for name in group.names if name in values}
                self._before |= {name: live.get(name, _ABSENT) for name in bound}
                live.update(bound)
            for group in groups if self._ran_code else ():
                self.checked(group)
        except StoreError as error:
            raise _not_restorable(checkpoint, error) from error
        finally:
            self._bind_as_before()

    def _bind_as_before(self) -> None:
        live = self._namespace.live
        for name, value in self._before.items():
            if value is _ABSENT:
                live.pop(name, None)
            else:
                live[name] = value
        self._before = {}

    def _was(self, name: str) -> object:
        """What `name` held before anything was loaded."""
        found = self._before.get(name, self._namespace.live.get(name))
        return None if found is _ABSENT else found

    def process(self, digest: Digest, *, by_step: bool = False) -> Mapping[str, Any]:
        """Stored parts of the process state; with `by_step` only those the step itself changed."""
        stored: Any = self.load(digest)
        return {
            part: value for part, value in stored["parts"].items() if not by_step or part in stored["by_step"]
        }

    def process_before(self, digest: Digest) -> Mapping[str, Any]:
        """Stored parts of the process state that differed before the step, and that it did not change."""
        stored: Any = self.load(digest)
        return {part: value for part, value in stored["parts"].items() if part not in stored["by_step"]}

    def _resolve(self, anchor: Anchor) -> object:
        self._engine.trust.vouch(anchor.artifact)  # what refers to it is trusted, or it would not load
        found = self._find(anchor)
        lazily = self._steps is not None and not self._ran_code
        if lazily and isinstance(found, type) and _runs_when_loaded(found):
            self.code_runs()
        # What is stored there may be no more than a reference in turn.
        _, held = self._refers.get(anchor.artifact, {}).get(id(found), (found, anchor))
        self._into[-1][id(found)] = found, held
        return found

    def _candidates(self, anchor: Anchor) -> Iterator[object]:
        group = self._coming.get(anchor.name)
        if self._step and (group is None or group.artifact != anchor.artifact):
            # Stored before the step, which may have moved its name.
            yield self._was(anchor.name)
        yield self._present(anchor.name)
        if anchor.name not in self._bound:  # under another name by now
            yield self._known(anchor)

    def _find(self, anchor: Anchor) -> object:
        if anchor.artifact not in self._loaded:
            for present in self._candidates(anchor):
                if present is not None and self._namespace.digest({anchor.name: present}) == anchor.value:
                    return present
        return self.load(anchor.artifact)[anchor.name]


_RUN_WHEN_LOADED = ("__setstate__", "__reduce__", "__reduce_ex__", "__new__", "__hash__", "__eq__")


def _runs_when_loaded(cls: type) -> bool:
    """Whether code of the notebook may run when an instance is loaded; what a decorator wrote aside."""
    found = (vars(base).get(name) for base in cls.__mro__ for name in _RUN_WHEN_LOADED)
    code = (each.__code__ for each in found if isinstance(each, FunctionType) and not by_reference(each))
    return any(not each.co_filename.startswith(("<string>", "<attrs")) for each in code)


def _not_restorable(checkpoint: str, why: KitaruError) -> KitaruError:
    message = f"checkpoint `{checkpoint}` cannot be restored: {why.message}"
    hint = f"%%checkpoint {quote(checkpoint)} --fresh (runs it again)"
    if isinstance(why, StoreError) and why.may_pass:
        hint = why.hint  # to run it again might be to pay again, for what is there
    return type(why)(message, kind=why.kind, hint=hint)


def recorded_at(line: Sequence[Checkpoint]) -> Recorded:
    """What the commits of `line` (oldest first) hold together."""
    recorded = Recorded()
    for checkpoint in line:
        if checkpoint.draft.status is not CheckpointStatus.FAILED:
            recorded.add(checkpoint.draft)
    return recorded


def execution_of(
    journal: Journal, identity: Identity, execution: str | None, attempt: Attempt | None
) -> Execution:
    """The execution to resume: the one named, else the one at hand, else the notebook's last.

    Raises:
        NotFoundError: there is none.
    """
    if execution is not None:
        return find_execution(journal, execution)
    if attempt is not None:
        return journal.execution(attempt.execution)
    known = journal.executions(identity=identity, limit=1)
    if not known:
        message = "nothing is on record for this notebook, so there is nothing to resume"
        hint = "%%checkpoint NAME on top of a cell that costs time"
        raise NotFoundError(message, kind="unknown-execution", hint=hint)
    return known[0]


def target_of(
    journal: Journal, execution: Execution, at: str | None, *, here: int | None = None
) -> Checkpoint:
    """The commit to go back to: the newest of step `at` (``NAME``), or the furthest.

    Args:
        journal: Where they are on record.
        execution: Of what.
        at: A step: ``NAME#n`` as it is listed. Of ``NAME`` its newest commit on the way `here` counts,
            else on the way to the furthest one, else its own furthest.
        here: `seq` of the commit that the kernel stands at; None in a new one.

    Raises:
        NotFoundError: the execution has no such commit.
    """
    recorded = journal.checkpoints(execution.id)
    left = left_at(journal.events(execution.id), recorded)
    target = furthest(recorded, left=left)
    if at is not None and "#" in at:
        target = _numbered(standing_cells(journal, execution.id), at)
    elif at is not None and target is not None:
        line = journal.line(target.seq if here is None else here)
        own = [c for c in line if c.draft.name == at and c.execution == execution.id]
        target = own[-1] if own else furthest(recorded, name=at, left=left)
    if target is not None:
        return target
    names = dict.fromkeys(c.draft.name for c in recorded if c.draft.status is not CheckpointStatus.FAILED)
    if at is None or not names:
        message = f"execution `{execution.id}` has no committed checkpoint"
        raise NotFoundError(message, kind="no-checkpoint", hint="run the notebook's cells")
    listed = ", ".join(f"`{name}`" for name in names)
    message = f"execution `{execution.id}` has no committed checkpoint `{at}`; it has {listed}"
    raise NotFoundError(message, kind="unknown-checkpoint", hint="%rewind NAME, or %resume --at NAME")


def _numbered(standing: Sequence[Checkpoint], at: str) -> Checkpoint | None:
    """The commit that is listed as `at`, ``NAME#n``."""
    for name, checkpoint in zip(checkpoint_names(standing), standing, strict=True):
        if at in (name, f"{name}#1") and checkpoint.draft.status is not CheckpointStatus.FAILED:
            return checkpoint
    return None


def damaged(restored: Restored, checkpoint: Checkpoint) -> StoreError:
    """The error for names that could not be restored as of `checkpoint`."""
    names = ", ".join(f"`{name}`" for name in restored.damaged)
    unread = restored.unread
    reason = next(iter(restored.damaged.values())) if unread is None else unread.message
    when = f"as of checkpoint `{checkpoint.draft.name}`"
    message = f"{names} could not be restored {when}: {reason}; everything else is back"
    if unread is not None:
        return StoreError(message, kind=unread.kind, hint=unread.hint)
    hint = "run the cell that makes it again, with --fresh"
    if restored.removed >= restored.damaged.keys():
        return StoreError(message, kind="values-removed", hint=hint)
    return CorruptError(message, kind="corrupt-artifact", hint=hint)


def untrusted(restored: Restored, first: UntrustedError) -> UntrustedError:
    """The error for a restore that had to leave something out."""
    names = ", ".join(f"`{name}`" for name in sorted(restored.lost))
    message = f"{first.message}; {names} hold markers" if names else first.message
    return UntrustedError(message, kind=first.kind, hint=first.hint)


def put_back(
    loader: Loader, namespace: Namespace, groups: Sequence[Group], names: Mapping[str, Group]
) -> Restored:
    """Bind `names` to what their groups hold. A damaged group costs its own names only."""
    restored = Restored()
    loader.expect(names)
    for group, values in _in_turn(groups, functools.partial(_whole, loader, names)):
        wanted = [name for name in group.names if names.get(name) is group]
        if isinstance(values, KitaruError):
            _mark_damaged(namespace, wanted, values, restored)
            _await(namespace, wanted, group, values)
            continue
        namespace.live.update({name: values[name] for name in wanted})
        notes = [note for note in loader.notes(group) if note.name in wanted]
        gone = {note.name: f"{note.kind}: {note.text}" for note in notes if note.lost}
        if len(wanted) == len(group.names) and not gone:
            namespace.learn(loader.came_as(group), group.value)
        for name in wanted:
            reason = gone.get(name) or (None if loader.is_live(group) else group.unstorable.get(name))
            if reason is not None:
                restored.lost[name] = reason
            else:
                restored.names.append(name)
            made = [note for note in notes if note.name == name and not note.lost]
            if made and not is_marker(values[name]):
                restored.made[name] = how_made(values[name], made)
    for group in groups:
        wanted = [name for name in group.names if names.get(name) is group and name not in restored.damaged]
        if wanted and group.recipe is None:  # a recipe runs apart from the notebook
            try:
                values = loader.unchanged(group)
            except StoreError as error:
                restored.names = [name for name in restored.names if name not in wanted]
                _mark_damaged(namespace, wanted, error, restored)
                continue
            namespace.live.update({name: values[name] for name in wanted})
            loader.seal(group)
            _take_places(values[name] for name in wanted)
    _learn_apart(namespace, groups, names)
    restored.names.sort()
    return restored


def _whole(loader: Loader, names: Mapping[str, Group], group: Group) -> dict[str, object]:
    values = loader.group(group)
    _require_names(values, group)
    if any(names.get(name) is not group for name in group.names):
        loader.checked(group)
    return values


def _in_turn(
    groups: Iterable[Group], load: Callable[[Group], dict[str, object]]
) -> Iterator[tuple[Group, dict[str, object] | StoreError | UnstorableError]]:
    """Each group with what is loaded for it, or why that cannot be.

    One whose code raised comes again after the others: they may hold the names that it lacks.
    """
    waiting, raised = deque(groups), 0
    while waiting:
        group = waiting.popleft()
        values: dict[str, object] | StoreError | UnstorableError
        try:
            values = load(group)
        except (StoreError, UnstorableError) as error:
            values = error
        except (KitaruError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - a class of the notebook may raise anything when it is looked at
            message = f"it was stored and cannot be loaded here: {type(error).__name__}: {error}"
            values = UnstorableError(message, kind="unloadable-value", hint="run its cell with --fresh")
        if isinstance(values, KitaruError) and values.kind == "unloadable-value" and raised < len(waiting):
            waiting.append(group)
            raised += 1
            continue
        raised = 0 if isinstance(values, dict) else raised
        yield group, values


def _learn_apart(namespace: Namespace, groups: Iterable[Group], names: Mapping[str, Group]) -> None:
    apart = [group for group in groups if group.unstorable and len(group.names) > 1]
    if apart:
        namespace.learn_apart(g for g in apart if all(names.get(name) is g for name in g.names))


def _await(namespace: Namespace, wanted: Sequence[str], group: Group, error: KitaruError) -> None:
    """Let a group that only could not be read stay on record as it is, so that a later resume puts it back.

    One marker stands for all its names, which keeps them together.
    """
    if isinstance(error, StoreError) and error.may_pass and len(wanted) == len(group.names):
        reason = f"could not be restored: {error.message}; `%resume` puts it back once it can be read"
        held = dict.fromkeys(wanted, Marker(wanted[0], "", reason))
        namespace.live.update(held)
        namespace.learn(namespace.own_digest(held), group.value)


def _take_places(values: Iterable[object]) -> None:
    for value in values:
        if type(value) is ModuleType:
            take_place(value)


def say_emptied(restored: Restored, line: Sequence[Checkpoint], live: Mapping[str, object]) -> None:
    """Say which caches came back empty that steps after their function had used.

    A cache that fills is no change of its function, so the record tells how full it was when the
    function was stored and not at the end.
    """
    read = {name for checkpoint in line for group in checkpoint.draft.reads for name in group.split(",")}
    for name in read.intersection(restored.names) - restored.made.keys():
        wrapper: Any = live[name]
        if type(wrapper) is functools._lru_cache_wrapper and not wrapper.cache_info().currsize:  # noqa: SLF001 - the only name of that type
            restored.made[name] = "functools.lru_cache, without the results it held"


def how_made(value: object, notes: Iterable[Note]) -> str:
    """What was made again for one name, in words: ``threading.Lock, it was held and is free``."""
    own = kind_name(value)
    found = dict.fromkeys((note.kind, note.text) for note in notes)
    whole = [
        (kind, text)
        for kind, text in found
        if kind.rpartition(".")[2].lower() == own.rpartition(".")[2].lower()
    ]
    if whole:
        kind, text = whole[0]
        return f"{kind}, {text}" if text else kind
    return "its " + ", its ".join(f"{kind}, {text}" if text else kind for kind, text in found)


def _are_definitions(values: Iterable[object]) -> bool:
    return all(map(is_definition, values))


def _require_names(values: Mapping[str, object], group: Group) -> None:
    """Raise unless the artifact holds what the record says; anybody may have written either of them."""
    missing = [name for name in group.names if name not in values]
    if missing:
        message = f"the artifact `{group.artifact[:12]}` holds no `{missing[0]}`"
        raise CorruptError(message, kind="corrupt-artifact", hint="kitaru-nb store verify")


def _mark_damaged(
    namespace: Namespace, wanted: Sequence[str], error: KitaruError, restored: Restored
) -> None:
    for name in wanted:
        if error.kind == "recipe-failed":
            namespace.live[name] = Marker(name, "value", error.message)
            restored.lost[name] = error.message
            continue
        restored.not_read(name, error)
        namespace.live[name] = Marker(name, "", f"could not be restored: {error.message}")
