"""Whether a cell runs or is restored: what it depends on, and which record of it counts now."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kitaru_nb.analysis.code_names import may_read
from kitaru_nb.analysis.outline import SETS_ATTRIBUTE, by_module, gives_dicts, outline_of
from kitaru_nb.artifacts.instances import dicts_are_given
from kitaru_nb.artifacts.kinds import answers
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.asked import libraries_named, parts_asked, runs_programs, variables_asked
from kitaru_nb.engine.caches import caches_of
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.computing import libraries_of
from kitaru_nb.engine.conditions import holds, put_into, seeds, untold
from kitaru_nb.engine.confirm import Confirm, refuse_repaying
from kitaru_nb.engine.declared import looked_up
from kitaru_nb.engine.earlier import earlier_executions
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.failures import Failures
from kitaru_nb.engine.files import Files
from kitaru_nb.engine.inputs import Dependencies, Inputs, opaque_read
from kitaru_nb.engine.lineage import Lineage
from kitaru_nb.engine.listing import listing_digest
from kitaru_nb.engine.live import REMOVED, Live, is_untouched, of_process
from kitaru_nb.engine.moved_files import MovedFiles
from kitaru_nb.engine.named import (
    Tree,
    named_environment,
    named_files,
    named_trees,
    paths_in,
    reads_past_python,
    tree_of,
)
from kitaru_nb.engine.names import StepNames
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.observe import unheard
from kitaru_nb.engine.packages import changed_versions
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.sharing import Sharing
from kitaru_nb.engine.step_names import same_step
from kitaru_nb.engine.steps import Given, Pending, Restore, Run, choose, unmet
from kitaru_nb.engine.suspects import words_reached
from kitaru_nb.engine.trust import Standing
from kitaru_nb.errors import UntrustedError
from kitaru_nb.model.artifact import Digest, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus
from kitaru_nb.model.execution import ExecutionId, Identity

__all__ = ["Decider"]

_FORESEEN = 5  # earlier executions that tell how long a step takes


class Decider:
    """Decides on the cells of one session.

    Args:
        engine: Journal and store.
        identity: What is being run.
        namespace: The namespace the cells run in.
        marked_only: Whether only marked cells are steps (interactive), else all are.
        process: The process's state.
        failures: Failed cells, undone before they run again.
        files: Files that steps wrote.
        live: What steps left that lives in this process only.
        folder: The notebook's folder.

    Attributes:
        identity: What is being run, with the notebook's name of now.
        inputs: Finds what cells depend on.
        names: What steps are called.
        lineage: Which plain cell made what.
        confirm: Stops long steps that are a miss only by chance.
        reuse: Marked cells count as marked with ``--reuse``.
        sharing: In a point of a grid that is no replay: what the other points have on record counts, too.
        sources: In a replay: gives the executions whose records count, for that of this session.
    """

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        namespace: Namespace,
        *,
        marked_only: bool,
        process: Process,
        failures: Failures,
        files: Files,
        live: Live,
        folder: Path,
    ) -> None:
        self.inputs = Inputs(namespace, folder)
        process.variables.modules = self.inputs.local
        self.names = StepNames()
        self.lineage = Lineage(namespace.live, engine.ours)
        self.confirm = Confirm(engine.journal, engine.settings.confirm_rerun, self.lineage)
        self._engine = engine
        self.identity = identity
        self._moved: tuple[str | None, MovedFiles] | None = None
        self._namespace = namespace
        self._marked_only = marked_only
        self._process = process
        self._failures = failures
        self._files = files
        self._live = live
        self._plain: list[str] = []
        self._seeded = False
        self.reuse = False
        self.sharing: Sharing | None = None
        self.sources: Callable[[ExecutionId], Sequence[ExecutionId]] | None = None
        self._of_another: tuple[ExecutionId, bool] | None = None

    def saw(self, source: str, *, has_run: bool = False) -> None:
        """Take note of a cell that is not a step and is about to run, or `has_run` unseen."""
        self._live.forget()
        VAULT.hear(source)
        self._plain.append(source)
        if SETS_ATTRIBUTE.search(source):  # while it is seen what they hold before
            self._watch(source, late=has_run)
        self.lineage.saw(source)
        self._seeded = self._seeded or seeds(source)

    def start_from(self, line: Iterable[Checkpoint]) -> None:
        """The namespace is as these commits left it."""
        self._live.forget()
        self.lineage.clear()
        self._seeded = self._seeded or any(
            seeds(each.draft.source) or any(cell.get("seeds") for cell in each.draft.plain) for each in line
        )

    def plan(self, cell: Cell, execution: ExecutionId) -> Restore | Run:
        """Decide whether `cell` runs or is restored. Nothing runs and nothing is changed.

        Raises:
            KitaruError: as `Session.plan`.
        """
        VAULT.hear(cell.source)
        pending = self._pending(cell)
        self._seeded = self._seeded or seeds(cell.source)
        if cell.directive is not None and cell.directive.fresh:
            self._namespace.open(needed=_read(pending))
            self.inputs.refuse_markers(pending.needs, pending.name, headless=not self._marked_only)
            self._engine.check()
            return Run(pending)
        found, refused = self._trusted(cell, self._find(pending, execution))
        decided, gone = self._choose(pending, found, execution)
        if isinstance(decided, Run):
            if refused is not None:
                raise refused
            self._namespace.open(needed=_read(pending))
            self.inputs.refuse_markers(pending.needs, pending.name, headless=not self._marked_only)
            pending.unmet = self._unmet(pending, found)
            if gone:
                refuse_repaying(pending.name, *gone, limit=self._engine.settings.confirm_rerun)
                pending.unmet = (f"{REMOVED}{gone[1]}",)
            if self._marked_only:
                self._confirm_rerun(pending, execution)
            self._engine.check()
        elif cell.step is None:
            pending.name = self.names.settled(cell, pending.name, decided.checkpoint.draft.name)
        return decided

    def again(self, run: Run, execution: ExecutionId) -> Restore | Run:
        """Decide once more on a cell that was to run, now that more may be on record.

        Raises:
            UntrustedError: as `plan`.
        """
        found, refused = self._trusted(run.pending.cell, self._find(run.pending, execution))
        decided, _ = self._choose(run.pending, found, execution)
        if isinstance(decided, Run) and refused is not None:
            raise refused
        return decided

    def give(self, cell: Cell, values: Mapping[str, object]) -> Given:
        """`cell` is given what it would have written: everything that its record needs from before."""
        VAULT.hear(cell.source)
        pending = self._pending(cell)
        self._seeded = self._seeded or seeds(cell.source)
        return Given(pending, values)

    def foresee(self, cell: Cell, execution: ExecutionId) -> tuple[Restore | Run, list[Checkpoint]]:
        """What `plan` would decide now, and the step's completed records, newest first.

        Unlike `plan` it takes note of nothing: no name is given and no failure undone.
        """
        name = cell.directive.name if cell.directive is not None else None
        pending = self.weighed(cell, name or "this cell")
        found, refused = self._trusted(cell, self._find(pending, execution))
        decided, _ = self._choose(pending, found, execution)
        if cell.directive is not None and cell.directive.fresh:
            decided = Run(pending)
        elif isinstance(decided, Run) and refused is not None:
            raise refused
        earlier = earlier_executions(
            self._engine.journal, self.identity.notebook, interactive=True, limit=_FORESEEN
        )
        ids = dict.fromkeys([execution, *(each.id for each in earlier)])
        recorded = (c for each in ids for c in reversed(self._engine.journal.checkpoints(each)))
        mine = [
            c
            for c in recorded
            if c.draft.status is CheckpointStatus.COMPLETED
            and (c.draft.step == cell.step if c.draft.step and cell.step else c.draft.name == name)
        ]
        return decided, mine

    def _choose(
        self, pending: Pending, found: Sequence[Checkpoint], execution: ExecutionId
    ) -> tuple[Restore | Run, tuple[Checkpoint, Tombstone] | None]:
        """What becomes of a step, and the newest record that would count if it still had its values."""
        gone: dict[int, tuple[Checkpoint, Tombstone]] = {}
        while True:
            decided = choose(
                pending,
                [checkpoint for checkpoint in found if checkpoint.seq not in gone],
                holds=lambda what, digest: self._holds(pending, what, digest),
                allowed=self._allowed(pending, execution),
                excused=lambda found, what: (
                    not self._is_anothers(found, execution) and self._files.excuses(found, what)
                ),
            )
            if isinstance(decided, Run):
                return decided, next(iter(gone.values()), None)
            groups = decided.checkpoint.draft.groups
            others = {group.artifact for group in groups if not group.written}
            others -= {group.artifact for group in groups if group.written}  # what it did itself is enough
            removed = self._engine.journal.removed(decided.checkpoint.draft.stored - others)
            if not removed:
                return decided, None
            gone[decided.checkpoint.seq] = decided.checkpoint, next(iter(removed.values()))

    def _confirm_rerun(self, pending: Pending, execution: ExecutionId) -> None:
        self.confirm.check(
            pending,
            live=self._namespace.live,
            holds=lambda what, digest: holds(pending, what, digest),
            notebook=self.identity.notebook,
            execution=execution,
        )

    def _holds(self, pending: Pending, what: str, digest: str) -> bool:
        if of_process(what):
            return self._live.holds(what, digest)
        kind, _, rest = what.partition(":")
        if kind == "names":
            return self._namespace.holds(tuple(rest.split(",")), Digest(digest), pending.before)
        if kind == "file" and (stands := self._files.stands_at(rest)) is not None:
            return stands in digest.split("|")
        if kind == "folder" and self._files.is_ahead:
            folder, _, pattern = rest.rpartition("|")
            return listing_digest(self._files.names_standing(folder, pattern)) in digest.split("|")
        if kind == "looked":
            return rest in pending.before.ids and self.inputs.held_by(rest, pending.before) == digest
        return self._moved_files().holds(what, digest, lambda what, digest: holds(pending, what, digest))

    def _moved_files(self) -> MovedFiles:
        notebook = self.identity.notebook
        if self._moved is None or self._moved[0] != notebook:
            self._moved = notebook, MovedFiles.of(self._engine.journal, notebook)
        return self._moved[1]

    def counts(self, pending: Pending, kept: Checkpoint) -> bool:
        """Whether what must hold for a record of the step `pending`, so far, holds."""
        left = unmet(kept, lambda what, digest: self._holds(pending, what, digest))
        return all(self._files.excuses(kept, what) for what in left)

    def _unmet(self, pending: Pending, found: Sequence[Checkpoint]) -> tuple[str, ...]:
        """What keeps the newest record of the step from being restored."""
        for checkpoint in found:
            if same_step(pending.cell.step, checkpoint.draft.step):
                left = unmet(checkpoint, lambda what, digest: self._holds(pending, what, digest))
                mine = (what for what in left if not self._files.excuses(checkpoint, what))
                return (*mine, *untold(checkpoint, pending), *self._files.found_anew(checkpoint))
        return ()

    def _pending(self, cell: Cell) -> Pending:
        started_at, started = datetime.now(UTC), time.perf_counter()
        name = self.names.name(cell)
        self._failures.undo(cell, name)
        return self.weighed(cell, name, started_at, started)

    def weighed(
        self, cell: Cell, name: str, started_at: datetime | None = None, started: float = 0.0
    ) -> Pending:
        """`cell` with everything that decides on it, as things stand."""
        before = self._namespace.observe()
        with unheard():
            self.inputs.fix_modules()
        needs = self.inputs.of(cell, before)
        self.watch_attributes(cell)
        process = self._process.snapshot()
        read = self._read(needs)
        words = words_reached(cell, read, needs.modules.values())
        libraries = libraries_of(read, needs.uses | _libraries_in(needs)) | libraries_named(words)
        attributes = self._process.set_in(libraries, process) if "attributes" in process else {}
        replaced = self._process.replaced(attributes, process) if attributes else frozenset[str]()
        put = put_into(attributes, process, apart=cell.tree) if attributes else ()
        if put:
            needs = self.inputs.of(cell, before, also=put)
            read = self._read(needs)
        variables = needs.variables | variables_asked(words)
        ignored, blind = self._engine.ours, self._reads_past_python(needs, libraries)
        texts = (paths_in(read), needs.texts if blind else frozenset[str]())
        reads = blind and (needs.may_read or may_read(cell.outline.words))
        reads = reads or runs_programs(cell.outline.words, cell.outline.constants)
        return Pending(
            cell,
            name,
            needs,
            before,
            process,
            self._seeded,
            started_at or datetime.now(UTC),
            started,
            environment=named_environment(cell.outline, read, variables=variables),
            files=named_files(cell.outline, read, ignored=ignored, texts=texts) | needs.declared.states,
            roots=named_trees(cell.outline, read, ignored=ignored, texts=texts) if reads else (),
            declared=tuple(needs.declared.roots.values()),
            addresses=looked_up(needs.declared.addresses),
            libraries=libraries,
            asked=parts_asked(words),
            caches=caches_of(read, needs.modules),
            attributes=attributes,
            replaced=replaced,
            unset=self._process.unset(process),
        )

    def trees_of(self, pending: Pending) -> tuple[Tree, ...]:
        """The files that the folders and patterns which a step names stand for, before it runs."""
        roots = (*pending.roots, *pending.declared)
        trees = tuple(tree_of(root, ignored=self._engine.ours) for root in roots)
        self.inputs.say_cut(root for root, tree in zip(roots, trees, strict=True) if not tree.whole)
        own = len(pending.roots)
        return (*trees[:own], *(replace(tree, declared=True) for tree in trees[own:]))

    def _reads_past_python(self, needs: Dependencies, libraries: frozenset[str]) -> bool:
        project = {name.partition(".")[0] for name in needs.modules}
        return reads_past_python(libraries | _libraries_in(needs), project)

    def _read(self, needs: Dependencies) -> list[object]:
        """The values that a step can reach, as far as they answer."""
        live = self._namespace.live
        return list(filter(answers, (live[name] for name in needs.touched if name in live)))

    def watch_attributes(self, cell: Cell, *, has_run: bool = False) -> None:
        """Keep an eye on attributes of modules and library classes that cells set, `cell` among them."""
        for source in (*self._plain, cell.source):
            self._process.hear(source)
        for source in self._plain:
            self._watch(source, late=True)
        self._plain.clear()
        targets = cell.outline.targets
        if gives_dicts(cell.tree, cell.outline.words):
            dicts_are_given()
        if not has_run:  # what it imports itself may be loaded already
            self._process.watch({}, by_module(cell.tree, targets))
        self._process.watch(self._namespace.live, targets, late=has_run)

    def _watch(self, source: str, *, late: bool) -> None:
        with suppress(SyntaxError, ValueError):  # magics: nothing to see in their text
            tree = ast.parse(source)
            outline = outline_of(tree)
            if gives_dicts(tree, outline.words):
                dicts_are_given()
            self._process.watch(self._namespace.live, outline.targets, late=late)

    def _find(self, pending: Pending, execution: ExecutionId) -> list[Checkpoint]:
        if opaque_read(pending.needs):
            return []  # what the step would find in them is not known to be what it found
        everywhere = self._marked_only or pending.cell.directive is not None
        journal, notebook = self._engine.journal, self.identity.notebook or ""
        places: list[Sequence[ExecutionId] | None] = [None] if everywhere else [[execution]]
        if everywhere and self._is_of_another(execution):
            places.insert(0, [execution])
        if self.sources is not None:
            places = [self.sources(execution)]
        recorded = [
            found
            for key in pending.needs.keys
            for executions in places
            for found in journal.find(key, executions=executions, notebook=notebook)
            if found.draft.key == key  # the journal's own lists are not signed, the key is
        ]
        if self.sharing is not None:
            recorded += self.sharing.beside(recorded, pending.needs.keys)
        own = (found for found in recorded if same_step(pending.cell.step, found.draft.step))
        return [] if any(map(self._files.went_on, own)) else recorded

    def _is_of_another(self, execution: ExecutionId) -> bool:
        """Whether this kernel goes on with an execution of another notebook, or of somebody else's copy."""
        if self._of_another is None or self._of_another[0] != execution:
            named = self._engine.journal.notebook_of(execution)
            self._of_another = execution, named != self.identity.notebook
        return self._of_another[1]

    def _trusted(
        self, cell: Cell, found: Sequence[Checkpoint]
    ) -> tuple[list[Checkpoint], UntrustedError | None]:
        """Those of the step's records that may be acted upon, and what to tell of the newest that may not.

        Not even the conditions of such a record are looked at, and its step is not simply run:
        that would pay again for what is there.
        """
        trust = self._engine.trust
        with trust.accepting(cell.directive is not None and cell.directive.trust):
            trusted = [each for each in found if trust.standing(each) is Standing.TRUSTED]
        others = [each for each in found if each not in trusted and same_step(cell.step, each.draft.step)]
        return trusted, trust.refusal(others[0]) if others else None

    def reuses(self, cell: Cell) -> bool:
        """Whether what touched the outside in another execution may be taken for `cell`."""
        return cell.directive is not None and (cell.directive.reuse or self.reuse)

    def _allowed(self, pending: Pending, execution: ExecutionId) -> Callable[[Checkpoint], bool]:
        """Headless, what touched the outside in another execution is only taken when asked for.

        From another point of the same grid it is taken, if that does to files what running it does.
        """
        directive = pending.cell.directive
        anywhere = self._marked_only or self.reuses(pending.cell) or self.sources is not None
        strict = self._engine.settings.strict_env or (directive is not None and directive.strict_env)
        return lambda found: (
            (
                # its files are not this point's: what came after it there did not come after it here
                self._files.come_back(found)
                if self._is_anothers(found, execution)
                else anywhere or found.execution == execution or not found.draft.outside
            )
            and is_untouched(found, pending.before.groups)
            and not untold(found, pending)
            and not self._files.found_anew(found)
            and not (strict and changed_versions(found.draft.packages, load=True))
        )

    def _is_anothers(self, found: Checkpoint, execution: ExecutionId) -> bool:
        """Whether a record is another point's of the same grid."""
        return found.execution != execution and self.sharing is not None and found.execution in self.sharing


def _read(pending: Pending) -> set[str]:
    """The names whose values the step depends on."""
    return {name for names in pending.needs.reads for name in names.split(",")}


def _libraries_in(needs: Dependencies) -> frozenset[str]:
    """The packages that the project's modules import which a step reaches."""
    return frozenset[str]().union(*(module.libraries for module in needs.modules.values()))
