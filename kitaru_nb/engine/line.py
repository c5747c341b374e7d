"""The line of commits that a session builds on: what it holds, and how one more is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from typing import Any

from kitaru_nb.artifacts.digest import is_immutable_atom
from kitaru_nb.artifacts.foreign import judging
from kitaru_nb.engine.attributes import refer, shared_names
from kitaru_nb.engine.cheaper import Ran, Recipes
from kitaru_nb.engine.commit import Written, refuse_unstorable, write_groups, write_value
from kitaru_nb.engine.definitions import Definitions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Change, Names, Namespace, State
from kitaru_nb.engine.process import Process, ProcessState
from kitaru_nb.engine.recovery import Loader, Recorded, Restored, put_back, recorded_at
from kitaru_nb.engine.secrecy import masked_draft, notice_names
from kitaru_nb.engine.state import carried_along, changed_groups, grown_groups
from kitaru_nb.engine.steps import Pending
from kitaru_nb.engine.trial import Trial
from kitaru_nb.errors import ConflictError, StoreError
from kitaru_nb.model.artifact import Anchor, Digest
from kitaru_nb.model.checkpoint import Checkpoint, Draft, Group
from kitaru_nb.model.execution import Attempt

__all__ = ["Line"]


class Line:
    """What is on record on one line of commits, and the state it was last seen in.

    Args:
        engine: Journal and store.
        namespace: The namespace the cells run in.
        process: The process's state.

    Attributes:
        parent: `seq` of the commit the next one builds on; None before the first.
        recorded: What the commits so far hold.
        excluded: Names that are never stored here.
        last_bytes: Bytes of values that the last commit has added to what is stored.
        tell: Shows a line before the commit is done; the front end's.
        definitions: Where functions and classes of the notebook are on record.
        trial: Loads objects of foreign classes before what is stored counts.
    """

    def __init__(self, engine: Engine, namespace: Namespace, process: Process) -> None:
        self.parent: int | None = None
        self.recorded = Recorded()
        self.last_bytes = 0
        self.excluded: frozenset[str] = frozenset()
        self.tell: Callable[[str], None] = lambda _line: None
        self.trial = Trial(engine.settings.home)
        self._recipes = Recipes(engine, namespace, tell=self._say)
        self._engine = engine
        self._namespace = namespace
        self._process = process
        self._recorded_process: ProcessState = {}
        self.definitions = Definitions()
        self._committed = State()  # the namespace when all in it was on record
        namespace.recorded_whole = self.recorded.whole
        # For each group on record, the definitions that its artifact refers to, by their ids.
        self._refers: dict[Names, frozenset[int]] = {}
        self._checked = State()  # the last one in which none had to be stored anew

    def _say(self, line: str) -> None:
        self.tell(line)  # looked up when it is used: it may be put in place later

    def restore(self, line: Sequence[Checkpoint], *, exact: bool = False) -> Restored:
        """The namespace and process as the commits of `line` left them, oldest first.

        With `exact`, names that are on record here and were not there yet go, and what cells set in
        the process and had not set there yet is as it was found.
        """
        recorded = recorded_at(line)
        made_by = {group.artifact: c.draft.name for c in line for group in c.draft.groups}
        lazily = made_by if self._namespace.seals.allowed else None
        loader = Loader(self._engine, self._namespace, steps=lazily)
        self._namespace.seals.clear()
        groups = list({id(group): group for group in recorded.groups.values()}.values())
        loader.expect(recorded.groups)
        self._process.apply_surroundings(loader.process(digest) for digest in recorded.process)
        with self._process.importing():
            restored = put_back(loader, self._namespace, groups, recorded.groups)
        gone = {name for checkpoint in line for name in checkpoint.draft.deleted}
        gone |= self.recorded.groups.keys() if exact else set()
        gone -= recorded.groups.keys()
        for name in gone:
            self._namespace.live.pop(name, None)
        state: dict[str, object] = {}
        for digest in recorded.process:
            state |= loader.process(digest)
            restored.problems += self._process.apply(loader.process(digest))
        restored.problems = list(dict.fromkeys(restored.problems))
        if exact:
            restored.problems += self._process.go_back(state)
        self.parent, self.recorded, self._committed = line[-1].seq, recorded, State()
        self._namespace.recorded_whole = recorded.whole
        self.definitions = Definitions()
        self.definitions.put_back(self._namespace, groups, loader.refers)
        for group in groups:
            self.definitions.met(group, loader.met(group))
        self._refers = {group.names: frozenset(loader.refers(group)) for group in groups}
        self._checked = State()
        self._recorded_process = self._process.snapshot()
        return restored

    def write(self, pending: Pending, step: Change, after: State, *, ran: Ran | None = None) -> Written:
        """Store every group that changed since the last commit, or by the step.

        Args:
            pending: The step.
            step: What it changed.
            after: The namespace after it.
            ran: How it ran, if it ran here and now: then what is cheaper to make again than to
                read is kept as a recipe.

        Raises:
            StoreError: the disk refused.
            UnstorableError: with `--strict`, a value could not be stored.
        """
        on_record = self.recorded.whole
        directive = pending.cell.directive
        fresh = directive is not None and directive.fresh
        since = {
            names
            for names in changed_groups(self._committed, pending.before)
            | changed_groups(pending.before, after)
            if names in after.groups
            and (names not in on_record or on_record[names].value != after.groups[names])
        }
        anew = self._grown(after)
        anew |= carried_along(since | anew | (step.groups if fresh else set()), after)
        changed = since | anew | step.groups
        live = self._namespace.live
        notice_names({name: live[name] for names in changed for name in names if name in live})
        recipes = self._recipes.choose(changed, pending, step, after, on_record=on_record, ran=ran)
        # What a step with `--fresh` made is stored whole: what is stored may be what is damaged.
        doubting = self._engine.store.distrusting() if fresh else nullcontext()
        with judging(self.trial), doubting:
            written = write_groups(
                self._engine,
                self._namespace,
                after,
                changed=changed - recipes.keys(),
                by_step=step.groups,
                on_record={k: v for k, v in on_record.items() if k not in step.groups}
                if fresh
                else on_record,
                stored=self.definitions,
                anew=anew,
                exclude=self.excluded.union(directive.exclude if directive is not None else ()),
            )
        self._recipes.keep(recipes, pending, after, held=self.recorded.groups, written=written)
        if directive is not None and directive.strict:
            refuse_unstorable(written, pending.name)
        return written

    def _grown(self, after: State) -> set[Names]:
        """Groups on record whose artifacts carry along what has a name now, or refer to what has none.

        The second only counts where another object that is alike has taken the name, or where the
        object is held elsewhere and was met by its name.
        """
        if self._checked.refers is after.refers and self._checked.definitions == after.definitions:
            return set()
        on_record, live = self.recorded.whole, self._namespace.live
        self.definitions.look(live)
        torn = {
            names
            for names, group in on_record.items()
            if names in after.groups and self.definitions.is_torn(group, live)
        }
        known = {
            names: self._refers.get(names, frozenset())
            for names in {
                *after.refers,
                *self._refers,
                *map(after.group_of.__getitem__, after.definitions.values()),
            }
            if names in after.groups and names in on_record and on_record[names].value == after.groups[names]
        }
        keys = {*after.definitions}.union(*known.values())
        twice = {key for key in keys if self.definitions.is_doubled(key, after, self._namespace)}
        own = {after.group_of[after.definitions[key]] for key in twice & after.definitions.keys()}
        # The other one, too: of a class, what is stored says which one it is.
        own |= {after.group_of[self.definitions.stored_as(key)] for key in twice} & known.keys()
        doubled = {names for names, refers in known.items() if names in own or not refers.isdisjoint(twice)}
        return doubled | grown_groups(after, known, torn)

    def write_process(
        self, before: ProcessState, after: ProcessState, state: State, written: Written
    ) -> Digest | None:
        """Store the parts of process state that changed since the last commit, or by the step.

        Objects that attributes of libraries share with names, in `state`, are stored with the
        names; so are functions and classes of the notebook.
        """
        if after is before and after is self._recorded_process and "attributes" not in after:
            return None
        parts = {part: value for part, value in after.items() if value != self._recorded_process.get(part)}
        by_step = [part for part, value in after.items() if value != before.get(part)]
        held = after.get("attributes", {})
        shared = shared_names(held, state)
        rewritten = any(g.written and not shared.isdisjoint(g.names) for g in written.groups)
        if "attributes" not in by_step and rewritten:
            by_step.append("attributes")  # a restore of the step binds these names to other objects
        if not parts and not by_step:
            return None
        parts |= {part: after[part] for part in by_step}
        if shared and "attributes" in parts:
            groups = self.recorded.groups | {name: group for group in written.groups for name in group.names}
            parts["attributes"] = refer(held, shared, groups, self._namespace)
        if "attributes" in parts:
            known = before.get("attributes", {})
            parts["attributes"] = self._process.as_stored(
                {path: each for path, each in parts["attributes"].items() if each.is_told(known.get(path))}
            )
        stored = self._engine.put(
            {"parts": parts, "by_step": by_step}, namespace=self._namespace.live, anchors=written.anchors
        )
        return written.add(stored)

    def write_result(self, pending: Pending, result: object, written: Written) -> str | None:
        """What the step's last expression gave, as `Draft.result` wants it."""
        if result is None:
            return None
        if not is_immutable_atom(result):  # equal numbers are one object, whatever they are called
            for name in sorted(pending.needs.touched):
                if self._namespace.live.get(name) is result and self._namespace.is_users(name, result):
                    return f"name:{name}"
        with judging(self.trial):
            digest = write_value(self._engine, self._namespace, "_", result, written)
        return None if digest is None else f"artifact:{digest}"

    def take_in(self, groups: Sequence[Group], after: State, loader: Loader) -> None:
        """Groups that were just put back and hold what they held are on record here, too."""
        same = [group for group in groups if after.groups.get(group.names) == group.value]
        for group in same:
            self.recorded.put(group)
            live = {id(self._namespace.live[name]) for name in group.names}
            refers = frozenset(loader.refers(group))
            self._refers[group.names] = refers.union(*map(self.definitions.refers, live & refers))
        for group in same:
            self.definitions.met(group, loader.met(group))
        if same:
            self._checked = State()

    def place(self, written: Written, before: State, after: State) -> dict[str, Any]:
        """The fields of a draft that say what it adds to this line, for a step between two looks."""
        return {
            "parent": self.parent,
            "groups": tuple(written.groups),
            "deleted": tuple(sorted(self._deleted(before, after))),
        }

    def _deleted(self, before: State, after: State) -> AbstractSet[str]:
        """The names on record that are not there any more. All of them were there at the last commit."""
        if not before.follows(self._committed) or not after.follows(before):
            return self.recorded.groups.keys() - after.ids.keys()
        gone = before.gone | after.gone
        return {name for name in gone if name in self.recorded.groups and name not in after.ids}

    def known(self, anchor: Anchor) -> object | None:
        """The function or class of this process that is on record there."""
        return self.definitions.of(anchor)

    def look_again(self) -> None:
        """Something that was on record was removed meanwhile: what is written next leans on nothing of it."""
        self._engine.store.close()
        known = self._engine.journal.artifact_digests()
        for group in [group for group in self.recorded.groups.values() if group.artifact not in known]:
            self.recorded.forget(group)
        self.definitions = Definitions()

    def add(
        self,
        attempt: Callable[[], Attempt],
        draft: Draft,
        written: Written,
        after: State,
        process: ProcessState,
    ) -> Checkpoint:
        """Put one commit on record, which has its `place` here. When this returns it is durable.

        Raises:
            StoreError: the disk refused; nothing is on record.
            ConflictError: kind ``superseded``: a later attempt owns the execution.
        """
        draft = masked_draft(draft)
        try:
            self._engine.store.flush()
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):  # `gc` took what it was written to for waste
                raise ConflictError(error.message, kind="values-removed", hint=error.hint) from error
            raise
        given = {artifact.digest for artifact in written.artifacts}
        held = attempt()
        draft = self._engine.trust.signed(draft, held.execution, fresh=written.artifacts)
        checkpoint = self._engine.journal.commit(
            held,
            draft,
            artifacts=written.artifacts,
            locations=written.locations,
            needs=written.needs - given,
        )
        self._engine.trust.committed(checkpoint)
        self.parent, self._recorded_process, self._committed = checkpoint.seq, process, after
        self.last_bytes = written.fresh
        self.recorded.add(draft)
        stored = {artifact.digest for artifact in written.artifacts}
        self.definitions.add(self._namespace.live, written.groups, written.anchors, after, stored=stored)
        for group in written.groups:
            self._refers[group.names] = after.refers.get(group.names, frozenset())
        self._checked = after
        return checkpoint
